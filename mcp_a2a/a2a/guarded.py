"""Calls URLs that others chose: cards, agents, webhooks.

A host is resolved once per connection, every address that it has is checked, and the connection goes to one of these
and nowhere else, whatever its name means a moment later; TLS still asks for the name. Nothing is followed to another
host, no proxy is used, no cookie kept, and what comes back is counted while it comes.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohttp
import anyio
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from mcp_a2a.a2a.addresses import Policy, check_addresses, check_url
from mcp_a2a.a2a.http_answer import lost_by, moved_to, next_hop, pieces_of, unreachable
from mcp_a2a.errors.web import AddressNotAllowedError, WebAnswerError, WebError
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.web_url import origin, with_plain_zone, with_written_zone, without_zone
from mcp_a2a.version import __version__

AGENT = f"mcp-a2a/{__version__}"

MAX_BODY = 8 * 1024 * 1024
MAX_TYPE = 255
"""Characters of a media type (RFC 6838 4.2)."""

MAX_REDIRECTS = 3
MAX_PAUSE = 3600.0
"""Seconds that a server may want to be left alone for."""
MAX_CHECKED = 1024
"""Addresses that are remembered as checked; a connection that comes later is checked anew."""

CONNECT_SECONDS = 10.0
"""To be let through to the other side, TLS and all."""

MAX_CONNECTIONS = 256
QUIET_SECONDS, ASK_SECONDS, MAX_ASKED = 20, 5, 3
"""A connection that is silent for so long is asked for a sign of life, every few seconds, by TCP: a stream may say
nothing for minutes, and of a machine that was unplugged or moved there is no other word."""

KEEP_SECONDS = 4.0
"""Many servers close what was idle for five seconds; a request must not cross that on its way."""

Gone = Callable[[object], bool]
"""True if the name of a socket (`getsockname`) is an address that this machine no longer has."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host."""


@dataclass(frozen=True)
class Call:
    """A request. `seconds` is for all of it, up to the last byte of the answer."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    max_bytes: int = MAX_BODY
    seconds: float = 30.0
    follow: bool = False
    """Go where the same host says that it has moved to, on other ports and with other methods too."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers for the origin of `url` only, wherever it moves to."""


@dataclass(frozen=True)
class Answered:
    """An answer; `url` is its origin after redirects."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return media_type(self.headers)


@dataclass(frozen=True)
class Streaming:
    """An answer whose body is still coming."""

    url: str
    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return media_type(self.headers)


def pause_asked(headers: Mapping[str, str]) -> float:
    """Seconds that a server wants to be left alone for (RFC 9110 10.2.3); a date is read by the server's own clock."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said[:9]), MAX_PAUSE)
    until, now = _date(said), _date(headers.get("Date", ""))
    if until is None or now is None:
        return 0.0
    return min(max(0.0, (until - now).total_seconds()), MAX_PAUSE)


