"""The kernel's notices that interfaces or addresses of this machine have changed (rtnetlink(7), Linux).

A notice is only a reason to look again: nothing in it is read. A queue that has overflowed is one as well.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_NETLINK_ROUTE = 0
_LINKS, _IPV4_ADDRESSES, _IPV6_ADDRESSES = 0x1, 0x10, 0x100
"""Groups of linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."""

_NOTICE_BYTES = 65_536
_MAX_READ = 1_024


@contextmanager
def kernel_notices() -> Iterator[socket.socket | None]:
    """A socket that becomes readable with every change; None where the system offers none, or forbids it."""
    notices = _subscribed()
    try:
        yield notices
    finally:
        if notices is not None:
            notices.close()


def read_all(notices: socket.socket) -> None:
    """Take what is there."""
    with suppress(BlockingIOError):
        for _ in range(_MAX_READ):
            with suppress(InterruptedError):
                _read(notices)


def _read(notices: socket.socket) -> None:
    try:
        notices.recv(_NOTICE_BYTES)
    except BlockingIOError:
        raise
    except OSError:
        return  # ENOBUFS: there were more notices than it holds


def _subscribed() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    made = None
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        made.settimeout(0)
        made.bind((0, _LINKS | _IPV4_ADDRESSES | _IPV6_ADDRESSES))
    except OSError:
        if made is not None:
            made.close()
        return None
    return made
