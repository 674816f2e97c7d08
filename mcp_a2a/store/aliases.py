"""The names that a person of this data folder has given to others: `aliases.json`, shared by all identities.

An alias stands for a key, or for the URL of an agent without one. It is the person's own word: it wins over every name
that an agent claims, and travels nowhere.
Record: docs/decisions/0042-aliases-and-names.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mcp_a2a.errors.agents import AliasAlikeError, AliasTakenError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.protocol.naming import is_name, key_beginning, look_alike, same_name, tail_of, why_not_called
from mcp_a2a.store.changing import changing
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import open_folder, read_own, replace_file
from mcp_a2a.system_limits import limit_behind

FILE = "aliases.json"
MAX_ALIASES = 1_000

_ALIASES = TypeAdapter(dict[str, str])


class Aliases:
    """The aliases of a data folder, read again when the file has changed."""

    def __init__(self, home: Path | None) -> None:
        self._path = home / FILE if home is not None else None
        self._file = str(self._path)
        self._read_at: tuple[int, int, int] | None = None
        self._keys: dict[str, str] = {}

    def all(self) -> Mapping[str, str]:
        """Every alias and the key or URL that it stands for. A file that cannot be read, or is not ours, has none."""
        if self._path is None:
            return {}
        try:
            found = os.lstat(self._file)  # a text costs no call of Path, and every name asks
        except OSError:
            self._keys, self._read_at = {}, None
            return self._keys
        read_at = (found.st_mtime_ns, found.st_size, found.st_ino)
        if read_at != self._read_at:
            try:
                self._keys, self._read_at = _read(self._path), read_at
            except OSError as error:
                if limit_behind(error) is not None:
                    return self._keys  # as they were; they can be read again when there are files to open
                self._keys, self._read_at = {}, read_at
            except ValidationError:
                self._keys, self._read_at = {}, read_at
        return self._keys

    def meant(self, asked: str) -> str:
        """The key or URL of the alias that was asked for; what was asked, where it is none.

        Raises:
            AliasAlikeError: it only looks like an alias.
        """
        return meant_by(self.all(), asked)

    def of(self, key: str) -> str | None:
        """The person's name for the agent with this key or URL."""
        return next((alias for alias, its in self.all().items() if its == key), None)

    def give(self, alias: str, key: str) -> str | None:
        """Call the agent with this key or URL by that alias from now on; the alias that it had before, if any.

        Raises:
            ConfigurationError: no agent can be called so.
            AliasTakenError: another agent is called so, or by what looks the same.
        """
        if (why := why_not_called(alias)) is not None:
            raise ConfigurationError(f"An agent cannot have the alias {alias!r}.", f"{why[0].upper()}{why[1:]}.")
        with self._changing() as keys:
            for other, its in keys.items():
                if its != key and look_alike(other, alias):
                    raise AliasTakenError(other, its)
            before = next((name for name, its in keys.items() if its == key), None)
            if before is not None:
                del keys[before]
            if len(keys) >= MAX_ALIASES:
                raise ConfigurationError(f"There are {MAX_ALIASES} aliases, which is the limit.", "Remove one first.")
            keys[alias] = key
        return before

    def remove(self, alias: str) -> str:
        """Forget an alias; returns the key or URL that it stood for.

        Raises:
            ConfigurationError: there is none.
        """
        with self._changing() as keys:
            found = next((name for name in keys if same_name(name, alias)), None)
            if found is None:
                raise ConfigurationError(
                    f"You have no alias {alias!r}.", Remedy("mcp-a2a alias lists those that you have.")
                )
            return keys.pop(found)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, str]]:
        """The aliases, written back when the context ends without an error."""
        if self._path is None:
            raise ConfigurationError("There is no data folder.", "Name one: --home DIR.")
        open_folder(self._path.parent)
        try:
            with changing(self._path):
                keys = self._kept()
                yield keys
                replace_file(self._path, json.dumps(keys, ensure_ascii=False, indent=1).encode())
        except OSError as error:
            raise refused(self._path, error) from error

    def _kept(self) -> dict[str, str]:
        """The aliases of the file, to be written back, so that none is lost.

        Raises:
            OSError: it cannot be read.
            ConfigurationError: it is damaged.
        """
        if self._path is None:
            return {}
        try:
            return _read(self._path)
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            raise ConfigurationError(
                f"{self._path} is damaged, so nothing is written to it.", "Repair it, or move it away to begin anew."
            ) from error


def meant_by(aliases: Mapping[str, str], asked: str) -> str:
    """See `Aliases.meant`.

    Raises:
        AliasAlikeError
    """
    if ":" in asked or tail_of(asked) or key_beginning(asked):
        return asked  # a key or a URL
    for alias, key in aliases.items():
        if same_name(alias, asked):
            return key
        if look_alike(alias, asked):
            raise AliasAlikeError(asked, alias, key)
    return asked


def _read(path: Path) -> dict[str, str]:
    aliases = _ALIASES.validate_json(read_own(path))
    return {alias: key for alias, key in aliases.items() if is_name(alias)}
