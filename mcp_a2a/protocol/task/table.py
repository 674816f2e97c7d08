"""The law of tasks as tables: which event may happen in which state, and where it leads.

No other place decides this, and the tables do not know whose task it is: its caller and its agent obey the same rows;
`SIDES` alone says which events cannot come from a side. The diagrams of docs/tasks.md are generated from them.

A task has two coordinates that move apart: `state` is how far the work is (A2A 4.1.3), `delivery` how far the message
that opened it is. `protocol.moment` has one word for each pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcp_a2a.errors.tasks import TransitionError
from mcp_a2a.protocol.state import Delivery, TaskState, is_terminal
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import EventType

S, W, I, A = TaskState.SUBMITTED, TaskState.WORKING, TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED  # noqa: E741
C, F, X, R = TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED

Row = Mapping[EventType, TaskState]

MOVES: Row = {
    e.Progressed: W,
    e.Asked: I,
    e.AuthorizationAsked: A,
    e.Completed: C,
    e.Failed: F,
    e.Canceled: X,
    e.Rejected: R,
    e.Refused: R,
    e.Expired: F,
}
"""From each state that is not terminal to the same one."""

_CHOICES: tuple[EventType, ...] = (e.Declined, e.Entrusted)
_LEASES: tuple[EventType, ...] = (e.Leased, e.LeaseRenewed, e.LeaseEnded, e.LeaseReturned)
_NEWS: tuple[EventType, ...] = (e.Told, e.Heard, e.ArtifactsGrown, e.ArtifactsReplaced, e.CancelAsked)
_GOING_ON: tuple[EventType, ...] = (e.Accepted, e.Replied)
_ALWAYS: tuple[EventType, ...] = (e.Stored, e.Held, e.Delivered, e.Named, e.Spoken, e.FileLost, e.Resent)


def _row(state: TaskState, *staying: EventType, begun: Row | None = None) -> Row:
    return {**dict.fromkeys((*_ALWAYS, *staying), state), **(begun or {})}


_BEGUN: Row = {**MOVES, **dict.fromkeys(_GOING_ON, W)}

TRANSITIONS: Mapping[TaskState, Row] = {
    S: _row(S, *_NEWS, *_LEASES, *_CHOICES, *_GOING_ON, begun=MOVES),
    W: _row(W, *_NEWS, *_LEASES, begun=_BEGUN),
    I: _row(I, *_NEWS, begun=_BEGUN),
    A: _row(A, *_NEWS, begun=_BEGUN),
    C: _row(C, e.Forgotten),
    F: _row(F, e.Forgotten),
    X: _row(X, e.Forgotten),
    R: _row(R, e.Forgotten),
}
"""The state after each event that may happen in a state. A2A 4.1.3: no event leaves a terminal state, and none leads
back to SUBMITTED. WORKING follows itself: that is progress."""


@dataclass(frozen=True, slots=True)
class Move:
    """The effect of an event on the delivery of a task."""

    sources: frozenset[Delivery]
    """From which; from any other the event is a repetition, and changes nothing."""
    target: Delivery


_Q, _ST, _H = Delivery.QUEUED, Delivery.STORED, Delivery.HELD
_ANY = frozenset(Delivery)

DELIVERIES: Mapping[EventType, Move] = {
    e.Stored: Move(frozenset({_Q}), Delivery.STORED),
    e.Held: Move(frozenset({_Q, _ST}), Delivery.HELD),
    e.Delivered: Move(frozenset({_Q, _ST, _H}), Delivery.DELIVERED),
    e.Declined: Move(frozenset({_Q, _ST, _H}), Delivery.REFUSED),
    e.Entrusted: Move(frozenset({_H, Delivery.REFUSED}), Delivery.QUEUED),
    e.Refused: Move(_ANY, Delivery.REFUSED),
    e.Expired: Move(_ANY, Delivery.EXPIRED),
}
"""The events that move the delivery. An end that came from the agent moves it as `Delivered` does."""

_SENT, _RECEIVED = frozenset({"sent"}), frozenset({"received"})
_OF_CALLER = (*DELIVERIES, e.Told, e.Named, e.Heard, e.CancelAsked)
_OF_AGENT = (*_LEASES, e.FileLost, e.Resent)

SIDES: Mapping[EventType, frozenset[str]] = {
    **{event: _SENT | _RECEIVED for row in TRANSITIONS.values() for event in row},
    **dict.fromkeys(_OF_CALLER, _SENT),
    **dict.fromkeys(_OF_AGENT, _RECEIVED),
}
"""Directions of the tasks that an event may happen to."""

SILENT: frozenset[EventType] = frozenset(
    {e.Told, e.Named, e.Heard, e.Leased, e.LeaseRenewed, e.LeaseReturned, e.Spoken, e.Resent, e.Forgotten}
)
"""Events that no reader outside of the node is told of: they are not logged."""

QUIET: frozenset[EventType] = frozenset(
    {e.Stored, e.Delivered, e.Named, e.Heard, e.Leased, e.LeaseReturned, e.Spoken, e.Resent, e.Forgotten}
)
"""Events after which a task keeps its place in lists by newest change."""


def can(state: TaskState, event: EventType) -> bool:
    """True if such an event may happen in this state."""
    return event in TRANSITIONS[state]


def check_transition(current: TaskState, proposed: TaskState) -> None:
    """Refuse a move that no event makes.

    Raises:
        TransitionError: with both states.
    """
    if is_terminal(current) or proposed not in TRANSITIONS[current].values():
        raise TransitionError(current, proposed)


def going_on(known: TaskState, told: TaskState) -> TaskState:
    """The state of a task after its agent told one: a task that was begun and is "submitted" again is worked on.

    Agents say so after a reply; A2A 4.1.3 has no way back.
    """
    return W if told == S and known != S else told
