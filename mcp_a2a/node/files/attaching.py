"""Files that we send: read once, small ones into the message, larger ones sealed into the spool.

A path comes from a person, or from a model that a person lets work: for the latter it has to lie within folders that
were allowed, wherever links in it lead, and to hold no keys (`withheld`). What is checked is the descriptor that is
read, and the bytes that are sent; what becomes of the path or the file meanwhile changes neither.
"""

from __future__ import annotations

import base64
import binascii
import io
import mimetypes
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import anyio
import anyio.to_thread

from mcp_a2a.api.files import Attachments, FileArg
from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.errors.delivery import FilesWaitError
from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.node.files.safe_open import open_resolved
from mcp_a2a.node.files.withheld import CheckedFile, check_name
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.blob import (
    CHUNK_SIZE,
    MAX_FILE_SIZE,
    MAX_FILES,
    MAX_INLINE_SIZE,
    MAX_INLINE_TOTAL,
    MAX_RELAYED_SIZE,
    BlobRef,
    FileSealer,
    is_blob,
    safe_name,
)
from mcp_a2a.protocol.crypto import STREAM_KEY_SIZE
from mcp_a2a.protocol.model import ArtifactChunk, Part
from mcp_a2a.store.blobs import blobs_of, bytes_out, make_room_out
from mcp_a2a.store.disk import refused
from mcp_a2a.store.work_folder import FOLDER as WORK
from mcp_a2a.system_limits import limit_behind

MIB = 1024 * 1024
MAX_OUT_BYTES = 4 * 1024 * MIB
"""Of our own files that wait or are kept. Those that are only kept make room, the oldest first."""

NOT_KEPT = "(The file {} was not kept: too many files wait on the machine of the agent.)"
"""In place of a file of a result: a text is not held up by its files."""

_SYSTEM = ("/proc", "/sys", "/dev")
"""Folders whose files are interfaces of the system."""


NOTHING = Attachments()
"""No file, and no person who answers for one."""


class Source(Protocol):
    """Bytes on their way into a message."""

    def read(self, size: int) -> bytes:
        """The next of them."""

    def rewind(self) -> None:
        """Go back to the first."""


