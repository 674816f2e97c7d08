"""The growth of artifacts: chunk by chunk, each behind the last, or anew (A2A 4.2.2)."""

from __future__ import annotations

from collections.abc import Iterable

from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part, text_of

MAX_RESULT = 32 * 1024 * 1024
"""Characters of all artifacts of a task, as they are stored: data, names and what is around them count like text.

An agent could fill the disk with one task, and each update writes the whole of it.
"""


def grow(artifacts: tuple[Artifact, ...], chunks: Iterable[ArtifactChunk]) -> tuple[Artifact, ...]:
    """The artifacts with these chunks. A chunk to be appended to nothing begins its artifact.

    Text that continues text becomes one part: the result reads as it was written.
    """
    grown = {artifact.artifact_id: artifact for artifact in artifacts}
    for chunk in chunks:
        known = grown.get(chunk.artifact.artifact_id)
        if chunk.append and known is not None:
            grown[known.artifact_id] = known.model_copy(update={"parts": joined(known.parts, chunk.artifact.parts)})
        else:
            grown[chunk.artifact.artifact_id] = chunk.artifact
    return tuple(grown.values())


def replace(artifacts: tuple[Artifact, ...], whole: Iterable[Artifact]) -> tuple[Artifact, ...]:
    """The artifacts with these in the places of those with their ids, the new ones behind."""
    return grow(artifacts, (ArtifactChunk(artifact=artifact) for artifact in whole))


def joined(parts: tuple[Part, ...], more: tuple[Part, ...]) -> tuple[Part, ...]:
    """These parts with more behind them: text that continues text is one part with it."""
    joined = list(parts)
    for part in more:
        if joined and _continues(joined[-1], part):
            joined[-1] = joined[-1].model_copy(update={"text": f"{joined[-1].text}{part.text}"})
        else:
            joined.append(part)
    return tuple(joined)


def continued(parts: tuple[Part, ...], more: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of a message with what comes later under its id: its next piece, or all of it so far, and more."""
    known = text_of(parts)
    is_all = known and text_of(more).startswith(known) and all(part in more for part in parts if part.text is None)
    return more if is_all else joined(parts, more)


def _continues(part: Part, following: Part) -> bool:
    return (
        part.text is not None
        and following.text is not None
        and part.media_type == following.media_type
        and part.filename == following.filename
        and part.metadata == following.metadata
    )


def size_of(artifacts: Iterable[Artifact]) -> int:
    """Characters of these as they are stored."""
    return sum(len(artifact.to_json()) for artifact in artifacts)


def too_large(peer: str) -> str:
    """The sentence about a result that is larger than is kept."""
    return f"{peer} sends more than {MAX_RESULT // 1024 // 1024} MiB as its result."
