"""Files opened and made by descriptor, so that a path means the same when it is checked and when it is used.

A path is resolved once; then every folder on it is opened from the one above it, and no link is followed on the way.
A folder that is swapped for a link between the two ends the walk with an error: it leads nowhere else. Links that stay
within an allowed folder work, because they are resolved before. (`openat2` does the same on Linux alone.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Passing through a folder takes no right to list it, where the system can tell the two apart."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_resolved(path: Path) -> int:
    """A descriptor of the file at an absolute path without links in it.

    Raises:
        OSError: it is not there, or a part of the path is a link by now.
    """
    root, *names = path.parts
    folder = os.open(root, _FOLDER)
    try:
        for name in names[:-1]:
            inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(names[-1] if names else ".", _FILE, dir_fd=folder)
    finally:
        os.close(folder)


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """A descriptor of the folder that is at this path now.

    Raises:
        OSError
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def write_new(name: str | Path, content: Iterator[bytes], folder: int | None = None, *, mode: int = 0o600) -> None:
    """A new file, which by `mode` only we may read; nothing is left of one that could not be completed.

    With `folder`, the descriptor of one, it is made there, wherever the folder's path leads by now.

    Raises:
        FileExistsError: there is something of that name, be it a link that leads nowhere.
        OSError, FileError
    """
    handle = os.open(name, _NEW, mode, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in content:
                file.write(chunk)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
