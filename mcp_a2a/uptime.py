"""The uptime of this machine in seconds, against which a wall clock that jumps is checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

_CLOCK = next(
    (getattr(time, name) for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC") if hasattr(time, name)),
    None,
)
"""One that also runs while the machine sleeps: BOOTTIME on Linux, MONOTONIC on macOS, `time.monotonic` on Windows."""


_elapsed: Callable[[], float] = time.monotonic if _CLOCK is None else partial(time.clock_gettime, _CLOCK)


def _correction() -> float:
    """The difference to the kernel's own count: a clock that was moved for this process alone is no uptime."""
    try:
        return float(Path("/proc/uptime").read_text().split()[0]) - _elapsed()
    except (OSError, ValueError, IndexError):
        return 0.0


def boot() -> str:
    """The id of this start of the machine (Linux, proc(5)); empty on other systems."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:64]
    except (OSError, ValueError):
        return ""


class Uptime:
    """Tells the seconds since the machine started, the same in every process."""

    def __init__(self) -> None:
        self._correction = _correction()

    def __call__(self) -> float:
        """The uptime in seconds."""
        return max(0.0, _elapsed() + self._correction)
