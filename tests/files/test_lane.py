"""In which order pieces of files and messages go out to one peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from mcp_a2a.node.directory import Peer
from mcp_a2a.node.lane import PIECES_UNDER_WAY, Entry, Lane
from mcp_a2a.ports import Link
from mcp_a2a.protocol.blob import MAX_RELAYED_PIECES
from mcp_a2a.store.journal import OutboxRow


@dataclass
class Wire:
    """As much of a link as decides about the order."""

    is_relayed: bool = False
    address: str = "ws://relay"


def lane_of(*rows: tuple[str, str], pieces: int = 1) -> Lane:
    """Rows of type and task, in order."""
    lane = Lane(cast("Peer", None))
    for number, (kind, task) in enumerate(rows):
        row = OutboxRow(number, f"{kind}{number}", "did", task, pieces, kind, b"", 0.0, 1.0)
        lane.entries[row.id] = Entry(row)
    return lane


def due(lane: Lane, *, relayed: bool = False, now: float = 10.0) -> list[str]:
    return [entry.row.id for entry in lane.due(cast("Link", Wire(relayed)), now)]


def under_way(lane: Lane, *names: str, relay: str | None = None) -> None:
    for name in names:
        lane.entries[name].postmark, lane.entries[name].relay = name.encode(), relay


def gone(lane: Lane, *names: str) -> None:
    for name in names:
        del lane.entries[name]


def test_a_message_waits_until_each_piece_of_its_files_is_over_there() -> None:
    lane = lane_of(("blob", "t"), ("blob", "t"), ("task", "t"), ("task", "other"))
    assert due(lane) == ["blob0", "blob1", "task3"]
    under_way(lane, "blob0", "blob1")
    assert due(lane) == ["task3"]
    gone(lane, "blob0")
    under_way(lane, "blob1", relay="ws://relay")
    assert due(lane, relayed=True) == ["task2", "task3"]


def test_a_few_pieces_are_under_way_at_a_time_and_block_nobody_else() -> None:
    lane = lane_of(*[("blob", "t")] * 9, ("task", "t"), ("update", "other"))
    first = due(lane)
    assert first == ["blob0", "blob1", "blob2", "blob3", "update10"]
    under_way(lane, *first[:PIECES_UNDER_WAY])
    assert due(lane) == ["update10"]
    gone(lane, "blob0", "blob1")
    assert due(lane) == ["blob4", "blob5", "update10"]


def test_a_file_too_large_for_relays_waits_for_another_way_and_holds_its_message() -> None:
    lane = lane_of(("blob", "t"), ("task", "t"), pieces=MAX_RELAYED_PIECES + 1)
    assert due(lane, relayed=True, now=5.0) == []
    assert lane.entries["blob0"].barred_since == 5.0
    assert due(lane, now=6.0) == ["blob0"]
    assert lane.entries["blob0"].barred_since is None
    assert due(lane_of(("blob", "t"), pieces=MAX_RELAYED_PIECES), relayed=True) == ["blob0"]


def test_files_that_a_person_must_allow_first_let_their_message_go_ahead() -> None:
    lane = lane_of(("blob", "t"), ("blob", "t"), ("task", "t"))
    lane.entries["blob0"].held, lane.entries["blob0"].not_before = True, 40.0
    assert due(lane) == ["task2"]
    assert due(lane, now=41.0) == ["blob0", "blob1"]


def test_what_follows_a_task_waits_for_its_answer_also_when_both_are_due() -> None:
    lane = lane_of(("task", "t"), ("message", "t"), ("message", "other"))
    assert due(lane) == ["task0", "message2"]
    gone(lane, "task0")
    assert due(lane) == ["message1", "message2"]
