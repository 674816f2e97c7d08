"""The body of an HTTP answer as it comes: unpacked where it is compressed, and of an error only so much."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import aiohttp

from mcp_a2a.errors.web import WebAnswerError, WebError
from mcp_a2a.protocol.text import preview
from mcp_a2a.web_ports import AnswerLostError

MAX_ERROR = 64 * 1024
"""Read of the body of an error."""
MAX_UNPACKED = 64 * 1024
"""Of a compressed answer, which some servers and proxies send unasked."""
_GZIP = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_MARK = b"\x1f"


class _Packed:
    """What is gzip or zlib, by its header, or deflate without one, as some servers have it (RFC 9110 8.4.1.2)."""

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
    """What it means that an answer is missing: to read something does nothing (RFC 9110 9.2.1), anything else may."""
    return WebError if method == "GET" else AnswerLostError
