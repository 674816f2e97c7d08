"""Keeps connections that ask nothing from those that do: opening one takes no token (limits L10, L11).

uvicorn counts all connections, and waits for the first request of each for ever. Here whoever sends no whole header
in time is shown out, and so is who has been silent longest where too many are: an honest client needs milliseconds.

This machine itself is not held to the limits of a host: its programs share one address, and so does a proxy's crowd.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mcp_a2a.protocol.door import Door, host_of, is_here
from mcp_a2a.server.guard import OF_THIS_USER
from mcp_a2a.server.heads import MAX_FIELDS, MAX_HEAD_BYTES, MAX_PIPELINED, HeadCount
from mcp_a2a.server.local_user import is_this_user

if TYPE_CHECKING:
    from asyncio import Transport  # noqa: TID251  what uvicorn hands us

    from uvicorn._types import ASGISendEvent

MAX_CONNECTIONS = 1_000

LINGER_SECONDS = 1.0
"""How long a connection that was refused stays open, unread, so that the answer arrives."""


@dataclass(frozen=True)
class Limits:
    """How many connections there may be, and how long one may be silent."""

    per_host: int = MAX_CONNECTIONS // 4
    silent: int = MAX_CONNECTIONS // 2
    """The other half is for those who ask."""
    silent_per_host: int = MAX_CONNECTIONS // 10
    header_seconds: float = 10.0
    """From its beginning, or the end of an answer, to the end of the next header."""

    @classmethod
    def within(cls, files: int) -> Limits:
        """Those for that many open files, if that is less than there may be connections."""
        most = max(16, min(MAX_CONNECTIONS, files))
        return cls(per_host=most // 4, silent=most // 2, silent_per_host=max(4, most // 10))


class Guest(Protocol):
    """A connection."""

    address: str

    def show_out(self) -> None:
        """Close it."""


class Reception:
    """All connections of a server."""

    def __init__(self, limits: Limits, *, behind_proxy: bool) -> None:
        self._limits, self._behind_proxy = limits, behind_proxy
        self._door: Door[Guest] = Door(limits.silent, limits.silent_per_host, limits.header_seconds)
        self._hosts: Counter[str] = Counter()

    def entered(self, guest: Guest, now: float) -> None:
        """A connection was opened."""
        seat = self._seat(guest)
        self._hosts[seat] += 1
        if self._hosts[seat] > self._limits.per_host:
            guest.show_out()
        else:
            self.waits(guest, now)

    def waits(self, guest: Guest, now: float) -> None:
        """It may ask something, and has not."""
        leaves = self._door.arrived(guest, self._seat(guest), now)
        if leaves is not None:
            leaves.show_out()

    def asks(self, guest: Guest) -> None:
        """The header of a request has come."""
        self._door.left(guest)

    def left(self, guest: Guest) -> None:
        """It is closed."""
        self._door.left(guest)
        seat = self._seat(guest)
        self._hosts[seat] -= 1
        if not self._hosts[seat]:
            del self._hosts[seat]

    def show_out(self, now: float) -> None:
        """Close those that have been silent for too long."""
        for guest in self._door.overdue(now):
            guest.show_out()

    def _seat(self, guest: Guest) -> str:
        spared = self._behind_proxy or is_here(guest.address)
        return f"{guest.address}/{id(guest)}" if spared else host_of(guest.address)


class Connection(HttpToolsProtocol):
    """A connection that tells the reception how it gets on, and counts what it sends before the parser keeps it."""

    def __init__(self, reception: Reception, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]  # uvicorn names them all
        self._reception, self._head = reception, HeadCount()
        self._is_refused = False
        self.address = ""

    def show_out(self) -> None:
        """Close it, behind what is on its way out. Without a farewell of TLS, which a silent one would not answer."""
        if self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()

    @override
    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's says the same
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        if self.client and self.server and self.server[1] is not None:
            # Asked once: the socket at the other end stays the one that it is, and a closed one could not be asked for.
            proven = is_this_user(self.client, (self.server[0], self.server[1]))
            self.app_state = {**self.app_state, OF_THIS_USER: proven}
        self._reception.entered(self, self.loop.time())

    @override
    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        while rest and not self._is_refused:
            size = self._head.allowance
            if not size:
                return self._refuse(_TOO_LARGE)
            fed = self._feed(rest[:size])
            self._head.fed(fed)
            rest = rest[fed:]
        return None

    def _feed(self, piece: memoryview) -> int:
        """Feed the parser; how much it took."""
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade()
            return int(upgrade.args[0])
        except HttpParserError:
            self._refuse(_TOO_LARGE if self._head.is_over else _UNREADABLE)
        return len(piece)

    def _ignore_upgrade(self) -> None:
        """Read the head again without `Upgrade`, which a server may ignore (RFC 9110 7.8). Java always asks for h2c.

        The parser takes what comes behind such a head for the other protocol, the body of the request among it.
        """
        fields = [(name, value) for name, value in self.headers if name != b"upgrade"]
        if len(fields) == len(self.headers):
            return self._refuse(_UNREADABLE)  # CONNECT: no tunnel is opened here
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % field for field in fields]
        self.parser = HttpRequestParser(self)
        self._feed(memoryview(b"\r\n".join(lines) + b"\r\n\r\n"))
        return None

    def _refuse(self, answer: bytes) -> None:
        """Answer and hang up. What still comes is not read, for a while: closed at once, the answer would be lost."""
        self._is_refused = True
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if cycle is not None and not cycle.response_complete:
            return self.transport.abort()  # an answer to an earlier request is on its way
        self.transport.write(answer)
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        return None

    @override
    def on_message_begin(self) -> None:
        self._head.began()
        super().on_message_begin()

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.field()
        if self._head.in_head:  # a trailer is none of the fields that were checked
            super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._head.ended()
        if self.parser.should_upgrade():
            return  # and the parser says so a second time, when it stops there
        if len(self.pipeline) >= MAX_PIPELINED:
            self._head.over()
        self._reception.asks(self)
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _PlainCycle  # uvicorn has no other place to say which

    @override
    def on_body(self, body: bytes) -> None:
        self._head.advanced()
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._head.advanced()
        if not self.parser.should_upgrade():
            super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # else the next request is here already
            self._reception.waits(self, self.loop.time())

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._reception.left(self)
        super().connection_lost(exc)


class _PlainCycle(RequestResponseCycle):
    """An answer to HTTP/1.0, which knows no chunks: what has no length ends with the connection (RFC 9112 7)."""

    _unsized = False

    @override
    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self._unsized = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            self.chunked_encoding = False if self._unsized else None
        elif message["type"] == "http.response.body" and self._unsized:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def _answer(status: str, text: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
    return f"{head}Connection: close\r\n\r\n{text}".encode()


_TOO_LARGE = _answer(
    "431 Request Header Fields Too Large",
    f"The header of a request has at most {MAX_HEAD_BYTES:,} bytes and {MAX_FIELDS} fields.\n",
)
_UNREADABLE = _answer("400 Bad Request", "This is no request of HTTP/1.1.\n")
