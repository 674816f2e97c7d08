"""A WebSocket client that costs almost nothing, so that a load generator on one core can outrun a server on another.

The mask is all zeros: a server takes it off all the same, and putting it on costs nothing.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
NO_MASK = b"\0\0\0\0"


def frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """What a client puts on the wire for one message."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, size)
    return head + NO_MASK + payload


@dataclass(frozen=True)
class Where:
    """A server to connect to; `source` is our own address, for servers that count connections per address."""

    port: int
    path: str = "/"
    source: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None


class Wire(asyncio.Protocol):
    """One connection. `heard(opcode, payload)` is called for every message, from the event loop."""

    def __init__(self, where: Where) -> None:
        self.heard: Callable[[int, bytes], None] = lambda opcode, payload: None
        self.lost: Callable[[], None] = lambda: None
        self.is_closed = False
        self._where = where
        self._rest = b""
        self._upgraded = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, where: Where) -> Wire:
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(
            lambda: cls(where), "127.0.0.1", where.port, ssl=where.tls, local_addr=(where.source, 0)
        )
        await asyncio.wait_for(wire._upgraded, 10)
        return wire

    def send(self, framed: bytes) -> None:
        """Bytes that `frame` made."""
        assert self._transport is not None
        self._transport.write(framed)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's classes
        key = base64.b64encode(os.urandom(16)).decode()
        self.send(
            f"GET {self._where.path} HTTP/1.1\r\nHost: 127.0.0.1:{self._where.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        if not self._upgraded.done():
            self._upgraded.set_exception(error or ConnectionError("closed before the upgrade"))
        self.lost()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self._upgraded.done():
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                self._rest = head
                return
            self._upgrade(head)
        self._rest = self._take(data)

    def _upgrade(self, head: bytes) -> None:
        if b" 101 " in head.partition(b"\r\n")[0]:
            self._upgraded.set_result(None)
        else:
            self._upgraded.set_exception(ConnectionError(head.partition(b"\r\n")[0].decode(errors="replace")))

    def _take(self, data: bytes) -> bytes:
        """Hand on every whole message; the rest comes back."""
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1] & 0x7F, at + 2
            if size == 126:
                if end < start + 2:
                    break
                size, start = int.from_bytes(data[start : start + 2]), start + 2
            elif size == 127:
                if end < start + 8:
                    break
                size, start = int.from_bytes(data[start : start + 8]), start + 8
            if end < start + size:
                break
            self._hand_on(data[at] & 0x0F, data[start : start + size])
            at = start + size
        return data[at:]

    def _hand_on(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.send(frame(payload, PONG))
        elif opcode in (TEXT, BINARY):
            self.heard(opcode, payload)
