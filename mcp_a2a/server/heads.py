"""Bounds what the HTTP parser keeps of a request beside its body, as the bytes arrive and before it keeps them.

The parser itself has no limit: it copies every field, and the pieces of one endless line again with each piece. Counted
are the request line with the fields, and, behind them, what is neither body nor the size of a chunk: the extensions of
a chunk, and trailers. No I/O: the connection asks `allowance` how much it may feed, and reports what the parser found.
"""

from __future__ import annotations

MAX_HEAD_BYTES = 64 * 1024
"""Request line and fields together; as much again for trailers. A header with every cookie of a browser has 8 KiB."""

MAX_FIELDS = 128
"""Fields and trailers of one request."""

MAX_PIPELINED = 16
"""Requests behind one that is being answered. Each costs a hundred times the bytes that it is made of."""

_PIECE = 16 * 1024
"""What is fed at once: a head that begins within a piece is counted from the next piece on."""


class HeadTooLargeError(Exception):
    """Raised inside a callback of the parser, which stops there."""


# Work-around (httptools), look again 2027-06: https://github.com/MagicStack/httptools/issues/87
class HeadCount:
    """What one connection has sent of its current request."""

    def __init__(self) -> None:
        self._bytes = self._fields = 0
        self._advanced = False
        self.in_head = True
        self.is_over = False

    @property
    def allowance(self) -> int:
        """How many of the next bytes the parser may be fed; 0: the limit is reached."""
        return min(_PIECE, MAX_HEAD_BYTES - self._bytes)

    def fed(self, count: int) -> None:
        """The parser was fed so many bytes."""
        self._bytes = 0 if self._advanced else self._bytes + count
        self._advanced = False

    def began(self) -> None:
        """A request begins."""
        self._fields, self.in_head = 0, True

    def field(self) -> None:
        """A field, or a trailer, is whole.

        Raises:
            HeadTooLargeError: it is one too many.
        """
        self._fields += 1
        if self._fields > MAX_FIELDS:
            self.over()

    def ended(self) -> None:
        """The head is whole."""
        self.in_head, self._advanced = False, True

    def advanced(self) -> None:
        """A piece of the body came, or its end."""
        self._advanced = True

    def over(self) -> None:
        """Stop the parser.

        Raises:
            HeadTooLargeError
        """
        self.is_over = True
        raise HeadTooLargeError
