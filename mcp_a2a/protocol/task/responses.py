"""What an agent at a URL says about a task, applied to our record of it: no I/O, and what is over stays as it ended."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError, WebAnswerError
from mcp_a2a.node.result import is_too_large
from mcp_a2a.node.settlement import error_view
from mcp_a2a.protocol.model import (
    Artifact,
    ArtifactChunk,
    Delivery,
    Message,
    StreamResponse,
    TaskDocument,
    TaskState,
    TaskStatus,
    words_of,
)
from mcp_a2a.protocol.state import INTERRUPTED, at_rest
from mcp_a2a.protocol.task.artifacts import grow, too_large
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.table import going_on
from mcp_a2a.protocol.task.told import ENDINGS
from mcp_a2a.protocol.task.turns import answered, asks_again, content_of, heard_of, is_old_question
from mcp_a2a.protocol.text import clean
from mcp_a2a.protocol.times import iso
from mcp_a2a.store.records import TaskRecord


def remote_of(events: Sequence[StreamResponse]) -> tuple[str | None, str | None]:
    """What the agent calls the task, and its conversation."""
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


def apply(record: TaskRecord, events: Sequence[StreamResponse], now: float) -> bool:
    """Take in what the agent says; whether it was anything new.

    Raises:
        WebAnswerError: it says more than anybody can keep.
    """
    if record.done:
        return False
    before = (record.state, record.status, record.artifacts, record.heard)
    for event in events:
        if not record.done:
            _apply(record, event, now)
    if is_too_large(record):
        raise WebAnswerError(too_large(record.peer))
    if (record.state, record.status, record.artifacts, record.heard) == before:
        return False
    record.seq_in, record.updated = record.seq_in + 1, now
    return True


def _apply(record: TaskRecord, event: StreamResponse, now: float) -> None:
    if event.task is not None:
        _replace(record, event.task.artifacts)
        _move(record, answered(record, event.task.status, event.task.history), now)
    elif event.message is not None:
        record.direct = not record.artifacts
        _move(record, TaskStatus(state=TaskState.COMPLETED, message=event.message), now)
    elif event.artifact_update is not None:
        update = event.artifact_update
        chunk = ArtifactChunk(artifact=update.artifact, append=update.append, last_chunk=update.last_chunk)
        record.artifacts = grow(record.artifacts, (chunk,))
        record.added, record.streamed = (*record.added, chunk), record.streamed + 1
    elif event.status_update is not None:
        _move(record, answered(record, event.status_update.status, ()), now)


def _replace(record: TaskRecord, artifacts: tuple[Artifact, ...]) -> None:
    """The artifacts as the agent has them; some leave them out when they tell of something else."""
    known = {artifact.artifact_id: artifact for artifact in record.artifacts}
    fresh = tuple(artifact for artifact in artifacts if known.get(artifact.artifact_id) != artifact)
    record.artifacts = grow(record.artifacts, (ArtifactChunk(artifact=artifact) for artifact in fresh))
    record.renewed = (*record.renewed, *fresh)


def _move(record: TaskRecord, told: TaskStatus, now: float) -> None:
    if is_old_question(record, told, now):
        return
    status = told.model_copy(update={"state": going_on(record.state, told.state)})
    said = _named(record, status.message) if status.message is not None else None
    moved = status.state != record.state or content_of(said) != content_of(record.status.message)
    if status.state == record.state in INTERRUPTED and said is None:
        moved = False  # a question is not taken back by a status without one
    if moved or heard_of(record)[0] != told.state:
        record.heard = f"{told.state} {told.timestamp or ''}"
    if not moved:
        return
    record.state = status.state
    record.status = TaskStatus(state=status.state, message=said, timestamp=iso(now))
    if record.state in ENDINGS:
        code, otherwise = ENDINGS[record.state]
        reason = clean(words_of(said)).strip() if said is not None else ""
        record.error = ErrorDetail(code=code, message=(reason or otherwise)[:4096])


def _named(record: TaskRecord, message: Message) -> Message:
    """Their message under our names."""
    message_id = message.message_id or f"{record.id}-{record.seq_in + 2}"
    return message.model_copy(update={"message_id": message_id, "task_id": None, "context_id": None})


def end(record: TaskRecord, error: McpA2AError, now: float, *, delivery: Delivery | None = None) -> None:
    """It ends here, and why."""
    record.state = TaskState.REJECTED if delivery == Delivery.REFUSED else TaskState.FAILED
    record.delivery = delivery or record.delivery
    record.status = TaskStatus(state=record.state, timestamp=iso(now))
    record.error, record.updated, record.seq_in = error_view(error), now, record.seq_in + 1


def needs_nothing(record: TaskRecord) -> bool:
    """True if its agent need not be asked before we say something.

    Where a person must log in, that is elsewhere; and a question that was answered may be asked no more.
    """
    if record.state != TaskState.INPUT_REQUIRED:
        return record.done
    return not asks_again(record)


def stops(event: StreamResponse) -> bool:
    """Whether the agent says that it will say no more by itself."""
    if event.status_update is None:
        return event.message is not None
    return at_rest(event.status_update.status.state)