def _date(said: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(said)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def media_type(headers: Mapping[str, str]) -> str:
    """The content type without its parameters."""
    return preview(headers.get("Content-Type", "").partition(";")[0], MAX_TYPE).lower()


async def resolve_anywhere(host: str, port: int) -> list[str]:
    """The addresses of a host, as this machine resolves it."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedSession:
    """Calls what a policy allows. Use as a context."""

    def __init__(
        self, policy: Policy, *, tls: ssl.SSLContext | None = None, resolve: Resolve = resolve_anywhere
    ) -> None:
        self.policy = policy
        self._checked: dict[tuple[str, int], None] = {}
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_CheckingResolver(policy, resolve, self._remember),
                use_dns_cache=False,
                limit=MAX_CONNECTIONS,
                keepalive_timeout=KEEP_SECONDS,
                socket_factory=self._socket,
                ssl=tls if tls is not None else True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    def close_gone(self, gone: Gone) -> None:
        """End what runs over an address that this machine no longer has: no answer will come to it."""
        for made in tuple(self._sockets):
            with suppress(OSError):
                if gone(made.getsockname()):
                    made.shutdown(socket.SHUT_RDWR)

    async def fetch(self, call: Call) -> Answered:
        """The whole answer.

        Raises:
            AddressNotAllowedError, WebError
        """
        try:
            with anyio.fail_after(call.seconds):
                async with self._open(call) as response:
                    body = await _read(response, call)
                    return Answered(with_written_zone(str(response.url)), response.status, response.headers, body)
        except TimeoutError:
            raise _late(call) from None

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[Streaming]:
        """An answer whose body may go on for ever; `seconds` is for its beginning, `max_bytes` for nothing.

        Raises:
            AddressNotAllowedError, WebError
        """
        with anyio.CancelScope(deadline=anyio.current_time() + call.seconds) as patience:
            async with self._open(call) as response:
                patience.deadline = float("inf")
                pieces = pieces_of(response, call.url)
                yield Streaming(with_written_zone(str(response.url)), response.status, response.headers, pieces)
        if patience.cancelled_caught:
            raise _late(call)

    @asynccontextmanager
    async def _open(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """The beginning of the answer, from wherever the same host says that it is."""
        url, redirects = call.url, 0
        while True:
            check_url(url, self.policy)
            try:
                response = await self._http.request(
                    call.method,
                    with_plain_zone(url),
                    data=call.body,
                    headers=_headers(call, url),
                    allow_redirects=False,
                )
            except AddressNotAllowedError:
                raise
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
                raise unreachable(url, error, lost_by(call.method)) from error
            try:
                target = moved_to(response)
                if target is None:
                    yield response
                    return
                redirects += 1
                url = next_hop(url, target, response.status, follow=call.follow)
                if redirects > MAX_REDIRECTS:
                    raise WebError(f"{call.url} redirects in a circle.", "Its owner must fix that.")
            finally:
                response.close()

    def _remember(self, addresses: list[str], port: int) -> None:
        for address in addresses:
            self._checked[address, port] = None
        while len(self._checked) > MAX_CHECKED:
            del self._checked[next(iter(self._checked))]

    def _socket(self, info: AddrInfoType) -> socket.socket:
        """A socket to where the connection goes: the last one to ask whether that was checked."""
        family, kind, protocol, _, sockaddr = info
        address, port = str(sockaddr[0]), int(sockaddr[1])
        if (address, port) not in self._checked:
            # An address that was in the URL itself, and was checked there; or an unchecked one.
            check_addresses(address, (address, port), [address], self.policy)
        made = socket.socket(family, kind, protocol)
        made.settimeout(0)
        _keep_asking(made)
        self._sockets.add(made)
        return made


def _keep_asking(made: socket.socket) -> None:
    first = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"  # as macOS calls it
    options = {first: QUIET_SECONDS, "TCP_KEEPINTVL": ASK_SECONDS, "TCP_KEEPCNT": MAX_ASKED}
    with suppress(OSError):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _CheckingResolver(AbstractResolver):
    """Gives out addresses that were checked."""

    def __init__(self, policy: Policy, resolve: Resolve, remember: Callable[[list[str], int], None]) -> None:
        self._policy, self._resolve, self._remember = policy, resolve, remember

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._resolve(host, port)
        check_addresses(host, (host, port), addresses, self._policy)
        self._remember(addresses, port)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    @override
    async def close(self) -> None:
        pass


async def _read(response: aiohttp.ClientResponse, call: Call) -> bytes:
    body = bytearray()
    async for piece in pieces_of(response, call.url):
        body += piece
        if len(body) > call.max_bytes:
            raise WebAnswerError(
                f"{call.url} answers with more than {call.max_bytes:,} bytes.", "It was not read further."
            )
    return bytes(body)


def _late(call: Call) -> WebError:
    return lost_by(call.method)(f"{call.url} did not answer within {call.seconds:.0f} s.", "Try again later.")


def _headers(call: Call, url: str) -> dict[str, str]:
    secrets = call.secrets if origin(url) == origin(call.url) else {}
    there = urlsplit(url).netloc
    # A zone is ours alone, and no part of the name that a server has (RFC 6874, 3).
    host = {"Host": without_zone(there)} if "%" in there else {}
    return {**host, **call.headers, **secrets}
