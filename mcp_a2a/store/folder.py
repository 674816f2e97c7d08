"""The private folder that everything of an identity lives in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mcp_a2a.errors import HomeUnusableError
from mcp_a2a.store.disk import refused


def open_folder(folder: Path) -> Path:
    """Create a private folder and the missing ones above it, or check that it is one.

    Raises:
        HomeUnusableError: it cannot be made or used, is not a folder, or belongs to somebody else.
    """
    try:
        for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        _check(folder)
    except OSError as error:
        raise refused(folder, error) from error
    return folder


def _check(folder: Path) -> None:
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise HomeUnusableError(str(folder), "it is not a folder")
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            raise HomeUnusableError(str(folder), "it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise HomeUnusableError(str(folder), "it is not writable")