class Plain:
    """Content that is sent as it is: a person named it, or it came within a message."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def read(self, size: int) -> bytes:
        """See `Source`."""
        return self._source.read(size)

    def rewind(self) -> None:
        """See `Source`."""
        self._source.seek(0)


def _read(source: Source, size: int, name: str) -> bytes:
    try:
        return source.read(size)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"{name} could not be read: {reason}.", "Check the disk that it is on.") from error


@dataclass
class Room:
    """The room left in one message: bytes of files within it, and files beside it."""

    inline: int = MAX_INLINE_TOTAL
    files: int = MAX_FILES


@dataclass(frozen=True)
class Attached:
    """Parts as they travel, and the files among them that travel beside."""

    parts: tuple[Part, ...]
    refs: tuple[BlobRef, ...] = ()

    @property
    def largest(self) -> int:
        """Bytes of the largest file that travels beside."""
        return max((ref.size for ref in self.refs), default=0)

    @property
    def needs_direct(self) -> bool:
        """True if no relay takes it."""
        return self.largest > MAX_RELAYED_SIZE


class Attaching:
    """Makes parts of files.

    Nothing in `private`, the data folder, is ever attached, but what was saved to `downloads` in it, and what a command
    was given to work on.
    """

    def __init__(self, context: Context, downloads: Path, private: Path) -> None:
        self._context = context
        self._private = private
        self._downloads = downloads
        self._public = (downloads, private / WORK)

    async def attach(
        self,
        parts: Sequence[Part],
        what: Attachments = NOTHING,
        *,
        or_say_so: bool = False,
        room: Room | None = None,
    ) -> Attached:
        """The parts with the files behind them; what is large among either goes into the spool.

        With `roots`, each file must be within these folders, or the one for downloads. With `or_say_so`, a sentence
        stands in place of a large file where too many wait. `room` is that of a message which holds more than these.

        Raises:
            FileError: a file cannot be attached, and why; nothing was kept.
            FilesWaitError: too many wait; nothing was kept.
        """
        files = what.files
        if not files and not any(part.raw is not None or part.url is not None for part in parts):
            return Attached(tuple(parts))
        has_room, refs = await self._has_room(), list[BlobRef]()
        left = Room() if room is None else room
        if not has_room and not or_say_so:
            raise FilesWaitError(MAX_OUT_BYTES // MIB)
        try:
            with anyio.CancelScope(shield=True):  # the thread goes on, and its file would belong to no task
                made = await anyio.to_thread.run_sync(self._attach, parts, what, refs if has_room else None, left)
        except BaseException:
            self._discard(refs)
            raise
        return Attached(tuple(made), tuple(refs))

    async def _has_room(self) -> bool:
        """True if more files may be kept; those of finished tasks make room."""
        over = self._context.database.read(bytes_out) - MAX_OUT_BYTES
        if over <= 0:
            return True

        def make_room(connection: sqlite3.Connection) -> int:
            rows = make_room_out(connection, over)
            self._context.spool.remove(self._context.spool.path(row.direction, row.peer, row.id) for row in rows)
            return sum(row.size for row in rows)

        return await self._context.database.write(make_room) >= over

    async def attach_to_answer(self, request: AnswerRequest) -> tuple[AnswerRequest, tuple[BlobRef, ...]]:
        """An answer with its files attached, and the files that travel beside it.

        Where too many files wait, a worker's answer says so in place of a file; any other answer is refused for now.

        Raises:
            FileError, FilesWaitError: as in `attach`.
        """
        if not (request.files or request.parts or request.chunks):
            return request, ()
        or_say_so, room = request.consent == "waived", Room()
        attached = await self.attach(request.parts, request, or_say_so=or_say_so, room=room)
        refs, chunks = list(attached.refs), list[ArtifactChunk]()
        try:
            for chunk in request.chunks:
                made = await self.attach(chunk.artifact.parts, or_say_so=or_say_so, room=room)
                refs.extend(made.refs)
                artifact = chunk.artifact.model_copy(update={"parts": made.parts})
                chunks.append(chunk.model_copy(update={"artifact": artifact}))
        except BaseException:
            self._discard(refs)
            raise
        if attached.parts == request.parts and tuple(chunks) == request.chunks:
            return request, ()
        update = {"parts": attached.parts, "chunks": tuple(chunks), "files": ()}
        return request.model_copy(update=update), tuple(refs)

    async def inspect(self, parts: Sequence[Part], what: Attachments) -> tuple[tuple[str, int], ...]:
        """Name and size in bytes of each file that `attach` would attach; nothing is kept.

        Raises:
            FileError: one could not be.
        """
        return await anyio.to_thread.run_sync(self._inspect, parts, what)

    def _inspect(self, parts: Sequence[Part], what: Attachments) -> tuple[tuple[str, int], ...]:
        raw = [(safe_name(part.filename), len(_decoded(part.raw))) for part in parts if part.raw is not None]
        named: list[tuple[str, int]] = []
        own = self._own_files(what)
        for file in what.files:
            with self._open(file, what, own) as (source, size):
                # To the end: no person is asked about a file that is refused then.
                while _read(source, CHUNK_SIZE, file.path):
                    pass
            named.append((safe_name(file.name or Path(file.path).name), size))
        return (*raw, *named)

    @contextmanager
    def given_to(self, task_id: str, refs: Sequence[BlobRef]) -> Iterator[None]:
        """Within it a task is journalled with these files.

        Those that are not the task's in the end are removed: it was there already, or did not come to be.
        """
        try:
            yield
        finally:
            if refs:
                kept = {row.id for row in self._context.database.read(lambda connection: blobs_of(connection, task_id))}
                self._discard([ref for ref in refs if ref.id not in kept])

    def _discard(self, refs: Sequence[BlobRef]) -> None:
        self._context.spool.remove(self._context.spool.path("out", "", ref.id) for ref in refs)

    def _attach(self, parts: Sequence[Part], what: Attachments, refs: list[BlobRef] | None, room: Room) -> list[Part]:
        made: list[Part] = []
        for part in parts:
            if is_blob(part):
                raise FileError("A part names a file that travels with another message.", "Attach the file itself.")
            if part.raw is None:
                made.append(part)
                continue
            content = _decoded(part.raw)
            if len(content) <= min(MAX_INLINE_SIZE, room.inline):
                room.inline -= len(content)
                made.append(part)
            else:
                made.append(self._spooled(Plain(io.BytesIO(content)), part, refs, room))
        own = self._own_files(what)
        for file in what.files:
            with self._open(file, what, own) as (source, _):
                made.append(self._part(source, file, room, refs))
        return made

    def _part(self, source: Source, file: FileArg, room: Room, refs: list[BlobRef] | None) -> Part:
        """A file as a part."""
        name = safe_name(file.name or Path(file.path).name)
        kind = file.media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        limit = min(MAX_INLINE_SIZE, room.inline)
        beginning = _read(source, limit + 1, name)
        if len(beginning) <= limit:
            room.inline -= len(beginning)
            return Part(raw=base64.b64encode(beginning).decode(), filename=name, media_type=kind)
        source.rewind()
        return self._spooled(source, Part(raw="", filename=name, media_type=kind), refs, room)

    # --- the spool -------------------------------------------------------------------------------

    def _spooled(self, source: Source, like: Part, refs: list[BlobRef] | None, room: Room) -> Part:
        if refs is None:
            return Part(text=NOT_KEPT.format(safe_name(like.filename)))
        if room.files <= 0:
            raise FileError(f"More than {MAX_FILES} files in one message.", "Send several, or one archive.")
        blob_id = self._context.fresh_id()
        sealer = FileSealer(blob_id, self._context.randomness(STREAM_KEY_SIZE))
        self._check_room()
        try:
            self._context.spool.create(
                self._context.spool.path("out", "", blob_id), _sealed(source, sealer, like.filename or "the content")
            )
        except OSError as error:
            raise refused(self._context.spool.folder, error) from error
        refs.append(sealer.ref)
        room.files -= 1
        return sealer.ref.to_part(like.filename, like.media_type)

    def _check_room(self) -> None:
        if self._context.spool.free_bytes < MAX_FILE_SIZE:
            raise StorageFullError(str(self._context.spool.folder))

    # --- what may be read ------------------------------------------------------------------------

    @contextmanager
    def _open(self, file: FileArg, what: Attachments, own: frozenset[tuple[int, int]]) -> Iterator[tuple[Source, int]]:
        """A file that may be attached and is none of our `own`, and its size."""
        shown = file.path
        try:
            path = Path(file.path).resolve(strict=True)
            self._check_path(path, shown, what)
            handle = open_resolved(path)
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero in the name
            if (limit := limit_behind(error)) is not None:
                raise limit from error
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise FileError(f"{shown} cannot be attached: {reason}.", "Check the path; give it whole.") from error
        try:
            found = os.fstat(handle)
            self._check_file(found, shown, own, typed=what.consent == "typed")
        except BaseException:
            os.close(handle)
            raise
        with os.fdopen(handle, "rb") as source:
            yield (Plain(source) if what.consent == "typed" else CheckedFile(source, shown)), found.st_size

    def _check_path(self, path: Path, shown: str, what: Attachments) -> None:
        if any(path.is_relative_to(system) for system in _SYSTEM):
            raise FileError(f"{shown} is a part of the system, not a file.")
        is_public = any(path.is_relative_to(_resolved(folder)) for folder in self._public)
        if path.is_relative_to(_resolved(self._private)) and not is_public:
            raise FileError(f"{shown} belongs to this node itself: there are its keys.")
        if what.roots is not None:
            allowed = [*map(Path, what.roots), self._downloads]
            if not any(path.is_relative_to(_resolved(folder)) for folder in allowed):
                listed = ", ".join(map(str, allowed))
                raise FileError(
                    f"{shown} may not be attached: it is not within {listed}.",
                    Remedy(
                        "Put the file there; {other_folder} with: mcp-a2a send AGENT TEXT --file PATH",
                        separator=os.pathsep,
                    ),
                )
        if what.consent != "typed":
            check_name(path, shown)

    def _own_files(self, what: Attachments) -> frozenset[tuple[int, int]]:
        """The files of the data folder, by device and inode: read once per message, as there may be thousands."""
        return frozenset(_inodes(self._private, self._public)) if what.files else frozenset()

    def _check_file(self, found: os.stat_result, shown: str, own: frozenset[tuple[int, int]], *, typed: bool) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise FileError(f"{shown} is not a file.", "Only regular files can be attached; pack a folder first.")
        if (found.st_dev, found.st_ino) in own:
            # By way of a second name, or of a folder that is mounted in two places.
            raise FileError(f"{shown} belongs to this node itself: there are its keys.")
        if found.st_nlink != 1 and not typed:
            # Under its other name it may be a key, or lie outside of every allowed folder.
            raise FileError(f"{shown} may not be attached: the file has another name as well.", "Attach a copy of it.")
        if found.st_size > MAX_FILE_SIZE:
            raise FileError(
                f"{shown} is {found.st_size / MIB:.0f} MiB; at most {MAX_FILE_SIZE // MIB} MiB can be sent.",
                "Compress it, or split it.",
            )


def _inodes(folder: Path, besides: Sequence[Path]) -> Iterator[tuple[int, int]]:
    """Every file below a folder, by what it is and not by its name; but those below others in it."""
    for place, folders, names in os.walk(folder):
        folders[:] = [inner for inner in folders if Path(place, inner) not in besides]
        for name in names:
            try:
                found = Path(place, name).lstat()
            except OSError:
                continue  # it went meanwhile
            yield found.st_dev, found.st_ino


def _resolved(folder: Path) -> Path:
    try:
        return folder.expanduser().resolve()
    except (OSError, RuntimeError):
        return folder


def _decoded(raw: str) -> bytes:
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileError("The raw content of a part is not base64.") from error


def _sealed(source: Source, sealer: FileSealer, name: str) -> Iterator[bytes]:
    """A file sealed chunk by chunk; one that grows while it is read ends at the limit."""
    size, chunk = 0, _read(source, CHUNK_SIZE, name)
    while True:
        following = _read(source, CHUNK_SIZE, name) if len(chunk) == CHUNK_SIZE else b""
        size += len(chunk)
        if size > MAX_FILE_SIZE:
            raise FileError(f"{name} is larger than {MAX_FILE_SIZE // MIB} MiB.", "Compress it, or split it.")
        yield sealer.seal(chunk, last=not following)
        if not following:
            return
        chunk = following
