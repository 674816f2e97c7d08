"""Who may talk A2A to an identity besides its owner: a folder of hashed tokens, a file per name.

A token is shown once, when it is given out. What is kept is its hash, so a copy of the folder lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mcp_a2a.errors import ConfigurationError, HomeUnusableError
from mcp_a2a.store.folder import open_folder

FOLDER = "callers"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
TOKEN_BYTES = 32
OWNER = "owner"
"""Nobody else may be called that."""


@dataclass(frozen=True)
class CallerRow:
    """A caller, and since when it may call (ISO 8601 UTC)."""

    name: str
    since: str


class CallerFolder:
    """The callers of one identity."""

    def __init__(self, identity_folder: Path) -> None:
        self._folder = identity_folder / FOLDER
        self._stamp = -1
        self._hashes: dict[str, str] = {}

    def add(self, name: str) -> str:
        """Let a caller in; its token.

        Raises:
            ConfigurationError: the name cannot be one, or is taken.
            HomeUnusableError
        """
        if not NAME.fullmatch(name) or name == OWNER:
            raise ConfigurationError(
                f"{name!r} cannot be the name of a caller.", "Use up to 48 lowercase letters, digits, - and _."
            )
        open_folder(self._folder)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        try:
            handle = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigurationError(
                f"There is a caller {name!r} already.", f"Remove it first: mcp-a2a callers remove {name}"
            ) from None
        except OSError as error:
            raise HomeUnusableError(str(self._folder), error.strerror or str(error)) from error
        try:
            os.write(handle, _hash(token).encode())
        finally:
            os.close(handle)
        return token

    def remove(self, name: str) -> None:
        """Let a caller in no more, from its next request on.

        Raises:
            ConfigurationError: there is none of that name.
        """
        if name not in (path.name for path in self._files()):
            raise ConfigurationError(f"There is no caller {name[:64]!r}.", "List them: mcp-a2a callers")
        (self._folder / name).unlink(missing_ok=True)

    def rows(self) -> list[CallerRow]:
        """Every caller, by name."""
        return [CallerRow(path.name, _since(path)) for path in self._files()]

    def name_of(self, token: str) -> str | None:
        """The caller that this token was given out to; None for one that was not, or no longer is."""
        self._read()
        given = _hash(token)
        found = None
        for kept, name in self._hashes.items():
            if hmac.compare_digest(kept, given):
                found = name  # and on through all of them: how long it takes tells nothing
        return found

    def _read(self) -> None:
        try:
            stamp = self._folder.stat().st_mtime_ns
        except OSError:
            stamp = 0
        if stamp == self._stamp:
            return
        self._hashes = {path.read_text(encoding="ascii", errors="replace"): path.name for path in self._files()}
        self._stamp = stamp

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if NAME.fullmatch(path.name) and path.is_file())


def _hash(token: str) -> str:
    return hashlib.sha256(b"mcp-a2a/v1/caller\0" + token.encode()).hexdigest()


def _since(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
