"""A task as it is, for a client that follows it and has missed how it came to be so.

A stream begins with a task, and clients take no second one in it: the official SDK for A2A 0.3 ends with an error.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcp_a2a.protocol.model import StreamResponse, TaskArtifactUpdateEvent, TaskDocument, TaskStatusUpdateEvent


def retold(task: TaskDocument) -> Iterator[StreamResponse]:
    """The updates that make of whatever a client has of a task the task as it is."""
    context_id = task.context_id or ""
    for artifact in task.artifacts:
        made = TaskArtifactUpdateEvent(
            task_id=task.id, context_id=context_id, artifact=artifact, append=False, last_chunk=True
        )
        yield StreamResponse(artifact_update=made)
    moved = TaskStatusUpdateEvent(task_id=task.id, context_id=context_id, status=task.status)
    yield StreamResponse(status_update=moved)
