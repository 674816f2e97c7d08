"""What an answer does to the message that it is about."""

from __future__ import annotations

import math

import pytest

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.node.delivery.answers import ANSWERS, ENDS, Answered, Effect, Word
from mcp_a2a.node.delivery.decide import ACTIONS
from mcp_a2a.node.delivery.events import (
    CheckWanted,
    DestinationBlocked,
    MergeWanted,
    MessageDelivered,
    MessageDropped,
    MessageHeld,
    MessagePutOff,
    MessageRefused,
    MessageStored,
    RedateWanted,
)
from mcp_a2a.node.delivery.model import Block, Fault, Hurry, Kind, StoredCopy
from mcp_a2a.node.delivery.patience import HTTP
from mcp_a2a.protocol.replay import stale_code
from tests.node.delivery.scene import BOB, DAY, DIRECT, DIRECT_2, RELAY, RELAY_2, WEEK, Scene, wanted_dates

CODES = ["blocked", "not_trusted", "stale", stale_code(-3600.0), "hop_limit", "rejected", "something_new", "busy",
         "unknown_task", "unknown_key", "unknown", "rate_limited", "mailbox_full"]  # fmt: skip


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_each_word_has_an_effect_and_each_effect_is_carried_out() -> None:
    assert set(ANSWERS) == {(word, signed) for word in Word for signed in (True, False)}
    assert set(ACTIONS) == set(Effect) == set(ANSWERS.values())
    unsigned = {effect for (_, signed), effect in ANSWERS.items() if not signed}
    assert not unsigned & ENDS, "what is not signed ends nothing"


# --- what is not signed ------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [None, 0.0, -5.0, 30.0, 1e9, math.inf, math.nan])
@pytest.mark.parametrize("code", CODES)
def test_a_refusal_that_is_not_signed_only_delays_a_message(scene: Scene, code: str, later: float | None) -> None:
    scene.put("task t")
    scene.open(RELAY)
    scene.go()
    scene.refuse("task1", code, later=later)
    assert scene.events(MessageRefused) == []
    scene.tick(600)
    assert scene.go() == ["task1"]
    assert scene.sends["task1"].anew


def test_no_number_of_unsigned_words_brings_a_signed_one_closer(scene: Scene) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    for _ in range(20):
        scene.go()
        scene.refuse("task1", "rejected")
        scene.tick(600)
    scene.go()
    scene.refuse("task1", "rejected", signed=True)
    assert scene.events(MessageRefused) == []


@pytest.mark.parametrize("word", [Word.DELIVERED, Word.HELD])
def test_a_receipt_for_something_else_puts_the_message_into_another_envelope(scene: Scene, word: Word) -> None:
    scene.put("task t")
    scene.open(RELAY)
    scene.go()
    scene.store("task1")
    scene.events()
    scene.answer("task1", Answered(word), RELAY)
    assert (scene.events(MessageDelivered, MessageHeld), scene.go()) == ([], [])
    scene.tick(30)
    assert scene.go() == ["task1"]
    assert scene.sends["task1"].anew


def test_what_does_not_carry_a_message_says_nothing_about_it(scene: Scene) -> None:
    scene.put("task t")
    scene.open(RELAY, RELAY_2)
    assert scene.go() == ["task1"]
    assert scene.sends["task1"].route == RELAY_2
    for word in Word:
        scene.answer("task1", Answered(word), RELAY)
    assert scene.queue.under_way(BOB) == 1
    scene.answer("task1", Answered(Word.DELIVERED, signed=True), RELAY)
    assert len(scene.queue) == 0, "the recipient's own word counts whatever way it comes"


def test_only_a_relay_stores(scene: Scene) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    scene.go()
    scene.store("task1")
    assert (scene.events(MessageStored), scene.queue.is_off_our_hands("task1")) == ([], False)


def test_an_answer_to_an_older_envelope_says_nothing(scene: Scene) -> None:
    scene.put("task t")
    scene.open(RELAY)
    scene.go()
    old = scene.flying["task1"]
    scene.refuse("task1", "mailbox_full", later=0.0)
    scene.queue.answered(old, Answered(Word.DELIVERED, signed=True), RELAY, scene.at)
    scene.queue.answered(b"never sent", Answered(Word.DELIVERED, signed=True), RELAY, scene.at)
    assert len(scene.queue) == 1


