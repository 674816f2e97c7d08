"""The expiry of messages: by the wall clock *and* by the sound time, the later of the two.

A wall clock that jumps ahead must not end a message, and one that was behind when the message was dated must not
either (`protocol.aging`). A message waits for the clock that does not call it over; when that clock does, the other
one is asked, and the message waits for that if it disagrees. No deadline by the monotonic clock can be computed
exactly, as both clocks may be set, so the wait is bounded, and `over` is also called when a clock was set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mcp_a2a.node.delivery.model import At, Outgoing
from mcp_a2a.node.delivery.pending import Pending
from mcp_a2a.node.delivery.timers import Timers
from mcp_a2a.protocol.aging import MAX_PACE
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS

WRITTEN_AHEAD_SECONDS = 60.0
"""A message that is dated further ahead of the wall clock was written while that was wrong."""

MIN_WAIT_SECONDS, MAX_WAIT_SECONDS = 1.0, 3600.0


class Expiry:
    """The ends of the messages in a queue."""

    __slots__ = ("_sound", "_wall")

    def __init__(self) -> None:
        self._wall: Timers[Pending] = Timers()
        self._sound: Timers[Pending] = Timers()

    def add(self, entry: Pending) -> None:
        """Watch the end of an entry that is not watched."""
        self._wall.set(entry, entry.some.expires)

    def remove(self, entry: Pending) -> None:
        """Watch it no longer."""
        self._sound.cancel(entry)
        self._wall.cancel(entry)

    def over(self, at: At) -> Iterator[Pending]:
        """Entries that are over now. They are watched no longer."""
        for entry in self._wall.pop_all(at.wall):
            if _kept_until(entry.some) <= at.sound:
                yield entry
            else:
                self._sound.set(entry, _kept_until(entry.some))
        for entry in self._sound.pop_all(at.sound):
            if entry.some.expires <= at.wall:
                yield entry
            else:
                self._wall.set(entry, entry.some.expires)

    def wait(self, at: At) -> float:
        """Seconds until `over` should be called again; infinity while nothing is watched."""
        return wait_for(min(self._wall.next() - at.wall, self._sound.next() - at.sound))


def wait_for(left: float) -> float:
    """Seconds until a message that has this many left should be looked at; infinity where there is none."""
    # The sound time may run faster than the monotonic clock.
    return math.inf if left == math.inf else max(MIN_WAIT_SECONDS, min(left / MAX_PACE, MAX_WAIT_SECONDS))


def is_over(some: Outgoing, at: At) -> bool:
    """True if a message has ended by both clocks."""
    return some.expires <= at.wall and _kept_until(some) <= at.sound


def _kept_until(some: Outgoing) -> float:
    return some.kept + MAX_LIFETIME_SECONDS


def fits(some: Outgoing, at: At) -> bool:
    """True if the dates of a message fit the wall clock."""
    return some.created <= at.wall + WRITTEN_AHEAD_SECONDS and at.wall < some.expires
