"""The tables of the law: each cell, written out by hand."""

from __future__ import annotations

from typing import get_args

import pytest

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.errors.tasks import TransitionError
from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.protocol.state import TERMINAL
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import apply
from mcp_a2a.protocol.task.table import DELIVERIES, QUIET, SIDES, SILENT, TRANSITIONS, can
from tests.protocol.task.samples import BY_NAME, SAMPLES, T1, a_task, a_task_for

LETTERS = {
    "S": TaskState.SUBMITTED, "W": TaskState.WORKING, "I": TaskState.INPUT_REQUIRED, "A": TaskState.AUTH_REQUIRED,
    "C": TaskState.COMPLETED, "F": TaskState.FAILED, "X": TaskState.CANCELED, "R": TaskState.REJECTED,
}  # fmt: skip

LAW = """
                    S W I A C F X R
Stored              S W I A C F X R
Held                S W I A C F X R
Delivered           S W I A C F X R
Declined            S . . . . . . .
Entrusted           S . . . . . . .
Refused             R R R R . . . .
Expired             F F F F . . . .
Told                S W I A . . . .
Heard               S W I A . . . .
Named               S W I A C F X R
Accepted            S W W W . . . .
Leased              S W . . . . . .
LeaseRenewed        S W . . . . . .
LeaseEnded          S W . . . . . .
LeaseReturned       S W . . . . . .
Progressed          W W W W . . . .
ArtifactsGrown      S W I A . . . .
ArtifactsReplaced   S W I A . . . .
Asked               I I I I . . . .
AuthorizationAsked  A A A A . . . .
Replied             S W W W . . . .
CancelAsked         S W I A . . . .
Spoken              S W I A C F X R
Completed           C C C C . . . .
Failed              F F F F . . . .
Canceled            X X X X . . . .
Rejected            R R R R . . . .
FileLost            S W I A C F X R
Resent              S W I A C F X R
Forgotten           . . . . C F X R
"""
"""The state after an event (row) in a state (column); a dot where the event cannot happen."""

CELLS = [
    (line.split()[0], LETTERS[column], LETTERS.get(cell))
    for line in LAW.strip("\n").splitlines()[1:]
    for column, cell in zip(LAW.split()[:8], line.split()[1:], strict=True)
]


def test_the_law_has_a_row_for_each_state_and_a_column_for_each_event() -> None:
    assert set(TRANSITIONS) == set(TaskState)
    assert {event for row in TRANSITIONS.values() for event in row} == set(get_args(Event)) == set(map(type, SAMPLES))
    assert len(CELLS) == len(TaskState) * len(SAMPLES)


@pytest.mark.parametrize(("name", "state", "after"), CELLS)
def test_each_event_leads_where_the_law_says(name: str, state: TaskState, after: TaskState | None) -> None:
    event = BY_NAME[name]
    task = a_task_for(event, state)
    assert can(state, type(event)) == (after is not None)
    if after is None:
        with pytest.raises(TransitionError) as refused:
            apply(task, event, T1)
        assert refused.value.current == state
    else:
        changed = apply(task, event, T1)
        assert (changed.state, changed.status.state) == (after, after)


def test_no_event_leaves_a_terminal_state_and_none_leads_back_to_submitted() -> None:
    for state, row in TRANSITIONS.items():
        for event, after in row.items():
            assert state not in TERMINAL or after == state, (state, event)
            assert after != TaskState.SUBMITTED or state == TaskState.SUBMITTED, (state, event)


def test_work_and_questions_and_ends_are_reached_from_each_open_state() -> None:
    reached = set(TaskState) - {TaskState.SUBMITTED}
    for state in set(TaskState) - TERMINAL:
        assert reached <= set(TRANSITIONS[state].values())


DELIVERED_BY = """
           QUEUED    STORED    HELD      DELIVERED EXPIRED REFUSED
Stored     STORED    .         .         .         .       .
Held       HELD      HELD      .         .         .       .
Delivered  DELIVERED DELIVERED DELIVERED .         .       .
Declined   REFUSED   REFUSED   REFUSED   .         .       .
Entrusted  !         !         QUEUED    !         !       QUEUED
Refused    REFUSED   REFUSED   REFUSED   REFUSED   REFUSED REFUSED
Expired    EXPIRED   EXPIRED   EXPIRED   EXPIRED   EXPIRED EXPIRED
"""
"""The delivery after an event (row) at a delivery (column): a dot for a repetition, "!" where it cannot happen."""

