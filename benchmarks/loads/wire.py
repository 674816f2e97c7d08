"""A WebSocket client that costs almost nothing, so that a load generator on one core can outrun a server on another.

The mask is all zeros: a server takes it off all the same, and putting it on costs nothing.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Callable
from typing import TypeAlias

from loads.line import Line, Where

TEXT, BINARY, PING, PONG = 1, 2, 9, 10
NO_MASK = b"\0\0\0\0"

Heard: TypeAlias = Callable[[int, bytes], None]
"""Gets the kind and the payload of every message, from the event loop."""


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


class Wire(Line):
    """One connection."""

    def __init__(self, where: Where, heard: Heard) -> None:
        super().__init__()
        self.heard = heard
        self._where = where

    @classmethod
    async def open(cls, where: Where, heard: Heard = lambda opcode, payload: None) -> Wire:
        """`heard` is given here, because the first message may come with the upgrade."""
        return await cls(where, heard).connect(where)

    def greet(self) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.send(
            f"GET {self._where.path} HTTP/1.1\r\nHost: 127.0.0.1:{self._where.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def take(self, data: bytes) -> bytes:
        if not self.ready.done():
            head, separator, rest = data.partition(b"\r\n\r\n")
            if not separator:
                return data
            data = rest
            self._upgrade(head.partition(b"\r\n")[0])
        return self._frames(data)

    def _upgrade(self, status: bytes) -> None:
        if b" 101 " in status:
            self.ready.set_result(None)
        else:
            self.ready.set_exception(ConnectionError(status.decode(errors="replace")))

    def _frames(self, data: bytes) -> bytes:
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1] & 0x7F, at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if end < start:
                    break
                size = int.from_bytes(data[at + 2 : start])
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
