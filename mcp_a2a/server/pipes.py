"""Standard input and output without threads: cancellable, and two thread hops per message cheaper than the SDK's.

The SDK reads stdin in a worker thread that cannot be interrupted, so a signal cannot end a server that waits there; and
it answers no line that it cannot read (`lines`).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Self, TypeAlias, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from typing_extensions import override

from mcp_a2a.front.journal import Journal
from mcp_a2a.front.splitting import EDGE_BYTES, MAX_LINE_BYTES, Overlong, Splitter, Whole
from mcp_a2a.front.streams import claimed
from mcp_a2a.protocol.strict_json import check_members
from mcp_a2a.server.lines import FromClient, ToClient, Unreadable, dropped, read_line
from mcp_a2a.server.sdk import Incoming, Messages, Outgoing, Unclosed

if TYPE_CHECKING:
    from mcp_a2a.front.handover import Handover

logger = logging.getLogger(__name__)

Streams: TypeAlias = tuple[Incoming, Outgoing]

MAX_WARNINGS = 20
"""Lines that cannot be read and are logged, of one connection."""

_CHUNK = 64 * 1024


# Work-around (mcp), look again 2027-03: https://github.com/modelcontextprotocol/python-sdk/issues/3551
class LineReader:
    """Lines of a file descriptor that does not block."""

    def __init__(self, descriptor: int, splitter: Splitter | None = None, *, ended: bool = False) -> None:
        self._descriptor = descriptor
        self._splitter = splitter or Splitter()
        self._ended = ended

    async def next_line(self) -> Whole | None:
        """The next line; None at the end of the input."""
        while (line := self._splitter.next_line()) is None and not self._ended:
            chunk = await self._read()
            self._splitter.feed(chunk)
            self._ended = not chunk
        return line

    async def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self._descriptor)
            except ConnectionResetError:
                return b""  # a socket may stand for a pipe


class TextWriter:
    """Text to a file descriptor that does not block. `gone` is called when it has no reader any more.

    `unsent` goes before all else: what another has written there and the reader has not taken.
    """

    def __init__(self, descriptor: int, gone: Callable[[], None], unsent: bytes = b"") -> None:
        self._descriptor, self._gone = descriptor, gone
        self._unsent = unsent
        self._turn = anyio.Lock(fast_acquire=True)

    async def write(self, text: str) -> None:
        """All of it, or nothing more once the reader is gone."""
        async with self._turn:
            rest, self._unsent = memoryview(self._unsent + text.encode()), b""
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._descriptor)
                except (BrokenPipeError, ConnectionResetError):
                    self._gone()
                    return


class Answers(Unclosed):
    """MCP messages to the client, one a line. An answer that the client has from the front is not sent again."""

    def __init__(self, writer: TextWriter, given: Container[int] = frozenset()) -> None:
        self._writer, self._given = writer, given

    async def send(self, item: SessionMessage, /) -> None:
        """Write a message."""
        if not (isinstance(item, ToClient) and item.number in self._given):
            await self._writer.write(text_of(item) + "\n")


class Requests(Messages):
    """MCP messages from the client: first those that the front has kept, under the numbers that they have there."""

    def __init__(self, reader: LineReader, answers: Answers, journal: Journal) -> None:
        self._reader, self._answers = reader, answers
        self._kept, self._numbers = deque(journal), journal.fresh_numbers()
        self._refusals = Refusals()

    @override
    async def __anext__(self) -> SessionMessage | Exception:
        while not isinstance(read := await self._read(), FromClient):
            for answer in self._refusals.noted(read):
                await self._answers.send(answer)
        return read

    async def _read(self) -> FromClient | Unreadable | None:
        if self._kept:
            line = self._kept.popleft()
            return from_client(line.content, line.number, time.monotonic() - line.at)
        content = await self._reader.next_line()
        if content is None:
            raise StopAsyncIteration
        return from_client(content, next(self._numbers))


class Refusals:
    """Answers to lines that are no messages, and their log."""

    def __init__(self) -> None:
        self._count = 0

    def noted(self, read: Unreadable | None) -> list[SessionMessage]:
        """The answers to one of them; none to a blank line."""
        if read is None:
            return []
        # A client that sends garbage for ever may never read stderr either, and a full stderr would stop us.
        self._count += 1
        if self._count <= MAX_WARNINGS:
            last = " (no further such line is logged)" if self._count == MAX_WARNINGS else ""
            logger.warning("a line of the client was not taken: %s%s", read.reason, last)
        return read.answers


def from_client(content: Whole, number: int, age: float = 0.0) -> FromClient | Unreadable | None:
    """The message in a line of the client that came so many seconds ago; None in a blank one."""
    if isinstance(content, Overlong):
        return _dropped(content.head, content.tail, f"The message is longer than {MAX_LINE_BYTES:,} bytes.")
    try:
        check_members(content)
    except ValueError as error:
        return _dropped(content[:EDGE_BYTES], content[-EDGE_BYTES:], f"The message has {error}.")
    read = read_line(content.decode("utf-8", "replace"))
    return FromClient(read.message, number=number, age=age) if isinstance(read, SessionMessage) else read


def _dropped(head: bytes, tail: bytes, reason: str) -> Unreadable:
    return dropped(head.decode("utf-8", "replace"), tail.decode("utf-8", "replace"), reason)


def text_of(item: SessionMessage) -> str:
    """A message as it travels."""
    return item.message.model_dump_json(by_alias=True, exclude_unset=True)


@asynccontextmanager
async def open_stdio(gone: Callable[[], None], front: Handover[object] | None = None) -> AsyncIterator[Streams]:
    """MCP messages over stdin and stdout, kept from all other code meanwhile; behind a front, from where it stands.

    `gone` is called when the client no longer reads. A terminal gets the SDK's streams, with `TypedLines` to read; a
    system without pollable pipes also the SDK's thread that reads.
    """
    if front is not None:
        client, journal = front.client, front.journal
        writer = TextWriter(client.sink, gone, bytes(client.unsent))
        answers = Answers(writer, {line.number for line in journal if line.answered})
        reader = LineReader(client.source, client.splitter, ended=client.ended)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.write, "")
            yield Requests(reader, answers, journal), answers
        return
    if sys.platform == "win32" or os.isatty(0) or os.isatty(1):
        lines = None if sys.platform == "win32" else cast("anyio.AsyncFile[str]", TypedLines(0))
        async with stdio_server(stdin=lines) as streams:
            yield streams
        return
    with claimed() as (source, sink):
        answers = Answers(TextWriter(sink, gone))
        yield Requests(LineReader(source), answers, Journal()), answers


# Lines of a terminal, read without a thread: a thread that waits for a line could not be ended by Ctrl-C.


class TypedLines:
    """Lines of a descriptor that blocks, as a terminal does: a shell uses the same one, and it stays as it is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while b"\n" not in self._rest:
            chunk = await self._read()
            if not chunk and not self._rest:
                raise StopAsyncIteration
            self._rest += chunk or b"\n"
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace") + "\n"

    async def _read(self) -> bytes:
        with suppress(OSError):  # a file is always ready, and no loop watches one
            await anyio.wait_readable(self._descriptor)
        return os.read(self._descriptor, _CHUNK)
