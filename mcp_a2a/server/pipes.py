"""Standard input and output without threads: cancellable, and two thread hops per message cheaper than the SDK's.

The SDK reads stdin in a worker thread that cannot be interrupted, so a signal cannot end a server that waits there; and
it answers no line that it cannot read (`lines`).
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Self, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from mcp_a2a.server.lines import Unreadable, read_line, too_long
from mcp_a2a.server.sdk import Incoming, Outgoing, Unclosed
from mcp_a2a.server.typed_lines import TypedLines

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 4 * 1024 * 1024
"""The longest message taken, as over HTTP. A longer one is refused, and the next one is read."""

MAX_WARNINGS = 20
"""Lines that cannot be read and are logged, of one connection."""

_CHUNK = 64 * 1024
_EDGE_BYTES = 64 * 1024
"""Of a line that is too long, so much of its beginning and its end is kept to find its id in."""


class LineReader:
    """Lines of a file descriptor that does not block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._head: bytes | None = None
        """Beginning of a line that is too long; its end is in the buffer."""
        self._lines: deque[str | Unreadable] = deque()
        self._ended = False

    async def next_line(self) -> str | Unreadable | None:
        """The next line, or what is answered to one that is too long; None at the end of the input."""
        while not self._lines and not self._ended:
            chunk = await self._read()
            if chunk:
                self._split(chunk)
            else:
                self._ended = True
                if self._buffer or self._head is not None:
                    self._end_line()  # a client that forgot the last newline
        return self._lines.popleft() if self._lines else None

    async def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self._descriptor)

    def _split(self, chunk: bytes) -> None:
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._extend(piece)
            self._end_line()
        self._extend(rest)

    def _extend(self, piece: bytes) -> None:
        self._buffer += piece
        if self._head is None and len(self._buffer) > MAX_LINE_BYTES:
            self._head = bytes(self._buffer[:_EDGE_BYTES])
        if self._head is not None:
            del self._buffer[:-_EDGE_BYTES]

    def _end_line(self) -> None:
        line, head = self._buffer.decode("utf-8", "replace"), self._head
        self._buffer.clear()
        self._head = None
        self._lines.append(line if head is None else too_long(head.decode("utf-8", "replace"), line, MAX_LINE_BYTES))


class TextWriter:
    """Text to a file descriptor that does not block. `gone` is called when nobody reads it any more."""

    def __init__(self, descriptor: int, gone: Callable[[], None]) -> None:
        self._descriptor, self._gone = descriptor, gone
        self._turn = anyio.Lock(fast_acquire=True)

    async def write(self, text: str) -> None:
        """All of it, or nothing more once the reader is gone."""
        rest = memoryview(text.encode())
        async with self._turn:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._descriptor)
                except (BrokenPipeError, ConnectionResetError):
                    self._gone()
                    return


class Answers(Unclosed):
    """MCP messages to the client, one a line."""

    def __init__(self, writer: TextWriter) -> None:
        self._writer = writer

    async def send(self, item: SessionMessage, /) -> None:
        """Write a message."""
        await self._writer.write(item.message.model_dump_json(by_alias=True, exclude_unset=True) + "\n")


class Requests(Unclosed):
    """MCP messages from the client. A line that is none is answered with an error and logged."""

    def __init__(self, reader: LineReader, answers: Answers) -> None:
        self._reader, self._answers = reader, answers
        self._refused = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        while (line := await self._reader.next_line()) is not None:
            read = read_line(line) if isinstance(line, str) else line
            if isinstance(read, SessionMessage):
                return read
            if read is not None:
                self._warn(read.reason)
                for answer in read.answers:
                    await self._answers.send(answer)
        raise StopAsyncIteration

    def _warn(self, reason: str) -> None:
        # A client that sends garbage for ever may never read stderr either, and a full stderr would stop us.
        self._refused += 1
        if self._refused <= MAX_WARNINGS:
            last = " (no further such line is logged)" if self._refused == MAX_WARNINGS else ""
            logger.warning("a line of the client was not taken: %s%s", reason, last)

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            EndOfStream: the client closed its end.
        """
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None


@asynccontextmanager
async def open_stdio(gone: Callable[[], None]) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """MCP messages over stdin and stdout, which nobody else can touch meanwhile.

    `gone` is called when the client no longer reads. A terminal gets the SDK's streams, with `TypedLines` to read; a
    system without pollable pipes also the SDK's thread that reads.
    """
    if sys.platform == "win32" or os.isatty(0) or os.isatty(1):
        lines = None if sys.platform == "win32" else cast("anyio.AsyncFile[str]", TypedLines(0))
        async with stdio_server(stdin=lines) as streams:
            yield streams
        return
    with _claimed() as (source, sink):
        answers = Answers(TextWriter(sink, gone))
        yield Requests(LineReader(source), answers), answers


@contextmanager
def _claimed() -> Iterator[tuple[int, int]]:
    """Private copies of descriptors 0 and 1; meanwhile 0 reads nothing, and what anybody prints to 1 goes to 2."""
    source, sink = os.dup(0), os.dup(1)
    blocking = os.get_blocking(source), os.get_blocking(sink)
    _divert()
    os.set_blocking(source, False)
    os.set_blocking(sink, False)
    try:
        yield source, sink
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()  # what was printed and not yet written belongs to the diversion
        for private, public, was_blocking in ((source, 0, blocking[0]), (sink, 1, blocking[1])):
            os.set_blocking(private, was_blocking)
            os.dup2(private, public)
            os.close(private)


def _divert() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a stderr
        os.dup2(null, 1)
    os.close(null)
