"""A task as A2A has it, raw: for programs that speak A2A, never for a model."""

from __future__ import annotations

from pydantic import JsonValue

from mcp_a2a.protocol.blob import without_key
from mcp_a2a.protocol.model import Artifact, Delivery, Message, Part, Role, TaskDocument, TaskStatus
from mcp_a2a.protocol.times import iso_of
from mcp_a2a.store.records import TaskRecord

METADATA = "mcp-a2a"
"""Under this name a task says how far its message got (`Delivery`), which A2A has no word for."""


def document(record: TaskRecord) -> TaskDocument:
    """The task with all that belongs to it."""
    return TaskDocument(
        id=record.id,
        context_id=record.context_id,
        status=_status(record),
        artifacts=tuple(map(shown_artifact, record.artifacts)),
        history=tuple(_placed(record, message) for message in record.messages),
        metadata=_metadata(record),
    )


def direct_reply(record: TaskRecord) -> Message | None:
    """The message that the agent answered with, where it means no task by it."""
    if not (record.direct and record.done) or record.status.message is None:
        return None
    return _placed(record, record.status.message).model_copy(update={"task_id": None})


def _status(record: TaskRecord) -> TaskStatus:
    said = record.status.message
    if said is None and record.error is not None:
        reason = Part(text=f"{record.error.message} {record.error.hint}".strip())
        said = Message(message_id=f"{record.id}-error", role=Role.AGENT, parts=(reason,))
    return TaskStatus(
        state=record.state,
        message=_placed(record, said) if said is not None else None,
        timestamp=iso_of(record.since),
    )


def _placed(record: TaskRecord, message: Message) -> Message:
    parts = tuple(map(without_key, message.parts))
    return message.model_copy(update={"task_id": record.id, "context_id": record.context_id, "parts": parts})


def shown_artifact(artifact: Artifact) -> Artifact:
    """An artifact as A2A has it: files that travel beside it are named, and their keys are not told."""
    return artifact.model_copy(update={"parts": tuple(map(without_key, artifact.parts))})


def _metadata(record: TaskRecord) -> dict[str, JsonValue] | None:
    if record.delivery == Delivery.DELIVERED:
        return None
    return {METADATA: {"delivery": record.delivery.value, "tried": list(record.tried)}}
