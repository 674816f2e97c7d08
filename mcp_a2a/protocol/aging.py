"""The time by which things are deleted for their age, in spite of a wrong wall clock.

A wall clock jumps: a dead battery, a resumed machine, a typing error, two systems on one laptop. A deletion cannot be
taken back, so it does not go by that clock alone. `Aging` runs a second one, the *sound* time:

    it runs with the machine's uptime,
    it follows a wall clock that is ahead at most at `MAX_PACE` times that, or at once when other machines confirm it,
    it follows a wall clock that is behind only when other machines confirm it.

Whatever is kept for some time is stamped with the later of the two clocks and dropped by the earlier of the two
(`stamp`, `aged`). So a clock that is ahead for a minute deletes nothing, one that is ahead for a day deletes what four
days delete, and one that was behind when something was stamped makes nothing old at once. What remains wrong is that
something may be kept for too long.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

MAX_PACE = 4.0
"""Days that may pass for deletions in one day of uptime. More than one, because a machine that was off has to catch up
when no peer confirms its clock: at six hours of use a day this keeps pace."""

SAME_RUN_SECONDS = 600.0
"""Two clocks that agree so closely about how long a pause was have both been running."""

MAX_DOUBT_SECONDS = 6 * 86_400.0
"""By so much the wall clock may be behind the sound time and messages are still judged by the latter. It is less than
a message lives, so one that was just made passes in any case."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Both clocks and the uptime at one moment, for the next start."""

    sound: float
    wall: float
    uptime: float
    boot: str = ""
    """Names the start of the machine that the uptime counts from; empty where that is not known."""
    since: float = 0.0
    """From this sound time on it is known how much time has passed: the machine was on, and said so."""

    def to_text(self) -> str:
        """The mark as it is stored."""
        return json.dumps([self.sound, self.wall, self.uptime, self.boot, self.since])

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """The stored mark; None without one that can be read."""
        try:
            sound, wall, uptime, *more = json.loads(text or "")
            boot, since = more or ("", sound)
            mark = cls(float(sound), float(wall), float(uptime), str(boot), float(since))
        except (ValueError, TypeError):
            return None
        times = (mark.sound, mark.wall, mark.uptime, mark.since)
        return mark if all(map(math.isfinite, times)) and min(times) >= 0 else None


class Aging:
    """The sound time of one machine.

    `read` is fed with the wall clock, the seconds since the machine started, and what other machines say of its clock:
    True if they agree with it, False if they do not, None if too few say anything.
    """

    __slots__ = ("_boot", "_uptime", "_wall", "since", "sound")

    def __init__(self, wall: float, uptime: float, mark: Mark | None = None, boot: str = "") -> None:
        self.sound = self.since = wall
        self._wall, self._uptime, self._boot = wall, uptime, boot
        if mark is not None:
            pause = _pause(mark, wall, uptime, boot)
            self.sound = mark.sound + (pause or 0.0)
            self.since = self.sound if pause is None else mark.since

    def read(self, wall: float, uptime: float, witnessed: bool | None = None) -> float:  # noqa: FBT001  a finding
        """The sound time now. All clocks are in seconds, the wall clock and the sound time since the epoch."""
        passed = max(0.0, uptime - self._uptime)
        self._wall, self._uptime = wall, uptime
        self.sound += passed
        if witnessed:
            self.sound = wall
        elif wall > self.sound and witnessed is None:
            self.sound = min(wall, self.sound + passed * (MAX_PACE - 1))
        return self.sound

    @property
    def stamp(self) -> float:
        """The time with which to date an event for its later deletion, as of the last reading."""
        return max(self._wall, self.sound)

    @property
    def aged(self) -> float:
        """The time by which to delete: a thing that has expired by then may go; as of the last reading."""
        return min(self._wall, self.sound)

    @property
    def judging(self) -> float:
        """By which time the end of a message is judged: a wall clock that was set back does not make it valid again."""
        return self.sound if 0 < self.sound - self._wall <= MAX_DOUBT_SECONDS else self._wall

    @property
    def mark(self) -> Mark:
        """To be kept for the next start."""
        return Mark(self.sound, self._wall, self._uptime, self._boot, self.since)


class SoundClock:
    """A wall clock with the sound time beside it, for a program that asks no other machine."""

    __slots__ = ("_aging", "_uptime", "_wall_clock")

    def __init__(self, wall_clock: Callable[[], float], uptime: Callable[[], float], mark: Mark | None = None) -> None:
        self._wall_clock, self._uptime = wall_clock, uptime
        self._aging = Aging(wall_clock(), uptime(), mark)

    def __call__(self) -> float:
        """The wall clock."""
        return self._wall_clock()

    def _read(self) -> Aging:
        self._aging.read(self._wall_clock(), self._uptime())
        return self._aging

    def stamp(self) -> float:
        """The time with which to date an event for its later deletion; seconds since the epoch."""
        return self._read().stamp

    def aged(self) -> float:
        """The time by which to delete: a thing that has expired by then may go."""
        return self._read().aged

    def mark(self) -> Mark:
        """To be kept for the next start."""
        return self._read().mark


def _pause(mark: Mark, wall: float, uptime: float, boot: str) -> float | None:
    """Seconds without a running process, if the machine was on all the time; None if it may have been off.

    It was on if this is the same start of it, or if both clocks tell the same.
    """
    passed = uptime - mark.uptime
    was_on = passed >= 0 and ((boot and boot == mark.boot) or abs((wall - mark.wall) - passed) <= SAME_RUN_SECONDS)
    return passed if was_on else None
