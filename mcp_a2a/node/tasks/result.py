"""The answer of a task: the agent's last message, or the artifacts that it made."""

from __future__ import annotations

from mcp_a2a.protocol.task.artifacts import size_of
from mcp_a2a.protocol.task.task import Task


def is_said(record: Task) -> bool:
    """True if the answer is a message and no artifact: nothing was made since its sender spoke last."""
    return not record.artifacts or size_of(record.artifacts) == record.made
