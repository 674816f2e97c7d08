"""The stream of a local socket, for both ends: lines, models as JSON, and the user at the other end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue

if TYPE_CHECKING:
    import socket

    from mcp_a2a.api.view import View


def socket_of(stream: SocketStream) -> socket.socket:
    """The socket under a stream."""
    return stream.extra(SocketAttribute.raw_socket)  # noqa: S610  anyio's, not Django's


async def lines_of(buffered: BufferedByteReceiveStream, longest: int, *beginning: bytes) -> AsyncIterator[bytes]:
    """The lines that are there already, and those of the stream until it ends.

    Raises:
        anyio.DelimiterNotFound: a line has more than `longest` bytes.
    """
    for line in beginning:
        yield line
    with contextlib.suppress(anyio.IncompleteRead, anyio.EndOfStream):
        while True:
            yield await buffered.receive_until(b"\n", longest)


def set_fields(view: View) -> dict[str, JsonValue]:
    """The fields that were set: in a part the content that is there counts, and null data is one."""
    return cast("dict[str, JsonValue]", view.model_dump(mode="json", by_alias=True, exclude_unset=True))
