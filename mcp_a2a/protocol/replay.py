"""When a message may be accepted, and for how long its id must be remembered.

A message carries when it was made and when it expires. One that expired is refused, and an id is
kept until a day after that, so an id that was forgotten always belongs to a message that is refused
anyway: nothing runs twice. `HighWaterClock` keeps that true when somebody sets the clock back.
"""

from __future__ import annotations

from mcp_a2a.errors import StaleError

MAX_LIFETIME_SECONDS = 7 * 86_400
"""How long a message may wait for its recipient. A relay keeps it as long; a key secret is kept a
day longer."""

MAX_CLOCK_SKEW_SECONDS = 600
"""How far ahead of ours a sender's clock may be."""

DEDUPE_MARGIN_SECONDS = 86_400
"""How long after its expiry an id is still remembered, for clocks that are corrected in between."""


def check_freshness(created: float, expires: float, now: float) -> None:
    """Return if a message made at `created` that ends at `expires` may be accepted at `now`.

    Written as what must hold, so that a NaN is refused too.

    Raises:
        StaleError: it may not; the message says by how much.
    """
    if not created <= now + MAX_CLOCK_SKEW_SECONDS:
        raise StaleError(
            f"The message is dated {created - now:.0f} s in the future.",
            "Check the clocks of both machines; they may differ by 10 minutes.",
        )
    if not now < expires:
        raise StaleError(
            f"The message expired {now - expires:.0f} s ago.",
            "If it was sent just now, check the clocks of both machines.",
        )
    if not 0 < expires - created <= MAX_LIFETIME_SECONDS:
        raise StaleError(f"The message claims a life of {expires - created:.0f} s; more than 7 days is refused.")


def keep_until(expires: float) -> float:
    """Until when the id of an accepted message must be remembered."""
    return expires + DEDUPE_MARGIN_SECONDS


class HighWaterClock:
    """A wall clock that never goes back, also not over a restart when the caller persists `mark`.

    `mark` is the latest time it ever gave.
    """

    __slots__ = ("mark",)

    def __init__(self, mark: float = 0.0) -> None:
        self.mark = mark

    def now(self, wall: float) -> float:
        """The later of the wall clock and everything said before."""
        self.mark = max(self.mark, wall)
        return self.mark
