"""The networks of a person: a file each, shared by all identities of a data folder.

A person who joins on a machine joins with all the agents that run there. Each file is written aside and moved into
place, so a process that is killed leaves an old one or a new one; every node of the folder watches it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import open_folder, replace_file, sync_folder
from mcp_a2a.store.short_places import is_private, make_private, short_places

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One network of ours. `secret` is written in hexadecimal."""

    id: str
    name: str
    secret: str = field(repr=False)
    owner: str
    relays: tuple[str, ...]
    joined: float


_ROW = TypeAdapter(NetworkRow)


class NetworkFolder:
    """The folder `networks` of a data folder; None as `home` is a person without any."""

    def __init__(self, home: Path | None) -> None:
        self.path = home / "networks" if home is not None else None

    @property
    def usable(self) -> bool:
        """True if networks can be joined here."""
        return self.path is not None

    def stamp(self) -> frozenset[tuple[str, int, int]] | None:
        """Changes whenever a file was added, replaced or removed; None where that cannot be told now.

        The folder's own time would not do: two changes within one tick of the file system's clock (4 ms) have the same.
        """
        if self.path is None:
            return frozenset()
        try:
            with os.scandir(self.path) as entries:
                return frozenset((entry.name, entry.inode(), entry.stat().st_mtime_ns) for entry in entries)
        except FileNotFoundError:
            return frozenset()
        except OSError:
            return None

    def rows(self) -> list[NetworkRow]:
        """Every network, by name. A file that cannot be read is left where it is."""
        if self.path is None or not self.path.is_dir():
            return []
        try:
            paths = sorted(path for path in self.path.iterdir() if path.suffix == ".json")
        except OSError as error:
            logger.error("THE NETWORKS in %s cannot be read: %s", self.path, error.strerror or error)  # noqa: TRY400  no more is known
            return []
        found = [_read(path) for path in paths]
        return sorted((row for row in found if row is not None), key=lambda row: row.name)

    def holds(self, network: str) -> bool:
        """True if there is a file of this network, whether or not it can be read now."""
        return self.path is not None and self._file(network).exists()

    def save(self, row: NetworkRow) -> None:
        """Be a member from now on.

        Raises:
            HomeUnusableError: the folder cannot be written.
            ConfigurationError: we stay out of networks.
        """
        if self.path is None:
            raise ConfigurationError(
                "This agent was started to stay out of networks.", "Start it without MCP_A2A_NETWORKS=false."
            )
        open_folder(self.path)
        try:
            replace_file(self._file(row.id), json.dumps(asdict(row)).encode())
        except OSError as error:
            raise refused(self.path, error) from error

    def drop(self, network: str) -> None:
        """Be no member any more.

        Raises:
            HomeUnusableError: the folder cannot be written.
        """
        if self.path is not None:
            try:
                self._file(network).unlink()
                sync_folder(self.path)
            except FileNotFoundError:
                return
            except OSError as error:
                raise refused(self.path, error) from error

    def _file(self, network: str) -> Path:
        name = hashlib.sha256(network.encode()).hexdigest()[:32]
        return (self.path or Path()) / f"{name}.json"


def _read(path: Path) -> NetworkRow | None:
    try:
        return _ROW.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None  # removed this moment
    except (OSError, ValidationError) as error:
        logger.error("THE NETWORK in %s cannot be read, so it is left out: %s", path, type(error).__name__)  # noqa: TRY400  its text would be quoted
        return None


# Relays at addresses of this machine that its user has invited others to.
#
# Such an address means another machine wherever a ticket is read, unless the ticket was made here. So `invite` leaves a
# note of each, and `join` calls no other.

FOLDER = "relays"
MAX_NOTES = 64
"""The newest are kept."""


def note_relay(url: str) -> None:
    """Remember a relay of this machine; where that cannot be, its tickets need a person's word."""
    with contextlib.suppress(OSError, ConfigurationError):
        place = short_places()[0]
        make_private(place)
        folder = place / FOLDER
        make_private(folder)
        (folder / _name(url)).touch(mode=0o600)
        notes = sorted(folder.iterdir(), key=lambda note: note.stat().st_mtime_ns)
        for old in notes[:-MAX_NOTES]:
            old.unlink(missing_ok=True)


def is_noted(url: str) -> bool:
    """True if this user has invited others to this relay, from this machine."""
    folders = [place / FOLDER for place in short_places() if is_private(place)]
    return any(is_private(folder) and _is_mine(folder / _name(url)) for folder in folders)


def _is_mine(note: Path) -> bool:
    try:
        return note.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _name(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
