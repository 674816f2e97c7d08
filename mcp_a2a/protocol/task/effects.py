"""The effect of each event on a task beside its state, its delivery and the number of its events.

Those three are moved by `machine`, from the tables.
"""

from __future__ import annotations

from functools import singledispatch

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.errors.tasks import ConversationFullError
from mcp_a2a.protocol.blob import safe_name
from mcp_a2a.protocol.model import Part, TaskStatus
from mcp_a2a.protocol.payload import LAST_SEQ
from mcp_a2a.protocol.state import INTERRUPTED, Delivery, TaskState
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.artifacts import grow, replace, size_of
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.table import DELIVERIES, MOVES, TRANSITIONS
from mcp_a2a.protocol.task.task import Task, with_
from mcp_a2a.protocol.times import iso

MAX_CONVERSATION = 16 * 1024 * 1024
"""Characters of all messages of one task: each message has the whole conversation written again."""


@singledispatch
def effect(event: object, task: Task, now: float) -> Task:
    """The task with what this event changes of it.

    Raises:
        ConversationFullError: of `Replied`.
    """
    raise LocalProtocolError(f"no effect is known of {type(event).__name__}")


@effect.register(e.Stored | e.Held | e.Delivered | e.CancelAsked)
def _(_event: Event, task: Task, _now: float) -> Task:
    return task


@effect.register
def _(event: e.Declined, task: Task, _now: float) -> Task:
    return with_(task, error=event.error)


@effect.register(e.Refused | e.Expired)
def _(event: e.Refused | e.Expired, task: Task, now: float) -> Task:
    status = TaskStatus(state=MOVES[type(event)], timestamp=iso(now))
    return with_(task, error=event.error or task.error, status=status)


@effect.register
def _(event: e.Entrusted, task: Task, now: float) -> Task:
    # Another agent counts its letters anew, and nothing of the one before is left.
    return with_(
        task, peer=event.peer, peer_name=event.peer_name, chosen=event.chosen, tried=event.tried,
        messages=(event.message,), status=TaskStatus(state=TaskState.SUBMITTED, timestamp=iso(now)), error=None,
        seq_out=0, seq_in=-1, attempts=0, streamed=0, artifacts=(), size=0, direct=False, remote=None, heard=None,
        made=0,
    )  # fmt: skip


@effect.register
def _(event: e.Told, task: Task, _now: float) -> Task:
    if is_new_attempt(task, event.attempt):
        task = _begun_anew(task)
    return with_(
        task,
        seq_in=max(task.seq_in, event.seq),
        attempts=event.attempt,
        direct=event.direct,
        streamed=task.streamed if event.streamed is None else event.streamed,
    )


def is_new_attempt(task: Task, attempt: int) -> bool:
    """True if what an attempt before had begun is begun anew with this one."""
    return attempt > max(task.attempts, 1) and task.streamed > 0


def _begun_anew(task: Task) -> Task:
    return with_(task, streamed=0, artifacts=(), size=0)


@effect.register
def _(event: e.Named, task: Task, _now: float) -> Task:
    return with_(task, remote=event.remote)


@effect.register
def _(event: e.Heard, task: Task, _now: float) -> Task:
    return with_(task, heard=f"{event.state} {event.time}")


@effect.register
def _(event: e.Leased, task: Task, _now: float) -> Task:
    attempt = task.attempts + 1
    if is_new_attempt(task, attempt):
        task = _begun_anew(task)
    return with_(task, attempts=attempt, holder=event.holder, worker=event.worker, lease_until=event.until)


@effect.register
def _(event: e.LeaseRenewed, task: Task, _now: float) -> Task:
    return with_(task, lease_until=event.until)


@effect.register
def _(_event: e.LeaseEnded, task: Task, _now: float) -> Task:
    return _unleased(task)


@effect.register
def _(_event: e.LeaseReturned, task: Task, _now: float) -> Task:
    return with_(_unleased(task), attempts=max(0, task.attempts - 1))


def _unleased(task: Task) -> Task:
    return with_(task, holder=None, worker=False, lease_until=None)


