"""An HTTP answer of another server: its body, where it redirects to, and why there is none."""

from __future__ import annotations

import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import aiohttp

from mcp_a2a.certificates import why_not_accepted
from mcp_a2a.errors.web import AddressNotAllowedError, WebAnswerError, WebError
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.web_url import MAX_URL, origin
from mcp_a2a.system_limits import why_not_connected
from mcp_a2a.web_ports import AnswerLostError

MAX_ERROR = 64 * 1024
"""Read of the body of an error."""
MAX_UNPACKED = 64 * 1024
"""Of a compressed answer, which some servers and proxies send unasked."""
_GZIP = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_MARK = b"\x1f"


class _Packed:
    """Unpacks gzip, zlib, or deflate without a header, as some servers have it (RFC 9110, 8.4.1.2)."""

    def __init__(self, coding: str) -> None:
        self._member = zlib.decompressobj(wbits=47)
        self._needs_header = coding != "deflate"

    def unpacked(self, piece: bytes) -> Iterator[bytes]:
        """One part at a time, so that a reader that counts them stops a bomb."""
        rest, full = piece, True
        while rest or full:
            if self._member.eof:
                if not rest.startswith(_GZIP_MARK):
                    return  # padding
                self._member = zlib.decompressobj(wbits=47)  # the next member: they follow each other (RFC 1952 2.2)
            part = self._decompress(rest)
            rest, full = self._member.unconsumed_tail or self._member.unused_data, len(part) == MAX_UNPACKED
            yield part

    def _decompress(self, rest: bytes) -> bytes:
        try:
            part = self._member.decompress(rest, MAX_UNPACKED)
        except zlib.error:
            if self._needs_header:
                raise
            self._member = zlib.decompressobj(wbits=-15)
            part = self._member.decompress(rest, MAX_UNPACKED)
        self._needs_header = True
        return part


async def pieces_of(response: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    """The body of an answer, piece by piece; of an error its first `MAX_ERROR` bytes.

    Raises:
        WebError: the answer breaks off, or cannot be unpacked.
    """
    if response.status < 400:
        async for piece in _body(response, url):
            yield piece
        return
    read = 0
    with suppress(WebError):  # an error is one, whatever is wrong with the words to it
        async for piece in _body(response, url):
            yield piece[: MAX_ERROR - read]
            read += len(piece)
            if read >= MAX_ERROR:
                return


async def _body(response: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    fields = (response.headers.get(name, "").lower().split(",") for name in ("Content-Encoding", "Transfer-Encoding"))
    named = (name.strip() for field in fields for name in field)
    coding = ", ".join(name for name in named if name not in ("", "identity", "chunked"))
    if coding not in ("", *_GZIP):
        raise WebAnswerError(
            f"{url} answers compressed ({preview(coding, 32)}), though it was asked not to.",
            "Its owner must fix that.",
        )
    packed = _Packed(coding) if coding in _GZIP else None
    try:
        async for piece in response.content.iter_any():
            if packed is None:
                yield piece
                continue
            for part in packed.unpacked(piece):
                yield part
    except zlib.error as error:
        raise WebAnswerError(f"{url} answers compressed, and that is broken.", "Its owner must fix that.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise lost_by(response.method)(f"{url} broke off in the middle of its answer.", "Try again.") from error


def lost_by(method: str) -> type[WebError]:
    """The error for a missing answer: a safe method has done nothing (RFC 9110, 9.2.1), another one may have."""
    return WebError if method == "GET" else AnswerLostError


# Where a redirect leads, and whether it is followed.


def moved_to(response: aiohttp.ClientResponse) -> str | None:
    """The target of a redirect. One that is longer than any URL stays so, and is refused."""
    if response.status not in (301, 302, 303, 307, 308) or "Location" not in response.headers:
        return None
    return preview(response.headers["Location"], MAX_URL + 1)


_KEEPING = frozenset({307, 308})
"""Redirects that keep method and body (RFC 9110 15.4.8): frameworks answer so where a path lacks its last slash."""


def _is_same_origin(url: str, following: str) -> bool:
    try:
        return origin(url) == origin(following)
    except AddressNotAllowedError:
        return False


def next_hop(url: str, target: str, status: int, *, follow: bool) -> str:
    """The target of a redirect that may be followed.

    Args:
        url: What was asked for.
        target: What the answer names.
        status: Of the answer.
        follow: Also to other ports of the same host, and with another method.

    Raises:
        WebError: it is not.
    """
    try:
        following = urljoin(url, target)
        here, there = urlsplit(url), urlsplit(following)
    except ValueError:
        raise WebAnswerError(f"{url} redirects to something that is not a URL.", "Its owner must fix that.") from None
    safe = there.scheme in ("https", here.scheme)
    same_host = follow and here.hostname == there.hostname and safe
    if not same_host and not (status in _KEEPING and _is_same_origin(url, following)):
        kind = WebError if follow else WebAnswerError  # a card may be back later; who was told has answered
        raise kind(
            f"{url} sends callers on to {following[:MAX_URL]}, which is not followed.",
            "If that is where the agent is, use that address.",
        )
    return following


# Why a server could not be reached, in words.


class NotConnectedError(WebError, code="not_connected"):
    """No connection came about, so nothing was said."""


_UNCONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, socket.gaierror)


def unreachable(url: str, error: Exception, lost: type[WebError] = WebError) -> WebError:
    """The error of a request without an answer, in words; `lost` if the answer was no HTTP."""
    host = urlsplit(url).netloc
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = f"its TLS certificate is not accepted ({why_not_accepted(error.certificate_error)})"
        case aiohttp.ClientSSLError():
            why = "it does not speak TLS, or not one that is safe"
        case aiohttp.ClientConnectorError():
            why = why_not_connected(error.os_error, error.host)
        case socket.gaierror():
            why = why_not_connected(error, host)
        case aiohttp.ServerDisconnectedError():
            why = "it closed the connection without an answer"
        case TimeoutError():
            why = "nothing answers there in time"
        case aiohttp.ClientResponseError():
            why = "it does not speak HTTP"
        case _:
            why = "the connection was cut"
    kind = lost if isinstance(error, aiohttp.ClientResponseError) else WebError
    if isinstance(error, _UNCONNECTED):
        kind = NotConnectedError
    return kind(f"{host} could not be reached: {why}.", "Check the address, and that it is running.")
