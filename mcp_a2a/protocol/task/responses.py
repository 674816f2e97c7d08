"""The responses of an agent at a URL about a task, as events. No I/O; a task that has ended stays as it ended.

It has no numbers and repeats itself: each look shows the whole task. So a response is compared with the task as it is.
Of several statuses at once the last one counts, behind what was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mcp_a2a.errors.web import WebAnswerError
from mcp_a2a.protocol.model import (
    ArtifactChunk,
    Message,
    StreamResponse,
    TaskDocument,
    TaskState,
    TaskStatus,
    words_of,
)
from mcp_a2a.protocol.state import INTERRUPTED, at_rest
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.artifacts import too_large
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import apply
from mcp_a2a.protocol.task.table import going_on
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.task.turns import answered, asks_again, content_of, heard_of, is_old_question
from mcp_a2a.protocol.task.updates import ENDINGS, MAX_REASON, Made, fact_of, fresh_of, in_order, is_too_large
from mcp_a2a.protocol.text import clean
from mcp_a2a.protocol.times import iso


def remote_of(events: Sequence[StreamResponse]) -> tuple[str | None, str | None]:
    """The agent's own ids of the task and of its conversation."""
    task_id = context_id = None
    for event in events:
        match event:
            case StreamResponse(task=TaskDocument() as task):
                task_id, context_id = task.id, task.context_id or context_id
            case StreamResponse(message=Message() as message):
                context_id = message.context_id or context_id
            case _:
                update = event.status_update or event.artifact_update
                if update is not None:
                    task_id, context_id = update.task_id or task_id, update.context_id or context_id
    return task_id, context_id


def facts_of_responses(task: Task, told: Sequence[StreamResponse], now: float) -> tuple[Event, ...]:
    """The news in the agent's responses, in the order in which readers are told of it.

    Args:
        task: as its caller knows it.
        told: what the agent says, in order.
        now: seconds since the epoch.

    Returns:
        The events to be applied to `task`; none where nothing is new.

    Raises:
        WebAnswerError: it says more than is kept.
    """
    facts, after = list[Event](), task
    for response in told:
        for step in (_made, _said):
            for fact in () if after.done else step(after, response, now):
                facts.append(fact)
                after = apply(after, fact, task.updated)  # how long it is silent is asked of each response
    if not facts:
        return ()
    made = _together([fact for fact in facts if isinstance(fact, e.ArtifactsGrown | e.ArtifactsReplaced)])
    if is_too_large(task, made):
        raise WebAnswerError(too_large(task.peer))
    heard = [fact for fact in facts if isinstance(fact, e.Heard)][-1:]
    status = None if after.status is task.status else fact_of(after.status, after.error)
    newest = e.Told(task.seq_in + 1, task.attempts, after.direct)
    return (newest, *heard, *in_order(task, made, status, iso(now)))


def _together(made: Sequence[e.ArtifactsGrown | e.ArtifactsReplaced]) -> Made:
    """The same with chunks that came one behind the other as one event."""
    joined = list[e.ArtifactsGrown | e.ArtifactsReplaced]()
    for fact in made:
        last = joined[-1] if joined else None
        if isinstance(fact, e.ArtifactsGrown) and isinstance(last, e.ArtifactsGrown):
            joined[-1] = e.ArtifactsGrown((*last.chunks, *fact.chunks), fact.streamed)
        else:
            joined.append(fact)
    return tuple(joined)


def _made(task: Task, response: StreamResponse, _now: float) -> Iterator[Event]:
    if response.task is not None:
        fresh = fresh_of(task, response.task.artifacts)
        if fresh:
            yield e.ArtifactsReplaced(fresh)
    elif response.artifact_update is not None:
        update = response.artifact_update
        chunk = ArtifactChunk(artifact=update.artifact, append=update.append, last_chunk=update.last_chunk)
        yield e.ArtifactsGrown((chunk,), task.streamed + 1)


def _said(task: Task, response: StreamResponse, now: float) -> Iterator[Event]:
    if response.task is not None:
        yield from _moved(task, answered(task, response.task.status, response.task.history), now)
    elif response.message is not None:
        answer = TaskStatus(state=TaskState.COMPLETED, message=response.message)
        yield from _moved(task, answer, now, direct=not task.artifacts)
    elif response.status_update is not None:
        yield from _moved(task, answered(task, response.status_update.status, ()), now)


def _moved(task: Task, told: TaskStatus, now: float, *, direct: bool | None = None) -> Iterator[Event]:
    if is_old_question(task, told, now):
        return
    state = going_on(task.state, told.state)
    said = _named(task, told.message) if told.message is not None else None
    moved = state != task.state or content_of(said) != content_of(task.status.message)
    if state == task.state in INTERRUPTED and said is None:
        moved = False  # a question is not taken back by a status without one
    if moved or heard_of(task)[0] != told.state:
        yield e.Heard(told.state, told.timestamp or "")
    if moved:
        status = TaskStatus(state=state, message=said, timestamp=iso(now))
        yield fact_of(status, _error_of(status), direct=direct)


def _error_of(status: TaskStatus) -> ErrorDetail | None:
    if status.state not in ENDINGS:
        return None
    code, otherwise = ENDINGS[status.state]
    reason = clean(words_of(status.message)).strip() if status.message is not None else ""
    return ErrorDetail(code=code, message=(reason or otherwise)[:MAX_REASON])


def _named(task: Task, message: Message) -> Message:
    """The agent's message under the names that it has here."""
    message_id = message.message_id or f"{task.id}-{task.seq_in + 2}"
    return message.model_copy(update={"message_id": message_id, "task_id": None, "context_id": None})


def needs_nothing(task: Task) -> bool:
    """True if its agent need not be asked before its caller says something.

    Where a person must log in, that is elsewhere; and a question that was answered may be asked no more.
    """
    if task.state != TaskState.INPUT_REQUIRED:
        return task.done
    return not asks_again(task)


def stops(event: StreamResponse) -> bool:
    """True if the agent says that it will say no more by itself."""
    if event.status_update is None:
        return event.message is not None
    return at_rest(event.status_update.status.state)
