"""Tasks of A2A callers at our own agent: they go straight into the inbox, and a holder that waits gets one at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import anyio

from mcp_a2a.api.a2a import OWN_KEY, A2ASendRequest
from mcp_a2a.errors.delivery import QueueFullError
from mcp_a2a.errors.tasks import NotAwaitingReplyError
from mcp_a2a.node.files.attaching import Attaching
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.inbox import Inbox, Order
from mcp_a2a.node.tasks.news import News
from mcp_a2a.node.tasks.receive import MAX_OPEN_PER_PEER, too_many_open
from mcp_a2a.node.tasks.repeated import check_message
from mcp_a2a.node.tasks.sending import Draft, Sending
from mcp_a2a.protocol.model import Message
from mcp_a2a.protocol.naming import CALLER
from mcp_a2a.protocol.task.events import Canceled, Replied, Spoken
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.pending_write import Landing
from mcp_a2a.store.records import get_task, has_task, save

AHEAD_SECONDS = 1.0
"""A caller that waits for less wants the task itself; a task without a caller is on the disk long before that."""


def caller_peer(caller: str) -> str:
    """The other side of a caller's task."""
    return f"{CALLER}{caller or 'owner'}"


@dataclass(eq=False)
class OwnTasks:
    """Takes them, and what their callers say afterwards."""

    context: Context
    inbox: Inbox
    attaching: Attaching
    sending: Sending
    news: News
    _entrusted: set[str] = field(default_factory=set)
    """Tasks that are worked on, and not stored yet."""

    async def open(self, request: A2ASendRequest, draft: Draft, follow: Callable[[Task], None]) -> Task:
        """A task for our own agent: stored, and leased at once where a worker waits for one."""
        peer = caller_peer(request.caller)
        self.sending.opened(draft)
        attached = await self.attaching.attach(draft.message.parts)
        change = draft.with_files(attached).opened(self.context, peer, peer.removeprefix(CALLER))
        with self.attaching.given_to(change.task.id, attached.refs):
            return await self._store(request, change, follow)

    async def _store(self, request: A2ASendRequest, change: Change, follow: Callable[[Task], None]) -> Task:
        task = change.task
        follow(task)
        order = self.inbox.reserve()
        if order is None:
            fresh = await self.context.database.write(partial(_insert, change))
            self.inbox.offer()
        elif self._may_go_ahead(request, change):
            return await self._entrust(change, order, request.wait_seconds)
        else:
            fresh = await self._lease(change, order)
        if fresh is None:  # another call was faster
            known = self.sending.latest(task.id)
            check_message(known, task.messages[0], task.skill)
            return known
        self.news.task_received(fresh)
        return fresh

    async def _lease(self, change: Change, order: Order) -> Task | None:
        """Store a task, leased to a holder that waits for one; None where it was stored before."""
        fresh: Task | None = None
        try:
            fresh = await self.context.database.write(partial(_insert, self._leased(change, order)))
        finally:
            self.inbox.filled(order, fresh)
        return fresh

    def _leased(self, change: Change, order: Order) -> Change:
        return change.then(self.inbox.lease(order, change.at))

    def _may_go_ahead(self, request: A2ASendRequest, change: Change) -> bool:
        """True if the task is waited for, surely new, and not one too many."""
        record = change.task
        if request.wait_seconds < AHEAD_SECONDS or request.follow or request.push_config or change.files:
            return False
        if self.context.database.read(lambda connection: too_many_open(connection, record.peer, more=1)):
            return False
        if (request.idempotency_key or "").startswith(OWN_KEY) and not request.again:
            return True
        known = self.context.database.read(lambda connection: has_task(connection, record.id))
        return not known and record.id not in self._entrusted

    async def _entrust(self, change: Change, order: Order, seconds: float) -> Task:
        """Lease a task ahead of its commit: work and commit go on side by side, and a quick answer shares the commit.

        No client has been told of the task by then: its sender is answered after both are stored.
        """
        task = change.task
        self._entrusted.add(task.id)
        self.news.task_received(task)
        landing: Landing[object] = Landing()

        def landed(outcome: object) -> None:
            self._entrusted.discard(task.id)
            landing.land(outcome)
            if isinstance(outcome, Exception):
                self.context.task_changes.notify(task.id)

        leased = self._leased(change, order)
        self.inbox.filled(order, leased.task)
        self.context.database.enqueue_lazily(lambda connection: save(connection, leased), landed)
        try:
            return await self.sending.waiting.wait(leased.task, "rest", seconds)
        finally:
            await landing.landed()

    async def hear(self, task_id: str, message: Message) -> Task:
        """A caller says something more to our own agent."""
        now = self.context.clock()

        attached = await self.attaching.attach(message.parts)
        message = message.model_copy(update={"parts": attached.parts})

        def hear(connection: sqlite3.Connection) -> Task:
            task = get_task(connection, task_id)
            if task.has_heard(message):
                return task
            if not can(task.state, Replied):
                raise NotAwaitingReplyError(task_id, task.state)
            change = Change.of(task, Replied(message, seq=task.seq_in + 1), now=now, files=attached.refs)
            save(connection, change)
            return change.task

        with self.attaching.given_to(task_id, attached.refs):
            record = await self.context.database.write(hear)
        self.context.task_changes.notify(record.id, record)
        self.inbox.offer()
        return record

    async def stop(self, task_id: str) -> Task:
        """A caller no longer wants what our own agent does."""
        now = self.context.clock()

        def stop(connection: sqlite3.Connection) -> Change:
            task = get_task(connection, task_id)
            change = Change.of(task, Canceled(), Spoken(), now=now)
            save(connection, change)
            return change

        with anyio.CancelScope(shield=True):
            change = await self.context.database.write(stop)
            if change.before is not None:
                self.inbox.withdraw(change.before)
            self.context.task_changes.notify(task_id, change.task)
        return change.task


def _insert(change: Change, connection: sqlite3.Connection) -> Task | None:
    """Store a caller's task; None where it was stored before.

    Raises:
        QueueFullError
    """
    if not save(connection, change):
        return None
    if too_many_open(connection, change.task.peer):
        raise QueueFullError("inbox", MAX_OPEN_PER_PEER)
    return change.task
