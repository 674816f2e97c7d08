"""The files of tasks: which there are, how to read them, where to write them, and when they go."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import anyio.to_thread

from mcp_a2a.api.files import FileGrant, FileView, SavedFile, SavedFilesView, TransferView
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import HomeUnusableError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.tasks import FileError, NoFilesError
from mcp_a2a.node.files.received import content_of
from mcp_a2a.node.files.safe_open import opened_folder, write_new
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.plurals import many
from mcp_a2a.protocol.blob import BlobRef, is_blob, numbered, safe_name
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.replay import MAX_CLOCK_SKEW_SECONDS, MAX_LIFETIME_SECONDS
from mcp_a2a.protocol.strict_json import to_base64url
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.text import preview
from mcp_a2a.store.blobs import BlobRow, all_blobs, blobs_of, forget_blobs, mark_saved, pieces_waiting
from mcp_a2a.store.folder import open_folder

UNCLAIMED_SECONDS = MAX_LIFETIME_SECONDS + MAX_CLOCK_SKEW_SECONDS
"""A file without a task is kept so long: its message may come until then, and its pieces are not sent twice."""

MAX_NUMBERED = 1_000


class Files:
    """The files of tasks, as far as they are here."""

    def __init__(self, context: Context, downloads: Path) -> None:
        self._context = context
        self._downloads = downloads

    # --- looking ---------------------------------------------------------------------------------

    def received(self, record: Task) -> tuple[FileGrant, ...]:
        """The files of the other side: with the request of a received task, with the result of a sent one."""
        return self._grants(record, _results(record) if record.sent else _requests(record), theirs=True)

    def all(self, record: Task) -> tuple[FileGrant, ...]:
        """The files of both sides."""
        own = _requests(record) if record.sent else _results(record)
        return (*self.received(record), *self._grants(record, own, theirs=False))

    def _grants(self, record: Task, parts: Iterable[Part], *, theirs: bool) -> tuple[FileGrant, ...]:
        named = [part for part in parts if part.raw is not None or part.url is not None]
        if not named:
            return ()
        direction = "in" if theirs and record.counterpart == "sealed" else "out"
        rows = {row.id: row for row in self._rows(record.id) if row.direction == direction}
        grants = [_raw(part) if part.raw is not None else self._of(part, rows) for part in named]
        return tuple({grant.file_id: grant for grant in grants}.values())

    def _rows(self, task_id: str) -> list[BlobRow]:
        return self._context.database.read(lambda connection: blobs_of(connection, task_id))

    def _of(self, part: Part, rows: dict[str, BlobRow]) -> FileGrant:
        """A file that is named by a URL: one of ours, or somewhere on the web."""
        url = part.url or ""
        if not is_blob(part):
            name = safe_name(part.filename or url.partition("?")[0])
            return FileGrant(file_id=_digest(url.encode()), name=name, media_type=_kind(part), here=False)
        try:
            ref = BlobRef.of_untrusted(part)
        except RemoteProtocolError:
            ref = None
        if ref is None:
            return FileGrant(file_id=_digest(url.encode()), name=safe_name(part.filename), here=False)
        row = rows.get(ref.id)
        path = self._context.spool.path(row.direction, row.peer, row.id) if row is not None else None
        return FileGrant(
            file_id=ref.id,
            name=safe_name(part.filename),
            media_type=_kind(part),
            size=ref.size,
            sha256=ref.sha256,
            here=row is not None and row.checked == ref.sha256 and path is not None and path.exists(),
            path=str(path) if path is not None else None,
            key=to_base64url(ref.key + ref.header),
        )

    def transfer(self, record: Task) -> TransferView | None:
        """The progress of the files of a task in flight, in bytes; None if none is."""
        rows = self._rows(record.id) if _may_move(record) else []
        if not rows:
            return None
        waiting = self._context.database.read(lambda connection: pieces_waiting(connection, record.id))
        ours = [row for row in rows if row.direction == "out"]
        if any(row.id in waiting for row in ours):
            moving = next(row for row in ours if row.id in waiting)
            done = sum(_share(row, row.pieces - waiting.get(row.id, 0)) for row in ours)
            total = sum(row.size for row in ours)
            return TransferView(direction="sending", file=self._name(record, moving.id), done=done, total=total)
        coming = [row for row in rows if row.direction == "in"]
        if record.done or all(row.complete for row in coming):
            return None
        done, total = sum(_share(row, row.done) for row in coming), sum(row.size for row in coming)
        return TransferView(direction="receiving", done=done, total=total)

    def _name(self, record: Task, blob_id: str) -> str | None:
        parts = (*_requests(record), *_results(record))
        return next((safe_name(part.filename) for part in parts if part.url == f"blob:{blob_id}"), None)

    # --- writing ---------------------------------------------------------------------------------

    async def save(self, record: Task, folder: str | None) -> SavedFilesView:
        """Write what the other side sent, as far as it is here, under new names.

        Raises:
            FileError: there is nothing, none of it is here, or it cannot be written.
        """
        grants = [grant for grant in self.received(record) if grant.size is not None]
        if not grants:
            raise NoFilesError(record.id)
        here = [grant for grant in grants if grant.here]
        target = Path(folder) if folder is not None else self._downloads
        try:
            saved = await anyio.to_thread.run_sync(_save_all, here or grants, target)
        except OSError as error:
            raise _unwritable(target, error.strerror or str(error)) from error
        now = self._context.clock()
        self._context.database.enqueue_lazily(lambda connection: mark_saved(connection, record.id, now))
        return SavedFilesView(
            task_id=record.id,
            folder=str(target),
            files=tuple(saved),
            next=f"{_missing(len(grants) - len(saved))}Open them with care: another agent wrote them.",
        )

    # --- when they go ----------------------------------------------------------------------------

    def tidy(self) -> None:
        """Drop the files that no task refers to any more."""
        now = self._context.clocks.aged()

        def tidy(connection: sqlite3.Connection) -> None:
            rows = forget_blobs(connection, now, UNCLAIMED_SECONDS)
            # Here, where pieces are written too: not a moment later, when one of the same name may have come.
            self._context.spool.remove(self._context.spool.path(row.direction, row.peer, row.id) for row in rows)

        self._context.database.enqueue_lazily(tidy)

    def sweep(self) -> None:
        """At the start: remove what an earlier process left between two steps."""
        spool = self._context.spool

        def known(connection: sqlite3.Connection) -> list[Path]:
            return [spool.path(row.direction, row.peer, row.id) for row in all_blobs(connection)]

        spool.remove(spool.strays(self._context.database.read(known)))


def _requests(record: Task) -> Iterator[Part]:
    for message in record.said:
        yield from message.parts


def _results(record: Task) -> Iterator[Part]:
    for artifact in record.artifacts:
        yield from artifact.parts
    yield from record.status.message.parts if record.status.message else ()


def _may_move(record: Task) -> bool:
    """True if files of it may be on their way: a look that costs nothing, for the many tasks that have none."""
    if record.counterpart != "sealed" or (record.sent and record.done):
        return False
    return record.sent or any(map(is_blob, _results(record)))


def _share(row: BlobRow, pieces: int) -> int:
    return row.size * pieces // row.pieces


def _raw(part: Part) -> FileGrant:
    try:
        content = base64.b64decode(part.raw or "")
    except (binascii.Error, ValueError):
        content = b""
    return FileGrant(
        file_id=_digest(content + (part.filename or "").encode(errors="replace")),
        name=safe_name(part.filename),
        media_type=_kind(part),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        raw=base64.b64encode(content).decode(),
    )


def _kind(part: Part) -> str | None:
    return preview(part.media_type, 128) if part.media_type else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def shown(grants: Sequence[FileGrant]) -> tuple[FileView, ...]:
    """The files without the way to read them."""
    return tuple(grant.shown() for grant in grants)


def _missing(count: int) -> str:
    """A sentence about files that could not be written, because they are not here."""
    if not count:
        return ""
    missing = many(count, "other file of this task is", "other files of this task are")
    return f"{missing} not here: files of finished tasks are kept only for a while. "


_ELSEWHERE = Remedy("{name_folder}")


def _unwritable(folder: Path, reason: str) -> FileError:
    return FileError(f"The files could not be written to {folder}: {reason}.", _ELSEWHERE)


def _save_all(grants: Sequence[FileGrant], folder: Path) -> list[SavedFile]:
    if not folder.is_dir():
        try:
            open_folder(folder)
        except HomeUnusableError as error:  # it is no data folder
            raise _unwritable(folder, error.reason) from error
    saved: list[SavedFile] = []
    with opened_folder(folder) as place:
        try:
            for grant in grants:
                saved.append(_save(grant, folder, place))  # noqa: PERF401  those before a failure are to be known
        except (McpA2AError, OSError):
            for file in saved:
                with suppress(FileNotFoundError):
                    os.unlink(file.name, dir_fd=place)
            raise
    return saved


def _save(grant: FileGrant, folder: Path, place: int) -> SavedFile:
    for number in range(1, MAX_NUMBERED):
        name = grant.name if number == 1 else numbered(grant.name, number)
        try:
            write_new(name, content_of(grant), place)
        except FileExistsError:
            continue
        return SavedFile(
            name=name,
            path=str(folder / name),
            size=grant.size or 0,
            media_type=grant.media_type,
            sha256=grant.sha256 or "",
        )
    raise FileError(f"There are {MAX_NUMBERED} files named {grant.name} in {folder}.", _ELSEWHERE)
