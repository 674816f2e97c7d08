"""How long to wait before trying again, so that a crowd that failed together spreads out."""

from __future__ import annotations

BASE_SECONDS = 1.0
CAP_SECONDS = 30.0
MAX_DOUBLINGS = 16


def full_jitter(failures: int, chance: float, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> float:
    """Seconds after so many failures in a row: `chance`, from 0 to 1, of the doubled base, at most of the cap."""
    return chance * min(cap, base * 2.0 ** min(failures, MAX_DOUBLINGS))
