"""Finds the peers of this machine that share a data folder, through one small file per peer.

Each peer posts `FINGERPRINT.json` on the board, a folder that only its owner can read, and reads the notices of the
others. So one laptop works with multicast blocked, or with no network at all. The notice of a process that has ended is
ignored and removed. A notice from before the machine started, or from another machine that shares the folder, is
ignored, and removed after a day.

A peer looks when the kernel tells of a change, and every few seconds for notices of dead processes. One look is a
`stat` of the folder and a `kill(pid, 0)` per peer: unchanged notices are not read again. Nothing here trusts the
content: it is a hint like any other, and the handshake decides.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import anyio
from typing_extensions import override

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.file_events import watched
from mcp_a2a.ports import AddressLookup, Announcement, LookupHandler
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.protocol.strict_json import read_untrusted
from mcp_a2a_transports._sightings import Sightings, fingerprint
from mcp_a2a_transports._tasks import background_tasks

logger = logging.getLogger(__name__)

NAME = "local"
HOST = "127.0.0.1"
REST_SECONDS = 0.05
"""Shortest time between two looks."""
AGAIN_SECONDS = 0.25
"""Pause after a look that failed."""
FEW = 8
MAX_REST_SECONDS = 3.0
"""In a crowd each peer reads the notices of all: with more than `FEW` peers the rest grows with their number."""

MAX_NOTICE_BYTES = 4096
MAX_FILES = 1024
MAX_PID = 2**31 - 1
MAX_PORT = 65_535
STALE_SECONDS = 86_400

_NO_FILE_LEFT = frozenset({errno.EMFILE, errno.ENFILE})

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True, slots=True)
class Notice:
    """The notice of one peer. `boot` names the start of the machine to whose processes `pid` belongs."""

    peer: PeerId
    port: int
    pid: int
    boot: str

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{fingerprint(self.peer)}.json"

    def to_text(self) -> str:
        """The content of the file."""
        fields = {"v": 1, "did": str(self.peer), "host": HOST, "port": self.port}
        return json.dumps(fields | {"pid": self.pid, "boot": self.boot})

    @classmethod
    def parse_untrusted(cls, text: str | bytes) -> Self:
        """Read the notice of another peer.

        Raises:
            RemoteProtocolError: it is none.
        """
        match read_untrusted(text, MAX_NOTICE_BYTES):
            case {"v": 1, "did": str(did), "port": int(port), "pid": int(pid), "boot": str(boot)}:
                if 1 <= port <= MAX_PORT and 1 < pid <= MAX_PID:
                    return cls(PeerId.parse_untrusted(did), port, pid, boot)
            case _:
                pass
        raise RemoteProtocolError("This announcement has no acceptable port, process or version.")


class LocalLookup(AddressLookup):
    """Sees the peers that announce themselves in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watch: _Watch | None = None

    @property
    @override
    def name(self) -> str:
        return NAME

    @override
    @asynccontextmanager
    async def open(self, announcement: Announcement, handler: LookupHandler) -> AsyncIterator[None]:
        board = _Board(self._folder, announcement)
        board.post()
        self._watch = _Watch(board, Sightings(NAME, handler))
        try:
            async with background_tasks() as tasks:
                tasks.start_soon(self._watch.run)
                yield
        finally:
            self._watch = None
            board.take_down()

    @override
    def look_now(self) -> None:
        if self._watch is not None:
            self._watch.look()


class _Watch:
    """Tells what comes to the board, and what goes."""

    def __init__(self, board: _Board, sightings: Sightings) -> None:
        self._board = board
        self._sightings = sightings
        self._shown: dict[PeerId, Notice] = {}

    async def run(self) -> None:
        async with watched(self._board.folder) as changes:
            while True:
                self.look()
                await anyio.sleep(rest(len(self._shown)))
                if self._board.is_read:
                    await changes.wait()
                else:
                    await anyio.sleep(AGAIN_SECONDS)

    def look(self) -> None:
        before, self._shown = self._shown, self._board.look()
        for peer, notice in self._shown.items():
            if before.get(peer) != notice:
                self._sightings.see(peer, (DirectAddr(HOST, notice.port),), anew=True)
        for peer in before.keys() - self._shown.keys():
            self._sightings.lose(peer)


