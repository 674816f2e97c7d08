"""Files beside messages: what is here of each, and what may go."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from mcp_a2a.protocol.blob import PIECE_SIZE, BlobRef
from mcp_a2a.store.schema import ENDED

DAY = 86_400.0

DAMAGED = "damaged"
"""In place of a SHA-256: what came is not what its message describes."""


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A file of a task."""

    direction: str
    peer: str
    id: str
    task: str
    pieces: int
    size: int
    have: bytes
    checked: str | None
    created: float

    @property
    def done(self) -> int:
        """The number of pieces that are here."""
        return int.from_bytes(self.have, "little").bit_count()

    @property
    def complete(self) -> bool:
        """True if all of them are."""
        return self.done == self.pieces

    def has(self, number: int) -> bool:
        """True if that piece is."""
        return bool(int.from_bytes(self.have, "little") >> number & 1)


_COLUMNS = "direction, peer, id, task, pieces, size, have, checked, created"


def put_out(connection: sqlite3.Connection, refs: tuple[BlobRef, ...], task: str, now: float) -> None:
    """Files of ours that a task names; they are here as a whole."""
    connection.executemany(
        f"INSERT OR IGNORE INTO blobs({_COLUMNS}) VALUES ('out', '', ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        [
            (ref.id, task, ref.pieces, ref.sealed_size, _all(ref.pieces), ref.sha256, now)
            for ref in refs
        ],
    )  # fmt: skip


def begin_in(connection: sqlite3.Connection, row: BlobRow) -> None:
    """The first piece of a file is coming."""
    connection.execute(
        f"INSERT INTO blobs({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  the names are ours
        (row.direction, row.peer, row.id, row.task, row.pieces, row.size, row.have, row.checked, row.created),
    )


def mark_piece(connection: sqlite3.Connection, row: BlobRow, number: int) -> None:
    """Note that a piece is on the disk."""
    have = (int.from_bytes(row.have, "little") | 1 << number).to_bytes(len(row.have), "little")
    connection.execute("UPDATE blobs SET have=? WHERE direction='in' AND peer=? AND id=?", (have, row.peer, row.id))


def mark_checked(connection: sqlite3.Connection, peer: str, blob_id: str, checked: str) -> None:
    """The file was opened to its end."""
    connection.execute("UPDATE blobs SET checked=? WHERE direction='in' AND peer=? AND id=?", (checked, peer, blob_id))


def find_in(connection: sqlite3.Connection, peer: str, blob_id: str) -> BlobRow | None:
    """A file that this peer sends or has sent."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM blobs WHERE direction='in' AND peer=? AND id=?",  # noqa: S608
        (peer, blob_id),
    ).fetchone()
    return BlobRow(*row) if row else None


def blobs_of(connection: sqlite3.Connection, task: str) -> list[BlobRow]:
    """All files of a task."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM blobs WHERE task=? ORDER BY created, id", (task,)).fetchall()  # noqa: S608
    return [BlobRow(*row) for row in rows]


