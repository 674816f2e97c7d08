"""In which order messages and pieces of files go to one destination."""

from __future__ import annotations

import sys

import pytest

from mcp_a2a.node.delivery.patience import SEALED
from mcp_a2a.protocol.blob import MAX_RELAYED_PIECES
from tests.node.delivery.scene import BOB, DIRECT, RELAY, RELAY_2, Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_message_waits_until_each_piece_of_its_files_is_over_there(scene: Scene) -> None:
    scene.put("blob t f", "blob t f", "task t", "task other")
    scene.open(RELAY)
    assert scene.go() == ["blob1", "blob2", "task4"]
    scene.sign_for("blob1")
    assert scene.go() == []
    scene.store("blob2")
    assert scene.go() == ["task3"]


def test_a_few_pieces_are_under_way_at_a_time_and_block_nothing_else(scene: Scene) -> None:
    scene.put(*["blob t f"] * 9, "task t", "update other")
    scene.open(DIRECT)
    assert scene.go() == ["blob1", "blob2", "blob3", "blob4", "update11"]
    scene.sign_for("blob1", "blob2")
    assert scene.go() == ["blob5", "blob6"]


def test_pieces_of_files_that_a_person_must_allow_let_their_message_go_ahead(scene: Scene) -> None:
    scene.put("blob t f", "blob t f", "blob t f", "task t")
    scene.patience = SEALED
    scene.open(DIRECT)
    assert scene.go() == ["blob1", "blob2", "blob3"]
    scene.sign_for("blob1")
    scene.hold("blob2", "blob3")
    assert scene.go() == ["task4"]
    scene.tick(29)
    assert scene.go() == []
    scene.tick(1)
    assert scene.go() == ["blob2", "blob3"]


def test_what_follows_a_task_waits_for_its_answer(scene: Scene) -> None:
    scene.put("task t", "message t", "message t", "message other")
    scene.open(DIRECT)
    assert scene.go() == ["task1", "message4"]
    scene.sign_for("task1")
    assert scene.go() == ["message2"]
    scene.sign_for("message2")
    assert scene.go() == ["message3"]


def test_a_cancellation_follows_its_task_into_the_mailbox_of_the_same_relay_only(scene: Scene) -> None:
    scene.put("task t", "cancel t")
    scene.open(RELAY)
    assert scene.go() == ["task1"]
    scene.close(RELAY)
    scene.open(RELAY)
    assert scene.go() == ["task1"]
    scene.store("task1")
    scene.open(RELAY_2)
    assert scene.go() == [], "the best route leads to another relay"
    scene.close(RELAY_2)
    assert scene.go() == ["cancel2"]


def test_a_reply_does_not_follow_into_a_mailbox(scene: Scene) -> None:
    scene.put("task t", "message t")
    scene.open(RELAY)
    scene.go()
    scene.store("task1")
    assert scene.go() == []


def test_updates_do_not_wait_for_answers_and_none_overtakes_one_that_pauses(scene: Scene) -> None:
    scene.put("update t", "update t", "update t")
    scene.open(DIRECT)
    assert scene.go() == ["update1", "update2", "update3"]
    scene.refuse("update2", "mailbox_full", later=10.0)
    scene.put("update t")
    assert scene.go() == []
    scene.tick(10)
    assert scene.go() == ["update2", "update4"]


def test_messages_that_belong_to_no_task_wait_for_nothing(scene: Scene) -> None:
    scene.put("network", "network")
    scene.open(DIRECT)
    assert scene.go() == ["network1", "network2"]
    scene.refuse("network1", "busy", later=10.0)
    scene.put("network")
    assert scene.go() == ["network3"]


def test_a_window_of_messages_is_unanswered_at_a_time(scene: Scene) -> None:
    scene.put(*[f"task {number}" for number in range(70)])
    scene.open(RELAY)
    assert len(scene.go(most=4)) == scene.queue.under_way(BOB) == 64
    scene.store("task1", "task2")
    assert scene.go() == ["task65", "task66"], "a copy at a relay takes no place in the window"


def test_destinations_take_turns(scene: Scene) -> None:
    for name in ("did:a", "did:b"):
        scene.put(*[f"task {name}{number}" for number in range(6)], to=name)
        scene.queue.route_opened(name, DIRECT, scene.at)
    sends = [send.destination for _ in range(3) for send in scene.queue.messages_to_send(scene.at, 4)]
    assert sends == ["did:a"] * 4 + ["did:b"] * 4 + ["did:a"] * 2 + ["did:b"] * 2


def test_a_file_too_large_for_relays_goes_by_a_direct_route(scene: Scene) -> None:
    scene.put("blob t f", "task t", pieces=MAX_RELAYED_PIECES + 1)
    scene.put("blob u g", pieces=MAX_RELAYED_PIECES)
    scene.open(RELAY)
    assert scene.go() == ["blob3"]
    scene.open(DIRECT)
    assert scene.go() == ["blob1"]


# --- what it costs -----------------------------------------------------------------------------------


def calls_of(messages: int, tasks: int) -> float:
    """Python calls for each message of a backlog that is queued, sent and signed for."""
    scene, calls = Scene(), 0
    rows = [f"update {number % tasks}" for number in range(messages)]

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        scene.put(*rows)
        scene.open(DIRECT)
        while ids := scene.go(most=4):
            scene.sign_for(*ids)
    finally:
        sys.setprofile(None)
    assert len(scene.queue) == 0
    return calls / messages


@pytest.mark.parametrize("tasks", [1, 100_000])
def test_a_message_of_a_long_backlog_costs_no_more_than_one_of_a_short_one(tasks: int) -> None:
    assert calls_of(3_000, tasks) < 1.1 * calls_of(300, tasks)
