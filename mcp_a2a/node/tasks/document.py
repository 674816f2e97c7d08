"""A task as A2A has it, raw: for programs that speak A2A, never for a model."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import JsonValue

from mcp_a2a.protocol.blob import without_key
from mcp_a2a.protocol.model import Artifact, Delivery, Message, Part, Role, TaskDocument, TaskStatus
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.times import iso_of, parse_iso_untrusted

METADATA = "mcp-a2a"
"""Under this name a task says how far its message got (`Delivery`), which A2A has no word for."""


def document(record: Task) -> TaskDocument:
    """The task with all that belongs to it."""
    return TaskDocument(
        id=record.id,
        context_id=record.context_id,
        status=status_of(record),
        artifacts=tuple(map(shown_artifact, record.artifacts)),
        history=tuple(_placed(message, record.id, record.context_id) for message in record.messages),
        metadata=_metadata(record),
    )


def direct_reply(record: Task) -> Message | None:
    """The message that the agent answered with, where it means no task by it."""
    if not (record.direct and record.done) or record.status.message is None:
        return None
    return _placed(record.status.message, record.id, record.context_id).model_copy(update={"task_id": None})


def status_of(task: Task) -> TaskStatus:
    """The status of a task, with the reason why it ended where its agent gave none."""
    status = task.status
    if status.message is None and task.error is not None:
        reason = Part(text=f"{task.error.message} {task.error.hint}".strip())
        said = Message(message_id=f"{task.id}-error", role=Role.AGENT, parts=(reason,))
        status = status.model_copy(update={"message": said})
    return shown_status(status, task.id, task.context_id, task.updated)


def shown_status(status: TaskStatus, task_id: str, context_id: str, at: float) -> TaskStatus:
    """A status as A2A has it, of a task in a context.

    Args:
        status: as it was stored.
        task_id: of its task.
        context_id: of its task.
        at: its time, where its agent told none that can be read; in seconds since the epoch.
    """
    said = status.message
    return TaskStatus(
        state=status.state,
        message=_placed(said, task_id, context_id) if said is not None else None,
        timestamp=iso_of(parse_iso_untrusted(status.timestamp) or datetime.fromtimestamp(at, UTC)),
    )


def _placed(message: Message, task_id: str, context_id: str) -> Message:
    parts = tuple(map(without_key, message.parts))
    return message.model_copy(update={"task_id": task_id, "context_id": context_id, "parts": parts})


def shown_artifact(artifact: Artifact) -> Artifact:
    """An artifact as A2A has it: files that travel beside it are named, and their keys are not told."""
    return artifact.model_copy(update={"parts": tuple(map(without_key, artifact.parts))})


def _metadata(record: Task) -> dict[str, JsonValue] | None:
    if record.delivery == Delivery.DELIVERED:
        return None
    return {METADATA: {"delivery": record.delivery.value, "tried": list(record.tried)}}
