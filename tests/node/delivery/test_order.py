"""In which order messages and pieces of files go to one destination."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import product
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.node.delivery.model import Kind, Outgoing, Route
from mcp_a2a.node.delivery.patience import SEALED
from mcp_a2a.node.delivery.peer_queue import PeerQueue
from mcp_a2a.node.delivery.pending import Pending
from mcp_a2a.node.directory import Peer
from mcp_a2a.node.lane import Entry, Lane
from mcp_a2a.ports import Link
from mcp_a2a.protocol.blob import MAX_RELAYED_PIECES
from mcp_a2a.store.journal import OutboxRow
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


# --- the same order as `lane.Lane.due` ---------------------------------------------------------------


@dataclass
class Wire:
    """As much of a link as decides about the order."""

    is_relayed: bool
    address: str


STATES = ["waiting", "waiting", "paused", "held", "under way", "stored", "stored elsewhere"]
SENT = STATES[4:]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["task", "message", "cancel", "update", "blob", "blob", "network"]),
        st.sampled_from(["t", "u"]),
        st.sampled_from(STATES),
        st.sampled_from([1, MAX_RELAYED_PIECES + 1]),
    ),
    max_size=12,
)


def old_order(rows: list[tuple[str, str, str, int]], route: Route) -> list[str]:
    lane = Lane(cast("Peer", None))
    for n, (kind, task, state, pieces) in enumerate(rows):
        row = OutboxRow(n, f"{n}", BOB, "" if kind == "network" else task, pieces, kind, b"", 0.0, 1.0)
        entry = lane.entries[row.id] = Entry(row)
        entry.not_before = 40.0 if state in ("paused", "held") else 0.0
        entry.held = state == "held"
        if state in SENT:
            entry.postmark = b"%d" % n
        entry.relay = {"stored": RELAY.address, "stored elsewhere": RELAY_2.address}.get(state)
    link = Wire(route.is_relayed, route.address)
    return [entry.row.id for entry in lane.due(cast("Link", link), 10.0)]


def new_order(rows: list[tuple[str, str, str, int]], route: Route) -> list[str]:
    peer = PeerQueue(BOB, SEALED)
    peer.set_route(route, 0.0)
    for n, (kind, task, state, pieces) in enumerate(rows):
        own = "" if kind == "network" else task
        entry = Pending(Outgoing(f"{n}", n, BOB, own, Kind(kind), 0.0, 1.0, pieces=pieces), n)
        peer.add(entry)
        match state:
            case "waiting" | "paused" | "held":
                entry.held = state == "held"
                peer.wait(entry, 0.0, paused=state != "waiting")
            case "under way":
                peer.offer(entry, route, 0.0)
                peer.fly(entry, 0.0)
            case _:
                peer.store(entry, (RELAY if state == "stored" else RELAY_2).address, 0.0)
    order = []
    while (found := peer.next()) is not None:
        peer.offer(found, route, 10.0)
        peer.fly(found, 10.0)
        order.append(found.some.id)
    return order


def is_possible(rows: list[tuple[str, str, str, int]]) -> bool:
    """Whether a queue can come to stand so.

    What was sent was sent before what waits; otherwise the search lets a cancellation pass one message that waits, to
    follow another, and the queue keeps the order. And there are no pieces behind a message that was sent whose own
    pieces came back: those of the next message have that message behind them.
    """
    for task in ("t", "u"):
        own = [(kind, state) for kind, of, state, _ in rows if of == task and kind != "network"]
        sent = [at for at, (kind, state) in enumerate(own) if kind in ("task", "message") and state in SENT]
        waits = [at for at, (kind, state) in enumerate(own) if state not in SENT and kind != "blob"]
        pieces = [at for at, (kind, state) in enumerate(own) if kind == "blob" and state not in SENT]
        if sent and (min(waits, default=len(own)) < sent[-1] or (pieces and pieces[0] < sent[-1] < pieces[-1])):
            return False
    return True


@settings(max_examples=300, deadline=None)
@given(rows=ROWS.filter(is_possible), route=st.sampled_from([DIRECT, RELAY]))
def test_the_order_is_that_of_a_search_through_everything(rows: list[tuple[str, str, str, int]], route: Route) -> None:
    assert new_order(rows, route) == old_order(rows, route)


def test_the_order_is_that_of_a_search_in_every_state_of_three_messages() -> None:
    kinds = ["task", "cancel", "update", "blob"]
    for rows in product(product(kinds, ["t"], sorted(set(STATES)), [1]), repeat=3):
        if is_possible(list(rows)):
            assert new_order(list(rows), RELAY) == old_order(list(rows), RELAY), rows


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
