"""Work that an identity has left while its node is down: messages to send and answers to await, read from the disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mcp_a2a.store.schema import VERSION

Stamp = tuple[tuple[int, int] | None, ...]


def stamp_of(database: Path) -> Stamp:
    """Changes whenever something was written to this database."""
    return tuple(_stamp(path) for path in (database, _log(database)))


def has_business(database: Path) -> bool:
    """True if a database that no process has open holds something to be sent, or a task whose answer is awaited.

    Nothing is written, not even by SQLite: its owner reads the whole of a file that changed. One of another version has
    none: to migrate it is for its own process, which may be of that version. The caller holds the lock of the identity.

    Raises:
        sqlite3.Error: it cannot be read; that is for its owner to mend.
    """
    size = (_stamp(_log(database)) or (0, 0))[1]
    how = "mode=ro" if size else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?{how}", uri=True)) as connection:
        return connection.execute("PRAGMA user_version").fetchone() == (VERSION,) and anything_waits(connection)


def anything_waits(connection: sqlite3.Connection) -> bool:
    """True if something is to be sent, or the answer to a task is awaited; a question waits for its person."""
    row = connection.execute(
        "SELECT EXISTS(SELECT 1 FROM outbox) OR EXISTS("
        "SELECT 1 FROM tasks WHERE state IN ('TASK_STATE_SUBMITTED', 'TASK_STATE_WORKING') AND direction='sent' "
        "AND forgotten IS NULL)"  # for the index: what is open is not forgotten
    ).fetchone()
    return bool(row[0])


def _log(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
