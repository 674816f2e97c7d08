"""Quotas of new tasks per peer: few for strangers let in by `--accept anyone`, many for members and trusted peers."""

from __future__ import annotations

from mcp_a2a.api.view import Trust
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.rates import Bucket, Buckets, Rate

DAY_SECONDS = 86_400
MINUTES_A_DAY = 1000 / 60
"""A stranger may send for so many minutes of a day at its full rate: 500 tasks at 30 a minute."""

KNOWN = Rate(100, 6_000)
"""Of a member or a trusted peer: more than a node takes in, so only a flood meets it."""


class TaskQuota:
    """By sender. Our own agents are not counted. It starts anew with the node."""

    def __init__(self, per_minute: int) -> None:
        self._minutes: Buckets[PeerId] = Buckets(Rate(per_minute / 60, per_minute))
        a_day = per_minute * MINUTES_A_DAY
        self._days: Buckets[PeerId] = Buckets(Rate(a_day / DAY_SECONDS, a_day))
        self._known: Buckets[PeerId] = Buckets(KNOWN)

    def take(self, peer: PeerId, trust: Trust, now: float) -> float:
        """Take one task; 0.0, or the seconds until there is one again, and then nothing is taken."""
        buckets = self._buckets(peer, trust, now)
        wait = max((bucket.wait_for(1, now) for bucket in buckets), default=0.0)
        if not wait:
            for bucket in buckets:
                bucket.spend(1)
        return wait

    def give_back(self, peer: PeerId, trust: Trust, now: float) -> None:
        """Give a token back: the message was no new task."""
        for bucket in self._buckets(peer, trust, now):
            bucket.spend(-1)

    def _buckets(self, peer: PeerId, trust: Trust, now: float) -> tuple[Bucket, ...]:
        match trust:
            case "own":
                return ()
            case "trusted" | "member":
                return (self._known.of(peer, now),)
            case _:
                return self._minutes.of(peer, now), self._days.of(peer, now)
