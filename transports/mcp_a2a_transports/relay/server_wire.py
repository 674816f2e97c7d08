"""One WebSocket of a relay, written without a task.

aiohttp reads; what goes out is framed here (RFC 6455, section 5: a server's frames have no mask) and handed to the
transport once per round of the event loop, however many frames there are.
"""

from __future__ import annotations

import struct

from mcp_a2a.protocol.relay_session import RelaySession
from mcp_a2a_transports._websocket import Connection

HIGH_BYTES = 256 * 1024
"""Unsent bytes beyond which nothing more is read from a connection, nor sent to it unasked."""
LOW_BYTES = 64 * 1024
MAX_BYTES = 8 * 1024 * 1024
"""Beyond that it is cut: more than a window of mail, a piece of a directory and many answers."""

STALL_SECONDS = 30.0

_TEXT, _BINARY = 0x81, 0x82
_CLOSE = b"\x88\x02\x03\xe8"
"""A close frame with "normal closure"."""
_MEDIUM = struct.Struct(">BBH")
_LARGE = struct.Struct(">BBQ")


class ServerWire:
    """A session and the transport that its frames go to."""

    __slots__ = ("_said_close", "_unsent", "_unsent_since", "close_at", "session", "transport")

    def __init__(self, session: RelaySession, transport: Connection) -> None:
        self.session = session
        self.transport = transport
        self.close_at: float | None = None
        """The time at which a closed connection is cut, should the other side not close."""
        self._said_close = False
        self._unsent = 0
        self._unsent_since = 0.0

    def flush(self, now: float) -> None:
        """Hand over what the session has to say."""
        session, transport = self.session, self.transport
        frames = session.frames_to_send()
        if transport.is_closing():
            return
        parts: list[bytes] = []
        for frame in frames:
            body, kind = (frame, _BINARY) if isinstance(frame, bytes) else (frame.encode(), _TEXT)
            parts += _head(kind, len(body)), body
        if session.is_closed and not self._said_close:
            self._said_close = True
            parts.append(_CLOSE)
        if parts:
            transport.write(b"".join(parts))
            unsent = transport.get_write_buffer_size()
            if unsent > HIGH_BYTES:
                self._hold_back(unsent, now)

    def _hold_back(self, unsent: int, now: float) -> None:
        """So much is not read by the other side."""
        if unsent > MAX_BYTES:
            self.transport.abort()
        elif not self.session.is_congested:
            self.session.is_congested = True
            self._unsent, self._unsent_since = unsent, now

    def relieve(self, now: float) -> bool:
        """True if a congested connection is no longer congested. One that is not read is cut."""
        unsent = self.transport.get_write_buffer_size()
        if unsent <= LOW_BYTES or self.transport.is_closing():
            self.session.is_congested = False
            return True
        if unsent < self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since >= STALL_SECONDS:
            self.transport.abort()
        return False


def _head(kind: int, length: int) -> bytes:
    if length < 126:
        return bytes((kind, length))
    if length < 65_536:
        return _MEDIUM.pack(kind, 126, length)
    return _LARGE.pack(kind, 127, length)
