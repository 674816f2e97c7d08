"""So many messages, so many of them under way at a time: the one load shape that every server here gets."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

WARM_UP = 2_000
HUNG_SECONDS = 60.0
"""A peer without progress for so long is named and left out."""
STALLED_SECONDS = HUNG_SECONDS / 2
"""How often a flight looks for progress: a stall is found after two looks at most."""
QUIET_CORES = 0.1
WAIT_SECONDS = 30
"""For a quiet moment before each run."""
TRIES = 4


class HungError(RuntimeError):
    """A peer made no progress for `HUNG_SECONDS`."""


@asynccontextmanager
async def hanging_named(what: str, seconds: float = HUNG_SECONDS) -> AsyncIterator[None]:
    """Limit one step of a run.

    Raises:
        HungError: the step took longer.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise HungError(f"{what} took longer than {seconds:.0f} s") from error


@dataclass(frozen=True)
class Figures:
    """What one run showed. A core that is used up is the bottleneck."""

    messages_per_s: float
    p50_us: float
    p99_us: float
    server_core: float
    """CPU seconds of the server per second."""
    generator_core: float
    server_us_per_message: float
    foreign_cores: float
    """CPU seconds per second of everybody else on this machine: a figure with much of it is not one."""


class Flight:
    """Keeps `in_flight` messages under way until `count` are done. Each is done when it was confirmed `parts` times."""

    def __init__(self, count: int, in_flight: int, send: Callable[[int], None], parts: int = 1) -> None:
        self._count, self._in_flight, self._send, self._parts = count, min(in_flight, count), send, parts
        self._sent = self._done = 0
        self._begun = [0.0] * count
        self._open = [parts] * count
        self.seconds: list[float] = []
        self.failure: str | None = None
        self._finished = asyncio.Event()

    async def fly(self) -> float:
        """How long all of it took."""
        start = time.perf_counter()
        for _ in range(self._in_flight):
            self._next()
        done = -1
        while not self._finished.is_set():
            if self.failure or done == self._done:
                raise HungError(self.failure or f"stalled with {self._done} of {self._count} messages done")
            done = self._done
            try:
                await asyncio.wait_for(self._finished.wait(), STALLED_SECONDS)
            except TimeoutError:
                continue
        if self.failure:
            raise RuntimeError(self.failure)
        return time.perf_counter() - start

    def confirmed(self, number: int) -> None:
        """One more of the things that make a message done happened."""
        self._open[number] -= 1
        if self._open[number]:
            return
        self.seconds.append(time.perf_counter() - self._begun[number])
        self._done += 1
        if self._sent < self._count:
            self._next()
        elif self._done == self._count:
            self._finished.set()

    def failed(self, why: str) -> None:
        self.failure = why
        self._finished.set()

    def _next(self) -> None:
        number = self._sent
        self._sent += 1
        self._begun[number] = time.perf_counter()
        self._send(number)


def cpu_seconds(pid: int) -> float:
    """Of all threads of a process and its children."""
    tasks = Path(f"/proc/{pid}/task")
    own = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_seconds(int(child)) for child in children)


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def busy_seconds() -> float:
    """CPU time of the whole machine."""
    user, nice, system, _, _, irq, soft, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


async def measured(flight: Flight, pid: int) -> Figures:
    server, ours, all_of_it = cpu_seconds(pid), time.process_time(), busy_seconds()
    seconds = await flight.fly()
    server, ours, all_of_it = cpu_seconds(pid) - server, time.process_time() - ours, busy_seconds() - all_of_it
    ordered = sorted(flight.seconds)
    return Figures(
        messages_per_s=len(ordered) / seconds,
        p50_us=statistics.median(ordered) * 1e6,
        p99_us=ordered[int(len(ordered) * 0.99)] * 1e6,
        server_core=server / seconds,
        generator_core=ours / seconds,
        server_us_per_message=server / len(ordered) * 1e6,
        foreign_cores=max(0.0, all_of_it - server - ours) / seconds,
    )


class Measured(Protocol):
    """Figures that know how undisturbed they are."""

    @property
    def foreign_cores(self) -> float: ...


Result = TypeVar("Result", bound=Measured)


async def quietest(run: Callable[[], Awaitable[Result]]) -> Result:
    """The first run with nearly nobody else on the machine, or else the quietest of several."""
    results: list[Result] = []
    for _ in range(TRIES):
        await _quiet_moment()
        results.append(await run())
        if results[-1].foreign_cores < QUIET_CORES:
            break
    return min(results, key=lambda result: result.foreign_cores)


async def _quiet_moment() -> None:
    for _ in range(WAIT_SECONDS):
        before = busy_seconds()
        await asyncio.sleep(1)
        if busy_seconds() - before < QUIET_CORES:
            return


def pin(core: int) -> None:
    os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})
