"""The name that a person has given to an identity (`mcp-a2a name`): a file in its folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mcp_a2a.protocol.naming import is_name
from mcp_a2a.store.disk import refused

FILE = "name"


def read_name(folder: Path) -> str | None:
    """The name that was kept; None where there is none, or another user may have written it."""
    try:
        with os.fdopen(os.open(folder / FILE, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            if hasattr(os, "getuid") and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022):
                return None
            name = file.read(1024).strip()
    except (OSError, UnicodeDecodeError):
        return None
    return name if is_name(name) else None


def keep_name(folder: Path, name: str | None) -> None:
    """Keep a name for the identity of this folder, or none.

    Raises:
        HomeUnusableError, StorageFullError: the folder does not allow it.
    """
    path, aside = folder / FILE, folder / f"{FILE}.{os.getpid()}"
    try:
        if name is None:
            path.unlink(missing_ok=True)
            return
        aside.unlink(missing_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise refused(folder, error) from error
