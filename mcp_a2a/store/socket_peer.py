"""Which user is at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct


def is_same_user(stream: socket.socket) -> bool:
    """Whether the process at the other end is of this user."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the file's mode is the check there
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.getuid())
