"""Short folders of this user outside of the data folder, for what all its processes on this machine share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from mcp_a2a.errors.machine import ConfigurationError

RELAY_SOCKET = "admin.sock"
"""Name of the socket in the folder of a relay."""

MAX_SOCKET_PATH = 100
"""Unix socket paths end at 104 to 108 bytes, depending on the system."""


def short_places() -> list[Path]:
    """Folders of this user for sockets, the one to make them in first.

    TMPDIR is none: it differs between a process that an app has started and one of a terminal.
    """
    shared = Path("/tmp")  # noqa: S108  only for a folder of our own in it, whose owner is checked
    usable = shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    places = [usable / f"mcp-a2a-{os.getuid()}"]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and len(os.fsencode(runtime)) <= MAX_SOCKET_PATH - 40:
        with contextlib.suppress(OSError):
            found = Path(runtime).stat()
            if found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o022:
                places.insert(0, Path(runtime) / "mcp-a2a")
    return places


def is_private(folder: Path) -> bool:
    """True if it is a folder of this user that no other may write in."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o022


def make_private(folder: Path) -> None:
    """Make a folder that is this user's alone.

    Raises:
        ConfigurationError: another user took its name first, or it is no folder.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        whose = "belongs to another user" if found.st_uid != os.getuid() else "is not a folder"
        raise ConfigurationError(f"{folder} {whose}.", "Remove it, set XDG_RUNTIME_DIR, or use a shorter --home path.")
    folder.chmod(0o700)


def socket_path(folder: Path, name: str = "control.sock") -> Path:
    """The path of the control socket of this identity's folder, the same for every path to the folder."""
    folder = folder.resolve()
    direct = folder / name
    if len(os.fsencode(direct)) <= MAX_SOCKET_PATH:
        return direct
    # Too deep for a socket: a short place, where it is named after the real one.
    short = f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]}.sock"
    places = [place / short for place in short_places()]
    # Not every process of a user is told of the runtime folder, so a socket that is there already is the one.
    there = [path for path in places if is_private(path.parent) and path.is_socket()]
    if len(there) > 1:  # a process that was killed leaves its own, and the next may have another place
        there.sort(key=_is_left)
    if there:
        return there[0]
    make_private(places[0].parent)
    return places[0]


def _is_left(path: Path) -> bool:
    """True if no process listens at a socket any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(0)
        try:
            caller.connect(os.fspath(path))
        except BlockingIOError:
            return False  # so many call that one has to wait
        except OSError:
            return True
    return False
