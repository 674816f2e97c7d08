"""One word for each moment of a task, the same wherever people, models and programs read it.

A2A's state says how far the work got, `Delivery` says how far the message got; a reader wants one word for both. Every
view, table, filter, log line and error takes its word from here. On the wire of A2A a state stays `TASK_STATE_*`.
Record: docs/decisions/0036-what-a-model-pays.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from mcp_a2a.protocol import state as states
from mcp_a2a.protocol.state import INTERRUPTED, TERMINAL, Delivery, TaskState


class Moment(StrEnum):
    """A word for the state of a task and its delivery together."""

    QUEUED = "queued"
    """Kept here; its agent has not been reached yet."""
    STORED = "stored"
    """Sealed in a mailbox at a relay; its agent is not connected."""
    HELD = "held"
    """With its agent, whose owner has to accept the sender first."""
    SUBMITTED = "submitted"
    """With its agent, which has told of no work yet."""
    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    AUTH_REQUIRED = "auth_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"


_BY_STATE: Mapping[TaskState, Moment] = {state: Moment[state.name] for state in TaskState}

_UNDELIVERED: Mapping[Delivery, Moment] = {
    Delivery.QUEUED: Moment.QUEUED,
    Delivery.STORED: Moment.STORED,
    Delivery.HELD: Moment.HELD,
}

MOMENTS: Mapping[tuple[TaskState, Delivery], Moment] = {
    (state, delivery): _UNDELIVERED.get(delivery, Moment.SUBMITTED) if state == TaskState.SUBMITTED else by_state
    for state, by_state in _BY_STATE.items()
    for delivery in Delivery
}
"""The word for each pair. How far the message got is of interest until its agent says something of the work."""

ASKING = frozenset(_BY_STATE[state] for state in INTERRUPTED)
"""The agent waits for its caller."""

ENDED = frozenset(_BY_STATE[state] for state in TERMINAL)
"""Nothing can follow."""


def moment_of(state: TaskState, delivery: Delivery, *, leased: bool = False) -> Moment:
    """The word for a task. `leased`: a worker or a client of this node has it, and has told its sender nothing yet."""
    moment = MOMENTS[state, delivery]
    return Moment.WORKING if leased and moment == Moment.SUBMITTED else moment


def state_of(moment: Moment) -> TaskState:
    """The state of A2A that a word stands for."""
    return TaskState[moment.name] if moment.name in TaskState.__members__ else TaskState.SUBMITTED


_AT_REST = frozenset(moment for moment in Moment if states.at_rest(state_of(moment)))


def at_rest(moment: Moment) -> bool:
    """True if a task with this word changes only when its caller says something (`state.at_rest`).

    A quick read of the command line has the word as plain text.
    """
    return moment in _AT_REST


def delivery_of(moment: Moment) -> Delivery | None:
    """The delivery that this word stands for; None if it stands for several."""
    return next((delivery for delivery, word in _UNDELIVERED.items() if word == moment), None)
