"""The MCP session of a client whose own process is only a front: this process owns the node, and speaks for it.

What the front's process was told counts for its session (`Caller`), and so do its log and the key that seals its
questions. When this process ends, the front tells all that has no answer to the next owner; so nothing is said here
that is true of this process alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.shared.message import SessionMessage
from mcp.types import CONNECTION_CLOSED, JSONRPCError
from pydantic import JsonValue, TypeAdapter, ValidationError
from typing_extensions import override

from mcp_a2a.front.frames import Decoder, Frame, Greeting, Kind
from mcp_a2a.front.journal import MAX_KEPT
from mcp_a2a.node.ipc.caller import Caller, LentNode
from mcp_a2a.server.lines import FromClient, ToClient, Unreadable
from mcp_a2a.server.pipes import Refusals, from_client, text_of
from mcp_a2a.server.protocol_eras import Client, serve_streams
from mcp_a2a.server.sdk import Messages, Unclosed
from mcp_a2a.server.session_log import SessionLog, session_log
from mcp_a2a.server.surface import build_server

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

MAX_UNSENT = 1024 * 1024
"""Bytes that the front has not taken, beyond which the session waits."""

LAST_WORDS_SECONDS = 2.0
"""Seconds that a session that has ended waits for the front to take its last lines."""

_CHUNK = 256 * 1024
_GREETING = TypeAdapter(Greeting)


async def speak(
    api: NodeApi, stream: SocketStream, received: BufferedByteReceiveStream, said: Mapping[str, JsonValue]
) -> None:
    """Have the session of a front that has just said this of itself, until its client or its process ends."""
    wire = _Wire(stream, received)
    greeting = _understood(said)
    if greeting is None:
        await stream.send(Frame(Kind.REFUSED).encoded())
        return
    caller = Caller(
        allow_strangers=greeting.allow_strangers,
        hop=greeting.hop,
        file_roots=greeting.file_roots,
        downloads=greeting.downloads,
        folder=greeting.folder or None,
    )
    server = build_server(LentNode(api, caller), state_key=bytes.fromhex(greeting.state_key))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wire.listen, tasks.cancel_scope)
        tasks.start_soon(wire.talk)
        answers = _Answers(wire)
        with session_log(SessionLog(greeting.level, wire.log)):
            client = Client(greeting.process, greeting.session)
            await serve_streams(server, _Requests(wire, answers), answers, _nothing, client, wire.settled)
        with anyio.move_on_after(LAST_WORDS_SECONDS):
            await wire.end()
        tasks.cancel_scope.cancel()


def _nothing() -> None:
    pass


def _understood(said: Mapping[str, JsonValue]) -> Greeting | None:
    """The greeting of a front of this very program; None for that of another version."""
    try:
        greeting = _GREETING.validate_python(said)
        bytes.fromhex(greeting.state_key)
    except (ValidationError, ValueError):
        return None
    return greeting if greeting.is_of_this_program else None


class _Wire:
    """Frames to and from one front. Nothing that is cancelled leaves half a frame behind."""

    def __init__(self, stream: SocketStream, received: BufferedByteReceiveStream) -> None:
        self._stream, self._received = stream, received
        self._unsent: deque[bytes] = deque([Frame(Kind.ALIVE).encoded()])
        self._size = 0
        self._changed = anyio.Event()
        self.lines: deque[Frame] = deque()
        """Lines of the client that the session has not taken."""
        self.ended = False
        """True if the client says no more."""

    async def listen(self, session: anyio.CancelScope) -> None:
        """Take what the front says; end the session when the front is gone."""
        decoder = Decoder()
        try:
            while True:
                decoder.feed(await self._received.receive(_CHUNK))
                for frame in decoder.frames():
                    self._heard(frame)
                self._change()
                while len(self.lines) > MAX_KEPT:  # more than a front of ours ever says
                    await self.change()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError):
            session.cancel()

    def _heard(self, frame: Frame) -> None:
        if frame.kind in (Kind.LINE, Kind.OVERLONG):
            self.lines.append(frame)
        elif frame.kind is Kind.WITHDRAW:
            self.lines = deque(line for line in self.lines if line.number != frame.number)
        elif frame.kind is Kind.END:
            self.ended = True
        elif frame.kind is Kind.ALIVE:
            self._put(Frame(Kind.ALIVE))

    async def talk(self) -> None:
        """Send what is to be sent."""
        while True:
            while self._unsent:
                content = b"".join(self._unsent)
                self._unsent.clear()
                try:
                    await self._stream.send(content)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return  # `listen` hears of it too
                self._size -= len(content)
                self._change()
            await self.change()

    async def say(self, frame: Frame) -> None:
        """Send a frame behind the others, once there is room."""
        while self._size >= MAX_UNSENT:
            await self.change()
        self._put(frame)

    async def settled(self, number: int) -> None:
        """Tell the front that a line is done with and gets no answer."""
        await self.say(Frame(Kind.SETTLED, number))

    def log(self, text: str) -> None:
        """Pass a record on, unless the front takes nothing."""
        if self._size < MAX_UNSENT:
            self._put(Frame(Kind.LOG, payload=text.encode()))

    async def end(self) -> None:
        """Say that the session is over, and wait until that was taken."""
        await self.say(Frame(Kind.END))
        while self._size:
            await self.change()

    async def change(self) -> None:
        """Wait until something was said or sent."""
        await self._changed.wait()

    def has_room(self) -> None:
        """The session has taken lines, and more may be read."""
        self._change()

    def _put(self, frame: Frame) -> None:
        content = frame.encoded()
        self._unsent.append(content)
        self._size += len(content)
        self._change()

    def _change(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class _Answers(Unclosed):
    """MCP messages to the client."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        if isinstance(message, JSONRPCError) and message.error.code == CONNECTION_CLOSED and not self._wire.ended:
            return  # this session ends with its process, and the front tells the request to the next one
        number = item.number if isinstance(item, ToClient) else 0
        await self._wire.say(Frame(Kind.MESSAGE, number, payload=text_of(item).encode()))


class _Requests(Messages):
    """MCP messages from the client. A line that is none is answered, under its number."""

    def __init__(self, wire: _Wire, answers: _Answers) -> None:
        self._wire, self._answers = wire, answers
        self._refusals = Refusals()

    @override
    async def __anext__(self) -> SessionMessage | Exception:
        while True:
            frame = await self._next_frame()
            content = frame.payload if frame.kind is Kind.LINE else frame.overlong
            read = from_client(content, frame.number, frame.age)
            if isinstance(read, FromClient):
                return read
            await self._refuse(read, frame.number)

    async def _next_frame(self) -> Frame:
        while not self._wire.lines:
            if self._wire.ended:
                raise StopAsyncIteration
            await self._wire.change()
        frame = self._wire.lines.popleft()
        if len(self._wire.lines) == MAX_KEPT:
            self._wire.has_room()
        return frame

    async def _refuse(self, read: Unreadable | None, number: int) -> None:
        answers = self._refusals.noted(read)
        for answer in answers[:-1]:
            await self._answers.send(answer)
        if answers:
            await self._answers.send(ToClient(answers[-1].message, number=number))
        else:
            await self._wire.settled(number)
