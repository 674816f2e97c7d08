"""The listening half of `direct`: an HTTP server whose only path opens links.

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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

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
from mcp_a2a_transports._drive import CLOSE_SECONDS, DrivenLink
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
"""How often a free port is asked for until it is free in both families."""


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


class LinkServer(web.Server):
    """Lets link requests through to `Links`, and everything else out again."""

    def __init__(self) -> None:
        super().__init__(self._serve, access_log=None, logger=_http_logger, lingering_time=0)
        self._links: Links | None = None
        self._pending: PendingConnections[web.RequestHandler] = PendingConnections()
        self._arrivals: Buckets[str] = Buckets(ARRIVALS, MAX_HOSTS)
        """Connections of a host that turned out to be a stranger's, or to prove nothing."""
        self._link_of: dict[web.RequestHandler, DrivenLink] = {}
        self._has_pending = anyio.Event()

    @asynccontextmanager
    async def admit_to(
        self, links: Links, runner: web.ServerRunner, listeners: Sequence[socket.socket]
    ) -> AsyncIterator[None]:
        """Accept connections until the context ends; the links that they became live on."""
        self._links = links
        links.look_after(self._turn_out_the_overdue)
        sites = [web.SockSite(runner, listener, backlog=BACKLOG) for listener in listeners]
        for site in sites:
            await site.start()
        try:
            yield
        finally:
            self._links = None
            with anyio.CancelScope(shield=True):
                for site in sites:
                    await site.stop()

    # --- connections without a proven key ---------------------------------------------------------

    @override
    def connection_made(self, handler: web.RequestHandler, transport: Connection) -> None:
        super().connection_made(handler, transport)  # type: ignore[arg-type]  # the very same
        now, host = time.monotonic(), host_of(address_of(transport).host)
        if not _is_from_here(transport) and self._arrivals.of(host, now).take(1, now):
            self._loop.call_soon(transport.abort)  # before it costs a handshake, but when aiohttp has begun with it
            return
        leaves = self._pending.arrived(handler, host, now)
        self._has_pending.set()
        if leaves is not None:
            self._turn_out(leaves, ByeCode.BUSY)

    @override
    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._pending.left(handler)

    async def _turn_out_the_overdue(self) -> None:
        while True:
            if not len(self._pending):
                await self._has_pending.wait()
                self._has_pending = anyio.Event()
                continue
            now = time.monotonic()
            for handler in self._pending.overdue(now):
                self._turn_out(handler, ByeCode.TIMEOUT)
            await anyio.sleep(max(0.0, min(self._pending.next_timeout() - now, WAIT_SECONDS)))

    def _turn_out(self, handler: web.RequestHandler, code: ByeCode) -> None:
        link = self._link_of.get(handler)
        if link is not None:
            link.close("it has not proven its key in time", code)
        elif handler.transport is not None:
            handler.transport.abort()

    # --- requests ---------------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.transport
        websocket = web.WebSocketResponse(
            timeout=CLOSE_SECONDS, autoping=False, compress=False, max_msg_size=MAX_MESSAGE
        )
        is_link = request.path == PATH and asks_for_link(request, websocket)
        if self._links is None or connection is None or not is_link:
            return refusal()
        websocket.headers["Server"] = AGENT
        await websocket.prepare(request)
        channel = WebSocketChannel(websocket, connection)
        address = address_of(connection)
        route = "local" if channel.stays_here else route_of(address, provenance="incoming")
        link = self._links.start(Side.LISTENER, channel, str(address), route)
        await self._accompany(request.protocol, self._links, link, connection)
        return websocket

    async def _accompany(
        self, handler: web.RequestHandler, links: Links, link: DrivenLink, connection: Connection
    ) -> None:
        self._link_of[handler] = link
        try:
            with suppress(LinkError):
                await link.opened()
                self._pending.left(handler)
                if links.handler.standing(link.peer) is not Standing.STRANGER:
                    now = time.monotonic()
                    self._arrivals.of(host_of(address_of(connection).host), now).spend(-1)
            await link.ended.wait()
        finally:
            del self._link_of[handler]


def _is_from_here(connection: Connection) -> bool:
    """True if the other end is on this machine, by whichever of its addresses."""
    host = address_of(connection).host
    return is_here(host) or host == text_of_end(connection.get_extra_info("sockname"))


@asynccontextmanager
async def open_link_server() -> AsyncIterator[tuple[LinkServer, web.ServerRunner]]:
    """A link server, and the runner that ends what it still serves when the context ends."""
    server = LinkServer()
    runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
    await runner.setup()
    try:
        yield server, runner
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def asks_for_link(request: web.BaseRequest, websocket: web.WebSocketResponse) -> bool:
    """True if a request may become a link."""
    # A page in a browser sends Origin and has no business here, whatever machine it is on.
    is_page = "Origin" in request.headers
    return not is_page and websocket.can_prepare(request).ok


def refusal() -> web.Response:
    """The answer to every other."""
    response = web.Response(status=404, headers={"Server": AGENT})
    response.force_close()
    return response


def address_of(connection: Connection) -> DirectAddr:
    """Where a connection comes from."""
    end = connection.get_extra_info("peername")
    host = text_of_end(end)
    if host is None or not isinstance(end, tuple):
        return DirectAddr("unknown", 0)  # it went away before it was looked at
    return DirectAddr(host, end[1])
