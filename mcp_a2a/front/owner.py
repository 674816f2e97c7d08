"""The way from a front to whichever process owns the data folder: become it, or speak to it."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from mcp_a2a.errors import McpA2AError
from mcp_a2a.front.frames import Decoder, Frame
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.guard import Guard, guard
from mcp_a2a.store.owner_file import has_stand_in, is_halted, state_of, write_owner
from mcp_a2a.store.short_places import socket_path
from mcp_a2a.store.socket_peer import is_same_user, pid_of_peer

_CHUNK = 256 * 1024


class HeldLock:
    """The lock of a data folder, which this process has."""

    def __init__(self, descriptor: int, guard: Guard) -> None:
        self._descriptor, self._guard = descriptor, guard

    def release(self) -> None:
        """Let another process have it."""
        self._guard.release()
        os.close(self._descriptor)


def find(folder: Path) -> HeldLock | OwnerLink | None:
    """The folder itself, or its owner; None where neither can be had for the moment.

    Raises:
        OSError: this folder cannot be used.
    """
    try:
        lock = take_lock(folder)
        if lock is not None:
            return lock
        link = connect(folder)
    except McpA2AError as error:
        raise OSError(str(error)) from error
    if link is not None and has_stand_in(folder):
        link.close()  # it was asked to leave by that (`node.ipc.stand_in`)
        return None
    return link


def take_lock(folder: Path) -> HeldLock | None:
    """Become the owner of a folder, which is made where it is missing; None where another process is.

    The lock is that of `node.ipc.owner`: flock(2) on the same file.

    Raises:
        OSError, McpA2AError: it cannot be locked here.
    """
    import fcntl  # noqa: PLC0415  not there on Windows, which has no front

    open_folder(folder)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = guard(folder)
    except BlockingIOError:
        held = None
    except OSError:
        os.close(descriptor)
        raise
    if held is None:
        os.close(descriptor)
        return None
    write_owner(folder, starts=True)
    return HeldLock(descriptor, held)


class OwnerLink:
    """An open connection to the owner. Does not block."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self.owner = pid_of_peer(stream)
        """The process at the other end, where the system tells."""
        self._unsent = bytearray()
        self._decoder = Decoder()

    @property
    def descriptor(self) -> int:
        """The file descriptor, for poll(2)."""
        return self._stream.fileno()

    @property
    def unsent(self) -> int:
        """Bytes that the owner has not taken."""
        return len(self._unsent)

    def send(self, content: bytes | Frame) -> None:
        """Send this, now or when the owner takes it.

        Raises:
            OSError: the owner is gone.
        """
        self._unsent += content.encoded() if isinstance(content, Frame) else content
        self.flush()

    def flush(self) -> None:
        """Send what was not sent yet, as far as it is taken.

        Raises:
            OSError: the owner is gone.
        """
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                del self._unsent[: self._stream.send(self._unsent)]

    def receive(self) -> list[Frame] | None:
        """The frames of the owner since the last call; None if it is gone."""
        try:
            chunk = self._stream.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not chunk:
            return None
        self._decoder.feed(chunk)
        try:
            return list(self._decoder.frames())
        except ValueError:
            return None

    def owner_runs(self) -> bool:
        """True if the owner neither waits for something nor is gone, as far as the system says."""
        return self.owner is not None and state_of(self.owner) is None

    def owner_is_halted(self) -> bool:
        """True if the owner was stopped, as by Ctrl-Z."""
        return is_halted(self.owner)

    def close(self) -> None:
        """Close the connection to the owner."""
        self._stream.close()


def connect(folder: Path) -> OwnerLink | None:
    """Reach the owner of a folder; None where no process listens (yet, or any more)."""
    path = os.fspath(socket_path(folder))
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.settimeout(0)
    try:
        stream.connect(path)
        if not is_same_user(stream):
            raise PermissionError
    except OSError:
        stream.close()
        return None
    return OwnerLink(stream)