STEPS = [
    (line.split()[0], Delivery[column], cell)
    for line in DELIVERED_BY.strip("\n").splitlines()[1:]
    for column, cell in zip(DELIVERED_BY.split()[:6], line.split()[1:], strict=True)
]


@pytest.mark.parametrize(("name", "delivery", "cell"), STEPS)
def test_each_event_moves_the_delivery_as_the_law_says(name: str, delivery: Delivery, cell: str) -> None:
    task = a_task(delivery=delivery)
    if cell == "!":
        with pytest.raises(TransitionError, match="entrusted to another agent"):
            apply(task, BY_NAME[name], T1)
        return
    changed = apply(task, BY_NAME[name], T1)
    if cell == ".":
        assert changed is task
    else:
        assert changed.delivery == Delivery[cell]


def test_an_event_outside_of_the_law_of_delivery_leaves_the_delivery_alone() -> None:
    assert {name for name, _, _ in STEPS} == {event.__name__ for event in DELIVERIES}
    for event in SAMPLES:
        if type(event) not in DELIVERIES and type(event) in TRANSITIONS[TaskState.SUBMITTED]:
            task = a_task_for(event, TaskState.SUBMITTED)
            assert apply(task, event, T1).delivery == task.delivery


def test_an_end_that_came_from_the_agent_shows_that_it_had_the_task() -> None:
    for kind in (e.Completed, e.Failed, e.Rejected, e.Canceled):
        for delivery in (Delivery.QUEUED, Delivery.STORED, Delivery.HELD, Delivery.DELIVERED):
            assert apply(a_task(delivery=delivery), kind(delivered=True), T1).delivery == Delivery.DELIVERED
            assert apply(a_task(delivery=delivery), kind(), T1).delivery == delivery
        assert apply(a_task(delivery=Delivery.REFUSED), kind(delivered=True), T1).delivery == Delivery.REFUSED


CALLERS = {
    "Stored", "Held", "Delivered", "Declined", "Refused", "Expired", "Entrusted",
    "Told", "Named", "Heard", "CancelAsked",
}  # fmt: skip
AGENTS = {"Leased", "LeaseRenewed", "LeaseEnded", "LeaseReturned", "FileLost", "Resent"}


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_of_one_side_is_refused_on_the_other(event: Event) -> None:
    name = type(event).__name__
    sides = {"sent"} if name in CALLERS else {"received"} if name in AGENTS else {"sent", "received"}
    assert SIDES[type(event)] == sides
    state = TaskState.COMPLETED if isinstance(event, e.Forgotten) else TaskState.SUBMITTED
    for direction in {"sent", "received"} - sides:
        with pytest.raises(LocalProtocolError, match=name):
            apply(a_task(state, direction), event, T1)


NUMBERS = {"Told", "Named", "Heard", "Spoken", "Leased", "LeaseRenewed", "LeaseReturned"}
TAKEN_AWAY = {"Resent", "Forgotten"}
"""A sentence stands in the place of a file, or of all: a reader of the stream is told of neither."""


def test_all_that_changes_a_text_an_artifact_or_the_work_is_logged() -> None:
    assert {event.__name__ for event in SILENT} == NUMBERS | TAKEN_AWAY


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_the_number_of_events_counts_those_that_are_logged(event: Event) -> None:
    state = TaskState.COMPLETED if isinstance(event, e.Forgotten) else TaskState.SUBMITTED
    task = a_task_for(event, state)
    assert apply(task, event, T1).events - task.events == (type(event) not in SILENT)


STILL = (NUMBERS - {"Told", "LeaseRenewed"}) | TAKEN_AWAY | {"Stored", "Delivered", "LeaseEnded"}


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_a_task_keeps_its_place_in_lists_where_its_reader_has_nothing_new_to_see(event: Event) -> None:
    state = TaskState.COMPLETED if isinstance(event, e.Forgotten) else TaskState.SUBMITTED
    task = a_task_for(event, state)
    assert (apply(task, event, T1).updated == task.updated) == (type(event).__name__ in STILL)
    assert {event.__name__ for event in QUIET} < STILL


def test_some_events_move_a_task_in_lists_only_in_one_of_their_forms() -> None:
    received = a_task(direction="received")
    assert apply(received, e.LeaseEnded(crashed=True), T1).updated == T1
    assert apply(received, e.Accepted(), T1).updated == received.updated
    assert apply(a_task(), e.ArtifactsGrown((), 0, late=True), T1).updated == a_task().updated
