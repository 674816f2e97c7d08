"""The order law: what an update of the agent means for the task of its caller.

Updates of one task are numbered by their agent, and travel by paths of different speed: an update may come late, twice,
behind a newer one, or from a journal that went back in time (a restored backup). `facts_of` makes of each the events
that are news, so that a task never moves backwards and a chunk of an artifact counts once.

Two counts are kept apart. `seq` is the number of the update: of two updates the one with the larger number is newer,
and only the newest says where the work is. `streamed` is the number of chunks that the artifacts of this attempt were
made of: chunks count by their own number, whichever update brings them.

    known     chunks that the caller has, of the attempt that it knows
    before    chunks that there were before those of this update: body.streamed - len(body.chunks)

    1  a task that ended, or that its agent refused, hears nothing more
    2  a newer attempt begins anew: its artifacts are dropped, known = 0              only of the newest update
    3  `whole`: the artifacts of this update are all there are, known = whole         only of the newest update
    4  fewer chunks than known, and no newer attempt: the agent's journal went back   only of the newest update
       in time, and what it had by then it has told as a whole; known = before
    5  of an update that is not the newest, nothing but its chunks is news, and not where its attempt is older
    6  chunks that are all known are no news
    7  before > known: chunks between are on their way; this update must come again behind them
    8  else the chunks behind the known ones are news
    9  more than is kept: the task fails with the artifacts that it had

An attempt is newer if its number is larger, the first one excepted: a reply makes the attempts count anew, at each end
when it has the reply, and the chunks go on counting. So the smaller number of a newest update is no older attempt. With
these rules an update that comes twice says the same as once.

The events have the order in which a reader may be told of them: that the agent works, then what it made, then that it
asks or ends (A2A 3.1.2: the stream ends there).
"""

from __future__ import annotations

from collections.abc import Mapping

from mcp_a2a.protocol.model import Artifact, Delivery, TaskState, TaskStatus, words_of
from mcp_a2a.protocol.payload import TaskFailure, UpdateBody
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.artifacts import MAX_RESULT, grow, replace, size_of, too_large
from mcp_a2a.protocol.task.effects import is_new_attempt
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change, apply
from mcp_a2a.protocol.task.table import DELIVERIES, going_on
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.text import clean

ENDINGS = {
    TaskState.FAILED: ("task_failed", "It failed, and no reason was given."),
    TaskState.REJECTED: ("task_rejected", "It was rejected, and no reason was given."),
    TaskState.CANCELED: ("canceled", "It was withdrawn."),
}
"""The error of a task that did not succeed, if the agent gives none."""

MAX_REASON = 4096
"""Characters of a reason that are kept."""

_SAYS: Mapping[TaskState, type[e.Accepted | e.Progressed | e.Asked | e.AuthorizationAsked]] = {
    TaskState.SUBMITTED: e.Accepted,
    TaskState.WORKING: e.Progressed,
    TaskState.INPUT_REQUIRED: e.Asked,
    TaskState.AUTH_REQUIRED: e.AuthorizationAsked,
}
_ENDS: Mapping[TaskState, type[e.Failed | e.Canceled | e.Rejected]] = {
    TaskState.FAILED: e.Failed,
    TaskState.CANCELED: e.Canceled,
    TaskState.REJECTED: e.Rejected,
}

Made = tuple[e.ArtifactsGrown | e.ArtifactsReplaced, ...]


def update_of(change: Change, *, whole: bool = False) -> UpdateBody:
    """The update that an agent sends of its task, with the new part of growing artifacts; later updates build on it.

    Args:
        change: the newest of the task.
        whole: all of the artifacts, for a caller that may have missed how they grew.
    """
    task, error = change.task, change.task.error
    return UpdateBody(
        status=task.status,
        artifacts=task.artifacts if whole or not task.streamed else change.replaced,
        error=None if error is None else TaskFailure(code=error.code, message=error.message[:MAX_REASON]),
        attempt=task.attempts,
        chunks=() if whole else change.chunks,
        streamed=0 if whole else task.streamed,
        whole=task.streamed if whole else None,
        direct=task.direct,
    )


def facts_of(task: Task, seq: int, body: UpdateBody) -> tuple[Event, ...] | None:
    """The news in an update.

    Args:
        task: as its caller knows it. The update is from its agent: that was checked.
        seq: number of the update.
        body: what it says.

    Returns:
        The events to be applied to `task`, in order; none if the update says nothing new. None if chunks before those
        of the update have not come: nothing of it counts until it comes again.
    """
    if task.done or task.delivery == Delivery.REFUSED:
        return ()
    return _newest(task, seq, body) if seq > task.seq_in else _late(task, body)


def _late(task: Task, body: UpdateBody) -> tuple[Event, ...] | None:
    if body.whole is not None or body.attempt < task.attempts:
        return ()
    made = _grown(task, body, late=True)
    if made is None:
        return None
    return _overflow(task) if is_too_large(task, made) else made


