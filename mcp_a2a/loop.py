"""Runs a coroutine to its end: on uvloop where there is one, and with its one error as it was raised."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import TypeVar

import anyio

from mcp_a2a.interrupts import raise_at_interrupt

T = TypeVar("T")

GARBAGE_THRESHOLDS = (10_000, 20, 50)
"""Python's own (700, 10, 10) looks through thousands of living messages to find hardly any cycle: a sixth of the time
of a busy server (`benchmarks/a2a_http.py`)."""


FILES_OF_A_LOOP = 12


def run(function: Callable[[], Awaitable[T]]) -> T:
    """Run an asynchronous function, and raise what it raises without the groups around it.

    Raises:
        KeyboardInterrupt: Ctrl-C; the function was cancelled first.
    """
    raise_at_interrupt()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    _check_open_files()
    try:
        return anyio.run(function, backend_options={"use_uvloop": sys.platform != "win32"})
    except BaseExceptionGroup as group:
        raise unwrapped(group) from group


def _check_open_files() -> None:
    """An event loop that gets only half of its files complains in many lines; ask for them first.

    Raises:
        OSError: the system does not allow them.
    """
    with ExitStack() as files:
        for _ in range(FILES_OF_A_LOOP):
            files.enter_context(open(os.devnull, "rb"))  # noqa: PTH123  no path of ours


def unwrapped(error: BaseException) -> BaseException:
    """The first error in an exception group of a task group, for the others are consequences or cancellations."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
