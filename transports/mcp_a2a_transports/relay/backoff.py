"""The pauses between attempts, so that a thousand clients of one relay do not come back in the same second.

Full jitter: the first attempt after a loss is anywhere within three seconds, later ones anywhere
within a ceiling that doubles up to half a minute. A session that lasted a minute makes everything good.
"""

from __future__ import annotations

from collections.abc import Callable

from mcp_a2a.protocol.backoff import Backoff

FIRST, LATER = Backoff(3.0, 3.0), Backoff()
HOPELESS = Backoff(LATER.cap, LATER.cap, jitter=0.5)
"""For a relay that has said that it does not accept this client: as rarely as possible."""

STABLE_SECONDS = 60.0


class RelayBackoff:
    """The pauses of one client. `chance` gives numbers from 0 to 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._failures = 0

    def pause(self, lasted_seconds: float, *, hopeless: bool = False) -> float:
        """Seconds to wait after a session that lasted so many, 0 where there was none."""
        if lasted_seconds >= STABLE_SECONDS:
            self._failures = 0
        self._failures += 1
        backoff = HOPELESS if hopeless else FIRST if self._failures == 1 else LATER
        return backoff.pause(self._failures, self._chance())
