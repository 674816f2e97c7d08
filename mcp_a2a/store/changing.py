"""One process at a time changes a file or folder that several processes read and write anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mcp_a2a.errors.machine import ConfigurationError

LOCK_SECONDS = 5.0
"""Seconds that another process may take for its change."""


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Keep other processes from changing this file or folder while the context lasts.

    Raises:
        ConfigurationError: another process does not end its change.
        OSError: there can be no lock beside it.
    """
    lock = FileLock(f"{path}.lock", timeout=LOCK_SECONDS, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConfigurationError(
            f"{path} is being changed by another process, which has not ended.",
            "If it was suspended (Ctrl-Z), continue it with fg, and try again.",
        ) from error
    try:
        yield
    finally:
        lock.release()
