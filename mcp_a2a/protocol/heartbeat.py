"""Telling a silent peer from a dead one.

After 20 s without a frame a ping goes out, after 45 s the peer is taken for gone. The first ping goes out at once, so
that the round trip is known early. A caller that waits for an answer may ask sooner (`suspect`): a peer that is then
silent for some seconds is gone. A link on which no caller waits pays nothing for that.
"""

from __future__ import annotations

import math

from mcp_a2a.errors.protocol import RemoteProtocolError

PING_SECONDS = 20.0
DEAD_SECONDS = 45.0

PROBE_SECONDS = 5.0
"""Seconds for which a peer that is asked for a sign of life may be silent."""

QUIET_SECONDS = 2.0
"""A peer that was heard so recently is not asked."""

LATE_SECONDS = 1.0
"""A clock that is looked at so much too late was held up by us: what the peer said meanwhile is still unread."""

MAX_CONTROL_FRAMES = 240
CONTROL_WINDOW_SECONDS = 60.0
"""Frames that are not about envelopes under way. A heartbeat needs three in that time."""


class Heartbeat:
    """Knows when the peer was last heard and when to ask; sends nothing itself."""

    __slots__ = ("_gone_at", "_pinged_at", "_pings", "heard_at", "rtt_seconds")

    def __init__(self, now: float) -> None:
        self.rtt_seconds: float | None = None
        """Newest round trip of a ping."""
        self.heard_at = self._pinged_at = now
        self._pings = 0
        self._gone_at: float | None = None
        """Time at which a peer under suspicion is taken for gone."""

    def heard(self, now: float) -> None:
        """Something came in, or could not because we were not listening."""
        self.heard_at = now
        self._gone_at = None

    def suspect(self, now: float, seconds: float = PROBE_SECONDS) -> bool:
        """Give the peer `seconds` for a sign of life, for a caller that waits for it.

        Returns:
            True if a ping should be sent. False if the peer was just heard, or must answer sooner than that already.
        """
        just_heard = seconds >= QUIET_SECONDS and now < self.heard_at + QUIET_SECONDS
        if just_heard or (self._gone_at is not None and self._gone_at <= now + seconds):
            return False
        self._gone_at = now + seconds
        return True

    def ping(self, now: float) -> int:
        """The number of the ping that is sent now."""
        self._pinged_at = now
        self._pings += 1
        return self._pings

    def receive_pong(self, number: int, now: float) -> None:
        """The answer to a ping; only the newest counts."""
        if number == self._pings:
            self.rtt_seconds = now - self._pinged_at

    def silence(self, now: float) -> float:
        """For how many seconds nothing was heard."""
        return now - self.heard_at

    def is_dead(self, now: float) -> bool:
        """True if the peer was silent for too long."""
        if self._gone_at is not None and now >= self._gone_at + LATE_SECONDS:
            self._gone_at = now + LATE_SECONDS
        return now >= self.heard_at + DEAD_SECONDS or (self._gone_at is not None and now >= self._gone_at)

    def wants_ping(self, now: float) -> bool:
        """True if it is time to ask."""
        return now >= self._ping_at

    def next_timeout(self) -> float:
        """The earliest time at which a ping is due or the peer is taken for gone."""
        return min(self.heard_at + DEAD_SECONDS, self._ping_at, math.inf if self._gone_at is None else self._gone_at)

    @property
    def _ping_at(self) -> float:
        return max(self.heard_at, self._pinged_at) + PING_SECONDS


class Allowance:
    """A limit of frames that earn nothing, such as repetitions and answers about unknown envelopes."""

    __slots__ = ("_frames", "_since")

    def __init__(self, now: float) -> None:
        self._since, self._frames = now, 0

    def spend_untrusted(self, now: float) -> None:
        """Spend one of the allowance for a frame that earns nothing."""
        if now - self._since >= CONTROL_WINDOW_SECONDS:
            self._since, self._frames = now, 0
        self._frames += 1
        if self._frames > MAX_CONTROL_FRAMES:
            raise RemoteProtocolError(f"more than {MAX_CONTROL_FRAMES} control frames in a minute")
