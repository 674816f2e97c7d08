"""The listening half of a link: an HTTP server whose only path opens links, of a node or of a relay.

A hostile client meets, in this order: the limits for connections without a proven key
(`protocol.pending_connections`), aiohttp's limits on an HTTP request, one path that is closed to pages in a browser, a
limit on the size of a message, and the link session itself. No client can make another one wait.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
from aiohttp import web
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.machine import ConfigurationError, PortInUseError
from mcp_a2a.protocol.control import ByeCode
from mcp_a2a.protocol.handshake import Side
from mcp_a2a.protocol.link_places import Standing
from mcp_a2a.protocol.paths import DirectAddr, route_of
from mcp_a2a.protocol.pending_connections import WAIT_SECONDS, PendingConnections, host_of, is_here
from mcp_a2a.protocol.rates import Buckets, Rate
from mcp_a2a_transports._drive import CLOSE_SECONDS
from mcp_a2a_transports._links import Links
from mcp_a2a_transports._websocket import MAX_MESSAGE, Connection, WebSocketChannel
from mcp_a2a_transports.surroundings import EVERYWHERE, text_of_end

PATH = "/link"
AGENT = "mcp-a2a"
"""All that a stranger learns about the software."""

BACKLOG = 128

ARRIVALS = Rate(1, 60)
"""Connections of one host, not counting those of peers that are known. Not of this machine itself."""
MAX_HOSTS = 10_000

_http_logger = logging.getLogger(f"{__name__}.http")
_http_logger.setLevel(logging.CRITICAL)  # aiohttp would quote whatever a stranger sent


FREE_PORT_TRIES = 16
"""The number of attempts to find a port that is free in both families."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen there, all on one port; "*" and "::" are every address of this machine, in both families.

    Raises:
        PortInUseError: another program does.
        ConfigurationError: this machine does not allow it, or has no such address.
    """
    if host not in EVERYWHERE:
        return [_bind(host, port)]
    for _ in range(FREE_PORT_TRIES - 1):
        with suppress(PortInUseError):
            return _bind_both(port)
        if port:
            break
    return _bind_both(port)


def _bind_both(port: int) -> list[socket.socket]:
    first = _bind("0.0.0.0", port)  # noqa: S104  asked for
    try:
        return [first, _bind("::", first.getsockname()[1])]
    except PortInUseError:
        first.close()
        raise
    except ConfigurationError:
        return [first]  # this machine has no IPv6


def _bind(host: str, port: int) -> socket.socket:
    bound = None
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # A zone is understood here, and is not where a socket is bound.
        end = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][4]
        bound = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        bound.bind(end)
        bound.listen(BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter of a name that has an empty part, as 192.168..5 has
        if bound is not None:
            bound.close()
        where = str(DirectAddr(host, port))
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise PortInUseError(where) from error
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not an address"
        raise ConfigurationError(
            f"Listening on {where} is not possible: {reason}.",
            "Choose an address of this machine, and a port above 1023 (port 0 picks a free one).",
        ) from error
    return bound


class LinkServer(web.Server, ABC):
    """Lets link requests through, and everything else out again.

    Attributes:
        max_message: bytes of the longest message that is read.
        close_seconds: how long the closing handshake of a WebSocket may take.
        autoclose: True if aiohttp answers the close of the other side.
        is_serving: False while every request is refused.
    """

    max_message = MAX_MESSAGE
    close_seconds = CLOSE_SECONDS
    autoclose = True
    is_serving = True

    def __init__(self) -> None:
        super().__init__(self._serve, access_log=None, logger=_http_logger, lingering_time=0)
        self._goodbyes: dict[web.RequestHandler, Callable[[ByeCode], None]] = {}
        """Ends the link that a connection has become, for this reason."""

    @override
    def connection_made(self, handler: web.RequestHandler, transport: Connection) -> None:
        super().connection_made(handler, transport)  # type: ignore[arg-type]  # the very same
        if not self._lets_in(handler, transport, time.monotonic()):
            self._loop.call_soon(transport.abort)  # before it costs a handshake, but when aiohttp has begun with it

    @abstractmethod
    def _lets_in(self, handler: web.RequestHandler, connection: Connection, now: float) -> bool:
        """Wait for the proof of a key of this connection, unless there are too many."""

    def _evict(self, handler: web.RequestHandler, code: ByeCode) -> None:
        goodbye = self._goodbyes.get(handler)
        if goodbye is not None:
            goodbye(code)
        elif handler.transport is not None:
            handler.transport.abort()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.transport
        if connection is None or not self.is_serving:
            return _refusal()
        if request.path != PATH:
            return self._page(request, connection) or _refusal()
        websocket = web.WebSocketResponse(
            timeout=self.close_seconds, autoclose=self.autoclose, autoping=False, compress=False,
            max_msg_size=self.max_message,
        )  # fmt: skip
        # A page in a browser sends Origin and has no business here, whatever machine it is on.
        if "Origin" in request.headers or not websocket.can_prepare(request).ok:
            return _refusal()
        websocket.headers["Server"] = AGENT
        await websocket.prepare(request)
        try:
            await self._accompany(request, websocket, connection)
        finally:
            self._goodbyes.pop(request.protocol, None)
        return websocket

    def _page(self, request: web.BaseRequest, connection: Connection) -> web.Response | None:
        """The page at another path; None if there is none."""
        return None

    @abstractmethod
    async def _accompany(
        self, request: web.BaseRequest, websocket: web.WebSocketResponse, connection: Connection
    ) -> None:
        """Serve a link until it ends."""


class NodeServer(LinkServer):
    """Opens links for a node."""

    is_serving = False

    def __init__(self) -> None:
        super().__init__()
        self._links: Links | None = None
        self._pending: PendingConnections[web.RequestHandler] = PendingConnections()
        self._arrivals: Buckets[str] = Buckets(ARRIVALS, MAX_HOSTS)
        """Connections of a host that turned out to be a stranger's, or to prove nothing."""
        self._has_pending = anyio.Event()

    @asynccontextmanager
    async def admit_to(
        self, links: Links, runner: web.ServerRunner, listeners: Sequence[socket.socket]
    ) -> AsyncIterator[None]:
        """Accept connections until the context ends; the links that they became live on."""
        self._links, self.is_serving = links, True
        links.look_after(self._evict_overdue)
        sites = [web.SockSite(runner, listener, backlog=BACKLOG) for listener in listeners]
        for site in sites:
            await site.start()
        try:
            yield
        finally:
            self.is_serving = False
            with anyio.CancelScope(shield=True):
                for site in sites:
                    await site.stop()

    # --- connections without a proven key ---------------------------------------------------------

    @override
    def _lets_in(self, handler: web.RequestHandler, connection: Connection, now: float) -> bool:
        host = host_of(address_of(connection).host)
        if not _is_from_here(connection) and self._arrivals.of(host, now).take(1, now):
            return False
        leaves = self._pending.arrived(handler, host, now)
        self._has_pending.set()
        if leaves is not None:
            self._evict(leaves, ByeCode.BUSY)
        return True

    @override
    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._pending.left(handler)

    async def _evict_overdue(self) -> None:
        while True:
            if not len(self._pending):
                await self._has_pending.wait()
                self._has_pending = anyio.Event()
                continue
            now = time.monotonic()
            for handler in self._pending.overdue(now):
                self._evict(handler, ByeCode.TIMEOUT)
            await anyio.sleep(max(0.0, min(self._pending.next_timeout() - now, WAIT_SECONDS)))

    @override
    async def _accompany(
        self, request: web.BaseRequest, websocket: web.WebSocketResponse, connection: Connection
    ) -> None:
        handler, links, address = request.protocol, self._links, address_of(connection)
        if links is None:
            return
        channel = WebSocketChannel(websocket, connection)
        route = "local" if channel.stays_here else route_of(address, provenance="incoming")
        link = links.start(Side.LISTENER, channel, str(address), route)
        self._goodbyes[handler] = partial(link.close, "it has not proven its key in time")
        with suppress(LinkError):
            await link.opened()
            self._pending.left(handler)
            if links.handler.standing(link.peer) is not Standing.STRANGER:
                now = time.monotonic()
                self._arrivals.of(host_of(address.host), now).spend(-1)
        await link.ended.wait()


def _is_from_here(connection: Connection) -> bool:
    """True if the other end is on this machine, by whichever of its addresses."""
    host = address_of(connection).host
    return is_here(host) or host == text_of_end(connection.get_extra_info("sockname"))


@asynccontextmanager
async def open_node_server() -> AsyncIterator[tuple[NodeServer, web.ServerRunner]]:
    """The server of a node, and the runner that ends what it still serves when the context ends."""
    server = NodeServer()
    runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
    await runner.setup()
    try:
        yield server, runner
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def _refusal() -> web.Response:
    """The answer to every other."""
    response = web.Response(status=404, headers={"Server": AGENT})
    response.force_close()
    return response


def address_of(connection: Connection) -> DirectAddr:
    """The address of the other end of a connection."""
    end = connection.get_extra_info("peername")
    host = text_of_end(end)
    if host is None or not isinstance(end, tuple):
        return DirectAddr("unknown", 0)  # it went away before it was looked at
    return DirectAddr(host, end[1])