def rest(peers: int) -> float:
    """Seconds until the next look at the earliest, when so many peers are there."""
    return min(MAX_REST_SECONDS, REST_SECONDS * max(1.0, peers / FEW))


class _Board:
    """The folder, as one peer uses it."""

    def __init__(self, folder: Path, announcement: Announcement) -> None:
        self.folder = folder
        self._ours = Notice(announcement.peer, announcement.port, os.getpid(), _boot())
        self._path = folder / self._ours.file_name
        self._read_at = -1
        self._settled = False
        self._trouble = ""
        self._notices: dict[Path, Notice] = {}

    def post(self) -> None:
        """Post our notice in one step, so that no peer reads half of it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        draft = self.folder / f".{self._ours.file_name}.{self._ours.pid}"
        with suppress(FileNotFoundError):
            draft.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(draft, flags, 0o600), "w") as file:  # noqa: PTH123  with a mode
            file.write(self._ours.to_text())
        draft.replace(self._path)

    def take_down(self) -> None:
        """Remove our notice, unless another process of this identity has put up its own since."""
        with suppress(OSError, RemoteProtocolError):
            if Notice.parse_untrusted(_read(self._path)) == self._ours:
                self._path.unlink()

    @property
    def is_read(self) -> bool:
        """False if the last look failed, for want of open files perhaps."""
        return not self._trouble

    def look(self) -> dict[PeerId, Notice]:
        """The notices of others that are there now."""
        try:
            self._read_again()
            self._trouble = ""
        except OSError as error:
            if str(error) != self._trouble:  # said once, not with each look
                self._trouble = str(error)
                logger.warning("the announcements in %s cannot be read: %s", self.folder, error)
        self._drop_the_dead()
        return {notice.peer: notice for notice in self._notices.values()}

    def _read_again(self) -> None:
        """Read what hangs there, when the folder says that something changed."""
        changed_at = self._changed_at()
        # The clock of a file system ticks in milliseconds: what changed after we read, but within
        # the same tick, is only found by reading once more later.
        if changed_at == self._read_at and self._settled:
            return
        self._notices = dict(self._others())
        self._settled = changed_at == self._read_at
        self._read_at = changed_at
        if not self._path.exists():
            self.post()

    def _changed_at(self) -> int:
        try:
            return self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            self.post()
            return self.folder.stat().st_mtime_ns

    def _others(self) -> Iterator[tuple[Path, Notice]]:
        with os.scandir(self.folder) as entries:
            paths = [Path(entry.path) for entry in islice(entries, MAX_FILES)]
        for path in paths:
            if path == self._path or path.suffix != ".json":
                continue
            try:
                notice = Notice.parse_untrusted(_read(path))
                if notice.file_name != path.name:
                    continue
                if notice.boot == self._ours.boot:
                    yield path, notice
                elif self._is_older_by_a_day(path):
                    path.unlink()
            except RemoteProtocolError:
                continue
            except OSError as error:
                if error.errno in _NO_FILE_LEFT:
                    raise  # who was there still is, and it is looked again

    def _is_older_by_a_day(self, path: Path) -> bool:
        return path.stat().st_mtime < self._path.stat().st_mtime - STALE_SECONDS

    def _drop_the_dead(self) -> None:
        for path, notice in tuple(self._notices.items()):
            if not _is_running(notice.pid):
                del self._notices[path]
                with suppress(OSError):
                    path.unlink()


def _read(path: Path) -> bytes:
    # Neither through a link nor from a pipe without a writer.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  with flags
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise RemoteProtocolError("An announcement is a file.")
        return file.read(MAX_NOTICE_BYTES + 1)


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # signal 0 is not a question there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a process of another user: the number was used again, and a dial will tell
    return True


def _boot() -> str:
    """The name of this start of the machine, and of this container on it; "" without a name."""
    with suppress(OSError):
        return f"{_BOOT_ID.read_text().strip()}:{_PID_NAMESPACE.stat().st_ino}"
    return ""
