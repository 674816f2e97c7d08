"""What the disk said, in our words."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from mcp_a2a.errors import HomeUnusableError, StorageFullError

NO_SPACE_BYTES = 256 * 1024
"""With less than this free, an input or output error means that the disk is full."""

RESERVE_BYTES = 16 * 1024 * 1024
"""What is left free where a database fills a disk. With nothing free SQLite can neither delete a row nor bring its log
into the database: it would stay full for ever."""


def spare(connection: sqlite3.Connection, folder: Path) -> int:
    """How many bytes more may be stored; negative where the reserve is in use.

    Those of the disk and of the database that are free, but for the reserve: of a small disk a quarter.
    """
    disk = shutil.disk_usage(folder)
    (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(disk.free + pages * page_size - min(RESERVE_BYTES, disk.total // 4))


def unusable(path: Path, error: sqlite3.Error) -> HomeUnusableError | StorageFullError:
    """What SQLite says about the disk, in our words."""
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the details of an extended code
    no_space = kind == sqlite3.SQLITE_IOERR and shutil.disk_usage(path.parent).free < NO_SPACE_BYTES
    if kind == sqlite3.SQLITE_FULL or no_space:
        return StorageFullError(str(path))
    return HomeUnusableError(str(path.parent), str(error))
