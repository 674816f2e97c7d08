"""Accepts the connections of our listeners, HTTP server and relay alike: counted at accept, with TLS and without.

An event loop hands over a TLS connection only after its handshake, so no limit behind it sees a connection that begins
none. Here each handshake has a place of its host and its time; and a connection for which too few open files are left
is closed at once, for the rest is for the database, for links and for clients that are served already.

    accept  ->  open files left?  ->  with TLS: a place of the host, 5 s  ->  the listener's protocol
"""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ssl import SSLContext
from typing import Protocol, cast

import anyio
import anyio.abc
import anyio.lowlevel

from mcp_a2a.protocol.pending_connections import WAIT_SECONDS, PendingConnections, is_here

logger = logging.getLogger(__name__)

BACKLOG = 1024
BATCH = 64
"""Connections that are accepted before other tasks have their turn."""

MAX_HANDSHAKES_PER_HOST = 16
MAX_HANDSHAKES = 128
"""From other machines together, and as many from this one, whose programs share an address."""

RESERVED_FILES = 64
"""Open files that no connection gets."""
FULL_SECONDS = 0.1
"""Pause where the system has no open file left at all."""

Tls = Callable[[], SSLContext]
"""The TLS context of the next handshake."""

_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class _Loop(Protocol):
    """The part of asyncio's event loop that is needed here."""

    async def connect_accepted_socket(
        self,
        protocol_factory: Callable[[], object],
        sock: socket.socket,
        *,
        ssl: SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> object: ...


async def accept(
    listening: socket.socket,
    protocol: Callable[[], object],
    tls: Tls | None = None,
    *,
    handshake_seconds: float = WAIT_SECONDS,
) -> None:
    """Accept on a bound socket until cancelled, and close it; each connection gets a `protocol` of the event loop."""
    listening.listen(BACKLOG)
    listening.settimeout(0)
    async with anyio.create_task_group() as tasks:
        acceptor, told = _Acceptor(tasks, protocol, tls, handshake_seconds), ""
        with listening:
            while True:
                await anyio.wait_readable(listening)
                trouble = _accept_some(listening, acceptor)
                if trouble and not told:
                    logger.warning("no connection is accepted for now: %s", trouble)
                told = trouble
                if trouble:
                    await anyio.sleep(FULL_SECONDS)


def raise_open_files(wanted: int) -> int:
    """Ask the system for that many open files in this process; how many it has then."""
    if sys.platform == "win32":
        return wanted
    import resource  # noqa: PLC0415  not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _accept_some(listening: socket.socket, acceptor: _Acceptor) -> str:
    """Accept what waits; why not, where the system has no open file for it."""
    for _ in range(BATCH):
        try:
            connection, address = listening.accept()
        except BlockingIOError:
            return ""
        except OSError as error:
            if error.errno in _FULL:
                return error.strerror or str(error)
            continue  # it hung up before it was accepted
        acceptor.arrived(connection, str(address[0]))
    return ""


class _Handshake:
    """A connection whose handshake goes on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.scope = anyio.CancelScope()

    def break_off(self) -> None:
        """Close the connection."""
        self.scope.cancel()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class _Acceptor:
    """Takes accepted connections through their handshake, within the limits of each host."""

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        protocol: Callable[[], object],
        tls: Tls | None,
        handshake_seconds: float,
    ) -> None:
        self._tasks, self._protocol, self._tls, self._seconds = tasks, protocol, tls, handshake_seconds
        # Connections of this machine take no place of those from elsewhere, nor the other way round.
        self._here: PendingConnections[_Handshake] = PendingConnections(
            MAX_HANDSHAKES, MAX_HANDSHAKES, handshake_seconds
        )
        self._others: PendingConnections[_Handshake] = PendingConnections(
            MAX_HANDSHAKES, MAX_HANDSHAKES_PER_HOST, handshake_seconds
        )
        self._most_files = _open_files()

    def arrived(self, connection: socket.socket, address: str) -> None:
        """Take a connection on, or close it."""
        # The system gives out the lowest number that is free, so that of a new one says how many there are.
        if connection.fileno() >= self._most_files - RESERVED_FILES:
            connection.close()
            return
        connection.settimeout(0)
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handshake = _Handshake(connection)
        if self._tls is None:
            self._tasks.start_soon(self._hand_over, connection)
            return
        tls = self._tls()
        pending = self._here if is_here(address) else self._others
        leaves = pending.arrived(handshake, address, anyio.current_time())
        if leaves is not None:
            leaves.break_off()
        self._tasks.start_soon(self._shake_hands, handshake, connection, tls, pending)

    async def _shake_hands(
        self, handshake: _Handshake, connection: socket.socket, tls: SSLContext, pending: PendingConnections[_Handshake]
    ) -> None:
        with handshake.scope:
            try:
                await self._hand_over(connection, tls)
            finally:
                pending.left(handshake)

    async def _hand_over(self, connection: socket.socket, tls: SSLContext | None = None) -> None:
        loop = cast("_Loop", anyio.lowlevel.current_token().native_token)
        hand_over = partial(loop.connect_accepted_socket, self._protocol, connection)
        try:
            if tls is not None:
                await hand_over(ssl=tls, ssl_handshake_timeout=self._seconds, ssl_shutdown_timeout=self._seconds)
            else:
                await hand_over()
        except OSError as error:  # ssl.SSLError is one
            logger.debug("a connection ended before it was one: %s", error)
            connection.close()
        except Exception:  # an event loop says in its own way that a handle is closed; the other connections go on
            logger.exception("a connection was not taken on")
            connection.close()


def _open_files() -> float:
    if sys.platform == "win32":
        return float("inf")  # it numbers sockets in its own way
    import resource  # noqa: PLC0415  not on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if soft == resource.RLIM_INFINITY else soft
