"""The name that a person has given to an identity (`mcp-a2a name`): a file in its folder."""

from __future__ import annotations

from pathlib import Path

from mcp_a2a.protocol.naming import why_not_called
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import read_own, replace_file

FILE = "name"
MAX_BYTES = 4096
"""More of the file is not read: a name has 32 letters."""


def read_name(folder: Path) -> str | None:
    """The name that was kept; None where there is none, or another user may have written it."""
    try:
        name = read_own(folder / FILE, MAX_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return name if why_not_called(name) is None else None


def keep_name(folder: Path, name: str | None) -> None:
    """Keep a name for the identity of this folder, or none.

    Raises:
        HomeUnusableError, StorageFullError: the folder does not allow it.
    """
    try:
        if name is None:
            (folder / FILE).unlink(missing_ok=True)
        else:
            replace_file(folder / FILE, f"{name}\n".encode())
    except OSError as error:
        raise refused(folder, error) from error
