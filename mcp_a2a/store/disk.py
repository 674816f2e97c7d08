"""What the disk said, in our words."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from mcp_a2a.errors import HomeUnusableError, StorageFullError

NO_SPACE_BYTES = 256 * 1024
"""With less than this free, an input or output error means that the disk is full."""


def unusable(path: Path, error: sqlite3.Error) -> HomeUnusableError | StorageFullError:
    """What SQLite says about the disk, in our words."""
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the details of an extended code
    no_space = kind == sqlite3.SQLITE_IOERR and shutil.disk_usage(path.parent).free < NO_SPACE_BYTES
    if kind == sqlite3.SQLITE_FULL or no_space:
        return StorageFullError(str(path))
    return HomeUnusableError(str(path.parent), str(error))
