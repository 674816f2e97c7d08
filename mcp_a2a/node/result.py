"""How much of a result is kept: an agent could fill the disk with one task, and each update writes the whole of it."""

from __future__ import annotations

from mcp_a2a.protocol.task.artifacts import MAX_RESULT, size_of
from mcp_a2a.store.records import TaskRecord


def is_too_large(record: TaskRecord) -> bool:
    """Whether there is more than we keep. Everything is measured only where what is new may have been too much."""
    fresh = (*(chunk.artifact for chunk in record.added), *record.renewed)
    return record.size + size_of(fresh) > MAX_RESULT and size_of(record.artifacts) > MAX_RESULT


def is_said(record: TaskRecord) -> bool:
    """True if the answer is a message and no artifact: nothing was made since its sender spoke last."""
    return not record.artifacts or size_of(record.artifacts) == record.made
