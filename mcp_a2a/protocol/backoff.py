"""Pauses between attempts that fail one after another."""

from __future__ import annotations

from dataclasses import dataclass

MAX_EXPONENT = 64
"""Larger exponents change nothing: every ceiling in use is below its cap times 2**64."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A pause that grows by `factor` with each failure, from `base` to `cap` seconds, partly drawn at random.

    The drawn part spreads out clients that failed together ("full jitter" with `jitter=1`). The generator of random
    numbers belongs to the caller.

    Attributes:
        base: ceiling of the pause with no failure counted, in seconds.
        cap: highest ceiling, in seconds.
        factor: growth of the ceiling with each failure.
        jitter: part of the ceiling that is drawn, 0 to 1. With 0 the pause is the ceiling itself.
        least: lower bound of every pause, in seconds.
    """

    base: float = 1.0
    cap: float = 30.0
    factor: float = 2.0
    jitter: float = 1.0
    least: float = 0.0

    def ceiling(self, failures: int) -> float:
        """The longest pause after so many failures in a row, in seconds."""
        return max(self.least, min(self.cap, self.base * self.factor ** min(max(failures, 0), MAX_EXPONENT)))

    def pause(self, failures: int, chance: float) -> float:
        """The pause after so many failures in a row, in seconds.

        Args:
            failures: failures in a row; the caller decides whether the first one counts as 0 or 1.
            chance: a random number from 0 to 1.
        """
        return max(self.least, self.ceiling(failures) * (1.0 - self.jitter + self.jitter * chance))
