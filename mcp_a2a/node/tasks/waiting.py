"""The one wait for a task: until it has come so far, or for so many seconds."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable

import anyio

from mcp_a2a.api.tasks import Until
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.runtime.context import Context, delivery_of, ticks_of_loop
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.state import at_rest
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.records import get_task


class Waiting:
    """Waits for the tasks of a node."""

    def __init__(self, context: Context, outbox: Outbox) -> None:
        self._context = context
        self._outbox = outbox
        self.ticks = ticks_of_loop()

    async def wait(self, task: Task, until: Until, seconds: float) -> Task:
        """The task when it has come so far, or as it is after so many seconds.

        Args:
            task: as the caller knows it, who must not have waited for anything since.
            until: see `GetTaskRequest`.
            seconds: how long to wait at most.
        """
        # A reader of the work is not woken for each step of the message.
        key = delivery_of(task.id) if until == "taken" else task.id
        if self._is_met(task, until):
            return task
        with anyio.CancelScope(deadline=self.ticks() + seconds):
            while not self._is_met(task, until):
                changed = self._context.task_changes.event(key)
                await changed.wait()
                task = changed.record or self._latest(task.id)
                if not task.done:
                    task = self._latest(task.id)  # the next change may have come before this one was seen
            return task
        return self._latest(task.id)

    async def first_news(
        self,
        task: Task,
        journal: Callable[[sqlite3.Connection], Task | None],
        sent: Callable[[], None],
        meanwhile: Callable[[], None],
        seconds: float,
    ) -> tuple[Task, bool]:
        """Journal a task and send it, and wait for its first news: one wait, where the disk first would make it two.

        Args:
            task: as it is opened.
            journal: the operation; it returns the task that has the id already, if there is one.
            sent: called at once after the commit, if the task is new.
            meanwhile: see `Database.write`.
            seconds: the longest wait for news. The disk is waited for in any case.

        Returns:
            The task as it is known then, and whether it is new.
        """
        changes, outcomes = self._context.task_changes, list[Task | Exception | None]()
        is_hurried = seconds <= 0

        def done(outcome: Task | Exception | None) -> None:
            outcomes.append(outcome)
            try:
                if outcome is None:
                    sent()
            finally:
                if outcome is not None or is_hurried or self._is_met(task, "held_up"):
                    changes.wake(task.id)

        changed = changes.event(task.id)
        self._context.database.enqueue(journal, done, awaited=True)
        meanwhile()
        try:
            with anyio.CancelScope(deadline=math.inf if is_hurried else self.ticks() + seconds):
                await changed.wait()
        finally:
            is_hurried = True
            while not outcomes:
                with anyio.CancelScope(shield=True):
                    await changes.event(task.id).wait()
        if isinstance(outcome := outcomes[0], Exception):
            raise outcome
        if outcome is not None or seconds <= 0:
            return outcome or task, outcome is None
        news = changed.record
        return news if news is not None and news.done else self._latest(task.id), True

    def _is_met(self, task: Task, until: Until) -> bool:
        match until:
            case "taken":
                return task.done or task.delivery != Delivery.QUEUED
            case "held_up":
                return at_rest(task.state) or self._is_held_up(task)
            case "rest":
                return at_rest(task.state)
            case "end":
                return task.done

    def _is_held_up(self, task: Task) -> bool:
        """True if the sender should be told now why nothing happens."""
        if task.delivery == Delivery.QUEUED:
            return self._outbox.refusal(task.id) is not None
        return task.delivery == Delivery.HELD

    def _latest(self, task_id: str) -> Task:
        return self._context.database.read(lambda connection: get_task(connection, task_id))
