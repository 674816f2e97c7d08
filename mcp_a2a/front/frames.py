"""The frames between a front and the owner of the data folder on the control socket. Does no I/O.

The front's first line is JSON, as every line of that socket (`node.ipc.server`): `{"mcp": {…}}`, a `Greeting`. Then
both sides send frames: a kind, the number of a line, an age in seconds, and a payload.

front to owner: `LINE` and `OVERLONG` (a line of the client, and how long ago it came), `END` (the client says no more),
`WITHDRAW` (do not begin with this line), `ALIVE` (are you there?).
owner to front: `MESSAGE` (a line for the client; the number is that of the request which it answers, or 0), `SETTLED`
(this line is done with), `LOG` (a record for the front's standard error), `ALIVE` (yes), `REFUSED` (not by me).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from enum import IntEnum

from mcp_a2a.front.announced import FILE
from mcp_a2a.front.journal import Line
from mcp_a2a.front.splitting import Overlong
from mcp_a2a.version import __version__

_HEADER = struct.Struct("!BQdI")
_LENGTH = struct.Struct("!I")

MAX_PAYLOAD = 256 * 1024 * 1024
"""As a line of the control socket: both sides are the same person's."""


class Kind(IntEnum):
    """The kinds of frames."""

    LINE = 1
    OVERLONG = 2
    END = 3
    WITHDRAW = 4
    ALIVE = 5
    MESSAGE = 6
    SETTLED = 7
    LOG = 8
    REFUSED = 9


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its kind and its content."""

    kind: Kind
    number: int = 0
    age: float = 0.0
    payload: bytes = b""

    def encoded(self) -> bytes:
        """The bytes that travel."""
        return _HEADER.pack(self.kind, self.number, self.age, len(self.payload)) + self.payload

    @property
    def overlong(self) -> Overlong:
        """The content of an `OVERLONG` frame."""
        (size,) = _LENGTH.unpack_from(self.payload)
        start = _LENGTH.size
        return Overlong(self.payload[start : start + size], self.payload[start + size :])


def frame_of(line: Line, now: float) -> Frame:
    """A line of the client."""
    age = max(0.0, now - line.at)
    if isinstance(line.content, bytes):
        return Frame(Kind.LINE, line.number, age, line.content)
    size = _LENGTH.pack(len(line.content.head))
    return Frame(Kind.OVERLONG, line.number, age, size + line.content.head + line.content.tail)


class Decoder:
    """Takes chunks, gives frames.

    Raises:
        ValueError: these are no frames (from `frames`).
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._buffer += chunk

    def frames(self) -> Iterator[Frame]:
        """The frames that are complete."""
        position = 0
        try:
            while len(self._buffer) - position >= _HEADER.size:
                kind, number, age, size = _HEADER.unpack_from(self._buffer, position)
                if size > MAX_PAYLOAD:
                    raise ValueError("the frame is too long")
                end = position + _HEADER.size + size
                if len(self._buffer) < end:
                    return
                payload = bytes(memoryview(self._buffer)[position + _HEADER.size : end])
                position = end
                yield Frame(Kind(kind), number, age, payload)
        finally:
            del self._buffer[:position]


_DIGEST = zlib.crc32(FILE.read_bytes()) if FILE.exists() else 0


@dataclass(frozen=True, slots=True)
class Greeting:
    """The greeting of a front: its program, and the parts of its process that count for its session."""

    process: str
    """A name that no other process has, ever."""
    state_key: str
    """32 bytes in hexadecimal that seal the questions of its session, so that the next owner can read them."""
    folder: str
    """Its working folder; empty where it has none."""
    level: int
    """From which level on its log is wanted."""
    allow_strangers: bool = False
    hop: int = 0
    file_roots: tuple[str, ...] = ()
    downloads: str | None = None
    session: int = 0
    """The number of earlier sessions of its client."""
    release: str = __version__
    digest: int = _DIGEST
    """Of what the front answers by itself: two programs of one release may still differ while one is developed."""

    @property
    def is_of_this_program(self) -> bool:
        """True if both sides are the same program, so that the session fits what the front has answered."""
        return (self.release, self.digest) == (__version__, _DIGEST)

    def line(self) -> bytes:
        """The bytes that travel."""
        return json.dumps({"mcp": asdict(self)}, separators=(",", ":")).encode() + b"\n"


# The call of a client that is being served, as its front counts lines.

call_name: ContextVar[str | None] = ContextVar("call_name", default=None)
"""One that no other call has, and the same when the call is told to a later session."""

call_age: ContextVar[float] = ContextVar("call_age", default=0.0)
"""Seconds since it came: a call that waited for its session has less time left."""
