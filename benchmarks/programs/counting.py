"""Counts what one process does for a task. The same file counts in this tree and in an earlier one.

Every hook sits below the product, in the standard library or the interpreter: two trees that are built differently are
counted alike. `COUNT` names what is counted, because a hook costs time:

| COUNT | counted | event loop |
|---|---|---|
| `time` (default) | processor time, context switches | uvloop, as shipped |
| `rounds` | rounds of the loop, hand-overs between threads, SQL statements, commits | asyncio's own |
| `calls` | Python calls, and those of the product | uvloop |
"""

from __future__ import annotations

import asyncio.base_events
import importlib.util
import os
import queue
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TypeVar

import anyio

T = TypeVar("T")

QUESTION = "how many"
"""The text that an agent answers with its counts instead of an echo."""

KIND = os.environ.get("COUNT", "time")

counts: dict[str, int] = {}


def snapshot() -> dict[str, float]:
    """All counts of this process so far; processor time in microseconds, context switches per getrusage(2)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_us": time.process_time() * 1e6, "voluntary_switches": used.ru_nvcsw, **counts}


def start() -> None:
    """Install the hooks that `COUNT` names. The product must not be imported yet."""
    if KIND == "rounds":
        counts.update(rounds=0, wake_ups=0, jobs=0, statements=0, commits=0)
        use_asyncio_loop()
        _count_rounds()
        _count_jobs()
        _count_statements()
    elif KIND == "calls":
        counts.update(calls=0, own_calls=0)
        threading.setprofile(_count_call)
        sys.setprofile(_count_call)


def use_asyncio_loop() -> None:
    """Have the product run on asyncio's loop, which is Python and can be counted, instead of uvloop."""
    run = anyio.run

    def run_on_asyncio(function: Callable[..., Awaitable[T]], *arguments: object, **options: object) -> T:
        del options
        return run(function, *arguments)

    anyio.run = run_on_asyncio


def _root_of(package: str) -> str:
    """The folder of a package, with a slash behind it; the package is not imported."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return os.path.dirname(found.origin) + os.sep  # noqa: PTH120  text: it is compared with the names of code


ROOTS = (_root_of("mcp_a2a"), _root_of("mcp_a2a_transports"))
"""Where the files of the product are."""


def _count_rounds() -> None:
    """Rounds of the loop, and how often another thread wakes it."""
    loop = asyncio.base_events.BaseEventLoop
    run_once = loop._run_once  # type: ignore[attr-defined]  # noqa: SLF001  there is no public hook
    call_soon_threadsafe = loop.call_soon_threadsafe
    main = threading.main_thread().ident

    def counted_round(self: asyncio.base_events.BaseEventLoop) -> None:
        counts["rounds"] += 1
        run_once(self)

    def counted_wake_up(self: asyncio.base_events.BaseEventLoop, *arguments: object, **options: object) -> object:
        if threading.get_ident() != main:
            counts["wake_ups"] += 1
        return call_soon_threadsafe(self, *arguments, **options)

    loop._run_once = counted_round  # type: ignore[attr-defined]  # noqa: SLF001  as above
    loop.call_soon_threadsafe = counted_wake_up  # type: ignore[method-assign, assignment]


def _count_jobs() -> None:
    """What the loop's thread gives to another one, through either queue of the standard library."""
    simple, put = queue.SimpleQueue, queue.Queue.put
    main = threading.main_thread().ident

    class CountedQueue(simple):  # type: ignore[misc, valid-type]
        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
            counts["jobs"] += threading.get_ident() == main
            super().put(item, block, timeout)

        def put_nowait(self, item: object) -> None:
            self.put(item)

    def counted_put(self: queue.Queue[object], item: object, *how: object, **options: object) -> None:
        counts["jobs"] += threading.get_ident() == main
        put(self, item, *how, **options)  # type: ignore[arg-type]

    queue.SimpleQueue = CountedQueue  # type: ignore[misc]
    queue.Queue.put = counted_put  # type: ignore[method-assign, assignment]


def _count_statements() -> None:
    """SQL statements and commits of every connection."""
    connect = sqlite3.connect

    def traced(statement: str) -> None:
        counts["statements"] += 1
        counts["commits"] += statement.startswith("COMMIT")

    def counted_connect(*arguments: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
        connection.set_trace_callback(traced)
        return connection

    sqlite3.connect = counted_connect  # type: ignore[assignment]


_own: dict[str, bool] = {}


def _count_call(frame: FrameType, event: str, _: object) -> None:
    if event != "call":
        return
    path = frame.f_code.co_filename
    own = _own.get(path)
    if own is None:
        own = _own[path] = path.startswith(ROOTS)
    counts["calls"] += 1
    counts["own_calls"] += own
