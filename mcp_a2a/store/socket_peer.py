"""The user at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct


def is_same_user(stream: socket.socket) -> bool:
    """True if the process at the other end is of this user."""
    found = _credentials(stream)
    return found is None or found[1] == os.getuid()  # without them the file's mode is the check


def pid_of_peer(stream: socket.socket) -> int | None:
    """The process that listens at the other end of a connection; None where the system does not tell."""
    found = _credentials(stream)
    return (found[0] or None) if found is not None else None  # 0: one that cannot be seen from here


def _credentials(stream: socket.socket) -> tuple[int, int] | None:
    """Process and user, as unix(7) has them: of who began to listen, or to connect."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    content = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", content)
    return pid, uid
