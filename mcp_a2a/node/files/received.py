"""A file that came with a task, as a skill or a program reads it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from typing_extensions import Buffer, override

from mcp_a2a.api.files import FileGrant
from mcp_a2a.errors.protocol import ProtocolError
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.node.files.safe_open import write_new
from mcp_a2a.protocol.blob import BlobRef, open_file_untrusted
from mcp_a2a.protocol.crypto import STREAM_KEY_SIZE
from mcp_a2a.protocol.strict_json import base64url_untrusted
from mcp_a2a.store.spool import sealed_chunks
from mcp_a2a.system_limits import limit_behind


class ReceivedFile:
    """One file. Its name is only what the sender calls it, made harmless; nothing was written anywhere for it."""

    def __init__(self, grant: FileGrant) -> None:
        self._grant = grant

    @property
    def name(self) -> str:
        """Without a folder in it."""
        return self._grant.name

    @property
    def media_type(self) -> str | None:
        """The media type by the word of its sender."""
        return self._grant.media_type

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._grant.size or 0

    @property
    def sha256(self) -> str:
        """Of the content, in hexadecimal."""
        return self._grant.sha256 or ""

    def read(self) -> bytes:
        """The whole content.

        Raises:
            FileError: it is no longer here.
        """
        return b"".join(content_of(self._grant))

    def open(self) -> BinaryIO:
        """The content as a stream, for what need not be in memory as a whole. It can be read once, forwards.

        Raises:
            FileError: it is no longer here.
        """
        return io.BufferedReader(_Stream(content_of(self._grant)))

    def save(self, path: str | Path) -> Path:
        """Write it to a new file.

        Raises:
            FileExistsError: there is one already.
            FileError: it is no longer here.
        """
        target = Path(path)
        write_new(target, content_of(self._grant))
        return target


def content_of(grant: FileGrant) -> Iterator[bytes]:
    """The content of a file, chunk by chunk.

    Raises:
        FileError: it is not here, or no longer.
        SystemLimitError: it cannot be opened now.
    """
    if grant.raw is not None:
        yield base64.b64decode(grant.raw)
        return
    if grant.path is None or grant.key is None or not grant.here:
        raise FileError(f"{grant.name} is not here.", "Files of finished tasks are kept for a while only.")
    try:
        yield from open_file_untrusted(_ref(grant, grant.key), sealed_chunks(Path(grant.path)))
    except (OSError, ProtocolError) as error:
        raise limit_behind(error) or FileError(f"{grant.name} cannot be read any more: {error}.") from error


def _ref(grant: FileGrant, key: str) -> BlobRef:
    secret = base64url_untrusted(key)
    return BlobRef(
        grant.file_id, grant.size or 0, grant.sha256 or "", secret[:STREAM_KEY_SIZE], secret[STREAM_KEY_SIZE:]
    )


class _Stream(io.RawIOBase):
    """An iterator of bytes, as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer)
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
