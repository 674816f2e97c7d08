"""One pipe, either protocol era, and a client that changes its mind once.

The SDK fixes a connection's era by its first request. Real clients probe with `server/discover` (2026-07-28) and then
fall back to `initialize` (2025-11-25 and older) on the same pipe, which the SDK refuses. Here, as long as nothing but
probes was seen, an `initialize` ends the first connection and opens a second one behind the same streams.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass

import anyio
from mcp.server import MCPServer
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, RequestId
from typing_extensions import override

from mcp_a2a.front.frames import call_age, call_name
from mcp_a2a.server.lines import FromClient, ToClient
from mcp_a2a.server.sdk import Incoming, LifespanT, Messages, Outgoing, Unclosed, stream_server

# Work-around (mcp), look again 2027-03: not reported
PROBE = "server/discover"
HANDSHAKE = "initialize"

MAX_UNANSWERED = 256
"""Requests without an answer, beyond which nothing more is read: a client that asks on and reads nothing would
otherwise have every answer kept in memory."""

DRAIN_SECONDS = 0.5
"""Seconds that an ended input waits for answers still being made: `printf … | mcp-a2a` gets its answers."""


@dataclass(frozen=True, slots=True)
class Client:
    """The client at the other end of a front."""

    process: str = ""
    """A name of the front's process, that no other has; with the number of a line it names a call."""
    session: int = 0
    """The number of earlier sessions of this client. Its answers to their requests are not for this one."""


async def _nothing(_: int) -> None:
    pass


async def serve_streams(
    server: MCPServer[LifespanT],
    read: Incoming,
    write: Outgoing,
    answered: Callable[[], None],
    client: Client = Client(),
    settled: Callable[[int], Awaitable[None]] = _nothing,
) -> None:
    """Serve until the input ends.

    `answered` is called after each answer was handed to the output, `settled` with the number of each line that is done
    with and gets no answer.
    """
    pipe = _Pipe(read, write, answered, client, settled)
    async with stream_server(server) as serve, read, write:
        while not pipe.ended:
            await serve(_Requests(pipe), _Answers(pipe))


