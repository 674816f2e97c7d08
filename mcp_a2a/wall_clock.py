"""The time of day of this machine, as far as messages can express it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from mcp_a2a.protocol.payload import MAX_TIME

DAY = 86_400
LATEST = MAX_TIME - 500 * DAY
"""In 2104: what is dated then, and all that follows from it, can be written down."""

TURN = 60 * DAY


def wall_clock() -> float:
    """Seconds since 1970.

    A clock that says 2104 or later is wrong, and reads as one that went on from there: a node with it starts, and is
    told by the others how far its clock is ahead.
    """
    now = time.time()  # noqa: TID251  the one place that reads the clock
    return now if 0.0 <= now < LATEST else max(0.0, min(now, LATEST + time.monotonic() % TURN))


def stamp_of_now() -> str:
    """Names what is kept of this moment, for a file name; to the microsecond, so that two starts have two."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")  # noqa: TID251  as above
