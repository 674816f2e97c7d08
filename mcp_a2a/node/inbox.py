"""Tasks that others sent us: accepted once, leased to whoever works on them, answered to their sender.

Accepting a task and handing it to somebody who is already waiting are one transaction: a waiting `check_inbox` is a
standing order. A lease that runs out is offered again, with a higher attempt, until `MAX_ATTEMPTS`.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.lowlevel

from mcp_a2a.errors import (
    HomeUnusableError,
    LeaseLostError,
    McpA2AError,
    NotAwaitingReplyError,
    StorageFullError,
    SystemLimitError,
)
from mcp_a2a.node.attaching import Attaching
from mcp_a2a.node.context import Context, wait_until
from mcp_a2a.node.letters import post_update
from mcp_a2a.node.outbox import Outbox
from mcp_a2a.protocol.blob import BlobRef
from mcp_a2a.protocol.model import Artifact, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.artifacts import grow, replace
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.table import check_transition
from mcp_a2a.protocol.times import iso
from mcp_a2a.store.journal import OutboxRow
from mcp_a2a.store.records import (
    TaskRecord,
    cap_leases,
    count_waiting,
    find_task,
    get_task,
    leased_tasks,
    next_lease_end,
    save,
    save_task,
    waiting_tasks,
)
from mcp_a2a.views import AnswerRequest, CheckInboxRequest

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""A task that was leased so often without an answer is given up, with the reason."""

MAX_WITHDRAWN = 100
"""Cancellations kept for a holder that never asks; the tasks themselves say so, too."""

GATHER_SECONDS = 60.0
"""The lease clock looks at the database at least so often."""

RETRY_SECONDS = 5.0
"""Pause after the database did not take the end of a lease."""

KEPT_SECONDS = 60.0
"""An answer that could not be stored keeps its lease for so long after its holder last tried."""

RESULT = "result"
"""The artifact that an answer is."""

STATUS = {
    "working": TaskState.WORKING,
    "completed": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
    "input_required": TaskState.INPUT_REQUIRED,
    "auth_required": TaskState.AUTH_REQUIRED,
    "rejected": TaskState.REJECTED,
    "crashed": TaskState.SUBMITTED,
}


@dataclass(eq=False)
class Order:
    """A `check_inbox` that waits: the next tasks that arrive are leased to it in the transaction that accepts them."""

    holder: str
    worker: bool
    capacity: int
    leased: list[TaskRecord] = field(default_factory=list)
    reserved: int = 0
    """Leases being committed."""
    ready: anyio.Event = field(default_factory=anyio.Event)
    settled: anyio.Event = field(default_factory=anyio.Event)
    """Set whenever nothing is being committed for it any more."""
    abandoned: bool = False

    @property
    def open(self) -> bool:
        """Whether it can take one more in this round."""
        return not self.ready.is_set() and self.reserved + len(self.leased) < self.capacity


@dataclass(frozen=True)
class Concluded:
    """A task that an answer moved, and the message to its sender, where that is how it hears of it."""

    record: TaskRecord
    letter: OutboxRow | None
    again: bool = False
    """The same was answered before: the first one counts."""


_NOTHING = AnswerRequest(task_id="", status="failed")


