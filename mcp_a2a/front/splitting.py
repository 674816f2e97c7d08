"""Lines out of chunks of bytes. Does no I/O. A line that is too long is not kept whole."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass

MAX_LINE_BYTES = 4 * 1024 * 1024
"""The longest message taken, as over HTTP. A longer one is refused, and the next one is read."""

EDGE_BYTES = 64 * 1024
"""Of a line that is too long, so much of its beginning and its end is kept to find its id in."""


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line that was dropped for its length: its beginning and its end."""

    head: bytes
    tail: bytes


Whole = bytes | Overlong


class Splitter:
    """Takes chunks, gives lines without their newline."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: bytes | None = None
        """Beginning of a line that is too long; its end is in the buffer."""
        self._lines: deque[Whole] = deque()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; none at all mean the end, and a last line without a newline is a line."""
        if not chunk:
            if self._buffer or self._head is not None:
                self._end_line()
            return
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._extend(piece)
            self._end_line()
        self._extend(rest)

    def next_line(self) -> Whole | None:
        """The next line; None where none is complete."""
        return self._lines.popleft() if self._lines else None

    def _extend(self, piece: bytes) -> None:
        self._buffer += piece
        if self._head is None and len(self._buffer) > MAX_LINE_BYTES:
            self._head = bytes(self._buffer[:EDGE_BYTES])
        if self._head is not None:
            del self._buffer[:-EDGE_BYTES]

    def _end_line(self) -> None:
        line, head = bytes(self._buffer), self._head
        self._buffer.clear()
        self._head = None
        self._lines.append(line if head is None else Overlong(head, line))


# What a line of a client is, as far as a front has to know.

_BOM = "\ufeff"


def message_in(content: Whole) -> object:
    """The JSON of a line, False where there is none to be read; None for a blank line."""
    if not isinstance(content, bytes):
        return False
    text = content.decode("utf-8", "replace").strip().removeprefix(_BOM)
    if not text:
        return None
    try:
        return json.loads(text) or False
    except (ValueError, RecursionError):
        return False


def is_due(message: object) -> bool:
    """True if a line gets an answer: a request does, and what cannot be read (`server.lines`)."""
    if not isinstance(message, dict):
        return True
    is_response = "method" not in message and bool(message.keys() & {"result", "error"})
    return not is_response and ("id" in message or "method" not in message)
