"""Telling a silent peer from a dead one.

After 20 s in which nothing was heard a ping goes out, after 45 s the peer is taken for gone. The
first ping goes out at once, so that the round trip is known early.
"""

from __future__ import annotations

PING_SECONDS = 20.0
DEAD_SECONDS = 45.0


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
