"""Files that others send us: their pieces, put into place as they come, and checked when all are here.

Nothing is put on the disk before it is clear that its sender may, and that there is room for the whole file. A file
counts when it was opened to its end with the key of the message that names it: then it is what was signed.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from enum import Enum, auto
from functools import partial

import anyio.to_thread

from mcp_a2a.errors.protocol import RemoteProtocolError, SealBrokenError
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.refusal import Refusal
from mcp_a2a.protocol.blob import BlobRef, check_piece_untrusted, open_file_untrusted
from mcp_a2a.protocol.model import TaskState, TaskStatus
from mcp_a2a.protocol.payload import BlobBody, Payload, TaskFailure, UpdateBody
from mcp_a2a.protocol.strict_json import base64url_untrusted
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.blobs import (
    DAMAGED,
    BlobRow,
    Wanted,
    begin_in,
    bytes_coming,
    bytes_in,
    find_in,
    make_room,
    mark_checked,
    mark_piece,
    new_in,
)
from mcp_a2a.store.records import find_task
from mcp_a2a.store.spool import sealed_chunks

logger = logging.getLogger(__name__)

MIB = 1024 * 1024
MAX_FILES_PER_PEER = 500
MAX_BYTES_PER_PEER = 1024 * MIB
MAX_FILES = 5_000
MAX_BYTES = 4 * 1024 * MIB
"""The most bytes for files of others, those on their way counted whole."""


NOT_ADMITTED = "not_admitted"
"""Only said here: its sender hears that it is held."""


FILES_RETRY_SECONDS = 0.5
"""Seconds after which a message that overtook its files, or whose files are being checked, is asked for again."""
GONE_AFTER = 20
"""A sender brings the files first. After so many times nothing of them is to be waited for."""
MAX_COUNTED = 1_000
DAMAGED_FILE = "The agent answered with a file that did not arrive as it was sent: its length or SHA-256 differ."


class FilesState(Enum):
    """The state of the files that a message names: all here and sound, some missing, or one damaged."""

    WHOLE = auto()
    MISSING = auto()
    DAMAGED = auto()


class Pieces:
    """Takes files in."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._checking: set[str] = set()
        """Ids of messages whose files are being checked."""
        self._came_without: dict[str, int] = {}
        """The number of times that a message came before any piece of its file, by its id."""

    def take(self, connection: sqlite3.Connection, payload: Payload, now: float, *, admitted: bool) -> None:
        """Put a piece into its place, within a transaction.

        Raises:
            Refusal: its sender may not send it (`NOT_ADMITTED`), or there is no room.
            RemoteProtocolError: it cannot be a piece of that file.
            OSError: the disk does not take it; it was not acknowledged.
        """
        body, sender = payload.body, str(payload.from_)
        if not isinstance(body, BlobBody):
            raise TypeError(payload.type)
        record = find_task(connection, payload.task)
        if not admitted and not _expected(record, sender):
            raise Refusal(NOT_ADMITTED)
        if record is not None and record.done:
            return  # no file waits for this piece any more
        data = base64url_untrusted(body.data)
        check_piece_untrusted(data, body.piece, body.pieces)
        row = find_in(connection, sender, body.blob)
        if row is None:
            row = self._begin(connection, payload, body, now, for_result=_is_result(record, sender))
        if (row.task, row.pieces) != (payload.task, body.pieces):
            raise RemoteProtocolError("A piece of a file that is another one by now.")
        if not row.has(body.piece):
            self._context.spool.put_piece(self._context.spool.path("in", sender, body.blob), body.piece, data)
            mark_piece(connection, row, body.piece)

    def _begin(
        self, connection: sqlite3.Connection, payload: Payload, body: BlobBody, now: float, *, for_result: bool
    ) -> BlobRow:
        row = new_in(str(payload.from_), body.blob, payload.task, body.pieces, now)
        self._make_room(connection, row, for_result=for_result)
        begin_in(connection, row)
        return row

    def _make_room(self, connection: sqlite3.Connection, row: BlobRow, *, for_result: bool) -> None:
        """Let the oldest files make room for this one.

        Raises:
            Refusal: those that may go are not enough.
        """
        dropped: list[BlobRow] = []
        files, size, all_files, all_size = bytes_in(connection, row.peer)
        for wanted in (
            Wanted(files + 1 - MAX_FILES_PER_PEER, size + row.size - MAX_BYTES_PER_PEER, row.peer),
            Wanted(all_files + 1 - MAX_FILES, all_size + row.size - MAX_BYTES),
        ):
            gone = sum(old.size for old in dropped)
            left = Wanted(wanted.files - len(dropped), wanted.size - gone, wanted.peer)
            some = make_room(connection, left, for_result=for_result)
            if len(some) < left.files or sum(old.size for old in some) < left.size:
                raise Refusal("file_quota")
            dropped += some
        missing = row.size + bytes_coming(connection) - self._context.spool.free_bytes
        short = Wanted(0, missing - sum(old.size for old in dropped))
        some = make_room(connection, short, for_result=for_result)
        if sum(old.size for old in some) < short.size:
            raise Refusal("file_no_room")
        self._context.spool.remove(
            self._context.spool.path(old.direction, old.peer, old.id) for old in (*dropped, *some)
        )

    # --- messages that name files ----------------------------------------------------------------

    async def awaited(self, payload: Payload, refs: Sequence[BlobRef]) -> Payload:
        """The message, once its files are here; a result whose files are not what it says has become a failure.

        Raises:
            Refusal: they are not here yet, or are not what it says.
        """
        if not self._matters(payload):
            return payload
        if payload.id in self._checking:
            raise Refusal("busy", FILES_RETRY_SECONDS)
        self._checking.add(payload.id)
        try:
            state = await self.check(str(payload.from_), payload.task, refs)
        finally:
            self._checking.discard(payload.id)
        if state is FilesState.MISSING:
            self._count(payload, refs)
            raise Refusal("busy", FILES_RETRY_SECONDS)
        return payload if state is FilesState.WHOLE else _failed(payload)

    def _count(self, payload: Payload, refs: Sequence[BlobRef]) -> None:
        sender, read = str(payload.from_), self._context.database.read
        if all(read(partial(find_in, peer=sender, blob_id=ref.id)) is not None for ref in refs):
            return  # it is on its way
        if len(self._came_without) >= MAX_COUNTED:
            self._came_without.clear()
        self._came_without[payload.id] = self._came_without.get(payload.id, 0) + 1

    def are_gone(self, payload: Payload) -> bool:
        """True if a message has come so often without its files that they do not come by themselves."""
        if self._came_without.get(payload.id, 0) < GONE_AFTER:
            return False
        del self._came_without[payload.id]
        return True

    def _matters(self, payload: Payload) -> bool:
        """True if the message may change anything: of one that came before, the files may be gone."""
        record = self._context.database.read(lambda connection: find_task(connection, payload.task))
        return payload.type == "task" if record is None else payload.type != "task" and not record.done

    # --- checking --------------------------------------------------------------------------------

    async def check(self, sender: str, task: str, refs: Sequence[BlobRef]) -> FilesState:
        """Check that all these files of a message are here, and are the ones that it names."""
        for ref in refs:
            row = self._context.database.read(partial(find_in, peer=sender, blob_id=ref.id))
            if row is None or row.task != task or not row.complete:
                # A file of another length would never be complete: the message and its pieces contradict each other.
                wrong = row is not None and (row.task != task or row.pieces != ref.pieces)
                return FilesState.DAMAGED if wrong else FilesState.MISSING
            if row.checked is None:
                row = await self._open(row, ref)
            if row is None:
                return FilesState.MISSING
            if row.checked != ref.sha256 or row.pieces != ref.pieces:
                return FilesState.DAMAGED
        return FilesState.WHOLE

    async def _open(self, row: BlobRow, ref: BlobRef) -> BlobRow | None:
        """Open a file to its end, and remember the outcome; None when it is no longer there."""
        path = self._context.spool.path("in", row.peer, row.id)

        def read_all() -> str:
            for _ in open_file_untrusted(ref, sealed_chunks(path)):
                pass
            return ref.sha256

        try:
            checked = await anyio.to_thread.run_sync(read_all)
        except SealBrokenError:
            checked = DAMAGED
        except FileNotFoundError:
            return None

        def remember(connection: sqlite3.Connection) -> BlobRow | None:
            mark_checked(connection, row.peer, row.id, checked)
            return find_in(connection, row.peer, row.id)

        return await self._context.database.write(remember)

    def missing(self, connection: sqlite3.Connection, sender: str, refs: Sequence[BlobRef]) -> bool:
        """True if some of these files were not here and checked at this moment."""
        rows = (find_in(connection, sender, ref.id) for ref in refs)
        return any(row is None or row.checked != ref.sha256 for row, ref in zip(rows, refs, strict=True))


def _failed(payload: Payload) -> Payload:
    logger.warning("a file of %s from %s is not what its message says", payload.task, payload.from_)
    if not isinstance(payload.body, UpdateBody):
        raise Refusal("file_damaged")
    body = UpdateBody(
        status=TaskStatus(state=TaskState.FAILED),
        error=TaskFailure(code="file_damaged", message=DAMAGED_FILE),
        attempt=payload.body.attempt,
    )
    return payload.model_copy(update={"body": body})


def _is_result(record: Task | None, sender: str) -> bool:
    """True if a file belongs to what was asked for here."""
    return record is not None and record.sent and record.peer == sender


def _expected(record: Task | None, sender: str) -> bool:
    """True if a file may come without its sender being admitted: we asked it for something, or it had been."""
    return record is not None and record.peer == sender and not record.done
