"""Keeps connections that ask nothing from those that do: opening one takes no token.

uvicorn counts all connections, and waits for the first request of each for ever. Here a connection without a whole
header in time is closed, and so is the one that has been silent longest where too many are open: an honest client needs
milliseconds.

Programs of this user are not held to the limits of a host: they share one address, as do all clients of a proxy. Those
of other users of this machine are one host, where the kernel names the user of a connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mcp_a2a.protocol.pending_connections import PendingConnections, host_of, is_here

# Work-around (uvicorn), look again 2027-06: https://github.com/Kludex/uvicorn/issues/157
MAX_CONNECTIONS = 1_000


@dataclass(frozen=True)
class Limits:
    """The number of connections, and the seconds that one may be silent."""

    per_host: int = MAX_CONNECTIONS // 4
    silent: int = MAX_CONNECTIONS // 2
    """The other half is for those who ask."""
    silent_per_host: int = MAX_CONNECTIONS // 10
    header_seconds: float = 10.0
    """From its beginning, or the end of an answer, to the end of the next header."""
    stalled_seconds: float = 60.0
    """Without taking anything of an answer that is ready."""

    @classmethod
    def within(cls, files: int) -> Limits:
        """Those for that many open files, if that is less than there may be connections."""
        most = max(16, min(MAX_CONNECTIONS, files))
        return cls(per_host=most // 4, silent=most // 2, silent_per_host=max(4, most // 10))


class HttpConnection(Protocol):
    """A connection of the HTTP server."""

    client: tuple[str, int] | None
    """The other end."""
    address: str
    is_of_another_user: bool
    """Of this machine, as its kernel says."""

    def evict(self) -> None:
        """Close the connection."""


class LimitedConnections:
    """All connections of a server."""

    def __init__(self, limits: Limits, *, behind_proxy: bool) -> None:
        self.limits, self._behind_proxy = limits, behind_proxy
        self._pending: PendingConnections[HttpConnection] = PendingConnections(
            limits.silent, limits.silent_per_host, limits.header_seconds
        )
        self._hosts: Counter[str] = Counter()
        self.on_left: Callable[[HttpConnection], None] = lambda _: None

    def entered(self, connection: HttpConnection, now: float) -> None:
        """Count a connection that was opened; evict it, or another, if there are too many."""
        host = self._host_of(connection)
        self._hosts[host] += 1
        if self._hosts[host] > self.limits.per_host:
            connection.evict()
        else:
            self.waits(connection, now)

    def waits(self, connection: HttpConnection, now: float) -> None:
        """It may ask something, and has not."""
        leaves = self._pending.arrived(connection, self._host_of(connection), now)
        if leaves is not None:
            leaves.evict()

    def asks(self, connection: HttpConnection) -> None:
        """The header of a request has come."""
        self._pending.left(connection)

    def left(self, connection: HttpConnection) -> None:
        """Forget a connection that is closed."""
        self._pending.left(connection)
        self.on_left(connection)
        host = self._host_of(connection)
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]

    def evict_overdue(self, now: float) -> None:
        """Close the connections that have been silent for too long."""
        for connection in self._pending.overdue(now):
            connection.evict()

    def _host_of(self, connection: HttpConnection) -> str:
        spared = self._behind_proxy or (is_here(connection.address) and not connection.is_of_another_user)
        return f"{connection.address}/{id(connection)}" if spared else host_of(connection.address)


# Bounds what the HTTP parser keeps of a request beside its body, as the bytes arrive and before it keeps them.
#
# The parser itself has no limit: it copies every field, and the pieces of one endless line again with each piece.
# Counted
# are the request line with the fields, and, behind them, what is neither body nor the size of a chunk: the extensions
# of
# a chunk, and trailers. No I/O: the connection asks `allowance` how much it may feed, and reports what the parser
# found.

MAX_HEAD_BYTES = 64 * 1024
"""Request line and fields together; as much again for trailers. A header with every cookie of a browser has 8 KiB."""

MAX_FIELDS = 128
"""Fields and trailers of one request."""

MAX_PIPELINED = 16
"""Requests behind one that is being answered. Each costs a hundred times the bytes that it is made of."""

_PIECE = 16 * 1024
"""Bytes fed at once: a head that begins within a piece is counted from the next piece on."""


class HeadTooLargeError(Exception):
    """Raised inside a callback of the parser, which stops there."""


# Work-around (httptools), look again 2027-06: https://github.com/MagicStack/httptools/issues/87
class HeadCount:
    """The bytes that one connection has sent of its current request."""

    def __init__(self) -> None:
        self._bytes = self._fields = 0
        self._advanced = False
        self.in_head = True
        self.is_over = False

    @property
    def allowance(self) -> int:
        """The number of next bytes that the parser may be fed; 0: the limit is reached."""
        return min(_PIECE, MAX_HEAD_BYTES - self._bytes)

    def fed(self, count: int) -> None:
        """The parser was fed so many bytes."""
        self._bytes = 0 if self._advanced else self._bytes + count
        self._advanced = False

    def began(self) -> None:
        """Note the beginning of a request."""
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