def test_a_token_names_one_message(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.open(RELAY)
    for send in scene.queue.messages_to_send(scene.at):
        if send.id == "task1":
            scene.queue.sent(send.id, b"same", scene.at)
        else:
            with pytest.raises(LocalProtocolError):
                scene.queue.sent(send.id, b"same", scene.at)
    carried = scene.queue.carried(b"same")
    assert carried is not None
    assert carried.id == "task1"


# --- what the recipient has signed -------------------------------------------------------------------


def test_a_signed_receipt_takes_the_message_out(scene: Scene) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    scene.go()
    scene.sign_for("task1")
    scene.sign_for("task1")
    assert scene.events(MessageDelivered) == [MessageDelivered("task1")]
    assert (len(scene.queue), scene.queue.holds("task1"), scene.queue.is_off_our_hands("task1")) == (0, False, True)
    assert scene.queue.next_timeout() == math.inf or not scene.go()


def test_a_signed_refusal_takes_the_message_out(scene: Scene) -> None:
    scene.put("task t", "message t")
    scene.open(DIRECT)
    scene.go()
    scene.refuse("task1", "blocked", signed=True)
    assert scene.events(MessageRefused) == [MessageRefused("task1", "blocked", ("task1",))]


def test_with_a_piece_goes_the_message_that_names_the_file_and_a_cancellation_stays(scene: Scene) -> None:
    scene.put("blob t f", "blob t g", "task t", "cancel t", "task other")
    scene.open(DIRECT)
    scene.go()
    scene.refuse("blob1", "file_quota", signed=True)
    refused = scene.events(MessageRefused)[0]
    assert isinstance(refused, MessageRefused)
    assert (refused.code, set(refused.ids)) == ("file_quota", {"blob1", "blob2", "task3"})
    assert scene.queue.holds("cancel4")
    assert scene.queue.holds("task5")


def test_a_result_loses_one_file_and_keeps_the_others(scene: Scene) -> None:
    scene.put("blob t f", "blob t f", "blob t g", "update t")
    scene.open(DIRECT)
    scene.go()
    scene.refuse("blob1", "file_quota", signed=True)
    refused = scene.events(MessageRefused)[0]
    assert isinstance(refused, MessageRefused)
    assert set(refused.ids) == {"blob1", "blob2", "update4"}
    assert scene.queue.holds("blob3")


def test_a_message_that_cannot_be_read_is_sealed_anew_five_times(scene: Scene) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    for _ in range(5):
        assert scene.go() == ["task1"]
        scene.refuse("task1", "rejected", signed=True)
        scene.tick(30)
        assert scene.events(MessageRefused) == []
    assert scene.go() == ["task1"]
    scene.refuse("task1", "rejected", signed=True)
    assert scene.events(MessageRefused) == [MessageRefused("task1", "rejected", ("task1",))]


@pytest.mark.parametrize(("route", "pause"), [(DIRECT, 30), (RELAY, 600)])
def test_a_held_message_is_offered_again_and_at_once_when_its_recipient_shows_itself(
    scene: Scene, route: object, pause: float
) -> None:
    scene.put("task t", "message t")
    scene.open(DIRECT if route == DIRECT else RELAY)
    scene.go()
    scene.hold("task1")
    assert scene.events(MessageHeld) == [MessageHeld("task1")]
    scene.tick(pause - 1)
    assert scene.go() == []
    scene.tick(1)
    assert scene.go() == ["task1"]
    scene.hold("task1")
    scene.queue.hurry(BOB, Hurry.GREETED, scene.at)
    assert scene.go() == ["task1"]


def test_a_recipient_that_shows_one_key_after_another_gets_a_pause(scene: Scene) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    for _ in range(3):
        assert scene.go() == ["task1"]
        scene.answer("task1", Answered(Word.NEWER_KEY))
        assert scene.events(DestinationBlocked) == []
    assert scene.go() == ["task1"]
    assert scene.sends["task1"].anew
    scene.answer("task1", Answered(Word.NEWER_KEY))
    blocked = scene.events(DestinationBlocked)[0]
    assert isinstance(blocked, DestinationBlocked)
    assert blocked.obstacle.block is Block.KEY_NOT_THERE
    assert scene.go() == []
    scene.tick(30)
    assert scene.go() == ["task1"]


@pytest.mark.parametrize(("seconds", "interrupts"), [(20.0, False), (600.0, True), (None, False), (1e9, True)])
def test_a_long_pause_that_a_busy_recipient_signs_is_told(
    scene: Scene, *, seconds: float | None, interrupts: bool
) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    scene.go()
    scene.refuse("task1", "busy", signed=True, later=seconds)
    assert bool(scene.events(MessagePutOff)) == interrupts
    assert (scene.queue.obstacle_of_task("t") is not None) == interrupts
    obstacle = scene.queue.obstacle_of(BOB)
    assert obstacle is not None
    assert (obstacle.block, obstacle.seconds) == (Block.BUSY, min(seconds or 30.0, 600.0))
    scene.tick(obstacle.seconds - 1)
    assert scene.go() == []
    scene.tick(1)
    assert scene.go() == ["task1"]


# --- twins -------------------------------------------------------------------------------------------


def test_a_task_that_one_machine_does_not_know_goes_to_another_with_its_key(scene: Scene) -> None:
    scene.put("update t")
    scene.open(DIRECT_2, DIRECT)
    assert scene.go() == ["update1"]
    assert scene.sends["update1"].route == DIRECT
    scene.refuse("update1", "unknown_task", signed=True)
    assert scene.go() == ["update1"]
    assert scene.sends["update1"].route == DIRECT_2


def test_a_task_that_no_machine_knows_is_offered_ever_less_often_and_to_a_new_one_at_once(scene: Scene) -> None:
    scene.put("update t")
    scene.open(DIRECT)
    for pause in (30, 60, 120, 240, 480, 600, 600):
        assert scene.go() == ["update1"]
        scene.refuse("update1", "unknown_task", signed=True)
        scene.tick(pause - 1)
        assert scene.go() == []
        scene.tick(1)
    scene.go()
    scene.refuse("update1", "unknown_task", signed=True)
    scene.open(DIRECT_2)
    assert scene.go() == ["update1"]
    scene.refuse("update1", "unknown_task", signed=True)
    scene.close(DIRECT)
    scene.open(DIRECT)
    assert scene.go() == ["update1"], "a machine that comes back may know the task by now"


# --- relays ------------------------------------------------------------------------------------------


def test_a_copy_is_stored_once_and_its_answer_is_known_after_a_restart(scene: Scene) -> None:
    scene.put("task t")
    scene.open(RELAY)
    scene.go()
    scene.store("task1")
    scene.store("task1")
    token = scene.flying["task1"]
    assert scene.events(MessageStored) == [MessageStored("task1", RELAY.address, token)]
    scene.start()
    scene.numbers = 0
    scene.put("task t", copy=StoredCopy(RELAY.address, token))
    scene.open(RELAY)
    assert scene.events(CheckWanted) == [CheckWanted(BOB, RELAY, (token,))]
    assert scene.go() == []
    scene.queue.answered(token, Answered(Word.DELIVERED, signed=True), RELAY, scene.at)
    assert len(scene.queue) == 0


def test_what_is_pending_can_be_read(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.open(RELAY)
    scene.go()
    scene.store("task1")
    scene.refuse("task2", "mailbox_full", later=5.0)
    standing = [(one.message.id, one.tries, one.stored_at) for one in scene.queue.pending(BOB)]
    assert standing == [("task1", 0, RELAY.address), ("task2", 1, "")]
    assert scene.queue.failures(BOB) == 0
    scene.close(RELAY)
    assert scene.queue.failures(BOB) == 1
    assert (scene.queue.pending("did:carol"), scene.queue.failures("did:carol")) == ([], 0)


def test_a_relay_that_has_lost_a_copy_gets_it_again(scene: Scene) -> None:
    scene.put("task t")
    scene.open(RELAY)
    scene.go()
    scene.store("task1")
    scene.refuse("task1", "unknown")
    assert scene.go() == ["task1"]
    scene.refuse("task1", "unknown")
    assert scene.go() == [], "of what it never had, that is a refusal like any"


def test_a_copy_at_a_relay_out_of_reach_keeps_a_message_from_another_route_for_a_minute(scene: Scene) -> None:
    scene.put("task t")
    scene.open(RELAY)
    scene.go()
    scene.store("task1")
    scene.close(RELAY)
    scene.tick(300)
    assert scene.go() == [], "there is no other route"
    scene.open(RELAY)
    scene.store("task1")
    scene.close(RELAY)
    scene.open(RELAY_2)
    scene.tick(59)
    assert scene.go() == []
    scene.tick(1)
    assert scene.go() == ["task1"]


def test_a_direct_route_waits_neither_for_copies_nor_for_pauses_of_a_relay(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.open(RELAY)
    scene.go()
    scene.store("task1")
    scene.refuse("task2", "mailbox_full", later=600.0)
    scene.open(DIRECT)
    assert scene.go() == ["task1", "task2"]


def test_a_relay_that_says_stored_keeps_nothing_from_a_direct_route(scene: Scene) -> None:
    scene.put("task t")
    scene.open(RELAY)
    scene.go()
    scene.open(DIRECT)
    scene.store("task1")
    assert scene.go() == ["task1"]
    assert scene.sends["task1"].route == DIRECT


@pytest.mark.parametrize("code", ["rate_limited", "busy"])
def test_updates_for_a_slow_relay_are_merged_and_keep_their_order(scene: Scene, code: str) -> None:
    scene.put("update t", "update t")
    scene.open(RELAY)
    scene.go()
    scene.refuse("update1", code, later=5.0)
    scene.refuse("update2", code, later=7.0)
    scene.put("update t", "update u", "update t")
    assert scene.go() == ["update4"]
    (wanted,) = scene.events(MergeWanted)
    assert wanted == MergeWanted(BOB, "t", ("update1", "update2", "update3", "update5"))
    assert isinstance(wanted, MergeWanted)
    scene.tick(8)
    assert scene.go() == [], "the shell has not answered yet"
    scene.put("update t")
    scene.queue.merged(wanted, {"update3": ["update1", "update2"]}, scene.at)
    assert scene.go() == []
    (wanted,) = scene.events(MergeWanted)
    assert wanted == MergeWanted(BOB, "t", ("update3", "update5", "update6")), "one has come meanwhile"
    assert isinstance(wanted, MergeWanted)
    scene.queue.merged(wanted, {}, scene.at)
    assert scene.go() == ["update3", "update5", "update6"]
    assert scene.sends["update3"].anew


def test_a_merged_update_waits_as_long_as_the_longest_pause_of_them(scene: Scene) -> None:
    scene.put("update t", "update t")
    scene.open(RELAY)
    scene.go()
    scene.refuse("update2", "busy", later=9.0)
    scene.refuse("update1", "busy", later=5.0)
    scene.go()
    (wanted,) = scene.events(MergeWanted)
    assert isinstance(wanted, MergeWanted)
    scene.queue.merged(wanted, {"update2": ["update1"]}, scene.at)
    scene.tick(8)
    assert scene.go() == []
    scene.tick(1)
    assert scene.go() == ["update2"]


def test_a_relay_that_is_slow_for_files_says_nothing_to_the_caller(scene: Scene) -> None:
    scene.put("blob t f", "task t")
    scene.open(RELAY)
    scene.go()
    scene.refuse("blob1", "rate_limited", later=5.0)
    assert scene.events(MessagePutOff, DestinationBlocked) == []
    scene.tick(5)
    scene.go()
    scene.refuse("blob1", "quota", later=5.0)
    put_off = scene.events(MessagePutOff)[0]
    assert isinstance(put_off, MessagePutOff)
    assert (put_off.obstacle.block, put_off.obstacle.code) == (Block.REFUSED, "quota")
    assert scene.queue.obstacle_of_task("t") == put_off.obstacle


# --- clocks ------------------------------------------------------------------------------------------


def test_a_message_refused_because_of_a_clock_is_offered_for_a_day(scene: Scene) -> None:
    scene.put("task t", "update u")
    scene.open(DIRECT)
    for pause in (15, 30, 60, 120, 240, 300, 300):
        assert scene.go() == ["task1", "update2"]
        for message in ("task1", "update2"):
            scene.refuse(message, stale_code(7200.0), signed=True)
        scene.tick(pause - 1)
        assert scene.go() == []
        scene.tick(1)
    scene.tick(DAY)
    scene.go()
    for message in ("task1", "update2"):
        scene.refuse(message, "stale", signed=True)
    assert scene.events(MessageRefused) == [MessageRefused("task1", "stale", ("task1",))], "a result waits on"


def test_a_clock_that_is_set_ends_the_pauses_for_clocks(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.open(DIRECT)
    scene.go()
    scene.refuse("task1", "stale", signed=True)
    scene.refuse("task2", "mailbox_full", later=100.0)
    scene.queue.hurry(None, Hurry.CLOCK, scene.at)
    assert scene.go() == ["task1"]


def test_a_message_with_impossible_dates_gets_others_before_it_goes(scene: Scene) -> None:
    scene.put("task t", "message t")
    scene.jump(wall=-3600.0)
    scene.open(DIRECT)
    assert scene.go() == []
    assert scene.events(RedateWanted) == [RedateWanted("task1")]
    assert scene.go() == []
    scene.queue.redated("task1", (scene.at.wall, scene.at.wall + WEEK), scene.at)
    assert scene.go() == ["task1"]
    scene.sign_for("task1")
    scene.go()
    scene.queue.redated("message2", None, scene.at)
    assert scene.go() == ["message2"], "it has no better dates: its recipient will say"


def test_the_dates_of_a_message_are_looked_at_for_each_attempt(scene: Scene) -> None:
    scene.put("task t")
    scene.jump(wall=-3600.0)
    scene.open(DIRECT)
    scene.go()
    scene.events()
    scene.queue.redated("task1", None, scene.at)
    assert scene.go() == ["task1"]
    scene.close(DIRECT)
    scene.open(DIRECT)
    assert scene.go() == []
    assert scene.events(RedateWanted) == [RedateWanted("task1")]


def test_a_refused_message_without_better_dates_pauses(scene: Scene) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    scene.go()
    scene.jump(wall=-3600.0)
    scene.refuse("task1", "stale", signed=True)
    scene.go()
    assert scene.events(RedateWanted) == [RedateWanted("task1")]
    scene.queue.redated("task1", None, scene.at)
    assert scene.go() == []
    scene.tick(15)
    assert scene.go() == ["task1"]


def test_an_old_message_waits_while_the_clock_is_in_doubt() -> None:
    scene = Scene(first_number=10, since=1.9e9)
    scene.put("task t")
    scene.jump(wall=2 * WEEK)
    scene.open(DIRECT)
    assert scene.go() == []
    blocked = scene.events(DestinationBlocked, RedateWanted)[0]
    assert isinstance(blocked, DestinationBlocked)
    assert blocked.obstacle.block is Block.CLOCK_DOUBTED
    scene.jump(wall=-2 * WEEK)
    scene.queue.hurry(None, Hurry.CLOCK, scene.at)
    assert scene.go() == ["task1"]


# --- agents at URLs ----------------------------------------------------------------------------------


def test_an_agent_that_asks_for_a_pause_gets_it() -> None:
    scene = Scene(HTTP)
    scene.put("task t")
    scene.open(DIRECT)
    scene.go()
    scene.refuse("task1", "503", later=1800.0)
    scene.tick(1799)
    assert scene.go() == []
    scene.tick(1)
    assert scene.go() == ["task1"]


def test_a_pause_is_not_shorter_than_that_of_the_failures_before_it() -> None:
    scene = Scene(HTTP)
    scene.put("task t")
    scene.open(DIRECT)
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        assert scene.go() == ["task1"]
        scene.refuse("task1", "503", later=0.5)
        scene.tick(pause - 0.5)
        assert scene.go() == []
        scene.tick(0.5)


def test_an_agent_is_told_a_message_without_an_answer_five_times() -> None:
    scene = Scene(HTTP)
    scene.put("task t")
    scene.open(DIRECT)
    for _ in range(5):
        assert scene.events(MessageRefused) == []
        assert scene.go() == ["task1"]
        scene.answer("task1", Answered(Word.LOST, code="lost"))
        scene.tick(60)
    assert scene.events(MessageRefused) == [MessageRefused("task1", "lost", ("task1",), lost=5)]


def test_a_refusal_behind_a_lost_answer_says_how_often_the_message_was_told() -> None:
    scene = Scene(HTTP)
    scene.put("task t")
    scene.open(DIRECT)
    scene.go()
    scene.answer("task1", Answered(Word.LOST, code="lost"))
    scene.tick(60)
    scene.go()
    scene.refuse("task1", "409", signed=True)
    assert scene.events(MessageRefused) == [MessageRefused("task1", "409", ("task1",), lost=1)]


def test_a_reply_that_an_agent_no_longer_waits_for_is_dropped() -> None:
    scene = Scene(HTTP)
    scene.put("message t", "cancel t")
    scene.open(DIRECT)
    assert scene.go() == ["message1"], "one thing at a time"
    scene.answer("message1", Answered(Word.SUPERSEDED, signed=True))
    assert scene.events(MessageDropped) == [MessageDropped("message1")]
    assert scene.go() == ["cancel2"]


# --- what a courier cannot do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "pause"), [(Fault.ROUTE_FULL, 1.0), (Fault.KEY_NOT_VALID, 1.0), (Fault.SYSTEM_LIMIT, 2.0)]
)
def test_a_message_that_cannot_go_now_is_offered_again(scene: Scene, fault: Fault, pause: float) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    for _ in range(3):
        (send,) = scene.queue.messages_to_send(scene.at)
        scene.queue.not_sent(send.id, fault, scene.at)
        assert scene.go() == []
        scene.tick(pause - 0.1)
        assert scene.go() == []
        scene.tick(0.1)
    assert bool(scene.events(DestinationBlocked)) == (fault is not Fault.ROUTE_FULL)
    assert scene.go() == ["task1"]
    assert scene.queue.obstacle_of(BOB) is None


def test_a_file_that_is_gone_ends_the_message_that_names_it(scene: Scene) -> None:
    scene.put("blob t f", "task t")
    scene.open(DIRECT)
    (send,) = scene.queue.messages_to_send(scene.at)
    scene.queue.not_sent(send.id, Fault.FILE_LOST, scene.at)
    refused = scene.events(MessageRefused)[0]
    assert isinstance(refused, MessageRefused)
    assert (refused.id, refused.code, set(refused.ids)) == ("blob1", "file_lost", {"blob1", "task2"})


def test_a_report_about_a_message_that_was_taken_back_means_nothing(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.open(DIRECT)
    scene.queue.messages_to_send(scene.at)
    scene.queue.withdraw(["task1", "unheard of"], scene.at)
    scene.close(DIRECT)
    for message in ("task1", "task2"):
        scene.queue.sent(message, message.encode(), scene.at)
        scene.queue.not_sent(message, Fault.ROUTE_FULL, scene.at)
    scene.open(DIRECT)
    assert scene.go() == ["task2"]
    assert scene.queue.tasks_with(BOB, Kind.TASK) == {"u"}


# --- a liar that answers at once ---------------------------------------------------------------------

LIES = {
    "a refusal that asks for no pause": [Answered.refused("mailbox_full", signed=False, retry_after=0.0)],
    "a refusal that asks for a tiny pause": [Answered.refused("busy", signed=False, retry_after=1e-9)],
    "a signed tiny pause": [Answered.refused("busy", signed=True, retry_after=1e-9)],
    "a copy that is kept and then is not": [Answered(Word.STORED), Answered.refused("unknown", signed=False)],
    "another key each time": [Answered(Word.NEWER_KEY)],
    "a task that it does not know": [Answered.refused("unknown_task", signed=True)],
    "a clock": [Answered.refused(stale_code(-3600.0), signed=True)],
    "a receipt for something else": [Answered(Word.DELIVERED)],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_destination_that_answers_at_once_costs_a_few_messages_a_second(scene: Scene, lie: str) -> None:
    scene.put("task t")
    scene.open(RELAY)
    sent = 0
    for _ in range(60_000):
        for message in scene.go():
            sent += 1
            for answer in LIES[lie]:
                scene.answer(message, answer)
        if wanted_dates(scene.events()):
            scene.queue.redated("task1", None, scene.at)
        scene.tick(0.001)
    assert 2 <= sent <= 120, "in a minute, with an answer after a millisecond"
