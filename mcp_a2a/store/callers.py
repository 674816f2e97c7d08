"""Clients that may talk A2A to an identity besides its owner: a folder with a file per name.

A file holds the hash of a token, and below it a line for each agent that the caller was given: a key, a URL, or `self`.
One without any such line is of an earlier version, and gives our own agent. A token is shown once, when it is given
out; only its hash is kept, so a copy of the folder opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mcp_a2a.api.a2a import OWN_AGENT
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.store.changing import changing
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import open_folder, written_aside

FOLDER = "callers"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
TOKEN_BYTES = 32
OWNER = "owner"
"""A reserved name: no caller may take it."""


@dataclass(frozen=True)
class CallerRow:
    """A caller, since when it may call (ISO 8601 UTC), and the agents that it was given."""

    name: str
    since: str
    agents: tuple[str, ...]


class CallerFolder:
    """The callers of one identity. Every question is answered from the files as they are now."""

    def __init__(self, identity_folder: Path) -> None:
        self._folder = identity_folder / FOLDER
        self._hashes: dict[str, str] = {}
        """Names by hash, as they were read the last time; what is found is looked at again."""

    def check_new(self, name: str) -> None:
        """Check that a caller of this name can be added.

        Raises:
            ConfigurationError: the name cannot be one, or is taken.
        """
        if not NAME.fullmatch(name) or name == OWNER:
            raise ConfigurationError(
                f"{name!r} cannot be the name of a client.", "Use up to 48 lowercase letters, digits, - and _."
            )
        if name in self._names():
            raise _taken(name)

    def check_known(self, name: str) -> None:
        """Check that there is a caller of this name.

        Raises:
            ConfigurationError: there is none.
        """
        if name not in self._names():
            raise _no_caller(name)

    def add(self, name: str, agents: Sequence[str] = (OWN_AGENT,)) -> str:
        """Let a caller in, to these agents; its token.

        Raises:
            ConfigurationError: the name cannot be one, or is taken.
            HomeUnusableError
        """
        self.check_new(name)
        open_folder(self._folder)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        path = self._folder / name
        try:
            with written_aside(path, _lines(_hash(token), agents)) as aside:
                os.link(aside, path)
        except FileExistsError:
            raise _taken(name) from None
        except OSError as error:
            raise refused(self._folder, error) from error
        return token

    def grant(self, name: str, agents: Sequence[str]) -> None:
        """Give a caller these agents in place of those that it has, from its next request on. Its token stays.

        Raises:
            ConfigurationError: there is none of that name, or another process is changing the callers.
            HomeUnusableError
        """
        self.check_known(name)
        path = self._folder / name
        try:
            with changing(self._folder):  # a caller that is removed meanwhile must not come back with the new file
                kept = self._read(name)
                if kept is None:
                    raise _no_caller(name)
                since = path.stat().st_mtime_ns
                with written_aside(path, _lines(kept[0], agents)) as aside:
                    os.utime(aside, ns=(since, since))
                    aside.replace(path)
        except OSError as error:
            raise refused(self._folder, error) from error

    def remove(self, name: str) -> None:
        """Let a caller in no more, from its next request on.

        Raises:
            ConfigurationError: there is none of that name.
            HomeUnusableError
        """
        self.check_known(name)
        try:
            with ExitStack() as stack:
                with suppress(OSError, ConfigurationError):  # without the lock, too, a client that is to go goes
                    stack.enter_context(changing(self._folder))
                (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise refused(self._folder, error) from error

    def rows(self) -> list[CallerRow]:
        """Every caller, by name."""
        return [
            CallerRow(name, _since(self._folder / name), tuple(sorted(kept[1])))
            for name in self._names()
            if (kept := self._read(name)) is not None
        ]

    def name_of(self, token: str) -> str | None:
        """The caller that this token was given out to; None for one that was not, or no longer is.

        Raises:
            HomeUnusableError, SystemLimitError: it is none of those that can be read, and not all can.
        """
        given = _hash(token)
        found = _held(self._hashes, given)
        if found is not None and (kept := self._read(found)) is not None and hmac.compare_digest(kept[0], given):
            return found
        hashes, trouble = dict[str, str](), None
        for name in self._names():
            try:
                kept = self._read(name)
            except McpA2AError as error:
                trouble = error
            else:
                hashes |= {kept[0]: name} if kept is not None else {}
        self._hashes = hashes
        found = _held(hashes, given)
        if found is None and trouble is not None:
            raise trouble
        return found

    def agents_of(self, name: str) -> frozenset[str]:
        """The agents that a caller was given; none for one that is not there.

        Raises:
            HomeUnusableError, SystemLimitError: that cannot be told.
        """
        kept = self._read(name)
        return kept[1] if kept is not None else frozenset()

    def _read(self, name: str) -> tuple[str, frozenset[str]] | None:
        """The hash and the agents of a caller; None for one that is not there.

        Raises:
            HomeUnusableError, SystemLimitError: that cannot be told.
        """
        if not NAME.fullmatch(name):
            return None
        try:
            held, *agents = (self._folder / name).read_text(encoding="utf-8").split("\n")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
            return None
        except OSError as error:  # no word of whether there is one
            raise refused(self._folder, error) from error
        return held, frozenset(filter(None, agents)) or frozenset({OWN_AGENT})

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        try:
            return sorted(path.name for path in self._folder.iterdir() if NAME.fullmatch(path.name) and path.is_file())
        except OSError as error:
            raise refused(self._folder, error) from error


def _taken(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is already a client {name!r}.", Remedy("Remove it first: mcp-a2a callers remove {name}", name=name)
    )


def _no_caller(name: str) -> ConfigurationError:
    return ConfigurationError(f"There is no client {name[:64]!r}.", Remedy("List them: mcp-a2a callers"))


def _lines(held: str, agents: Sequence[str]) -> bytes:
    return "\n".join([held, *dict.fromkeys(agents)]).encode()


def _held(hashes: dict[str, str], given: str) -> str | None:
    found = None
    for held, name in hashes.items():
        if hmac.compare_digest(held.encode(), given.encode()):
            found = name  # and on through all of them: how long it takes tells nothing
    return found


def _hash(token: str) -> str:
    return hashlib.sha256(b"mcp-a2a/v1/caller\0" + token.encode()).hexdigest()


def _since(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
