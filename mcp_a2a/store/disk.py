"""Errors of the disk, in our words."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import DiskUnreadableError, HomeUnusableError, StorageFullError
from mcp_a2a.system_limits import file_size_is_limited, limit_behind

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

TRIED_BYTES = 4096
FILES_OF_A_DATABASE = 4
"""File, log, index of the log, and one to spare."""

NO_SPACE_BYTES = 256 * 1024
"""With less than this free, an input or output error means that the disk is full."""

RESERVE_BYTES = 16 * 1024 * 1024
"""Bytes left free by a database that fills a disk. With nothing free SQLite can neither delete a row nor bring its log
into the database: it would stay full for ever."""


def spare(connection: sqlite3.Connection, folder: Path) -> int:
    """The bytes that may still be stored; negative if the reserve is in use.

    Those of the disk and of the database that are free, but for the reserve: of a small disk a quarter.
    """
    disk = shutil.disk_usage(folder)
    (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(disk.free + pages * page_size - min(RESERVE_BYTES, disk.total // 4))


def refused(path: Path, error: OSError) -> McpA2AError:
    """Why a file or folder could not be used, in our words."""
    if error.errno in NO_SPACE:
        return StorageFullError(str(path))
    if error.errno == errno.EISDIR and isinstance(error.filename, str):
        there = Path(error.filename)
        return HomeUnusableError(str(there.parent), f"{there.name} in it is a folder", f"Move {there} away.")
    return limit_behind(error) or _not_usable(path, error.strerror or str(error))


def unusable(path: Path, error: sqlite3.Error) -> McpA2AError:
    """An error of SQLite about the disk, in our words."""
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the details of an extended code
    if kind == sqlite3.SQLITE_FULL:
        return StorageFullError(str(path))
    cause = _cause(path.parent) if kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) else None
    if kind == sqlite3.SQLITE_NOMEM:
        cause = OSError(errno.ENOMEM, "")
    if cause is None and is_unreadable(error):
        return DiskUnreadableError(str(path))
    return refused(path, cause) if cause is not None else _not_usable(path.parent, str(error))


def is_unreadable(error: Exception) -> bool:
    """True if the disk does not give back what was written to it."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)


def _not_usable(path: Path, reason: str) -> HomeUnusableError:
    """As the system says it; where a file of our folder belongs to another user, that is why."""
    foreign = None
    if hasattr(os, "getuid"):
        with suppress(OSError):  # a disk that was pulled out, or a server that is gone, does not even say what is there
            foreign = next((one.name for one in path.iterdir() if one.stat().st_uid != os.getuid()), None)
    return HomeUnusableError(str(path), reason if foreign is None else f"{foreign} in it belongs to another user")


def _cause(folder: Path) -> OSError | None:
    """SQLite does not say why the system refused: ask the system for the same."""
    try:
        with ExitStack() as files:
            for _ in range(FILES_OF_A_DATABASE):
                files.enter_context(tempfile.TemporaryFile(dir=folder)).write(bytes(TRIED_BYTES))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return error if error.errno in NO_SPACE or limit_behind(error) is not None else None
    if free < NO_SPACE_BYTES:
        return OSError(errno.ENOSPC, "")
    return OSError(errno.EFBIG, "") if file_size_is_limited() else None
