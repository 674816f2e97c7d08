"""A connection to the HTTP server: what the parser may be fed, what waits, and when no client reads the answer.

uvicorn's protocol, which counts nothing and waits for a client that does not read. Here a head is counted as it comes,
an answer that is not taken is not kept for ever, and a client that has ended its own side of the connection is answered
nevertheless (`nc -N`, and clients that shut down what they have written).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mcp_a2a.protocol.pending_connections import is_here
from mcp_a2a.server.connection_limits import MAX_FIELDS, MAX_HEAD_BYTES, MAX_PIPELINED, HeadCount
from mcp_a2a.server.guard import OF_THIS_USER
from mcp_a2a.server.local_user import can_tell, is_this_user

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport  # noqa: TID251  what uvicorn hands us

    from uvicorn._types import ASGI3Application, ASGISendEvent

    from mcp_a2a.server.connection_limits import LimitedConnections

LINGER_SECONDS = 1.0
"""Seconds that a refused connection stays open, unread, so that the answer arrives."""

LOOK_SECONDS = 1.0
"""Seconds between looks for a client that sends no more."""


class Connection(HttpToolsProtocol):
    """A connection that reports its phases to `LimitedConnections`, and counts bytes before the parser keeps them."""

    def __init__(self, connections: LimitedConnections, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]  # uvicorn names them all
        self._connections, self._head = connections, HeadCount()
        self._answering: RequestResponseCycle | None = None
        self._is_refused = self._has_ended = False
        self._last_word = b""
        self._unread: TimerHandle | None = None
        self.address, self.is_of_another_user = "", False

    def evict(self) -> None:
        """Close it, behind the bytes on their way out. Without the end of TLS, which a silent one would not answer."""
        if self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()

    @override
    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's says the same
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=1, low=0)  # so that `pause_writing` says: not everything was taken
        self.address = self.client[0] if self.client else ""
        if self.client and self.server and self.server[1] is not None:
            # Asked once: the socket at the other end stays the one that it is, and a closed one could not be asked for.
            proven = is_this_user(self.client, (self.server[0], self.server[1]))
            self.app_state = {**self.app_state, OF_THIS_USER: proven}
            self.is_of_another_user = is_here(self.address) and can_tell() and not proven
        self._connections.entered(self, self.loop.time())

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
        """Read no further, and say why, behind what earlier requests are answered."""
        self._is_refused = True
        self._drop_unfinished()
        if self._owes:
            self._last_word = answer
        else:
            self._hang_up(answer)

    def _hang_up(self, answer: bytes) -> None:
        """Answer, and close a while later: closed at once, with unread bytes, the answer would be lost."""
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _drop_unfinished(self) -> None:
        """The rest of a request does not come, so there is none."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if cycle is None or cycle.response_complete or not cycle.more_body:
            return
        if cycle is self._answering:
            _disconnect(cycle)
        else:
            self.pipeline.popleft()

    @property
    def _owes(self) -> bool:
        """True if a request that has come whole waits for its answer."""
        cycle = self._answering
        return bool(self.pipeline) or not (cycle is None or cycle.response_complete or cycle.disconnected)

    @override
    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's may return one
        self._has_ended = True
        self._drop_unfinished()
        if not self._owes or self.scheme == "https":  # asyncio's TLS ends both sides together
            return False
        self._look_for_client(0.0)
        return True

    def _look_for_client(self, waited: float) -> None:
        """End a connection whose client is gone; where that cannot be told, after as long as any may stall."""
        if self.transport.is_closing():
            return
        started = self._answering is not None and self._answering.response_started  # then writing tells
        if self._is_gone() or (waited >= self._connections.limits.stalled_seconds and not started):
            self.transport.abort()
        else:
            self.loop.call_later(LOOK_SECONDS, self._look_for_client, waited + LOOK_SECONDS)

    def _is_gone(self) -> bool:
        proven = self.app_state.get(OF_THIS_USER) is True
        return proven and not (
            self.client and self.server and is_this_user(self.client, (self.server[0], self.server[1] or 0))
        )

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _wait_for_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self._connections.limits.stalled_seconds, self._look_at_reader, left)

    def _look_at_reader(self, before: int) -> None:
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._wait_for_reader()

    @override
    def on_message_begin(self) -> None:
        self._head.began()
        super().on_message_begin()

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.field()
        if self._head.in_head:  # a trailer is none of the fields that were checked
            # Blanks around a value are no part of it (RFC 9110 5.5); this parser leaves those behind it.
            super().on_header(name, value.strip(b" \t"))

    @override
    def on_headers_complete(self) -> None:
        self._head.ended()
        if self.parser.should_upgrade():
            return  # and the parser says so a second time, when it stops there
        if len(self.pipeline) >= MAX_PIPELINED:
            self._head.over()
        self._take_host_of_target()
        self._connections.asks(self)
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            # Work-around (uvicorn), look again 2027-06: not reported
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

    def _take_host_of_target(self) -> None:
        """Whom a proxy would ask counts, and not what the header says beside it (RFC 9112 3.2.2)."""
        scheme, found, rest = self.url.partition(b"://")
        if found and scheme.isalpha():
            host = rest.partition(b"/")[0]
            self.headers[:] = [field for field in self.headers if field[0] != b"host"] + [(b"host", host)]

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app if app is self.app else cast("ASGI3Application", _full))

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._owes:
            return  # the next request is here already
        if self._last_word:
            self._hang_up(self._last_word)
        elif self._has_ended:
            self.transport.close()
        else:
            self._connections.waits(self, self.loop.time())

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.left(self)
        if self._unread is not None:
            self._unread.cancel()
        if self._answering is not None and not self._answering.response_complete:
            _disconnect(self._answering)  # uvicorn tells the last request that came, which may be another
        super().connection_lost(exc)


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Tell the application that no client waits for this answer."""
    cycle.disconnected = True
    cycle.message_event.set()


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer of uvicorn to too many connections, with the time to come back."""
    headers = {"retry-after": "5", "connection": "close"}
    await PlainTextResponse("This server has too many connections.\n", 503, headers)(scope, receive, send)


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
_UNREADABLE = _answer("400 Bad Request", "This is not an HTTP/1.1 request.\n")
