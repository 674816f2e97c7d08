"""The private folder that everything of an identity lives in, and the small files in it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcp_a2a.errors.machine import HomeUnusableError
from mcp_a2a.protocol.naming import why_not_called
from mcp_a2a.store.disk import refused


def open_folder(folder: Path) -> Path:
    """Create a private folder and the missing ones above it, or check that it is one.

    Raises:
        HomeUnusableError: it cannot be made or used, is not a folder, or belongs to another user.
    """
    try:
        for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
            if missing.is_symlink():
                raise HomeUnusableError(str(missing), "it is a symbolic link to a place that does not exist")
            missing.mkdir(mode=0o700, exist_ok=True)
            missing.chmod(0o700)  # a umask may take away what its owner needs
        _check(folder)
    except OSError as error:
        raise refused(folder, error) from error
    return folder


def _check(folder: Path) -> None:
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise HomeUnusableError(str(folder), "it is not a folder")
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            raise HomeUnusableError(str(folder), "it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise HomeUnusableError(str(folder), "it is not writable")


@contextmanager
def written_aside(path: Path, content: bytes) -> Iterator[Path]:
    """A private file beside `path` that is on the disk, all of it; gone afterwards unless it was moved."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Put a private file with this content in the place of the one that is there, if any: all of it, or nothing.

    It is on the disk when this returns.

    Raises:
        OSError
    """
    with written_aside(path, content) as aside:
        aside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, so that they outlive a power failure.

    Raises:
        OSError
    """
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have no such thing
            raise
    finally:
        os.close(handle)


def read_own(path: Path, size: int = -1) -> bytes:
    """The content of a file, or its first `size` bytes.

    Raises:
        PermissionError: another user may have written it.
        OSError: it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe would never end
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a file", str(path))
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022):
            raise PermissionError("another user may have written it")
        return file.read(size)


# The name that a person has given to an identity (`mcp-a2a name`): a file in its folder.

FILE = "name"
MAX_BYTES = 4096
"""More of the file is not read: a name has 32 letters."""


def read_name(folder: Path) -> str | None:
    """The name that was kept; None where there is none, or another user may have written it."""
    try:
        name = read_own(folder / FILE, MAX_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return name if why_not_called(name) is None else None


def keep_name(folder: Path, name: str | None) -> None:
    """Keep a name for the identity of this folder, or none.

    Raises:
        HomeUnusableError, StorageFullError: the folder does not allow it.
    """
    try:
        if name is None:
            (folder / FILE).unlink(missing_ok=True)
        else:
            replace_file(folder / FILE, f"{name}\n".encode())
    except OSError as error:
        raise refused(folder, error) from error
