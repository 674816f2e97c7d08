"""Standard input and output without threads: cancellable, and two thread hops per message cheaper than the SDK's.

The SDK reads stdin in a worker thread that nobody can interrupt, so a signal cannot end a server that waits there.
These two objects fit the seam it offers, `stdio_server(stdin=, stdout=)`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import cast

import anyio
from mcp.server.stdio import stdio_server

from mcp_a2a.server.sdk import Incoming, Outgoing

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 4 * 1024 * 1024
"""The longest message taken, as over HTTP. A longer one is dropped, and the next one is read."""

_CHUNK = 64 * 1024


class LineReader:
    """Lines of a file descriptor that does not block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._skipping = False

    async def __aiter__(self) -> AsyncIterator[str]:
        while chunk := await self._read():
            for line in self._lines(chunk):
                yield line.decode("utf-8", "replace")
        if self._buffer and not self._skipping:
            yield self._buffer.decode("utf-8", "replace")  # a client that forgot the last newline

    async def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self._descriptor)

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            if not self._skipping:
                yield bytes(self._buffer) + piece
            self._buffer.clear()
            self._skipping = False
        if self._skipping:
            return
        self._buffer += rest
        if len(self._buffer) > MAX_LINE_BYTES:
            logger.warning("dropped a message of more than %d bytes from the client", MAX_LINE_BYTES)
            self._buffer.clear()
            self._skipping = True


class TextWriter:
    """Text to a file descriptor that does not block. `gone` is called when nobody reads it any more."""

    def __init__(self, descriptor: int, gone: Callable[[], None]) -> None:
        self._descriptor, self._gone = descriptor, gone

    async def write(self, text: str) -> None:
        """All of it, or nothing more once the reader is gone."""
        rest = memoryview(text.encode())
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._descriptor)
            except (BrokenPipeError, ConnectionResetError):
                self._gone()
                return

    async def flush(self) -> None:
        """Nothing is held back."""


@asynccontextmanager
async def open_stdio(gone: Callable[[], None]) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """MCP messages over stdin and stdout, which nobody else can touch meanwhile.

    `gone` is called when the client no longer reads. A terminal, or a system without pollable pipes, gets the SDK's
    threads instead.
    """
    if sys.platform == "win32" or os.isatty(0) or os.isatty(1):
        async with stdio_server() as streams:
            yield streams
        return
    with _claimed() as (source, sink):
        # The seam is typed as anyio files, of which it uses only what these two have.
        files = cast("tuple[anyio.AsyncFile[str], anyio.AsyncFile[str]]", (LineReader(source), TextWriter(sink, gone)))
        async with stdio_server(*files) as streams:
            yield streams


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