class _Pipe:
    """The part that outlives a connection: the streams, and the number of requests that wait for an answer.

    They are counted, and not told apart by their ids: a client may use an id twice, or cancel 7 as "7".
    """

    def __init__(
        self,
        read: Incoming,
        write: Outgoing,
        answered: Callable[[], None],
        client: Client,
        settled: Callable[[int], Awaitable[None]],
    ) -> None:
        self._read, self._write, self._answered, self._settled = read, write, answered, settled
        self._client, self._questions = client, Questions(client.session)
        self._numbers: dict[tuple[type, RequestId], deque[int]] = {}
        """The lines of requests that wait for their answers, the oldest first, by the id of the request."""
        self._taken = 0
        """The line that was handed on last and gets no answer."""
        self._waiting = 0
        self._news = anyio.Event()
        self._probed = self._served = False
        self._handshake: tuple[SessionMessage, Context] | None = None
        self.ended = False

    async def next_item(self) -> tuple[SessionMessage | Exception, Context]:
        """The next item for the current connection, and the context in which it is served.

        Raises:
            StopAsyncIteration: the connection ends, because the input did or because another one begins.
        """
        if self._handshake is not None:
            item, self._handshake = self._handshake, None
            return item
        await self._room()
        while True:
            received = await self._receive()
            context = copy_context()
            if not isinstance(received, SessionMessage):
                return received, context
            number, age = (received.number, received.age) if isinstance(received, FromClient) else (0, 0.0)
            if isinstance(received.message, JSONRPCRequest):
                context.run(call_age.set, age)
                context.run(call_name.set, f"{self._client.process}-{number}" if self._client.process else None)
                return await self._next_request(received.message, number, context)
            self._taken = number
            if (message := self._questions.answered(received.message)) is not None:
                return SessionMessage(message), context
            await self._done_with_last()

    async def _next_request(
        self, request: JSONRPCRequest, number: int, context: Context
    ) -> tuple[SessionMessage, Context]:
        begins_anew = request.method == HANDSHAKE and self._probed and not self._served
        if begins_anew:
            await self._drain()  # the answers to the probes, if they are still being made
        self._note(request, number)

        async def unanswered() -> None:
            await self._settle(request.id, number)
            await self._settled(number)

        # Of a canceled request, which gets no answer, the SDK tells by this.
        item = SessionMessage(request, ServerMessageMetadata(on_request_unanswered=unanswered)), context
        if begins_anew:
            self._handshake = item
            raise StopAsyncIteration
        return item

    async def send(self, item: SessionMessage) -> None:
        """Pass an answer, a notification or a request of the server on to the client."""
        message = item.message
        if not isinstance(message, JSONRPCResponse | JSONRPCError) or message.id is None:
            await self._write.send(SessionMessage(self._questions.asked(message), item.metadata))
            return
        numbers = self._numbers.get((type(message.id), message.id))
        number = numbers[0] if numbers else 0
        await self._write.send(ToClient(message, number=number))
        await self._settle(message.id, number)
        self._answered()

    async def _done_with_last(self) -> None:
        """Count the last item as done when the next one is asked for, unless it was a request."""
        if self._taken:
            taken, self._taken = self._taken, 0
            await self._settled(taken)

    async def _receive(self) -> SessionMessage | Exception:
        await self._done_with_last()
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

    async def _settle(self, request_id: RequestId, number: int) -> None:
        """A request has its answer, or will have none."""
        self._waiting -= 1
        numbers = self._numbers.get((type(request_id), request_id), deque())
        if number in numbers:
            numbers.remove(number)
        if not numbers:
            self._numbers.pop((type(request_id), request_id), None)
        self._news.set()

    def _note(self, request: JSONRPCRequest, number: int) -> None:
        self._waiting += 1
        self._numbers.setdefault((type(request.id), request.id), deque()).append(number)
        if request.method == PROBE:
            self._probed = True
        else:
            self._served = True

    async def _drain(self) -> None:
        with anyio.move_on_after(DRAIN_SECONDS):
            while self._waiting:
                self._news = anyio.Event()
                await self._news.wait()


class _Requests(Messages):
    """One connection's share of the input. The pipe owns the stream, so closing this closes nothing."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self.last_context: Context | None = None
        """In which the last item is served: the SDK asks a stream for it."""

    @override
    async def __anext__(self) -> SessionMessage | Exception:
        item, self.last_context = await self._pipe.next_item()
        return item


class _Answers(Unclosed):
    """One connection's way to the output, likewise."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    async def send(self, item: SessionMessage, /) -> None:
        await self._pipe.send(item)


# What a session asks its client, told apart from what an earlier session of the same client has asked.
#
# A session numbers its requests from the beginning. When it ends with its process, the client may still answer one, and
# the next session would take that for the answer to its own request of the same number: a yes to another question.

CANCELLED = "notifications/cancelled"


class Questions:
    """Gives the requests of a session ids of its own. Those of a first session stay as they are."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._ids: dict[RequestId, RequestId] = {}

    def asked(self, message: JSONRPCMessage) -> JSONRPCMessage:
        """A request or notification of the server, as the client gets it."""
        if not self._session:
            return message
        if isinstance(message, JSONRPCRequest):
            own = f"{self._session}.{message.id}"
            self._ids[own] = message.id
            return message.model_copy(update={"id": own})
        if isinstance(message, JSONRPCNotification) and message.method == CANCELLED and message.params:
            canceled = f"{self._session}.{message.params.get('requestId')}"
            return message.model_copy(update={"params": {**message.params, "requestId": canceled}})
        return message

    def answered(self, message: JSONRPCMessage) -> JSONRPCMessage | None:
        """A response or notification of the client, as the server gets it; None for an answer to an earlier session."""
        if not self._session or not isinstance(message, JSONRPCResponse | JSONRPCError):
            return message
        asked = self._ids.pop(message.id, None) if message.id is not None else None
        return None if asked is None else message.model_copy(update={"id": asked})
