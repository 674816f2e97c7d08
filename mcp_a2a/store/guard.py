"""Holds the folder of an identity itself, beside the lock in it.

A program that tidies up removes files that are old, as the lock is. The next process would make and lock another, and
two nodes would write to one database. The folder cannot be removed while the database is in it.
"""

from __future__ import annotations

import os
from pathlib import Path


class Guard:
    """A folder that this process holds, as far as its file system lets it."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another process have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def guard(folder: Path, *, shared: bool = False) -> Guard | None:
    """Hold a folder by flock(2), alone or `shared` with other readers; None where another process does.

    Where folders have no locks (Windows, some network file systems), nothing is held, and the lock alone counts.
    """
    try:
        import fcntl  # noqa: PLC0415  not there on Windows
    except ImportError:
        return Guard()
    descriptor: int | None = None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if descriptor is not None:
            os.close(descriptor)
        return None if isinstance(error, BlockingIOError) else Guard()
    return Guard(descriptor)
