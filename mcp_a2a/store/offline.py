"""Reads the database of an identity that no process runs, without writing a byte.

Readers share the identity's lock, so no node starts meanwhile, and any number of readers read at once. SQLite is told
that the file does not change: it makes no log and no index of one. Everything unusual is left to a node that starts:
a database of another version, one that was not in order at the last look, or whose log a crash has left.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from mcp_a2a.store.checked import is_checked
from mcp_a2a.store.database import Database
from mcp_a2a.store.guard import guard
from mcp_a2a.store.schema import VERSION

DATABASE = "node.db"
"""The file in the folder of an identity."""

TRIES, PAUSE_SECONDS = 20, 0.05
"""A process that only stood in for the identity leaves as soon as it was asked."""


class NotStillError(Exception):
    """A node has to start: one runs already, or has something to put in order first."""


@contextmanager
def still_database(path: Path, lock: Path) -> Iterator[Database | None]:
    """The database for reading, while the context lasts; None where there never was one.

    Raises:
        NotStillError: it cannot be read so, or was written to meanwhile, and what was read counts for nothing.
    """
    if _is_missing(path):
        yield None
        return
    held = _shared(lock)
    folder = guard(lock.parent, shared=True)
    try:
        if folder is None:
            raise NotStillError("another process has the folder")
        with closing(_connected(path)) as connection:
            try:
                yield Database(path, None, connection)
            finally:
                if not is_checked(path):  # a program that knows no lock of ours: half of what was read may be newer
                    raise NotStillError("a database that changed while it was read")
    finally:
        if folder is not None:
            folder.release()
        os.close(held)


def _is_missing(path: Path) -> bool:
    """True if there is neither a database nor what is left of one."""
    try:
        names = [file.name for file in path.parent.iterdir()]
    except FileNotFoundError:
        return True
    except OSError as error:
        raise NotStillError(str(error)) from error
    return not any(name.startswith(path.name) for name in names)


def _shared(lock: Path) -> int:
    """Hold the lock together with other readers: flock(2), as `node.ipc.owner` has it for itself."""
    try:
        import fcntl  # noqa: PLC0415  not there on Windows
    except ImportError as error:
        raise NotStillError("no shared locks") from error
    try:
        held = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise NotStillError(str(error)) from error
    for _ in range(TRIES):
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            time.sleep(PAUSE_SECONDS)
        else:
            return held
    os.close(held)
    raise NotStillError("another process has the lock")


def _connected(path: Path) -> sqlite3.Connection:
    if not is_checked(path) or _has_log(path):
        raise NotStillError("a database that has to be put in order first")
    connection: sqlite3.Connection | None = None
    try:
        uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise NotStillError(str(error)) from error
    if version != VERSION:
        connection.close()
        raise NotStillError("a database of another version")
    return connection


def _has_log(path: Path) -> bool:
    """True if a process that ended suddenly has left what it had committed beside the file."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise NotStillError(str(error)) from error
