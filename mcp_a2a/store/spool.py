"""The files that travel, sealed as they travel: one each in a private folder of this identity.

Nothing a peer wrote ever becomes a name here, and nothing is ever readable without the key, which is with the message.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from mcp_a2a.protocol.blob import PIECE_SIZE, SEALED_CHUNK_SIZE
from mcp_a2a.store.folder import open_folder, sync_folder

FOLDER = "blobs"

RESERVE_BYTES = 256 * 1024 * 1024
"""Bytes that files of others leave free on the disk."""


class Spool:
    """The folder `blobs` of an identity; made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def path(self, direction: str, peer: str, blob_id: str) -> Path:
        """The path of a file."""
        if direction == "out":
            return self.folder / f"out-{blob_id}"
        return self.folder / f"in-{sha256(f'{peer} {blob_id}'.encode()).hexdigest()[:32]}"

    def create(self, path: Path, sealed_chunks: Iterable[bytes]) -> None:
        """A new file, on the disk when this returns; nothing is left of one that could not be completed.

        Raises:
            OSError: the disk, or whatever the chunks are made from.
        """
        open_folder(self.folder)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in sealed_chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.folder)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def put_piece(self, path: Path, number: int, data: bytes) -> None:
        """Put a piece into its place; on the disk when this returns."""
        created = not path.exists()
        if created:
            open_folder(self.folder)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            written = 0
            while written < len(view):
                written += os.pwrite(handle, view[written:], number * PIECE_SIZE + written)
            os.fdatasync(handle) if hasattr(os, "fdatasync") else os.fsync(handle)
        finally:
            os.close(handle)
        if created:
            sync_folder(self.folder)

    @property
    def free_bytes(self) -> int:
        """The bytes that others may still put on this disk."""
        return max(0, shutil.disk_usage(self.folder.parent).free - RESERVE_BYTES)

    def remove(self, paths: Iterable[Path]) -> None:
        """These are needed no more."""
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def strays(self, known: Iterable[Path]) -> list[Path]:
        """Files of the folder that belong to no task: an earlier process was killed between two steps."""
        keep = {path.name for path in known}
        try:
            return [path for path in self.folder.iterdir() if path.name not in keep]
        except FileNotFoundError:
            return []


def read_piece(path: Path, number: int) -> bytes:
    """A piece as it travels.

    Raises:
        OSError: it is not there.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.pread(handle, PIECE_SIZE, number * PIECE_SIZE)
    finally:
        os.close(handle)


def sealed_chunks(path: Path) -> Iterator[bytes]:
    """A file as it was sealed, chunk by chunk.

    Raises:
        OSError: it is not there.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        while chunk := file.read(SEALED_CHUNK_SIZE):
            yield chunk
