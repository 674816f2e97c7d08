"""When to try again: so that a thousand clients of one relay do not all come back in the same second.

Full jitter: the first attempt after a loss is anywhere within three seconds, later ones anywhere
within a ceiling that doubles up to half a minute. A session that lasted a minute makes everything good.
"""

from __future__ import annotations

from collections.abc import Callable

from mcp_a2a.protocol.jitter import CAP_SECONDS, full_jitter

FIRST_SECONDS = 3.0
STABLE_SECONDS = 60.0


class Backoff:
    """The pauses of one client. `chance` gives numbers from 0 to 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._failures = 0

    def pause(self, lasted_seconds: float, *, hopeless: bool = False) -> float:
        """How long to wait after a session that lasted so long, 0 where there was none.

        `hopeless`: the other side has said that it will not have us, so it is asked as rarely as possible.
        """
        if lasted_seconds >= STABLE_SECONDS:
            self._failures = 0
        self._failures += 1
        if hopeless:
            return CAP_SECONDS * (0.5 + self._chance() / 2)
        if self._failures == 1:
            return self._chance() * FIRST_SECONDS
        return full_jitter(self._failures, self._chance())