class Inbox:
    """The receiving half of a node's work."""

    def __init__(self, context: Context, outbox: Outbox, attaching: Attaching, lease_seconds: float) -> None:
        self._context = context
        self._attaching = attaching
        self._outbox = outbox
        self._lease_seconds = lease_seconds
        self._orders: list[Order] = []
        self._withdrawn: dict[str, list[str]] = {}
        """Canceled tasks by the holder that was not told yet: it need not be waiting in that moment."""
        self._lease_begun = anyio.Event()
        """Set when a lease ends before the lease clock looks again."""
        self._looks_at = float("-inf")
        self._kept: dict[str, float] = {}
        """Until when, by the event loop's clock, a task is not offered although its lease is over: its holder has an
        answer that is not stored."""
        self._may_wait = True
        """Whether a task may wait that nobody works on. Asking the database each time costs more than leasing one."""

    # --- standing orders: used by whoever accepts tasks ------------------------------------------

    def reserve(self) -> Order | None:
        """Somebody who waits for work and gets the task that is being accepted."""
        order = next((order for order in self._orders if order.open), None)
        if order is not None:
            if order.reserved == 0:
                order.settled = anyio.Event()
            order.reserved += 1
        return order

    def lease(self, order: Order | CheckInboxRequest, now: float) -> e.Leased:
        """The event that a task is handed over to this holder."""
        return e.Leased(order.holder, order.worker, now + self._lease_seconds)

    def filled(self, order: Order, record: TaskRecord | None) -> None:
        """The transaction of a reserved task has ended: with the leased task, or without one."""
        order.reserved -= 1
        if record is not None:
            order.leased.append(record)
        if order.reserved:
            return
        order.settled.set()
        if order.leased:
            order.ready.set()
            self._watch_lease()
        if order.abandoned:
            self._give_back(order.leased, order.holder)

    def offer(self) -> None:
        """Tasks became available outside of `reserve`: let the orders look again."""
        self._may_wait = True
        for order in self._orders:
            if order.capacity:
                order.ready.set()

    def withdraw(self, record: TaskRecord) -> None:
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

    async def take(self, request: CheckInboxRequest) -> tuple[list[TaskRecord], list[str]]:
        """Lease waiting tasks, waiting for some if there are none; also the holder's tasks that were canceled."""
        deadline = anyio.current_time() + request.wait_seconds
        while True:
            leased = await self._lease_waiting(request)
            remaining = deadline - anyio.current_time()
            canceled = self._withdrawn.pop(request.holder, [])
            if leased or canceled or remaining <= 0:
                return leased, canceled
            leased = await self._stand(Order(request.holder, request.worker, request.limit), remaining)
            canceled = self._withdrawn.pop(request.holder, [])
            if leased or canceled:
                return leased, canceled

    async def _stand(self, order: Order, seconds: float) -> list[TaskRecord]:
        self._orders.append(order)
        try:
            if order.capacity and self._may_wait:
                order.ready.set()  # arrived between the look and the order
            await wait_until(order.ready, seconds)
            order.ready.set()  # closed: nothing more is reserved, what is under way still lands
            if order.reserved:
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

    def _give_back(self, leased: list[TaskRecord], holder: str) -> None:
        """Nobody reads what was leased to a call that was cancelled: it was never an attempt."""
        for record in leased:
            self._context.database.enqueue(_unlease(record.id, holder), lambda _: self.offer())

    def _waiting(self) -> int:
        now = self._context.clock()
        return self._context.database.read(lambda connection: count_waiting(connection, now))

    async def _lease_waiting(self, request: CheckInboxRequest) -> list[TaskRecord]:
        if request.limit == 0 or not self._may_wait:
            return []
        self._may_wait = False  # until the look below tells otherwise, or something comes meanwhile
        if not self._waiting():
            return []
        now, kept = self._context.clock(), self._kept_now()

        def lease(connection: sqlite3.Connection) -> tuple[list[TaskRecord], list[Concluded]]:
            leased: list[TaskRecord] = []
            given_up: list[Concluded] = []
            # Kept ones must not hide what is behind them, for which no later look is due.
            for record in waiting_tasks(connection, now, request.limit + len(kept)):
                if record.id in kept:
                    continue
                if len(leased) + len(given_up) == request.limit:
                    break
                if record.attempts >= MAX_ATTEMPTS:
                    given_up.append(self._give_up(connection, record, now))
                    continue
                change = Change.of(record, self.lease(request, now), now=now)
                save(connection, change)
                leased.append(change.task)
            return leased, given_up

        with anyio.CancelScope(shield=True):  # it is on its way to the disk, whoever still waits for it
            try:
                leased, given_up = await self._context.database.write(lease)
            except BaseException:
                self._may_wait = True
                raise
        self._may_wait = self._may_wait or len(leased) + len(given_up) == request.limit
        self._posted(given_up)
        self._watch_lease()
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
        except anyio.get_cancelled_exc_class():
            self._give_back(leased, request.holder)
            raise
        return leased

    def _give_up(
        self, connection: sqlite3.Connection, record: TaskRecord, now: float, reason: str | None = None
    ) -> Concluded:
        message = f"It was offered {record.attempts} times and never answered."
        if reason:
            message = f"It was offered {record.attempts} times and never answered; the last time, {reason}"
        record.error = ErrorDetail(code="not_answered", message=message, hint="Ask another agent.", retryable=True)
        return self._conclude(connection, record, TaskState.FAILED, _NOTHING, now)

    # --- answering -------------------------------------------------------------------------------

    async def answer(self, request: AnswerRequest) -> TaskRecord:
        """Record an answer and journal it for the sender, in one transaction.

        Raises:
            TaskNotFoundError, NotAwaitingReplyError, LeaseLostError, TransitionError, TooLargeError, FileError
        """
        try:
            request, spooled = await self._attaching.attach_to_answer(request)
            with self._attaching.given_to(request.task_id, spooled):
                record = await self._answer(request, spooled)
        except (StorageFullError, HomeUnusableError, SystemLimitError):
            if request.status != "working":
                self._kept[request.task_id] = anyio.current_time() + KEPT_SECONDS
            raise
        self._kept.pop(request.task_id, None)
        return record

    async def _answer(self, request: AnswerRequest, spooled: tuple[BlobRef, ...]) -> TaskRecord:
        now = self._context.clock()
        state = STATUS[request.status]

        def answer(connection: sqlite3.Connection) -> Concluded:
            record = get_task(connection, request.task_id)
            if request.status == "crashed":
                return self._crash(connection, record, request, now)
            if record.sent:
                raise NotAwaitingReplyError(record.id, record.state, sent=True)
            if record.done and record.state == state and _said(record) == (request.text or _streamed_text(record)):
                return Concluded(record, None, again=True)
            self._check_lease(record, request, now)
            check_transition(record.state, state)
            record.spooled = spooled
            if state in (TaskState.FAILED, TaskState.REJECTED):
                record.error = ErrorDetail(code=f"task_{request.status}", message=request.text or "no reason given")
            return self._conclude(connection, record, state, request, now)

        concluded = await self._context.database.write(answer)
        if not concluded.again:
            self._posted([concluded])
        if request.status == "crashed":
            self.offer()
        return concluded.record

    def _crash(
        self, connection: sqlite3.Connection, record: TaskRecord, request: AnswerRequest, now: float
    ) -> Concluded:
        """An attempt that came to nothing: offered again, or given up with the reason of the last one."""
        if record.sent or record.done:
            raise NotAwaitingReplyError(record.id, record.state)
        self._check_lease(record, request, now)
        if record.attempts >= MAX_ATTEMPTS:
            return self._give_up(connection, record, now, request.text)
        record.end_lease()
        record.updated = now
        save_task(connection, record)
        return Concluded(record, None)

    @property
    def kept(self) -> int:
        """How many finished answers wait for room to be stored."""
        return len(self._kept_now())

    def _kept_now(self) -> frozenset[str]:
        now = anyio.current_time()
        return frozenset(task_id for task_id, until in self._kept.items() if now < until)

    def _check_lease(self, record: TaskRecord, request: AnswerRequest, now: float) -> None:
        stale = request.attempt is not None and request.attempt != record.attempts
        taken = record.worker and record.leased(now) and record.holder != request.holder
        if not record.done and (stale or taken):
            raise LeaseLostError(record.id)

    def _conclude(
        self, connection: sqlite3.Connection, record: TaskRecord, state: TaskState, answer: AnswerRequest, now: float
    ) -> Concluded:
        """Move a task, and journal the update it causes."""
        record.state, record.updated = state, now
        record.seq_out += 1
        known = 0 if answer.streamed is None else max(0, record.streamed - answer.streamed)
        record.added = answer.chunks[known:]
        record.streamed += len(record.added)
        record.artifacts = grow(record.artifacts, record.added)
        content = (*((Part(text=answer.text),) if answer.text is not None else ()), *answer.parts)
        said: tuple[Part, ...] = content[:1] if answer.text else ()
        if state == TaskState.COMPLETED:
            record.direct = answer.direct
            said = content if answer.direct else ()
            if content and not answer.direct:
                before = _before(record, content)
                record.renewed = (Artifact(artifact_id=RESULT, name=RESULT, parts=(*before, *content)),)
                record.artifacts = replace(record.artifacts, record.renewed)
        if state != TaskState.WORKING or _parts(record.status) != (
            state,
            said,
        ):  # a chunk alone is no news of the status
            record.status = TaskStatus(state=state, message=self._message(said), timestamp=iso(now))
        if state == TaskState.WORKING:
            record.lease_until = now + self._lease_seconds
        else:
            record.end_lease()
        save_task(connection, record)
        return Concluded(record, post_update(self._context, connection, record, now))

    def _message(self, parts: tuple[Part, ...]) -> Message | None:
        return Message(message_id=self._context.fresh_id(), role=Role.AGENT, parts=parts) if parts else None

    def _posted(self, concluded: list[Concluded]) -> None:
        for one in concluded:
            if one.letter is not None:
                self._outbox.push(one.letter)
            self._context.task_changes.notify(one.record.id, one.record)

    # --- the lease clock -------------------------------------------------------------------------

    def _watch_lease(self) -> None:
        """A lease began. The lease clock is woken only if it would look too late: that a lease ended costs one look."""
        if self._context.clock() + self._lease_seconds < self._looks_at:
            self._lease_begun.set()

    async def run(self) -> None:
        """Offer what was not answered in time again, until cancelled."""
        latest = self._context.clock() + self._lease_seconds
        try:
            await self._context.database.write(partial(cap_leases, latest=latest))
        except McpA2AError as error:
            logger.warning("leases that began while the clock was ahead last until it has caught up: %s", error)
        while True:
            self._lease_begun = anyio.Event()
            end = self._context.database.read(next_lease_end)
            now = self._context.clock()
            self._looks_at = min(now + GATHER_SECONDS, end or now + GATHER_SECONDS)
            await wait_until(self._lease_begun, min(GATHER_SECONDS, max(0.0, (end or now + GATHER_SECONDS) - now)))
            if end is None or self._context.clock() < end:
                continue
            kept = self._kept_now()
            try:
                await self._end_leases(partial(_is_over, kept))
            except McpA2AError as error:
                logger.warning("leases have ended, but that could not be stored: %s", error)
                await anyio.sleep(RETRY_SECONDS)
            else:
                if kept:
                    await anyio.sleep(RETRY_SECONDS)  # the lease of a kept answer is over, and does not end

    async def release(self, alive: Callable[[str], bool]) -> None:
        """Workers whose process is gone hold nothing any more; their tasks are offered again at once."""
        await self._end_leases(lambda record, _: record.worker and not alive(record.holder or ""))

    async def _end_leases(self, ended: Callable[[TaskRecord, float], bool]) -> None:
        now = self._context.clock()

        def end(connection: sqlite3.Connection) -> list[Concluded]:
            given_up = []
            for record in leased_tasks(connection):
                if not ended(record, now):
                    continue
                record.end_lease()
                if record.attempts >= MAX_ATTEMPTS:
                    given_up.append(self._give_up(connection, record, now))
                else:
                    save_task(connection, record)
            return given_up

        self._posted(await self._context.database.write(end))
        self.offer()