def all_blobs(connection: sqlite3.Connection) -> list[BlobRow]:
    """The records of all files."""
    return [BlobRow(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM blobs")]  # noqa: S608


def bytes_in(connection: sqlite3.Connection, peer: str) -> tuple[int, int, int, int]:
    """The room that files of others take: files and bytes of this peer, files and bytes of all.

    A file that is not complete counts with all that it may become.
    """
    row = connection.execute(
        "SELECT COUNT(*) FILTER (WHERE peer=?), COALESCE(SUM(size) FILTER (WHERE peer=?), 0), COUNT(*),"
        " COALESCE(SUM(size), 0) FROM blobs WHERE direction='in'",
        (peer, peer),
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])


def bytes_coming(connection: sqlite3.Connection) -> int:
    """The bytes that incomplete files of others may yet take."""
    row = connection.execute("SELECT COALESCE(SUM(size), 0) FROM blobs WHERE direction='in' AND checked IS NULL")
    return int(row.fetchone()[0])


def bytes_out(connection: sqlite3.Connection) -> int:
    """The bytes of our own files."""
    return int(connection.execute("SELECT COALESCE(SUM(size), 0) FROM blobs WHERE direction='out'").fetchone()[0])


def pieces_waiting(connection: sqlite3.Connection, task: str) -> dict[str, int]:
    """The number of pieces of each file of a task that have neither been delivered nor stored."""
    rows = connection.execute(
        "SELECT substr(id, 1, 32), COUNT(*) FROM outbox WHERE task=? AND type='blob' AND relay IS NULL GROUP BY 1",
        (task,),
    ).fetchall()
    return {str(blob_id): int(count) for blob_id, count in rows}


def new_in(peer: str, blob_id: str, task: str, pieces: int, now: float) -> BlobRow:
    """A file of which nothing is here yet."""
    return BlobRow("in", peer, blob_id, task, pieces, pieces * PIECE_SIZE, bytes(-(-pieces // 8)), None, now)


def forget_blobs(connection: sqlite3.Connection, now: float, unclaimed_seconds: float) -> list[BlobRow]:
    """Drop the files that no task refers to any more.

    | file | is kept |
    |---|---|
    | of a task that we do not have | as long as its message may still come (ours: a moment) |
    | of a task that is open, or has messages on their way | always |
    | of a task that failed, or was canceled or rejected | a minute |
    | a result of a task that was sent from here; of a task with the web, any file | as long as the task |
    | any other | a day after the task |

    Returns:
        The files that were dropped.
    """
    rows = connection.execute(
        f"""
        DELETE FROM blobs WHERE NOT EXISTS (
          SELECT 1 FROM outbox WHERE outbox.task = blobs.task AND outbox.type <> 'cancel'
        ) AND (
          (NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.id = blobs.task)
            AND created < ? - CASE direction WHEN 'in' THEN ? ELSE 120.0 END)
          OR EXISTS (
            SELECT 1 FROM tasks WHERE tasks.id = blobs.task AND tasks.state IN {ENDED} AND (
              (tasks.state <> 'TASK_STATE_COMPLETED' AND max(tasks.updated, ifnull(tasks.ended, 0)) < ? - 60.0)
              OR (max(tasks.updated, ifnull(tasks.ended, 0)) < ? - ? AND NOT (
                (tasks.direction = 'sent' AND blobs.direction = 'in')
                OR (blobs.direction = 'out' AND tasks.peer NOT LIKE 'did:%')
              ))
            )
          )
        ) RETURNING {_COLUMNS}
        """,  # noqa: S608  the names are ours
        (now, unclaimed_seconds, now, now, DAY),
    ).fetchall()
    return [BlobRow(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The files and bytes that must become free, of one peer's or (with none) of all."""

    files: int
    size: int
    peer: str | None = None


def make_room(connection: sqlite3.Connection, wanted: Wanted, *, for_result: bool) -> list[BlobRow]:
    """Drop files of finished tasks until so much is free, or nothing is left to drop; returns which.

    Those first that were saved elsewhere, then what was sent to us, then results; of each the oldest. Only a result
    takes the place of a result: a file that was sent unasked pushes out none of those.
    """
    rows = connection.execute(
        f"SELECT {', '.join(f'blobs.{name}' for name in _COLUMNS.split(', '))} FROM blobs"  # noqa: S608
        " JOIN tasks ON tasks.id = blobs.task"
        f" WHERE blobs.direction='in' AND tasks.state IN {ENDED} AND (? OR tasks.direction = 'received')"
        " AND (? IS NULL OR blobs.peer = ?)"
        " ORDER BY blobs.saved IS NULL, tasks.direction = 'sent', tasks.updated, blobs.created",
        (for_result, wanted.peer, wanted.peer),
    ).fetchall()
    dropped: list[BlobRow] = []
    files, size = wanted.files, wanted.size
    for row in (BlobRow(*fields) for fields in rows):
        if files <= 0 and size <= 0:
            break
        connection.execute("DELETE FROM blobs WHERE direction='in' AND peer=? AND id=?", (row.peer, row.id))
        dropped.append(row)
        files, size = files - 1, size - row.size
    return dropped


def make_room_out(connection: sqlite3.Connection, size: int) -> list[BlobRow]:
    """Drop files of ours until so many bytes are free, or nothing is left to drop; returns which.

    Those of finished tasks that are not on their way, the oldest first: they are kept for those who ask once more.
    """
    rows = connection.execute(
        f"SELECT {', '.join(f'blobs.{name}' for name in _COLUMNS.split(', '))} FROM blobs"  # noqa: S608
        f" JOIN tasks ON tasks.id = blobs.task WHERE blobs.direction='out' AND tasks.state IN {ENDED}"
        " AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.task = blobs.task AND outbox.type <> 'cancel')"
        " ORDER BY tasks.updated, blobs.created",
    ).fetchall()
    dropped: list[BlobRow] = []
    for row in (BlobRow(*fields) for fields in rows):
        if size <= 0:
            break
        connection.execute("DELETE FROM blobs WHERE direction='out' AND id=?", (row.id,))
        dropped.append(row)
        size -= row.size
    return dropped


def mark_saved(connection: sqlite3.Connection, task: str, now: float) -> None:
    """The files that came with a task were written elsewhere: they are the first to make room."""
    connection.execute("UPDATE blobs SET saved=? WHERE direction='in' AND task=?", (now, task))


def drop_blobs_of(connection: sqlite3.Connection, task: str) -> list[BlobRow]:
    """Drop all files of a task, and return which."""
    rows = connection.execute(f"DELETE FROM blobs WHERE task=? RETURNING {_COLUMNS}", (task,)).fetchall()  # noqa: S608
    return [BlobRow(*row) for row in rows]


def _all(pieces: int) -> bytes:
    return ((1 << pieces) - 1).to_bytes(-(-pieces // 8), "little")
