"""Calls of functions on an event loop, from another thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Protocol, cast

import anyio.lowlevel

logger = logging.getLogger(__name__)


class _AsyncioLoop(Protocol):
    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object: ...


class _TrioToken(Protocol):
    def run_sync_soon(self, callback: Callable[[], None]) -> None: ...


def call_soon_from_threads() -> Callable[[Callable[[], None]], None]:
    """Return a function that calls another on this event loop, from any thread.

    It does not wait for the call, as anyio's way from a thread does.
    """
    loop = cast("_AsyncioLoop | _TrioToken", anyio.lowlevel.current_token().native_token)
    call_soon = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    context = _context_of_loop()

    def call(function: Callable[[], None]) -> None:
        try:
            call_soon(partial(context.run, function))
        except RuntimeError:
            logger.debug("the event loop ended before it heard of a commit")

    return call


def _context_of_loop() -> Context:
    """A context in which anyio knows the event loop outside of tasks, where sniffio, if installed, finds none.

    sniffio asks asyncio for the current task unless its variable is set, and only `anyio.run` sets that.
    """
    context = copy_context()
    try:
        import sniffio  # noqa: PLC0415  not a dependency: anyio asks it where it is installed
    except ImportError:
        return context
    context.run(sniffio.current_async_library_cvar.set, sniffio.current_async_library())
    return context
