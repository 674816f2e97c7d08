"""Calls that block, in threads that never keep a process from ending."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel

T = TypeVar("T")


async def call_in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function; when the caller is cancelled, the thread is left to itself.

    The thread is a daemon: nothing can interrupt a blocking call, but it must not hold up the exit
    of the process either (a pool's threads would).
    """
    done, token, context = anyio.Event(), anyio.lowlevel.current_token(), contextvars.copy_context()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(context.run(function))
        except BaseException as error:  # noqa: BLE001  it is raised where the result is awaited
            errors.append(error)
        with suppress(RuntimeError):  # the loop has ended, and its waiters with it
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=run, name=f"skill {function!r}", daemon=True).start()
    await done.wait()
    if errors:
        raise errors[0]
    return results[0]
