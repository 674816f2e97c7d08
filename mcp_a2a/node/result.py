"""How much of a result is kept: an agent could fill the disk with one task, and each update writes the whole of it."""

from __future__ import annotations

from collections.abc import Iterable

from mcp_a2a.protocol.model import Artifact
from mcp_a2a.store.records import TaskRecord

MAX_RESULT = 32 * 1024 * 1024
"""Of all artifacts of a task, as they are stored: data, names and what is around them count like text."""


def is_too_large(record: TaskRecord) -> bool:
    """Whether there is more than we keep. Everything is measured only where what is new may have been too much."""
    fresh = (*(chunk.artifact for chunk in record.added), *record.renewed)
    return record.size + size_of(fresh) > MAX_RESULT and size_of(record.artifacts) > MAX_RESULT


def is_said(record: TaskRecord) -> bool:
    """True if the answer is a message and no artifact: nothing was made since its sender spoke last."""
    return not record.artifacts or size_of(record.artifacts) == record.made


def too_large(peer: str) -> str:
    """What is said of it."""
    return f"{peer} sends more than {MAX_RESULT // 1024 // 1024} MiB as its result."


def size_of(artifacts: Iterable[Artifact]) -> int:
    """Characters of these as they are stored."""
    return sum(len(artifact.to_json()) for artifact in artifacts)
