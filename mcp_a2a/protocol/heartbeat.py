"""Telling a silent peer from a dead one.

After 20 s in which nothing was heard a ping goes out, after 45 s the peer is taken for gone. The
first ping goes out at once, so that the round trip is known early.
"""

from __future__ import annotations

from mcp_a2a.errors import RemoteProtocolError

PING_SECONDS = 20.0
DEAD_SECONDS = 45.0

MAX_CONTROL_FRAMES = 240
CONTROL_WINDOW_SECONDS = 60.0
"""Frames that are not about envelopes under way. A heartbeat needs three in that time."""


class Heartbeat:
    """Knows when the peer was last heard and when to ask; sends nothing itself."""

    def __init__(self, now: float) -> None:
        self.rtt_seconds: float | None = None
        """Newest round trip of a ping."""
        self._heard_at = self._pinged_at = now
        self._pings = 0

    def heard(self, now: float) -> None:
        """Something came in, or could not because we were not listening."""
        self._heard_at = now

    def ping(self, now: float) -> int:
        """The number of the ping that is sent now."""
        self._pinged_at = now
        self._pings += 1
        return self._pings

    def receive_pong(self, number: int, now: float) -> None:
        """The answer to a ping; only the newest counts."""
        if number == self._pings:
            self.rtt_seconds = now - self._pinged_at

    def is_dead(self, now: float) -> bool:
        """Whether the peer was silent for too long."""
        return now >= self._heard_at + DEAD_SECONDS

    def wants_ping(self, now: float) -> bool:
        """Whether it is time to ask."""
        return now >= self._ping_at

    def next_timeout(self) -> float:
        """When one of the two becomes true."""
        return min(self._heard_at + DEAD_SECONDS, self._ping_at)

    @property
    def _ping_at(self) -> float:
        return max(self._heard_at, self._pinged_at) + PING_SECONDS


class Allowance:
    """How many frames a peer may make us handle for nothing."""

    def __init__(self, now: float) -> None:
        self._since, self._frames = now, 0

    def spend_untrusted(self, now: float) -> None:
        """One more came in."""
        if now - self._since >= CONTROL_WINDOW_SECONDS:
            self._since, self._frames = now, 0
        self._frames += 1
        if self._frames > MAX_CONTROL_FRAMES:
            raise RemoteProtocolError(f"more than {MAX_CONTROL_FRAMES} control frames in a minute")
