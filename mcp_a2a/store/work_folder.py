"""Folders with the opened files of tasks that are being worked on: they go with the task, or with its process.

Each process has a room of its own under `work` in the data folder, made when it is first needed, and holds a lock
beside it for as long as it lives. A room whose lock is free belongs to a process that was killed: the next start
removes it.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mcp_a2a.store.folder import open_folder

FOLDER = "work"


class Workroom:
    """The room of this process. Make it with `workroom`."""

    def __init__(self, home: Path) -> None:
        self._rooms = home / FOLDER
        self._own = self._rooms / uuid.uuid4().hex
        self._lock = _lock_of(self._own)

    def make_folder(self) -> Path:
        """A new private folder for the files of one task.

        Raises:
            HomeUnusableError, OSError
        """
        if not self._lock.is_locked:
            open_folder(self._rooms)
            self._lock.acquire(timeout=0)  # first the lock, then the room: a sweep looks at rooms alone
            open_folder(self._own)
        return Path(tempfile.mkdtemp(dir=self._own))

    def close(self) -> None:
        """Remove the room with all that is in it."""
        if self._lock.is_locked:
            shutil.rmtree(self._own, ignore_errors=True)
            _lock_path(self._own).unlink(missing_ok=True)
            self._lock.release()


@contextmanager
def workroom(home: Path) -> Iterator[Workroom]:
    """A room for this process while the context lasts."""
    room = Workroom(home)
    try:
        yield room
    finally:
        room.close()


def sweep_rooms(home: Path) -> None:
    """Remove the rooms of processes that were killed."""
    try:
        rooms = [entry for entry in (home / FOLDER).iterdir() if entry.is_dir() and not entry.is_symlink()]
    except FileNotFoundError:
        return
    for room in rooms:
        lock = _lock_of(room)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue  # its process works in it
        shutil.rmtree(room, ignore_errors=True)
        _lock_path(room).unlink(missing_ok=True)
        lock.release()


def _lock_path(room: Path) -> Path:
    return room.with_name(f"{room.name}.lock")


def _lock_of(room: Path) -> FileLock:
    return FileLock(_lock_path(room), thread_local=False)
