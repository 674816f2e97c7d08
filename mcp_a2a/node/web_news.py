"""What an agent at a URL says about a task, applied to our record of it: no I/O, and what is over stays as it ended."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError, WebAnswerError
from mcp_a2a.node.intake import ENDINGS
from mcp_a2a.node.present import iso
from mcp_a2a.node.result import is_too_large, too_large
from mcp_a2a.node.settlement import error_view
from mcp_a2a.protocol.artifacts import grow
from mcp_a2a.protocol.model import (
    Artifact,
    ArtifactChunk,
    Delivery,
    Message,
    Role,
    StreamResponse,
    Task,
    TaskState,
    TaskStatus,
)
from mcp_a2a.protocol.task import INTERRUPTED, is_terminal
from mcp_a2a.protocol.text import clean
from mcp_a2a.store.records import TaskRecord
from mcp_a2a.views import TaskErrorView

OLD_QUESTION_SECONDS = 300.0
"""After our answer: how long a task that still shows the question is taken for one that has not taken it up."""


def remote_of(events: Sequence[StreamResponse]) -> tuple[str | None, str | None]:
    """What the agent calls the task, and its conversation."""
    task_id = context_id = None
    for event in events:
        match event:
            case StreamResponse(task=Task() as task):
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
    before = (record.state, record.status, record.artifacts)
    for event in events:
        if not record.done:
            _apply(record, event, now)
    if is_too_large(record):
        raise WebAnswerError(too_large(record.peer))
    if (record.state, record.status, record.artifacts) == before:
        return False
    record.seq_in, record.updated = record.seq_in + 1, now
    return True


def _apply(record: TaskRecord, event: StreamResponse, now: float) -> None:
    if event.task is not None:
        _replace(record, event.task.artifacts)
        _move(record, event.task.status, now)
    elif event.message is not None:
        record.direct = not record.artifacts
        _move(record, TaskStatus(state=TaskState.COMPLETED, message=event.message), now)
    elif event.artifact_update is not None:
        update = event.artifact_update
        chunk = ArtifactChunk(artifact=update.artifact, append=update.append, last_chunk=update.last_chunk)
        record.artifacts = grow(record.artifacts, (chunk,))
        record.added, record.streamed = (*record.added, chunk), record.streamed + 1
    elif event.status_update is not None:
        _move(record, event.status_update.status, now)


def _replace(record: TaskRecord, artifacts: tuple[Artifact, ...]) -> None:
    """The artifacts as the agent has them; some leave them out when they tell of something else."""
    known = {artifact.artifact_id: artifact for artifact in record.artifacts}
    fresh = tuple(artifact for artifact in artifacts if known.get(artifact.artifact_id) != artifact)
    record.artifacts = grow(record.artifacts, (ArtifactChunk(artifact=artifact) for artifact in fresh))
    record.renewed = (*record.renewed, *fresh)


def _move(record: TaskRecord, status: TaskStatus, now: float) -> None:
    if _is_old_question(record, status, now):
        return
    said = _named(record, status.message) if status.message is not None else None
    if status.state == record.state and _content(said) == _content(record.status.message):
        return
    record.state = status.state
    record.status = TaskStatus(state=status.state, message=said, timestamp=iso(now))
    if record.state in ENDINGS:
        code, otherwise = ENDINGS[record.state]
        reason = clean(said.text).strip() if said is not None else ""
        record.error = TaskErrorView(code=code, message=(reason or otherwise)[:4096])


def _is_old_question(record: TaskRecord, status: TaskStatus, now: float) -> bool:
    """Whether this is the question that we have answered: agents show it until they have taken up the answer.

    One that asks the same again, in the same message or in none, is believed after a while.
    """
    answered = len(record.said) > 1 and record.messages[-1].role == Role.USER
    if status.state not in INTERRUPTED or not answered or record.state != TaskState.SUBMITTED:
        return False
    if now - record.updated > OLD_QUESTION_SECONDS:
        return False
    asked = next((one for one in reversed(record.messages) if one.role == Role.AGENT), None)
    said = status.message
    if asked is None or said is None:
        return said is None
    has_id = said.message_id and not asked.message_id.startswith(record.id)
    return said.message_id == asked.message_id if has_id else _content(said) == _content(asked)


def _named(record: TaskRecord, message: Message) -> Message:
    """Their message under our names."""
    message_id = message.message_id or f"{record.id}-{record.seq_in + 2}"
    return message.model_copy(update={"message_id": message_id, "task_id": None, "context_id": None})


def _content(message: Message | None) -> object:
    return None if message is None else (message.parts, message.metadata)


def end(record: TaskRecord, error: McpA2AError, now: float, *, delivery: Delivery | None = None) -> None:
    """It ends here, and why."""
    record.state = TaskState.REJECTED if delivery == Delivery.REFUSED else TaskState.FAILED
    record.delivery = delivery or record.delivery
    record.status = TaskStatus(state=record.state, timestamp=iso(now))
    record.error, record.updated, record.seq_in = error_view(error), now, record.seq_in + 1


def is_resting(record: TaskRecord) -> bool:
    """Whether nothing will come before somebody does something."""
    return record.done or record.state in INTERRUPTED


def needs_nothing(record: TaskRecord) -> bool:
    """Whether its agent need not be asked before we say something: where a person must log in, that is elsewhere."""
    return record.done or record.state == TaskState.INPUT_REQUIRED


def stops(event: StreamResponse) -> bool:
    """Whether the agent says that it will say no more by itself."""
    if event.status_update is None:
        return event.message is not None
    state = event.status_update.status.state
    return is_terminal(state) or state in INTERRUPTED
