"""The dates at which a message may be accepted, and the protection from accepting it twice.

A message carries when it was made and when it expires. One that expired is refused, and what it caused is remembered
for much longer than it lives, so a repetition finds what is there already. Clocks may be set back: therefore, when
something is forgotten at last, the dates around it are noted (`Forgotten`), and a message of these dates is refused
whatever the clock says. Nothing else is: a clock that was wrong, however far, keeps nothing out once it is right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise

from mcp_a2a.errors.protocol import StaleError

MAX_LIFETIME_SECONDS = 7 * 86_400
"""Seconds for which a message may wait for its recipient. A relay keeps it as long; a key secret is kept a
day longer."""

MAX_CLOCK_SKEW_SECONDS = 15 * 3600
"""How far ahead of ours a sender's clock may be. A wrong time zone is up to 14 hours, and costs nothing here: what a
message caused is remembered for weeks."""

DEDUPE_MARGIN_SECONDS = 86_400
"""Seconds for which an id is remembered after its expiry, for clocks that are corrected in between."""

MAX_REDATED_SECONDS = 400 * 86_400
"""By how much a task may be dated back that was written under a clock that was ahead (`Payload.latest`): for so long
after its end its recipient has to remember it."""

MAX_INTERVALS = 16

_STALE = re.compile(r"stale(?:_(ahead|behind)_(\d{1,12}))?")


def check_freshness(created: float, expires: float, now: float, judging: float | None = None) -> None:
    """Return if a message made at `created` that ends at `expires` may be accepted at `now`.

    `judging` is by which time its end is judged, where that is not `now`. Written as what must hold, so that a NaN is
    refused too.

    Raises:
        StaleError: it may not, now; the message says by how much.
    """
    end = now if judging is None else judging
    if not created <= now + MAX_CLOCK_SKEW_SECONDS:
        raise StaleError(
            f"The message is dated {created - now:.0f} s in the future.",
            "Check the clocks of both machines; they may differ by 15 hours.",
            difference=created - now,
        )
    if not end < expires:
        raise StaleError(
            f"The message expired {end - expires:.0f} s ago.",
            "If it was sent just now, check the clocks of both machines.",
            difference=expires - end,
        )
    if not 0 < expires - created <= MAX_LIFETIME_SECONDS:
        raise StaleError(f"The message claims a lifetime of {expires - created:.0f} s; more than 7 days is refused.")


def stale_code(difference: float | None) -> str:
    """The code of a refusal because of time: by how much the message is dated ahead of our clock (or ended before)."""
    if difference is None:
        return "stale"
    seconds = min(round(abs(difference)), 10**12 - 1)
    return f"stale_{'ahead' if difference > 0 else 'behind'}_{seconds}"


def stale_difference(code: str) -> tuple[bool, float | None]:
    """True if the code refuses because of time, and the difference of the clocks that it names, in seconds."""
    match = _STALE.fullmatch(code)
    if match is None:
        return False, None
    way, seconds = match.groups()
    return True, None if way is None else float(seconds) * (1 if way == "ahead" else -1)


def length_of(seconds: float) -> str:
    """A length of time for people, to the minute or the hour."""
    minutes = round(abs(seconds) / 60)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def said_of_time(code: str, what: str) -> str | None:
    """A sentence about a refusal of a relay because of time; None for another code."""
    _, difference = stale_difference(code)
    if difference is None:
        return None
    said = f"lasts {length_of(difference)} too long" if difference > 0 else f"expired {length_of(difference)} ago"
    return f"by its clock, {what} {said}; its clock or that of this machine is wrong"


def keep_until(expires: float) -> float:
    """Until when the id of an accepted message must be remembered."""
    return expires + DEDUPE_MARGIN_SECONDS


class Forgotten:
    """The dates of messages that are no longer remembered: intervals of `created`, sorted and apart."""

    MARGIN = float(MAX_LIFETIME_SECONDS)
    """Around the date of one message: the same message may also have been sent under dates near it."""

    def __init__(self, intervals: Iterable[tuple[float, float]] = ()) -> None:
        self._intervals = sorted((float(start), float(end)) for start, end in intervals)

    @classmethod
    def load(cls, text: str | None) -> Forgotten:
        """Read the dates from a text of `dump`; an unreadable text counts as empty."""
        try:
            return cls((start, end) for start, end in json.loads(text or "[]"))
        except (ValueError, TypeError):
            return cls()

    def dump(self) -> str:
        """For the store."""
        return json.dumps(self._intervals)

    def covers(self, created: float) -> bool:
        """True if a message of this date may have been here before."""
        return any(start <= created <= end for start, end in self._intervals)

    def add(self, dates: Iterable[float]) -> None:
        """Messages of these dates are forgotten."""
        for date in dates:
            self._intervals.append((date - self.MARGIN, date + self.MARGIN))
        merged: list[tuple[float, float]] = []
        for start, end in sorted(self._intervals):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        while len(merged) > MAX_INTERVALS:  # the two that are nearest become one
            gaps = [after[0] - before[1] for before, after in pairwise(merged)]
            at = gaps.index(min(gaps))
            merged[at : at + 2] = [(merged[at][0], merged[at + 1][1])]
        self._intervals = merged