@effect.register(e.Accepted | e.Progressed)
def _(event: e.Accepted | e.Progressed, task: Task, now: float) -> Task:
    if event.status is not None:
        return with_(task, status=event.status)
    # A state that moves has a status of its own; one that stays keeps what was said in it.
    moves = TRANSITIONS[task.state][type(event)] != task.state
    return with_(task, status=TaskStatus(state=TaskState.WORKING, timestamp=iso(now))) if moves else task


@effect.register
def _(event: e.ArtifactsGrown, task: Task, _now: float) -> Task:
    more = size_of(chunk.artifact for chunk in event.chunks)
    artifacts = grow(task.artifacts, event.chunks)
    return with_(task, artifacts=artifacts, streamed=event.streamed, size=task.size + more)


@effect.register
def _(event: e.ArtifactsReplaced, task: Task, _now: float) -> Task:
    artifacts = replace(task.artifacts, event.artifacts)
    return with_(task, artifacts=artifacts, size=task.size + size_of(event.artifacts))


@effect.register(e.Asked | e.AuthorizationAsked)
def _(event: e.Asked | e.AuthorizationAsked, task: Task, _now: float) -> Task:
    return with_(_unleased(task), status=event.status)


@effect.register
def _(event: e.Replied, task: Task, now: float) -> Task:
    asked = task.status.message if task.state in INTERRUPTED else None
    messages = (*task.messages, *((asked,) if asked is not None else ()), event.message)
    if sum(len(one.model_dump_json()) for one in messages) > MAX_CONVERSATION:
        raise ConversationFullError(task.id)
    task = with_(
        task,
        messages=messages,
        seq_in=task.seq_in if event.seq is None else max(task.seq_in, event.seq),
        made=task.made if event.made is None else event.made,
    )
    if task.state not in INTERRUPTED:
        return task
    # A new turn: the attempts count anew.
    return with_(task, attempts=0, status=TaskStatus(state=TaskState.WORKING, timestamp=iso(now)))


@effect.register
def _(_event: e.Spoken, task: Task, _now: float) -> Task:
    return with_(task, seq_out=task.seq_out + 1)


@effect.register(e.Completed | e.Failed | e.Rejected | e.Canceled)
def _(event: e.Completed | e.Failed | e.Rejected | e.Canceled, task: Task, now: float) -> Task:
    delivered = event.delivered and task.delivery in DELIVERIES[e.Delivered].sources
    direct = event.direct if isinstance(event, e.Completed) else None
    return with_(
        _unleased(task),
        status=event.status or TaskStatus(state=MOVES[type(event)], timestamp=iso(now)),
        error=event.error or task.error,
        delivery=Delivery.DELIVERED if delivered else task.delivery,
        direct=task.direct if direct is None else direct,
    )


@effect.register
def _(event: e.FileLost, task: Task, _now: float) -> Task:
    artifacts = tuple(
        artifact.model_copy(update={"parts": _without(artifact.parts, event)}) for artifact in task.artifacts
    )
    said = task.status.message
    if said is not None:
        said = said.model_copy(update={"parts": _without(said.parts, event)})
    status = task.status.model_copy(update={"message": said})
    return with_(task, artifacts=artifacts, status=status, size=size_of(artifacts))


def _without(parts: tuple[Part, ...], lost: e.FileLost) -> tuple[Part, ...]:
    return tuple(
        Part(text=f"(The file {safe_name(part.filename)} was not kept: {lost.reason}.)")
        if part.url == lost.url
        else part
        for part in parts
    )


@effect.register
def _(event: e.Resent, task: Task, _now: float) -> Task:
    # A caller may know a newer update than this side has: the journal went back in time, and numbers go on from there.
    known = event.seq if event.seq < LAST_SEQ else -1
    seq_out = max(task.seq_out, known)
    return with_(task, seq_out=seq_out, artifacts=event.artifacts, status=event.status, size=size_of(event.artifacts))


@effect.register
def _(event: e.Forgotten, task: Task, now: float) -> Task:
    status = TaskStatus(state=task.state, timestamp=task.status.timestamp, message=event.note)
    return with_(
        task, opening=task.opening_id, messages=(event.opening,), artifacts=(), size=0, streamed=0, status=status,
        error=None, tried=(), chosen=None, skill=None, forgotten=now,
    )  # fmt: skip
