"""Updates of one task that wait to be sent, made into one: the newest, which brings all that the others would have.

A stream is an update every 50 to 100 ms. A relay that takes fewer messages a minute would be told all of them one by
one, long after the end of the stream; the recipient needs only where the task stands, and each chunk once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mcp_a2a.errors.delivery import UnsendableError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.blob import MAX_FILES, files_named
from mcp_a2a.protocol.payload import MAX_PAYLOAD, Payload, UpdateBody
from mcp_a2a.protocol.task import artifacts
from mcp_a2a.store.journal import OutboxRow

MAX_MERGED_CHUNKS = 500
"""In one message: with what is in each of them, a peer still reads it (`strict_json`)."""


@dataclass(frozen=True)
class Merged:
    """The newest of several messages, with what the others said; those need not be sent any more."""

    row: OutboxRow
    absorbed: tuple[OutboxRow, ...]


@dataclass(frozen=True)
class _Update:
    row: OutboxRow
    payload: Payload
    body: UpdateBody
    size: int
    """Bytes, or more than there will be."""
    files: int
    """Files that it names, likewise."""
    absorbed: tuple[OutboxRow, ...] = ()

    def then(self, newer: _Update) -> _Update | None:
        """Both in one; None where they must stay apart."""
        old, new = self.body, newer.body
        follows = old.attempt == new.attempt and new.streamed - len(new.chunks) == old.streamed
        # Chunks are added first and whole artifacts behind that, so one that grew after it was replaced stays apart.
        replaced = {artifact.artifact_id for artifact in old.artifacts}
        is_whole = old.whole is not None or new.whole is not None  # what follows is counted from it
        if is_whole or not follows or any(chunk.artifact.artifact_id in replaced for chunk in new.chunks):
            return None
        chunks, size, files = (*old.chunks, *new.chunks), self.size + newer.size, self.files + newer.files
        if len(chunks) > MAX_MERGED_CHUNKS or size > MAX_PAYLOAD or files > MAX_FILES:
            return None
        body = new.model_copy(update={"chunks": chunks, "artifacts": artifacts.replace(old.artifacts, new.artifacts)})
        return _Update(newer.row, newer.payload, body, size, files, (*self.absorbed, self.row))

    def packed(self) -> OutboxRow:
        """Its row, with the payload to send.

        Raises:
            RemoteProtocolError, UnsendableError: more than a peer accepts.
        """
        return replace(self.row, payload=self.payload.model_copy(update={"body": self.body}).to_bytes())


def merge_updates(rows: Sequence[OutboxRow]) -> list[Merged]:
    """Merge what can be merged of the updates of one task, oldest first. The order is kept, and nothing is lost."""
    merged = []
    for update in _merge(rows):
        if update.absorbed:
            with suppress(RemoteProtocolError, UnsendableError):
                merged.append(Merged(update.packed(), update.absorbed))
    return merged


def _merge(rows: Sequence[OutboxRow]) -> Iterator[_Update]:
    waiting: _Update | None = None
    for row in rows:
        newer = _read(row)
        both = waiting.then(newer) if waiting is not None and newer is not None else None
        if both is None and waiting is not None:
            yield waiting
        waiting = both or newer
    if waiting is not None:
        yield waiting


def _read(row: OutboxRow) -> _Update | None:
    try:
        payload = Payload.parse_untrusted(row.payload)
    except RemoteProtocolError:
        return None  # not readable by this version: it goes as it is
    if not isinstance(payload.body, UpdateBody):
        return None
    return _Update(row, payload, payload.body, len(row.payload), files_named(payload))
