"""Somebody who reads along: on the in-memory network, and between two TCP sockets."""

from __future__ import annotations

import base64
import secrets
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle

import anyio
from anyio.abc import ByteStream, SocketAttribute

from mcp_a2a_transports.memory import MemoryNetwork


def canary(what: str) -> str:
    """A word that occurs nowhere else, long enough to be found in any spelling."""
    return f"canary-{what}-{secrets.token_hex(12)}"


def spellings(word: str) -> Iterator[bytes]:
    """How a word may look on a wire: as it is, in hexadecimal, in base64 at each of its three alignments."""
    raw = word.encode()
    yield from (raw, raw.hex().encode(), raw.hex().upper().encode(), word.encode("utf-16-le"))
    for offset in range(3):
        # Only characters that depend on nothing but the word: not the first ones, not the last.
        whole = raw[(3 - offset) % 3 :]
        whole = whole[: len(whole) // 3 * 3]
        yield from (base64.b64encode(whole), base64.urlsafe_b64encode(whole))


def found(words: list[str], wire: bytes) -> list[str]:
    """Which of the words can be read on the wire."""
    return [word for word in words if any(spelling in wire for spelling in spellings(word))]


class FrameTap:
    """Reads every frame of a `MemoryNetwork`."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, str, str | bytes]] = []
        self.network = MemoryNetwork(tap=lambda sender, to, frame: self.frames.append((sender, to, frame)))

    @property
    def wire(self) -> bytes:
        return b"\n".join(frame if isinstance(frame, bytes) else frame.encode() for _, _, frame in self.frames)

    def envelopes(self, sender: str, to: str) -> list[bytes]:
        return [frame for a, b, frame in self.frames if (a, b) == (sender, to) and isinstance(frame, bytes)]


@dataclass
class TcpTap:
    """A proxy in front of a port, and all that went through it, both ways."""

    port: int
    asked: bytearray = field(default_factory=bytearray)
    """From whoever dialled."""
    answered: bytearray = field(default_factory=bytearray)

    @property
    def wire(self) -> bytes:
        """The bytes as they were, and the dialler's WebSocket frames without their mask, which hides nothing."""
        return bytes(self.asked) + unmasked(bytes(self.asked)) + bytes(self.answered)


@asynccontextmanager
async def tcp_tap(target: int) -> AsyncIterator[TcpTap]:
    """Listen on a free port and pass everything on to the target."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tap = TcpTap(listener.extra(SocketAttribute.local_port))  # noqa: S610  anyio's, not Django's

        async def serve(client: ByteStream) -> None:
            async with (
                client,
                await anyio.connect_tcp("127.0.0.1", target) as server,
                anyio.create_task_group() as ways,
            ):
                ways.start_soon(_pump, client, server, tap.asked, ways.cancel_scope)
                ways.start_soon(_pump, server, client, tap.answered, ways.cancel_scope)

        tasks.start_soon(listener.serve, serve)
        yield tap
        tasks.cancel_scope.cancel()


async def _pump(source: ByteStream, sink: ByteStream, log: bytearray, both: anyio.CancelScope) -> None:
    try:
        async for chunk in source:
            log += chunk
            await sink.send(chunk)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    both.cancel()


def unmasked(stream: bytes) -> bytes:
    """What the WebSocket frames of one dialler say (RFC 6455 5.2)."""
    _, _, rest = stream.partition(b"\r\n\r\n")
    said = bytearray()
    while len(rest) >= 6:
        size, start = rest[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(rest[2 : 2 + width]), 2 + width
        mask = struct.unpack_from("4B", rest, start)
        start += 4
        said += bytes(byte ^ key for byte, key in zip(rest[start : start + size], cycle(mask), strict=False))
        rest = rest[start + size :]
    return bytes(said)
