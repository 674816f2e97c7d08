"""Signals that end a front, without an event loop: they wake poll(2) through a pipe."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


def ending_signals() -> list[signal.Signals]:
    """Those that ask this process to end: SIGINT, SIGTERM, and SIGHUP where it is not ignored.

    SIGINT comes first: where SIGTERM is caught, each program that waits for that may send either.
    """
    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asks to outlive the terminal
        wanted.append(signal.SIGHUP)
    return wanted


class StopSignals:
    """SIGTERM, SIGINT and SIGHUP as a wish to stop; and a way to wake a poll of `descriptor`."""

    def __init__(self) -> None:
        self.wanted = False
        self.descriptor, self._waking = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._waking, False)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch them. Afterwards they end the process at once, until the session's own handlers are there."""
        numbers = ending_signals()
        for number in numbers:
            signal.signal(number, self._stop)
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, _leave)

    def wake(self) -> None:
        """Let poll(2) return."""
        with suppress(BlockingIOError):
            os.write(self._waking, b"\0")

    def drain(self) -> None:
        """Take what woke it."""
        with suppress(BlockingIOError):
            while os.read(self.descriptor, 4096):
                pass

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.wanted = True
        self.wake()


def _leave(_number: int, _frame: FrameType | None) -> None:
    # There is nothing to clean up yet: no node was started, and the system takes back the lock.
    os._exit(0)