def _is_over(kept: frozenset[str], record: TaskRecord, now: float) -> bool:
    return not record.leased(now) and record.id not in kept


def _unlease(task_id: str, holder: str) -> Callable[[sqlite3.Connection], None]:
    def unlease(connection: sqlite3.Connection) -> None:
        record = find_task(connection, task_id)
        if record is not None and record.holder == holder and not record.done:
            record.attempts -= 1
            record.end_lease()
            save_task(connection, record)

    return unlease


def _before(record: TaskRecord, content: tuple[Part, ...]) -> tuple[Part, ...]:
    """What was streamed as the result and stays: a text at the end stands for all of it, files follow it."""
    if any(part.text is not None for part in content):
        return ()
    return next((artifact.parts for artifact in record.artifacts if artifact.artifact_id == RESULT), ())


def _parts(status: TaskStatus) -> tuple[TaskState, tuple[Part, ...]]:
    """What a status says, apart from when."""
    return status.state, status.message.parts if status.message is not None else ()


def _streamed_text(record: TaskRecord) -> str:
    """What an answer without a text said, when all was streamed before."""
    return _said(record) if record.streamed else ""


def _said(record: TaskRecord) -> str:
    if record.state == TaskState.COMPLETED and not record.direct:
        return "\n".join(part.text for artifact in record.artifacts for part in artifact.parts if part.text is not None)
    return record.status.message.text if record.status.message else ""
