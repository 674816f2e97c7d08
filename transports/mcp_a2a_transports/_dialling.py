"""Open a WebSocket to the listener of another machine: without redirects, proxies and cookies."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import aiohttp
from aiohttp import AddrInfoType

from mcp_a2a.certificates import why_not_accepted
from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.system_limits import why_not_connected
from mcp_a2a_transports._drive import CLOSE_SECONDS
from mcp_a2a_transports._link_server import AGENT
from mcp_a2a_transports._websocket import MAX_MESSAGE, Connection, WebSocketChannel

PROXY_STATUSES = frozenset({502, 503, 504})
"""HTTP statuses of a proxy whose server does not answer (RFC 9110, 15.6)."""

_connection: ContextVar[list[Connection]] = ContextVar("_connection")
"""Takes the connection of the dial of this task: aiohttp hands out only the socket."""


@asynccontextmanager
async def open_client(refused: Callable[[str], bool] = lambda _: False) -> AsyncIterator[aiohttp.ClientSession]:
    """The client of dials, while the context lasts: to addresses that are not `refused`, by any name."""

    def make_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        if refused(str(sockaddr[0])):
            raise PermissionError(errno.EACCES, "no mcp-a2a is at that address")
        made = socket.socket(family, kind, protocol)
        made.settimeout(0)
        return made

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=make_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": AGENT},
        middlewares=(_only_an_upgrade,),
    ) as client:
        yield client


async def connect(
    client: aiohttp.ClientSession, url: str, what: str, tls: ssl.SSLContext | None = None
) -> WebSocketChannel:
    """A channel to the listener there; `what` names the expected program, "an mcp-a2a node" for example.

    Raises:
        LinkError: no program listens, or another one.
    """
    made: list[Connection] = []
    _connection.set(made)
    try:
        websocket = await client.ws_connect(
            url,
            autoping=False,
            compress=0,
            max_msg_size=MAX_MESSAGE,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
            ssl=tls if tls is not None else True,
        )
    except aiohttp.ClientConnectorCertificateError as error:
        raise LinkError(f"its TLS certificate is not accepted ({why_not_accepted(error.certificate_error)})") from error
    except aiohttp.ClientSSLError as error:
        raise LinkError("it does not speak TLS, or not one that is safe") from error
    except aiohttp.ClientConnectorError as error:
        raise LinkError(why_not_connected(error.os_error, error.host)) from error
    except _OtherAnswerError as error:
        raise LinkError(_why_no_upgrade(error.status, what)) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise LinkError(f"something other than {what} answers there") from error
    return WebSocketChannel(websocket, made[0])


class _OtherAnswerError(Exception):
    """An HTTP answer that is no WebSocket."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


# Work-around (aiohttp), look again 2027-06: https://github.com/aio-libs/aiohttp/issues/3678
async def _only_an_upgrade(
    request: aiohttp.ClientRequest,
    handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
) -> aiohttp.ClientResponse:
    """Refuse every other answer before aiohttp acts on it: a redirect would be followed anywhere."""
    response = await handler(request)
    connection = response.connection
    if response.status != 101 or connection is None or connection.transport is None:
        response.close()
        raise _OtherAnswerError(response.status)
    _connection.get().append(connection.transport)
    return response


def _why_no_upgrade(status: int, what: str) -> str:
    if status in PROXY_STATUSES:
        return f"a proxy answers there, and {what} does not behind it (HTTP {status})"
    return f"something other than {what} answers there"
