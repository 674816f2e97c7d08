"""Received tasks: accepted once, leased to the holder that works on them, answered to their sender.

Accepting a task and handing it to a holder that waits already are one transaction: a waiting `check_inbox` is a
standing order. A lease that runs out is offered again, with a higher attempt, until `MAX_ATTEMPTS`. Why leases are as
they are, and what was tried, stands in `lease_clock`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.errors.machine import HomeUnusableError, StorageFullError, SystemLimitError
from mcp_a2a.errors.tasks import LeaseLostError, NotAwaitingReplyError
from mcp_a2a.node.delivery.letters import post_update
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.files.attaching import Attaching
from mcp_a2a.node.runtime.context import Context, ticks_of_loop, wait_until
from mcp_a2a.node.tasks.answers import facts_of_answer, is_said_again
from mcp_a2a.node.tasks.lease_clock import LeaseClock
from mcp_a2a.protocol.blob import BlobRef
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import OutboxRow
from mcp_a2a.store.leases import count_waiting, leased_tasks, waiting_tasks
from mcp_a2a.store.records import find_task, get_task, save

MAX_ATTEMPTS = 3
"""A task that was leased so often without an answer is given up, with the reason."""

MAX_WITHDRAWN = 100
"""Cancellations kept for a holder that never asks; the tasks themselves say so, too."""

KEPT_SECONDS = 60.0
"""An answer that could not be stored keeps its lease for so long after its holder last tried."""


@dataclass(eq=False)
class Order:
    """A `check_inbox` that waits: the next tasks that arrive are leased to it in the transaction that accepts them."""

    holder: str
    worker: bool
    capacity: int
    leased: list[Task] = field(default_factory=list)
    reserved: int = 0
    """Leases being committed."""
    ready: anyio.Event = field(default_factory=anyio.Event)
    settled: anyio.Event | None = None
    """Set when no lease is being committed for it any more."""
    abandoned: bool = False

    @property
    def open(self) -> bool:
        """True if it can take one more in this round."""
        return not self.ready.is_set() and self.reserved + len(self.leased) < self.capacity


@dataclass(frozen=True)
class Concluded:
    """A change that an answer or the lease clock made, and the message to its sender, where one goes there."""

    change: Change
    letter: OutboxRow | None = None


class Inbox:
    """The receiving half of a node's work."""

    def __init__(self, context: Context, outbox: Outbox, attaching: Attaching, lease_seconds: float) -> None:
        self._context = context
        self._ticks = ticks_of_loop()
        self._attaching = attaching
        self._outbox = outbox
        self._lease_seconds = lease_seconds
        self._orders: list[Order] = []
        self._withdrawn: dict[str, list[str]] = {}
        """Canceled tasks by the holder that was not told yet: it need not be waiting in that moment."""
        self.clock = LeaseClock(context, lease_seconds, self._end_leases, self._kept_now)
        self._kept: dict[str, float] = {}
        """Until when, by the event loop's clock, a task is not offered although its lease is over: its holder has an
        answer that is not stored."""
        self._may_wait = True
        """True if a task without a holder may wait. Asking the database each time costs more than leasing one."""

    # --- standing orders: used where tasks are accepted ------------------------------------------

    def reserve(self) -> Order | None:
        """The order that gets the task which is being accepted; None if no holder waits."""
        order = next((order for order in self._orders if order.open), None)
        if order is not None:
            order.reserved += 1
        return order

    def lease(self, order: Order | CheckInboxRequest, now: float) -> e.Leased:
        """The event that a task is handed over to this holder."""
        return e.Leased(order.holder, order.worker, now + self._lease_seconds)

    def filled(self, order: Order, record: Task | None) -> None:
        """The transaction of a reserved task has ended: with the leased task, or without one."""
        order.reserved -= 1
        if record is not None:
            order.leased.append(record)
        if order.reserved:
            return
        if order.settled is not None:
            order.settled.set()
        if order.leased:
            order.ready.set()
            self.clock.begun()
        if order.abandoned:
            self._give_back(order.leased, order.holder)

    def offer(self) -> None:
        """Tasks became available outside of `reserve`: let the orders look again."""
        self._may_wait = True
        for order in self._orders:
            if order.capacity:
                order.ready.set()

    def withdraw(self, record: Task) -> None:
        """A leased task was canceled: tell its holder."""
        if record.holder is None:
            return
        withdrawn = self._withdrawn.setdefault(record.holder, [])
        withdrawn.append(record.id)
        del withdrawn[:-MAX_WITHDRAWN]
        for order in self._orders:
            if order.holder == record.holder:
                order.ready.set()

    # --- leasing ---------------------------------------------------------------------------------

    async def take(self, request: CheckInboxRequest) -> tuple[list[Task], list[str]]:
        """Lease waiting tasks, waiting for some if there are none; also the holder's tasks that were canceled."""
        deadline = self._ticks() + request.wait_seconds
        while True:
            leased = await self._lease_waiting(request)
            remaining = deadline - self._ticks()
            canceled = self._withdrawn.pop(request.holder, [])
            if leased or canceled or remaining <= 0:
                return leased, canceled
            leased = await self._stand(Order(request.holder, request.worker, request.limit), remaining)
            canceled = self._withdrawn.pop(request.holder, [])
            if leased or canceled:
                return leased, canceled

    async def _stand(self, order: Order, seconds: float) -> list[Task]:
        self._orders.append(order)
        try:
            if order.capacity and self._may_wait:
                order.ready.set()  # arrived between the look and the order
            await wait_until(order.ready, seconds)
            order.ready.set()  # closed: nothing more is reserved, what is under way still lands
            if order.reserved:
                order.settled = anyio.Event()
                await order.settled.wait()
        except anyio.get_cancelled_exc_class():
            order.ready.set()
            order.abandoned = True
            if not order.reserved:
                self._give_back(order.leased, order.holder)
            raise
        finally:
            self._orders.remove(order)
        return order.leased

    def _give_back(self, leased: list[Task], holder: str) -> None:
        """Return the leases of a cancelled call: no holder has read these tasks, so they were no attempts."""
        for record in leased:
            self._context.database.enqueue(_unlease(record.id, holder), lambda _: self.offer())

    def _waiting(self) -> int:
        now = self._context.clock()
        return self._context.database.read(lambda connection: count_waiting(connection, now))

    async def _lease_waiting(self, request: CheckInboxRequest) -> list[Task]:
        if request.limit == 0 or not self._may_wait:
            return []
        is_waiting = self._waiting()  # if that fails, the next call looks again
        self._may_wait = False  # until the look below tells otherwise, or something comes meanwhile
        if not is_waiting:
            return []
        now, kept = self._context.clock(), self._kept_now()

        def lease(connection: sqlite3.Connection) -> tuple[list[Task], list[Concluded]]:
            leased: list[Task] = []
            given_up: list[Concluded] = []
            # Kept ones must not hide what is behind them, for which no later look is due.
            for task in waiting_tasks(connection, now, request.limit + len(kept)):
                if task.id in kept:
                    continue
                if len(leased) + len(given_up) == request.limit:
                    break
                if task.attempts >= MAX_ATTEMPTS:
                    given_up.append(self._give_up(connection, task, now))
                    continue
                change = Change.of(task, self.lease(request, now), now=now)
                save(connection, change)
                leased.append(change.task)
            return leased, given_up

        with anyio.CancelScope(shield=True):  # it is on its way to the disk, also if its caller is gone
            try:
                leased, given_up = await self._context.database.write(lease)
            except BaseException:
                self._may_wait = True
                raise
        self._may_wait = self._may_wait or len(leased) + len(given_up) == request.limit
        self._posted(given_up)
        self.clock.begun()
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except anyio.get_cancelled_exc_class():
            self._give_back(leased, request.holder)
            raise
        return leased

    def _give_up(self, connection: sqlite3.Connection, task: Task, now: float, reason: str | None = None) -> Concluded:
        last = f"; the last time, {reason}" if reason else "."
        message = f"It was offered {task.attempts} times and never answered{last}"
        error = ErrorDetail(code="not_answered", message=message, hint="Ask another agent.", retryable=True)
        return self._conclude(connection, Change.of(task, e.Failed(error=error), e.Spoken(), now=now))

    def _conclude(self, connection: sqlite3.Connection, change: Change) -> Concluded:
        save(connection, change)
        return Concluded(change, post_update(self._context, connection, change))

    # --- answering -------------------------------------------------------------------------------

    async def answer(self, request: AnswerRequest) -> Change:
        """Record an answer and journal it for the sender, in one transaction.

        Raises:
            TaskNotFoundError, NotAwaitingReplyError, LeaseLostError, TransitionError, TooLargeError, FileError
        """
        try:
            request, spooled = await self._attaching.attach_to_answer(request)
            with self._attaching.given_to(request.task_id, spooled) if spooled else nullcontext():
                change = await self._answer(request, spooled)
        except (StorageFullError, HomeUnusableError, SystemLimitError):
            if request.status != "working":
                self._kept[request.task_id] = anyio.current_time() + KEPT_SECONDS
            raise
        self._kept.pop(request.task_id, None)
        return change

    async def _answer(self, request: AnswerRequest, spooled: tuple[BlobRef, ...]) -> Change:
        now = self._context.clock()

        def answer(connection: sqlite3.Connection) -> Concluded:
            task = get_task(connection, request.task_id)
            if request.status == "crashed":
                return self._crash(connection, task, request, now)
            if task.sent:
                raise NotAwaitingReplyError(task.id, task.state, sent=True)
            if is_said_again(task, request):
                return Concluded(Change.of(task, now=now))  # the first one counts
            self._check_lease(task, request, now)
            facts = facts_of_answer(task, request, now, now + self._lease_seconds, self._context.fresh_id())
            return self._conclude(connection, Change.of(task, *facts, e.Spoken(), now=now, files=spooled))

        concluded = await self._context.database.write(answer, then=lambda concluded: self._posted([concluded]))
        if request.status == "crashed":
            self.offer()
        return concluded.change

    def _crash(self, connection: sqlite3.Connection, task: Task, request: AnswerRequest, now: float) -> Concluded:
        """An attempt that came to nothing: offered again, or given up with the reason of the last one."""
        if task.sent or task.done:
            raise NotAwaitingReplyError(task.id, task.state)
        self._check_lease(task, request, now)
        if task.attempts >= MAX_ATTEMPTS:
            return self._give_up(connection, task, now, request.text)
        # One that waits for its caller has no lease to end.
        ended = (e.LeaseEnded(crashed=True),) if can(task.state, e.LeaseEnded) else ()
        change = Change.of(task, *ended, now=now)
        save(connection, change)
        return Concluded(change)

    @property
    def kept(self) -> int:
        """The number of finished answers that wait for room to be stored."""
        return len(self._kept_now())

    def _kept_now(self) -> frozenset[str]:
        now = anyio.current_time()
        return frozenset(task_id for task_id, until in self._kept.items() if now < until)

    def _check_lease(self, record: Task, request: AnswerRequest, now: float) -> None:
        stale = request.attempt is not None and request.attempt != record.attempts
        taken = record.worker and record.leased(now) and record.holder != request.holder
        if not record.done and (stale or taken):
            raise LeaseLostError(record.id)

    def _posted(self, concluded: list[Concluded]) -> None:
        for one in concluded:
            if one.letter is not None:
                self._outbox.push(one.letter)
            if one.change.events:
                self._context.task_changes.notify(one.change.task.id, one.change.task)

    # --- the ends of leases -----------------------------------------------------------------------

    async def release(self, alive: Callable[[str], bool]) -> None:
        """Workers whose process is gone hold nothing any more; their tasks are offered again at once."""
        await self._end_leases(lambda record, _: record.worker and not alive(record.holder or ""))

    async def _end_leases(self, ended: Callable[[Task, float], bool]) -> None:
        now = self._context.clock()

        def end(connection: sqlite3.Connection) -> list[Concluded]:
            given_up = []
            for task in leased_tasks(connection):
                if not ended(task, now):
                    continue
                if task.attempts >= MAX_ATTEMPTS:
                    given_up.append(self._give_up(connection, task, now))
                else:
                    save(connection, Change.of(task, e.LeaseEnded(), now=now))
            return given_up

        self._posted(await self._context.database.write(end))
        self.offer()


def _unlease(task_id: str, holder: str) -> Callable[[sqlite3.Connection], None]:
    def unlease(connection: sqlite3.Connection) -> None:
        task = find_task(connection, task_id)
        if task is not None and task.holder == holder and can(task.state, e.LeaseReturned):
            save(connection, Change.of(task, e.LeaseReturned(), now=task.updated))

    return unlease
