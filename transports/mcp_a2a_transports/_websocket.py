"""An aiohttp WebSocket, of either side, as a channel of frames."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Protocol

import anyio
from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType
from aiohttp.web import WebSocketResponse
from typing_extensions import override

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.control import MAX_FRAME
from mcp_a2a_transports._channel import Channel, finished
from mcp_a2a_transports.surroundings import text_of_end

# Work-around (aiohttp), look again 2027-06: not reported
MAX_MESSAGE = MAX_FRAME + 1
"""aiohttp refuses a message of exactly the size that it is given."""


class Connection(Protocol):
    """The part of an asyncio transport that is needed here."""

    def write(self, data: bytes) -> None:
        """Send, at once or later."""

    def get_write_buffer_size(self) -> int:
        """The bytes that are not yet sent."""

    def is_closing(self) -> bool:
        """True if it is closed or being closed."""

    def close(self) -> None:
        """Close when everything is sent."""

    def abort(self) -> None:
        """Close at once, whatever is still to be written."""

    def get_extra_info(self, name: str) -> object:
        """A fact about the connection, as `asyncio.Transport` has it."""


class WebSocketChannel(Channel):
    """One text or binary message is one frame. Its own pings and compression are not used."""

    def __init__(self, socket: WebSocketResponse | ClientWebSocketResponse, connection: Connection) -> None:
        self._socket = socket
        self._connection = connection

    @property
    @override
    def here(self) -> str | None:
        return text_of_end(self._connection.get_extra_info("sockname"))

    @property
    def stays_here(self) -> bool:
        """True if both ends are this machine: what connects to an address of its own comes from that address."""
        here = self.here
        return here is not None and here == text_of_end(self._connection.get_extra_info("peername"))

    @override
    async def receive(self) -> str | bytes:
        message = await self._socket.receive()
        if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
            frame: str | bytes = message.data
            return frame
        raise _end_of(message.type, message.data)

    @override
    def offer(self, frame: str | bytes) -> Awaitable[None] | None:
        sending = self._socket.send_bytes(frame) if isinstance(frame, bytes) else self._socket.send_str(frame)
        try:
            # Without compression aiohttp waits for nothing before it has written, and then only while the wire is full.
            awaited = sending.send(None)
        except StopIteration:
            return None
        except (OSError, ClientError) as error:
            raise anyio.BrokenResourceError from error
        return _written(sending, awaited)

    @override
    async def aclose(self) -> None:
        try:
            await self._socket.close()
        finally:
            # A peer that does not read would keep the socket and all that is buffered for it.
            self._connection.abort()


async def _written(sending: Coroutine[object, object, None], awaited: object) -> None:
    try:
        await finished(sending, awaited)
    except (OSError, ClientError) as error:
        raise anyio.BrokenResourceError from error


def _end_of(kind: WSMsgType, cause: object) -> Exception:
    if kind in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
        return anyio.EndOfStream()
    if kind is not WSMsgType.ERROR:
        return RemoteProtocolError("a WebSocket ping, which the link protocol does not use")
    if isinstance(cause, OSError | ClientError):
        return anyio.EndOfStream()
    return RemoteProtocolError("a message that is too large, or not one of WebSocket")
