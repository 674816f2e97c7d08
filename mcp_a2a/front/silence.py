"""Signs of life of an owner that owes an answer. Does no I/O; times are those of the caller's clock, in seconds."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

SILENCE_SECONDS = 2.5
"""An owner that has said nothing for so long, while an answer is due, is asked whether it lives; after as long again it
counts as silent."""

BUSY_SECONDS = 5.0
"""An owner that runs, as the system says, has so long to say that it lives: the machine may be busy. One that imports
what a session needs says so meanwhile."""

LOOK_SECONDS = 1.25
"""Seconds between questions to the system, during a silence, whether the owner was stopped: then the wait ends."""

LOOK_AGAIN_SECONDS = 15.0
"""Seconds between these questions during a long wait."""


class OwnerAction(Enum):
    """The next step of a front whose owner is silent."""

    WAIT = "wait"
    ASK = "ask"
    GIVE_UP = "give up"


class SilenceWatch:
    """Of one connection to an owner."""

    def __init__(self) -> None:
        self._heard_at = float("-inf")
        self._since: float | None = None
        """Since when an answer is due."""
        self._asked_at: float | None = None
        self._look_at = 0.0
        self._pause = SILENCE_SECONDS

    def receive(self, now: float) -> None:
        """The owner has said something."""
        self._heard_at, self._asked_at, self._look_at = now, None, now + LOOK_SECONDS

    def expect(self, now: float, due: int) -> None:
        """So many answers are due."""
        if not due:
            self._since = self._asked_at = None
            self._pause = SILENCE_SECONDS
        elif self._since is None:
            self._since, self._look_at = now, now + LOOK_SECONDS

    def next_timeout(self) -> float | None:
        """The time of the next look; None while nothing is due."""
        return self._look_at if self._since is not None else None

    def handle_timeout(self, now: float, owner_runs: Callable[[], bool], is_halted: Callable[[], bool]) -> OwnerAction:
        """The action at that time. `owner_runs` is called only for an owner that does not answer."""
        if self._since is None or now < self._look_at:
            return OwnerAction.WAIT
        if is_halted():
            return OwnerAction.GIVE_UP
        self._look_at = now + LOOK_SECONDS
        if self._asked_at is None:
            if now < max(self._heard_at, self._since) + self._pause:
                return OwnerAction.WAIT
            self._asked_at, self._pause = now, LOOK_AGAIN_SECONDS
            return OwnerAction.ASK
        asked_for = now - self._asked_at
        if asked_for < SILENCE_SECONDS or (asked_for < BUSY_SECONDS and owner_runs()):
            return OwnerAction.WAIT
        return OwnerAction.GIVE_UP
