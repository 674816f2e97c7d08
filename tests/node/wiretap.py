"""Somebody who reads along: on the in-memory network, and between two TCP sockets."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle

import anyio
from anyio.abc import ByteStream, SocketAttribute

from mcp_a2a.protocol.link_keys import TAG_SIZE
from tests.transports.memory import MemoryNetwork


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


BINARY = 2
"""Opcode of a binary WebSocket frame."""


class FrameTap:
    """Reads every frame of a `MemoryNetwork`."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, str, str | bytes]] = []
        self.network = MemoryNetwork(tap=lambda sender, to, frame: self.frames.append((sender, to, frame)))

    @property
    def wire(self) -> bytes:
        return b"\n".join(frame if isinstance(frame, bytes) else frame.encode() for _, _, frame in self.frames)

    def envelopes(self, sender: str, to: str) -> list[bytes]:
        frames = [frame for a, b, frame in self.frames if (a, b) == (sender, to) and isinstance(frame, bytes)]
        return [frame[:-TAG_SIZE] for frame in frames if frame.startswith(b"A2E")]


@dataclass
class Conversation:
    """One connection through a `TcpTap`."""

    asked: bytearray = field(default_factory=bytearray)
    """From whoever dialled."""
    answered: bytearray = field(default_factory=bytearray)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Opcode and payload of every WebSocket frame, of both sides."""
        yield from websocket_frames(bytes(self.asked))
        yield from websocket_frames(bytes(self.answered))


@dataclass
class TcpTap:
    """A proxy in front of a port, and all that went through it, both ways."""

    port: int
    conversations: list[Conversation] = field(default_factory=list)

    @property
    def wire(self) -> bytes:
        """The bytes as they were, and the dialler's WebSocket frames without their mask, which hides nothing."""
        return b"".join(
            bytes(one.asked) + b"".join(payload for _, payload in websocket_frames(bytes(one.asked)))
            + bytes(one.answered)
            for one in self.conversations
        )  # fmt: skip

    @property
    def sealed_sizes(self) -> set[int]:
        """Sizes of all envelopes and listings, without the MACs of the link."""
        frames = [payload for one in self.conversations for opcode, payload in one.frames() if opcode == BINARY]
        return {len(frame) - TAG_SIZE for frame in frames if not frame.startswith(b"{")}


@asynccontextmanager
async def tcp_tap(target: int) -> AsyncIterator[TcpTap]:
    """Listen on a free port and pass everything on to the target."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tap = TcpTap(listener.extra(SocketAttribute.local_port))  # noqa: S610  anyio's, not Django's

        async def serve(client: ByteStream) -> None:
            said = Conversation()
            tap.conversations.append(said)
            async with (
                client,
                await anyio.connect_tcp("127.0.0.1", target) as server,
                anyio.create_task_group() as ways,
            ):
                ways.start_soon(_pump, client, server, said.asked, ways.cancel_scope)
                ways.start_soon(_pump, server, client, said.answered, ways.cancel_scope)

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


def websocket_frames(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """What the WebSocket frames of one side say, without their mask (RFC 6455 5.2)."""
    _, _, rest = stream.partition(b"\r\n\r\n")
    while len(rest) >= 2:
        opcode, masked, size, start = rest[0] & 0x0F, rest[1] & 0x80, rest[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(rest[2 : 2 + width]), 2 + width
        mask = b"\0" * 4
        if masked:
            mask, start = rest[start : start + 4], start + 4
        body = rest[start : start + size]
        if len(body) < size:
            return  # cut off in the middle
        yield opcode, bytes(byte ^ key for byte, key in zip(body, cycle(mask), strict=False)) if masked else body
        rest = rest[start + size :]
