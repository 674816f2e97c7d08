"""When routes are opened, probed and given up, what expires, and when open tasks are looked at."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from mcp_a2a.node.delivery.events import (
    DialWanted,
    LookGivenUp,
    LookWanted,
    MessageExpired,
    MessageRefused,
    ProbeWanted,
)
from mcp_a2a.node.delivery.model import Fault, Hurry, Looked, Route, Way
from mcp_a2a.node.delivery.patience import HTTP
from mcp_a2a.protocol.blob import MAX_RELAYED_PIECES
from tests.node.delivery.scene import BOB, DIRECT, DIRECT_2, RELAY, WEEK, Scene

URL = Route(9, "https://agent.example/", Way.HTTP)
STREAM = Route(9, "https://agent.example/", Way.HTTP, streams=True)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def dials(scene: Scene, seconds: float) -> list[float]:
    """When a destination that is away is dialled in this time, from now."""
    start, end, times = scene.at.ticks, scene.at.ticks + seconds, []
    while True:
        while asked := scene.events(DialWanted):
            times += [scene.at.ticks - start] * len(asked)
            scene.queue.unreachable(BOB, ("no answer",), scene.at)
        if (due := scene.queue.next_timeout()) > end:
            return times
        scene.tick(due - scene.at.ticks)


# --- dialling ----------------------------------------------------------------------------------------


def test_an_absent_destination_is_dialled_twice_at_once_and_then_ever_less_often(scene: Scene) -> None:
    scene.put("task t")
    assert dials(scene, 100)[:8] == [0, 0, 2, 6, 14, 30, 60, 90]
    assert scene.queue.attempts(BOB) == ("no answer",)


def test_a_new_message_a_sighting_and_a_question_are_worth_an_attempt_at_once(scene: Scene) -> None:
    scene.put("task t")
    dials(scene, 100)
    scene.put("task u")
    assert scene.events(DialWanted) == [DialWanted(BOB)]
    scene.queue.unreachable(BOB, (), scene.at)
    scene.queue.hurry(BOB, Hurry.SIGHTED, scene.at)
    assert dials(scene, 7) == [0, 0, 2, 6]


def test_one_attempt_is_made_at_a_time(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.queue.hurry(BOB, Hurry.SIGHTED, scene.at)
    assert scene.events(DialWanted) == [DialWanted(BOB)]


def test_an_awaited_answer_alone_is_dialled_for_once_a_minute(scene: Scene) -> None:
    scene.queue.attend(BOB, scene.at, wanted=True)
    times = dials(scene, 1000)
    assert max(later - sooner for sooner, later in pairwise(times)) == 60
    scene.queue.attend(BOB, scene.at, wanted=False)
    assert dials(scene, 1000) == []
    assert scene.queue.next_timeout() == math.inf


def test_nothing_is_dialled_that_nothing_waits_for(scene: Scene) -> None:
    scene.put("task t")
    scene.open(DIRECT)
    scene.go()
    scene.sign_for("task1")
    scene.events()
    scene.close(DIRECT)
    assert scene.events(DialWanted) == []
    scene.queue.hurry(BOB, Hurry.SIGHTED, scene.at)
    assert scene.events(DialWanted) == []


def test_a_destination_that_opens_routes_only_to_close_them_does_not_keep_us_busy(scene: Scene) -> None:
    scene.put("task t")
    for _ in range(6):
        scene.open(DIRECT)
        scene.go()
        scene.close(DIRECT)
    scene.events()
    assert scene.queue.attempts(BOB) == ("it closed",)
    scene.tick(29)
    assert scene.events(DialWanted) == []


def test_what_was_under_way_on_a_closed_route_goes_by_the_next(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.open(RELAY)
    scene.go()
    scene.store("task2")
    scene.close(RELAY)
    scene.open(RELAY)
    assert scene.go() == ["task1"]


def test_a_direct_route_is_preferred_and_among_relays_the_one_where_the_destination_is(scene: Scene) -> None:
    there, newer = Route(5, "wss://there", Way.RELAY), Route(6, "wss://newer", Way.RELAY, present=False)
    scene.open(there, newer)
    scene.put("task a")
    scene.go()
    scene.open(DIRECT)
    scene.put("task b")
    scene.go()
    assert [scene.sends[one].route for one in ("task1", "task2")] == [there, DIRECT]
    scene.close(DIRECT)
    scene.open(Route(6, "wss://newer", Way.RELAY, present=True))
    scene.put("task c")
    scene.go()
    assert scene.sends["task3"].route.id == 6, "it was told that the destination is there now"


# --- silence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "pause"), [("task t", 30), ("blob t f", 120)])
def test_what_is_not_answered_in_time_is_sent_again(scene: Scene, row: str, pause: float) -> None:
    ids = scene.put(row)
    scene.open(DIRECT)
    assert scene.go() == ids
    scene.tick(pause - 0.1)
    assert scene.go() == []
    scene.tick(0.1)
    assert scene.go() == ids


def test_all_direct_routes_are_probed_when_one_is_silent_and_each_once_in_a_while(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.open(RELAY, DIRECT_2, DIRECT)
    scene.go()
    scene.tick(2.4)
    assert scene.events(ProbeWanted) == []
    scene.tick(0.1)
    assert scene.events(ProbeWanted) == [ProbeWanted(BOB, DIRECT_2), ProbeWanted(BOB, DIRECT)]
    scene.tick(2.4)
    assert scene.events(ProbeWanted) == []
    scene.tick(0.1)
    assert len(scene.events(ProbeWanted)) == 2


def test_a_silent_relay_is_probed_alone(scene: Scene) -> None:
    scene.put("task t")
    scene.open(RELAY)
    scene.go()
    scene.open(DIRECT)
    scene.tick(2.5)
    assert scene.events(ProbeWanted) == [ProbeWanted(BOB, RELAY)]


# --- files that no relay takes -----------------------------------------------------------------------


def test_a_file_that_no_relay_takes_waits_a_minute_for_a_direct_route(scene: Scene) -> None:
    scene.put("blob t f", "task t", pieces=MAX_RELAYED_PIECES + 1)
    scene.tick(1000)
    scene.open(RELAY)
    assert scene.go() == []
    scene.tick(59)
    assert scene.events(MessageRefused) == []
    scene.open(DIRECT)
    scene.close(DIRECT)
    scene.go()
    scene.tick(59)
    assert scene.events(MessageRefused) == []
    scene.tick(1)
    (refused,) = scene.events(MessageRefused)
    assert isinstance(refused, MessageRefused)
    assert (refused.code, set(refused.ids)) == ("file_too_large_for_relay", {"blob1", "task2"})


def test_the_minute_of_a_file_begins_after_its_pause(scene: Scene) -> None:
    scene.put("blob t f", "task t", pieces=MAX_RELAYED_PIECES + 1)
    scene.open(DIRECT)
    scene.go()
    scene.refuse("blob1", "busy", signed=True, later=300.0)
    scene.open(RELAY)
    scene.close(DIRECT)
    scene.go()
    scene.tick(300)
    scene.go()
    scene.tick(59)
    assert scene.events(MessageRefused) == []
    scene.tick(1)
    assert len(scene.events(MessageRefused)) == 1


def test_files_of_several_tasks_are_given_up_together(scene: Scene) -> None:
    scene.put("blob t f", "task t", "blob u g", "task u", pieces=MAX_RELAYED_PIECES + 1)
    scene.open(RELAY)
    scene.go()
    scene.tick(60)
    assert len(scene.events(MessageRefused)) == 2


# --- expiry ------------------------------------------------------------------------------------------


def test_a_message_expires_a_week_after_it_was_written_whatever_stands_in_its_way(scene: Scene) -> None:
    scene.put("task t", "update u")
    scene.open(RELAY)
    scene.go()
    scene.store("task1")
    scene.tick(WEEK - 3600)
    assert scene.events(MessageExpired) == []
    scene.tick(3602)
    assert scene.events(MessageExpired) == [MessageExpired("task1"), MessageExpired("update2")]
    assert len(scene.queue) == 0


def test_a_message_that_is_over_at_its_turn_is_not_sent_once_more(scene: Scene) -> None:
    scene.put("task t", "task u")
    scene.jump(wall=WEEK, sound=WEEK)  # the machine slept, and no deadline was seen
    scene.open(DIRECT)
    assert scene.go() == []
    assert scene.events(MessageExpired) == [MessageExpired("task1"), MessageExpired("task2")]


@pytest.mark.parametrize("clock", ["wall", "sound"])
def test_one_clock_that_jumps_ends_no_message(scene: Scene, clock: str) -> None:
    scene.put("task t")
    scene.jump(**{clock: 2 * WEEK})
    scene.queue.hurry(None, Hurry.CLOCK, scene.at)
    scene.tick(3600)
    assert scene.events(MessageExpired) == []
    scene.jump(**{clock: -2 * WEEK})
    scene.queue.hurry(None, Hurry.CLOCK, scene.at)
    scene.tick(WEEK)
    assert scene.events(MessageExpired) == [MessageExpired("task1")]


# --- looks at open tasks of agents at URLs -----------------------------------------------------------


@pytest.fixture
def looking() -> Scene:
    scene = Scene(HTTP, chance=0.5)
    scene.queue.attend(BOB, scene.at, wanted=True)
    assert scene.events() == [DialWanted(BOB)]
    return scene


def look(scene: Scene, outcome: Looked | Fault, retry_after: float = 0.0) -> float:
    """Seconds from a look with this outcome to the next one."""
    scene.queue.looked(BOB, outcome, scene.at, retry_after)
    start, due = scene.at.ticks, scene.queue.next_timeout()
    scene.tick(due - start)
    assert scene.events(LookWanted) == [LookWanted(BOB)]
    return round(due - start, 3)


def test_looks_are_ever_less_frequent_while_nothing_is_new(looking: Scene) -> None:
    looking.open(URL)
    looking.tick(0.3)
    assert looking.events() == [LookWanted(BOB)]
    pauses = [look(looking, Looked.SAME) for _ in range(12)]
    assert pauses[:3] == [0.45, 0.675, 1.013]
    assert pauses[-1] == 15.0
    assert look(looking, Looked.NEWS) == 0.3
    looking.queue.attend(BOB, looking.at, wanted=True, slow=True)
    assert look(looking, Looked.SAME) == 15.0


def test_a_task_that_a_person_must_act_on_is_seldom_looked_at_also_where_its_agent_streams(looking: Scene) -> None:
    looking.queue.attend(BOB, looking.at, wanted=True, slow=True)
    looking.open(STREAM)
    assert looking.events() == []
    looking.tick(14.9)
    assert looking.events() == []
    looking.tick(0.1)
    assert looking.events() == [LookWanted(BOB)]


def test_why_a_look_failed_is_shown_until_one_succeeds(looking: Scene) -> None:
    looking.open(STREAM)
    looking.events()
    looking.queue.looked(BOB, Fault.UNREACHABLE, looking.at, why=("no answer",))
    assert looking.queue.attempts(BOB) == ("no answer",)
    looking.tick(60)
    looking.queue.looked(BOB, Looked.SAME, looking.at)
    assert looking.queue.attempts(BOB) == ()


def test_a_stream_is_begun_at_once(looking: Scene) -> None:
    looking.open(STREAM)
    assert looking.events() == [LookWanted(BOB)]


def test_a_look_that_a_closed_route_has_ended_is_begun_again(looking: Scene) -> None:
    looking.open(STREAM)
    looking.close(STREAM)
    assert looking.events() == [LookWanted(BOB), DialWanted(BOB)]
    looking.open(STREAM)
    assert looking.events() == [LookWanted(BOB)]


def test_nothing_is_looked_at_while_there_is_something_to_tell(looking: Scene) -> None:
    looking.put("message t")
    looking.open(STREAM)
    assert looking.events(LookWanted) == []
    looking.go()
    looking.sign_for("message1")
    assert looking.events(LookWanted) == [LookWanted(BOB)]


@pytest.mark.parametrize(
    ("fault", "times"), [(Fault.UNREADABLE, 5), (Fault.GONE, 9), (Fault.AUTH, 60), (Fault.TASK_GONE, 1)]
)
def test_a_task_that_cannot_be_looked_at_is_given_up_some_time(looking: Scene, fault: Fault, times: int) -> None:
    looking.open(STREAM)
    looking.events()
    for _ in range(times - 1):
        look(looking, fault)
    looking.queue.looked(BOB, fault, looking.at)
    assert looking.events() == [LookGivenUp(BOB, fault)]
    assert looking.queue.next_timeout() == math.inf


def test_an_agent_that_is_away_is_looked_for_as_long_as_it_takes(looking: Scene) -> None:
    looking.open(STREAM)
    looking.events()
    for _ in range(200):
        look(looking, Fault.UNREACHABLE)
    assert look(looking, Fault.UNREACHABLE, 1800.0) == 1800.0


def test_a_task_that_its_agent_failed_over_and_never_ends_is_given_up(looking: Scene) -> None:
    looking.open(STREAM)
    looking.events()
    look(looking, Fault.BROKE)
    for _ in range(19):
        look(looking, Looked.SAME)
    looking.queue.looked(BOB, Looked.SAME, looking.at)
    assert looking.events() == [LookGivenUp(BOB, Fault.BROKE)]
    looking.queue.attend(BOB, looking.at, wanted=True)
    looking.events()
    look(looking, Fault.BROKE)
    looking.open(URL)
    look(looking, Looked.NEWS)
    for _ in range(40):
        look(looking, Looked.SAME)
