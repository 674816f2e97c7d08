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
    return record.size + _size(fresh) > MAX_RESULT and _size(record.artifacts) > MAX_RESULT


def too_large(peer: str) -> str:
    """What is said of it."""
    return f"{peer} sends more than {MAX_RESULT // 1024 // 1024} MiB as its result."


def _size(artifacts: Iterable[Artifact]) -> int:
    return sum(len(artifact.to_json()) for artifact in artifacts)
