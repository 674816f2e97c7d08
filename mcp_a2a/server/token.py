"""The bearer token of the HTTP server: made once, kept beside the identity, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import written_aside

TOKEN_FILE = "http.token"  # noqa: S105  a file name
_TOKEN_BYTES = 32


@dataclass(frozen=True)
class Token:
    """The token, where it is kept, and whether it was made just now."""

    value: str
    path: Path
    new: bool

    @override
    def __repr__(self) -> str:
        return f"Token(path={self.path})"


def load_token(folder: Path) -> Token:
    """The token of this identity; the first call makes it.

    Raises:
        ConfigurationError: others can read it, or it is damaged.
        HomeUnusableError: the folder does not allow it.
    """
    path = folder / TOKEN_FILE
    try:
        if not path.exists() and _write_once(path, secrets.token_urlsafe(_TOKEN_BYTES)):
            return Token(_read(path), path, new=True)
        return Token(_read(path), path, new=False)
    except OSError as error:
        raise refused(folder, error) from error


def _write_once(path: Path, value: str) -> bool:
    # Linked into place when it is complete: of two servers that start together, both use the token of the first.
    with written_aside(path, value.encode() + b"\n") as aside:
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
    return True


def _read(path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(
            f"Others can read the HTTP token {path} (mode {mode:04o}), so it is not used.",
            "Delete it; the next start makes a new one.",
        )
    value = path.read_text(encoding="ascii", errors="replace").strip()
    if len(value) < _TOKEN_BYTES or not value.isascii():
        raise ConfigurationError(f"The HTTP token {path} is damaged.", "Delete it; the next start makes a new one.")
    return value
