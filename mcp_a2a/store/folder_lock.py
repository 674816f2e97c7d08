"""The lock of the folder of an identity: the process that has it runs the node."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from mcp_a2a.store.guard import Guard, guard
from mcp_a2a.store.owner_file import LOCK


class FolderLock:
    """The lock of a folder, which this process has."""

    def __init__(self, lock: BaseFileLock, held: Guard) -> None:
        self._lock, self._held = lock, held

    def release(self) -> None:
        """Let another process have it."""
        self._held.release()
        self._lock.release()


def lock_folder(folder: Path, wait_seconds: float = 0.0) -> FolderLock | None:
    """Have the folder; None where another process has it.

    Raises:
        OSError: it cannot be locked here.
    """
    lock = FileLock(folder / LOCK, thread_local=False, mode=0o600)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        return None
    held = guard(folder)
    if held is None:  # another process had the lock when that was still another file
        lock.release()
        return None
    return FolderLock(lock, held)
