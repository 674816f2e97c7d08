"""Leases: a received task belongs to one holder for a time, and is offered again when that time is over.

`inbox` gives leases and takes answers, `store.leases` finds them, `protocol.task.table` has their events. The lease
clock below ends them.

    waiting  --Leased-->  leased  --answer-->  ended, or waiting for its sender
       ^                    |   LeaseRenewed: progress of the holder
       +--- LeaseEnded -----+   time is over, the worker's process is gone, or the attempt crashed
       +--- LeaseReturned --+   the call that got the task was cancelled: no holder has read it, so it was no attempt

Why leases
----------
A holder may take a task and never come back: a model turns to something else, a client is closed, a process is killed.
A queue that forgets what it gave out loses the task; one that waits for an acknowledgement without end blocks it. A
lease bounds the wait. The price is that work may be done twice, so the promise is "recorded once, answered once".

Invariants
----------
* A task has at most one holder. The look for a waiting task and its `Leased` are one operation of the one writer.
* An attempt is counted when its lease is given. After `MAX_ATTEMPTS` the task fails with the reason of the last one:
  otherwise a task that kills its worker would kill it for ever.
* The first answer counts, and its repetition changes nothing. An answer for an earlier attempt is refused, and so is
  one of another holder while a worker's lease lasts (`LeaseLostError`).
* A deadline is a wall-clock time, because it outlasts a restart. When that clock is set, the deadlines move with it
  (`shift_leases`). At a start, one that is further away than a lease lasts is moved nearer (`cap_leases`): it was made
  while the clock was ahead.
* A finished answer that the disk did not take keeps its lease as long as its holder tries: the work is not done again.
* A `check_inbox` that waits is a standing order: the transaction that accepts a task leases it too.

What was tried
--------------
* To wake this clock for each new lease cost a task of the event loop for each received task. It is woken only for a
  lease that ends before its next look.
* To ask the database for waiting tasks at each `check_inbox` cost 60 to 90 us, more than a lease. `Inbox` remembers
  that there are none until an event may have changed that.
* To read just as many rows as were asked for hid the tasks behind one whose answer is kept, and no later event looked
  for them. The look reads as many more rows as there are kept tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.runtime.context import Context, wait_until
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.leases import cap_leases, next_lease_end

logger = logging.getLogger(__name__)

GATHER_SECONDS = 60.0
"""The database is looked at at least so often."""

RETRY_SECONDS = 5.0
"""Pause after the database did not take the end of a lease."""

IsOver = Callable[[Task, float], bool]
"""True if the lease of this task is over at this time."""


class LeaseClock:
    """Ends leases when their time is over."""

    def __init__(
        self,
        context: Context,
        lease_seconds: float,
        end_leases: Callable[[IsOver], Awaitable[None]],
        kept: Callable[[], frozenset[str]],
    ) -> None:
        """Make a clock that does not run yet.

        Args:
            context: of the node.
            lease_seconds: how long a lease lasts.
            end_leases: ends those leases that are over.
            kept: the tasks whose lease does not end, because their holder has an answer that is not stored.
        """
        self._context = context
        self._lease_seconds = lease_seconds
        self._end_leases = end_leases
        self._kept = kept
        self._begun = anyio.Event()
        """Set when a lease ends before the next look."""
        self._looks_at = float("-inf")

    def begun(self) -> None:
        """Note that a lease began. That a lease ended costs one look, so the clock is woken only to look sooner."""
        if self._context.clock() + self._lease_seconds < self._looks_at:
            self._begun.set()

    async def run(self) -> None:
        """Offer what was not answered in time again, until cancelled."""
        latest = self._context.clock() + self._lease_seconds
        try:
            await self._context.database.write(partial(cap_leases, latest=latest))
        except McpA2AError as error:
            logger.warning("leases that began while the clock was ahead last until it has caught up: %s", error)
        while True:
            await self._look()

    async def _look(self) -> None:
        self._begun = anyio.Event()
        end = self._context.database.read(next_lease_end)
        now = self._context.clock()
        self._looks_at = min(now + GATHER_SECONDS, end or now + GATHER_SECONDS)
        await wait_until(self._begun, min(GATHER_SECONDS, max(0.0, (end or now + GATHER_SECONDS) - now)))
        if end is None or self._context.clock() < end:
            return
        kept = self._kept()
        try:
            await self._end_leases(lambda task, now: not task.leased(now) and task.id not in kept)
        except McpA2AError as error:
            logger.warning("leases have ended, but that could not be stored: %s", error)
            await anyio.sleep(RETRY_SECONDS)
        else:
            if kept:
                await anyio.sleep(RETRY_SECONDS)  # the lease of a kept answer is over, and does not end
