"""Ctrl-C while modules are imported, which takes up to a second, and nothing is under way that has to be ended."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import NoReturn


def end_at_interrupt() -> None:
    """Let Ctrl-C end this process with a word and no traceback. Where it is ignored it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_at_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again: from here on there may be something to clean up."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # An exception would be raised in the module that is being imported, which may catch it or report it.
    with suppress(OSError):
        # A terminal has shown `^C` behind the question that is open.
        os.write(2, b"\nInterrupted.\n" if os.isatty(2) else b"Interrupted.\n")
    os._exit(130)
