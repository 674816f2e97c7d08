"""One pipe, either protocol era, and a client that changes its mind once.

The SDK fixes a connection's era by its first request. Real clients probe with `server/discover` (2026-07-28) and then
fall back to `initialize` (2025-11-25 and older) on the same pipe, which the SDK refuses. Here, as long as nothing but
probes was seen, an `initialize` ends the first connection and opens a second one behind the same streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import anyio
from mcp.server import MCPServer
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import JSONRPCError, JSONRPCRequest, JSONRPCResponse

from mcp_a2a.server.sdk import Incoming, LifespanT, Outgoing, Unclosed, stream_server

PROBE = "server/discover"
HANDSHAKE = "initialize"

MAX_UNANSWERED = 256
"""Requests without an answer, beyond which nothing more is read: a client that asks on and reads nothing would
otherwise have every answer kept in memory."""

DRAIN_SECONDS = 0.5
"""How long an ended input waits for answers still being made: `printf … | mcp-a2a` gets its answers."""


async def serve_streams(
    server: MCPServer[LifespanT], read: Incoming, write: Outgoing, answered: Callable[[], None]
) -> None:
    """Serve until the input ends. `answered` is called after each answer was handed to the output."""
    pipe = _Pipe(read, write, answered)
    async with stream_server(server) as serve, read, write:
        while not pipe.ended:
            await serve(_Requests(pipe), _Answers(pipe))


class _Pipe:
    """What outlives a connection: the streams, and how many requests still wait for an answer.

    They are counted, and not told apart by their ids: a client may use an id twice, or cancel 7 as "7".
    """

    def __init__(self, read: Incoming, write: Outgoing, answered: Callable[[], None]) -> None:
        self._read, self._write, self._answered = read, write, answered
        self._waiting = 0
        self._news = anyio.Event()
        self._probed = self._served = False
        self._handshake: SessionMessage | None = None
        self.ended = False

    async def next_item(self) -> SessionMessage | Exception:
        """The next item for the current connection.

        Raises:
            StopAsyncIteration: the connection ends, because the input did or because another one begins.
        """
        if self._handshake is not None:
            item, self._handshake = self._handshake, None
            return item
        await self._room()
        received = await self._receive()
        if not isinstance(received, SessionMessage) or not isinstance(received.message, JSONRPCRequest):
            return received
        request = received.message
        begins_anew = request.method == HANDSHAKE and self._probed and not self._served
        if begins_anew:
            await self._drain()  # the answers to the probes, if they are still being made
        self._note(request)
        # Of a canceled request, which gets no answer, the SDK tells by this.
        received = SessionMessage(request, ServerMessageMetadata(on_request_unanswered=self._settle))
        if begins_anew:
            self._handshake = received
            raise StopAsyncIteration
        return received

    async def send(self, item: SessionMessage) -> None:
        """Pass an answer, a notification or a request of the server on to the client."""
        await self._write.send(item)
        if isinstance(item.message, JSONRPCResponse | JSONRPCError) and item.message.id is not None:
            await self._settle()
            self._answered()

    async def _receive(self) -> SessionMessage | Exception:
        try:
            return await anext(self._read)
        except (StopAsyncIteration, anyio.ClosedResourceError):
            self.ended = True
            await self._drain()
            raise StopAsyncIteration from None

    async def _room(self) -> None:
        """Wait while too many requests have no answer yet, or while the client reads none of them."""
        while self._waiting >= MAX_UNANSWERED:
            self._news = anyio.Event()
            await self._news.wait()

    async def _settle(self) -> None:
        """A request has its answer, or will have none."""
        self._waiting -= 1
        self._news.set()

    def _note(self, request: JSONRPCRequest) -> None:
        self._waiting += 1
        if request.method == PROBE:
            self._probed = True
        else:
            self._served = True

    async def _drain(self) -> None:
        with anyio.move_on_after(DRAIN_SECONDS):
            while self._waiting:
                self._news = anyio.Event()
                await self._news.wait()


class _Requests(Unclosed):
    """One connection's share of the input. The pipe owns the stream, so closing this closes nothing."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return await self._pipe.next_item()

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await self._pipe.next_item()
        except StopAsyncIteration:
            raise anyio.EndOfStream from None


class _Answers(Unclosed):
    """One connection's way to the output, likewise."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    async def send(self, item: SessionMessage, /) -> None:
        await self._pipe.send(item)
