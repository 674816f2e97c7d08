"""The task machine: a task and an event make the task after it.

    task ── event ──▶ checks ──▶ effect ──▶ task
                      table      effects    state and delivery by the table, numbers by rule

    Rule 1: no other module makes a task from a task.
    Rule 2: the machine does not know whose task it is; its tables do not either.
    Rule 3: no I/O, no clock, no new ids. `now` is the only time, and orders nothing: numbers of events and letters do.

Checks that need more than the task are made before an event is: who spoke, is it trusted, is it a repetition, is there
room. Checks that need only the task are made here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.errors.tasks import TransitionError
from mcp_a2a.protocol.blob import BlobRef
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, TaskStatus
from mcp_a2a.protocol.state import Delivery, TaskState
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.effects import effect
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.table import DELIVERIES, MOVES, QUIET, SIDES, SILENT, TRANSITIONS
from mcp_a2a.protocol.task.task import Task, with_
from mcp_a2a.protocol.times import iso


def opened(event: e.Opened, now: float) -> Task:
    """The task that an `Opened` begins."""
    return Task(
        id=event.id, direction=event.direction, peer=event.peer, peer_name=event.peer_name, skill=event.skill,
        context_id=event.context_id, hop=event.hop, state=TaskState.SUBMITTED, delivery=event.delivery,
        seq_out=event.seq_out, seq_in=event.seq_in, attempts=0, holder=None, worker=False, lease_until=None,
        messages=(event.message,), status=TaskStatus(state=TaskState.SUBMITTED, timestamp=iso(now)), artifacts=(),
        error=None, tried=event.tried, chosen=event.chosen, created=now, updated=now, caller=event.caller,
        opening=event.opening, opened=event.opened, dated=event.dated, events=1,
    )  # fmt: skip


def apply(task: Task, event: Event, now: float) -> Task:
    """The task after an event.

    Args:
        task: as it is known, by one side.
        event: what happened since.
        now: seconds since the epoch, by the wall clock of this machine; it may go back.

    Returns:
        The same object if the event is a repetition that changes nothing.

    Raises:
        TransitionError: the event cannot happen in this state (`TRANSITIONS`), or not at this delivery (`Entrusted`).
        ConversationFullError: a reply would make the conversation longer than is kept.
        LocalProtocolError: the event cannot happen on this side: a bug of its producer.
    """
    kind = type(event)
    target = TRANSITIONS[task.state].get(kind)
    if target is None:
        raise TransitionError(task.state, MOVES.get(kind, kind.__name__.lower()))
    if task.direction not in SIDES[kind]:
        raise LocalProtocolError(f"{kind.__name__} cannot happen to a task that was {task.direction}")
    move = DELIVERIES.get(kind)
    if move is not None and task.delivery not in move.sources:
        if kind is e.Entrusted:
            raise TransitionError(task.state, "entrusted to another agent")
        return task
    if kind is e.Forgotten and task.forgotten is not None:
        return task
    changed = effect.registry.get(kind, effect)(event, task, now)  # a call of `effect` is four calls
    status = changed.status
    return with_(
        changed,
        state=target,
        status=status if status.state == target else status.model_copy(update={"state": target}),
        delivery=changed.delivery if move is None else move.target,
        updated=task.updated if _is_quiet(event) else now,
        events=task.events + (kind not in SILENT),
    )


def _is_quiet(event: Event) -> bool:
    match event:
        case e.LeaseEnded():
            return not event.crashed
        case e.Accepted():
            return event.status is None
        case e.ArtifactsGrown():
            return event.late
        case _:
            return type(event) in QUIET


# --- changes --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a task in one transaction: made by producers, kept by the store, told to the other side."""

    before: Task | None
    """None for a task that was opened."""
    task: Task
    events: tuple[e.Opened | Event, ...]
    """Those that changed it, in order; none of a repetition."""
    statuses: tuple[TaskStatus | None, ...]
    """For each of them the status that the task has since; None where it is the one before."""
    at: float
    """The time of the events, in seconds since the epoch."""
    files: tuple[BlobRef, ...] = ()
    """Files that it attached: they are in the spool, and their pieces go ahead of the letter."""

    @classmethod
    def of(cls, task: Task, *events: Event, now: float, files: tuple[BlobRef, ...] = ()) -> Change:
        """The change that these events make, one after the other.

        Raises:
            TransitionError, ConversationFullError, LocalProtocolError: as `apply`.
        """
        after, counted, statuses = task, list[e.Opened | Event](), list[TaskStatus | None]()
        for event in events:
            known, after = after, apply(after, event, now)
            if after is not known:
                counted.append(event)
                is_same = after.status is known.status or after.status == known.status
                statuses.append(None if is_same else after.status)
        return cls(task, after, tuple(counted), tuple(statuses), now, files)

    @classmethod
    def opening(cls, event: e.Opened, *events: Event, now: float, files: tuple[BlobRef, ...] = ()) -> Change:
        """The change that begins a task, and what follows at once.

        Raises:
            TransitionError, ConversationFullError, LocalProtocolError: as `apply`.
        """
        change = cls.of(opened(event, now), *events, now=now, files=files)
        return cls(None, change.task, (event, *change.events), (None, *change.statuses), now, files)

    def then(self, *events: Event) -> Change:
        """The change with what follows in the same transaction.

        Raises:
            TransitionError, ConversationFullError, LocalProtocolError: as `apply`.
        """
        more = Change.of(self.task, *events, now=self.at, files=self.files)
        return dataclasses.replace(
            self,
            task=more.task,
            events=self.events + more.events,
            statuses=self.statuses + more.statuses,
        )

    @property
    def is_spoken(self) -> bool:
        """True if a letter about the task goes to the other side with it."""
        return any(isinstance(event, e.Spoken) for event in self.events)

    @property
    def chunks(self) -> tuple[ArtifactChunk, ...]:
        """All that came behind the artifacts, in order."""
        return tuple(chunk for event in self.events if isinstance(event, e.ArtifactsGrown) for chunk in event.chunks)

    @property
    def replaced(self) -> tuple[Artifact, ...]:
        """All artifacts that were made or replaced whole, in order."""
        return tuple(one for event in self.events if isinstance(event, e.ArtifactsReplaced) for one in event.artifacts)


# --- which event --------------------------------------------------------------------------------


WITHDRAWN = ErrorDetail(code="canceled", message="You withdrew it before it was accepted.")


def withdrawal(task: Task) -> e.Canceled | e.CancelAsked:
    """The event of a cancellation by the caller: an end, unless the agent has the task and must end it."""
    is_sealed = task.counterpart == "sealed"
    has_arrived = task.delivery == Delivery.DELIVERED if is_sealed else task.remote is not None
    return e.CancelAsked() if has_arrived else e.Canceled(error=WITHDRAWN)


def refusal(task: Task, error: ErrorDetail, *, choosing: bool) -> e.Declined | e.Refused:
    """The event of a final refusal by the recipient of a message about a task.

    Args:
        task: as it is.
        error: why, for the reader of the task.
        choosing: its sender has further agents to try, if this one has not taken the task.
    """
    is_taken = task.state != TaskState.SUBMITTED or task.delivery == Delivery.DELIVERED
    return e.Declined(error) if choosing and not is_taken else e.Refused(error)
