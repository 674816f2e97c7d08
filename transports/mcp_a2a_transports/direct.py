"""Links over WebSocket: listens on a port (`_reception`), and dials the listeners of others."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import aiohttp
from typing_extensions import override

from mcp_a2a.errors import LinkError
from mcp_a2a.ports import Credentials, Link, LinkHandler, Transport
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.handshake import Side, Target
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr
from mcp_a2a_transports._drive import CLOSE_SECONDS
from mcp_a2a_transports._links import Links, answered_in_time, keep_links
from mcp_a2a_transports._reception import AGENT, PATH, bind, open_reception
from mcp_a2a_transports._websocket import MAX_MESSAGE, Connection, WebSocketChannel


class DirectTransport(Transport):
    """Listens on `host` and `port`; port 0 takes a free one."""

    def __init__(self, host: str = "0.0.0.0", port: int = 0) -> None:  # noqa: S104  reachable on the LAN is the purpose
        self._host = host
        self._port = port
        self._open: tuple[Links, aiohttp.ClientSession] | None = None

    @override
    @asynccontextmanager
    async def open(self, credentials: Credentials, handler: LinkHandler) -> AsyncIterator[tuple[TransportAddr, ...]]:
        with bind(self._host, self._port) as listener:
            port: int = listener.getsockname()[1]
            async with (
                _client() as client,
                open_reception() as (reception, runner),
                keep_links(credentials, handler) as links,
                reception.admit_to(links, runner, listener),
            ):
                self._open = links, client
                try:
                    yield (DirectAddr(self._host, port),)
                finally:
                    self._open = None

    @override
    def reaches(self, address: TransportAddr) -> bool:
        return isinstance(address, DirectAddr)

    @override
    async def dial(self, peer: PeerId | None, address: TransportAddr, route: str) -> Link:
        if self._open is None or not isinstance(address, DirectAddr):
            raise LinkError("we are not on the network ourselves")
        links, client = self._open
        with answered_in_time():
            channel = await _connect(client, address)
            link = links.start(
                Side.DIALLER, channel, str(address), "local" if channel.stays_here else route, Target(peer)
            )
            await link.opened()
            return link


# --- dialling -------------------------------------------------------------------------------------

_connection: ContextVar[list[Connection]] = ContextVar("_connection")
"""Where the connection of the dial that this task makes is put: aiohttp hands out only the socket."""


@asynccontextmanager
async def _client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": AGENT},
        middlewares=(_only_an_upgrade,),
    ) as client:
        yield client


async def _only_an_upgrade(
    request: aiohttp.ClientRequest,
    handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
) -> aiohttp.ClientResponse:
    """Refuse every other answer before aiohttp acts on it: a redirect would be followed anywhere."""
    response = await handler(request)
    connection = response.connection
    if response.status != 101 or connection is None or connection.transport is None:
        response.close()
        raise LinkError("something else than an mcp-a2a node answers there")
    _connection.get().append(connection.transport)
    return response


async def _connect(client: aiohttp.ClientSession, address: DirectAddr) -> WebSocketChannel:
    made: list[Connection] = []
    _connection.set(made)
    try:
        websocket = await client.ws_connect(
            f"ws://{address}{PATH}",
            autoping=False,
            compress=0,
            max_msg_size=MAX_MESSAGE,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
        )
    except aiohttp.ClientConnectorError as error:
        raise LinkError(_why_not_connected(error.os_error)) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise LinkError("something else than an mcp-a2a node answers there") from error
    return WebSocketChannel(websocket, made[0])


def _why_not_connected(error: OSError) -> str:
    match error:
        case ConnectionRefusedError():
            return "nobody listens there (connection refused)"
        case socket.gaierror():
            return "no machine of that name is known"
        case TimeoutError():
            return "no answer from that machine"
        case _:
            return f"that machine cannot be reached ({error.strerror or type(error).__name__})"