def _newest(task: Task, seq: int, body: UpdateBody) -> tuple[Event, ...] | None:
    told = e.Told(seq, body.attempt, body.direct, _counted_anew(task, body))
    known = apply(task, told, task.updated)
    grown: Made | None = () if body.whole is not None else _grown(known, body, late=False)
    if grown is None:
        return None
    fresh = fresh_of(known if not grown else apply(known, grown[0], task.updated), body.artifacts)
    made = (*grown, e.ArtifactsReplaced(fresh)) if fresh else grown
    if is_too_large(known, made):
        return _overflow(task)
    arrived = (e.Delivered(),) if task.delivery in DELIVERIES[e.Delivered].sources else ()
    return (told, *arrived, *in_order(task, made, _fact(task, body), body.status.timestamp))


def fresh_of(task: Task, artifacts: tuple[Artifact, ...]) -> tuple[Artifact, ...]:
    """The artifacts that are other than they were: an agent that tells all of them again has nothing new in most."""
    known = {artifact.artifact_id: artifact for artifact in task.artifacts}
    told = {artifact.artifact_id: artifact for artifact in artifacts}  # of two under one id the last counts
    return tuple(artifact for name, artifact in told.items() if known.get(name) != artifact)


def _counted_anew(task: Task, body: UpdateBody) -> int | None:
    if body.whole is not None:
        return body.whole
    went_back = 0 < body.streamed < task.streamed and not is_new_attempt(task, body.attempt)
    return max(0, body.streamed - len(body.chunks)) if went_back else None


def _grown(known: Task, body: UpdateBody, *, late: bool) -> Made | None:
    before = body.streamed - len(body.chunks)
    if body.streamed <= known.streamed:
        return ()
    if before > known.streamed:
        return None
    return (e.ArtifactsGrown(body.chunks[known.streamed - before :], body.streamed, late),)


def is_too_large(known: Task, made: Made) -> bool:
    """True if there is more than is kept. All of it is measured only where what is new may have been too much."""
    if known.size + sum(map(_size_of, made)) <= MAX_RESULT:
        return False
    artifacts = known.artifacts
    for event in made:
        if isinstance(event, e.ArtifactsGrown):
            artifacts = grow(artifacts, event.chunks)
        else:
            artifacts = replace(artifacts, event.artifacts)
    return size_of(artifacts) > MAX_RESULT


def _size_of(event: e.ArtifactsGrown | e.ArtifactsReplaced) -> int:
    if isinstance(event, e.ArtifactsGrown):
        return size_of(chunk.artifact for chunk in event.chunks)
    return size_of(event.artifacts)


def _overflow(task: Task) -> tuple[Event, ...]:
    error = ErrorDetail(code="result_too_large", message=too_large(task.peer))
    return (e.Failed(error=error, delivered=True),)


def in_order(task: Task, made: Made, fact: Event | None, time: str | None) -> tuple[Event, ...]:
    """The artifacts and the status of an update, in the order in which a reader may be told of them.

    Args:
        task: as it was before.
        made: what became of its artifacts.
        fact: what is said of the work; None: nothing new.
        time: of the status, as ISO 8601.
    """
    if fact is None:
        return made
    if isinstance(fact, e.Accepted | e.Progressed):
        return (fact, *made)
    if made and task.state == TaskState.SUBMITTED:
        return (e.Progressed(TaskStatus(state=TaskState.WORKING, timestamp=time)), *made, fact)
    return (*made, fact)


def fact_of(status: TaskStatus, error: ErrorDetail | None = None, *, direct: bool | None = None) -> Event:
    """The event that a status tells.

    Args:
        status: what the agent says.
        error: why it did not succeed, where it ended so.
        direct: the message of an end that succeeded is the answer; None: as the task has it.
    """
    says = _SAYS.get(status.state)
    if says is not None:
        return says(status)
    if status.state == TaskState.COMPLETED:
        return e.Completed(status, error, direct=direct)
    return _ENDS[status.state](status, error)


def _fact(task: Task, body: UpdateBody) -> Event | None:
    """The event behind the status of an update; None if it is the status that the task has."""
    state = going_on(task.state, body.status.state)
    status = body.status.model_copy(update={"state": state})
    if status == task.status:
        return None
    return fact_of(status, _error_of(task, status, body))


def _error_of(task: Task, status: TaskStatus, body: UpdateBody) -> ErrorDetail | None:
    if body.error is not None:
        return ErrorDetail(code=clean(body.error.code), message=clean(body.error.message))
    if status.state not in ENDINGS or task.error is not None:
        return None
    code, otherwise = ENDINGS[status.state]
    said = clean(words_of(status.message)) if status.message is not None else ""
    return ErrorDetail(code=code, message=said[:MAX_REASON] or otherwise)
