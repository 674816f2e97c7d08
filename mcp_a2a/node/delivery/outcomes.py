"""Outcomes of messages: each is recorded in the task and in the journal, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import ExpiredError
from mcp_a2a.node.delivery.letters import update_letter
from mcp_a2a.node.delivery.reasons import NOT_KEPT, REFUSALS, refused
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.blob import SCHEME, piece_of
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS, stale_difference
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change, refusal
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.store.journal import OutboxRow, drop_outbox, drop_outbox_of_task, drop_pieces, mark_stored, put_outbox
from mcp_a2a.store.records import declined_tasks, find_task, move_delivery, save


def error_view(error: McpA2AError) -> ErrorDetail:
    """An error as it is kept with a task."""
    return ErrorDetail(
        code=error.code,
        message=with_short_urls(error.message),
        hint=with_short_urls(error.hint),
        retryable=error.retryable,
    )


class Outcomes:
    """Records the outcome of each journalled message: delivered, stored, refused, held or expired."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.choosing: list[str] = []
        """Tasks by skill that may be given to a further agent, once for each call that chooses: a refusal ends none."""
        self.on_letter: Callable[[OutboxRow], None] = lambda _: None
        """Called with what is to be sent in place of something that could not be."""

    def delivered(self, row: OutboxRow) -> None:
        """The recipient signed for it. Losing this note to a crash only means that it is sent once more."""
        self._move(row, e.Delivered, lambda connection: drop_outbox(connection, row))

    def stored(self, row: OutboxRow, relay: str, postmark: bytes) -> None:
        """A relay keeps a copy. The note spares a restarted node from leaving a second one there."""
        self._move(row, e.Stored, lambda connection: mark_stored(connection, row.n, relay, postmark))

    def _move(
        self, row: OutboxRow, kind: type[e.Delivered | e.Stored], note: Callable[[sqlite3.Connection], None]
    ) -> None:
        now = self._context.clock()

        def settle(connection: sqlite3.Connection) -> None:
            note(connection)
            if row.type == "task":
                move_delivery(connection, row.task, row.peer, kind, now)

        changes, task_id = self._context.task_changes, row.task
        self._context.database.enqueue_lazily(settle, lambda _: changes.notify_delivery(task_id))

    def put_off(self, row: OutboxRow) -> None:
        """A relay does not take it now: a reader that waits for the task is told why nothing happens."""
        self._context.task_changes.notify(row.task)

    def held(self, row: OutboxRow) -> None:
        """The recipient's owner must decide first."""
        if row.type == "task":
            self._record(row, lambda _: e.Held())

    def refused(self, row: OutboxRow, name: str, code: str) -> None:
        """The recipient refused it for good: the task ends here, unless a further agent may have it."""
        if stale_difference(code)[0]:
            code = f"stale:{self._context.clocks.blame(PeerId.parse_untrusted(row.peer)) or REFUSALS['stale']}"
        error, choosing = error_view(refused(name, code)), row.task in self.choosing
        if row.type == "blob":
            self._lose_file(row, code, lambda task: refusal(task, error, choosing=choosing))
        else:
            self._record(row, lambda task: refusal(task, error, choosing=choosing), drop=True)

    def expired(self, row: OutboxRow, name: str) -> None:
        """It could not be delivered in its lifetime."""
        error = error_view(ExpiredError(name, MAX_LIFETIME_SECONDS / 86_400))
        self._record(row, lambda _: e.Expired(error), drop=True)

    # --- a task by skill --------------------------------------------------------------------------

    async def chosen(self, task_id: str) -> Task | None:
        """No further agent is asked by this call: if the last one declined the task, it ends.

        Returns:
            The task as it is then; None if there is none.
        """
        self.choosing.remove(task_id)
        task = self._context.database.read(lambda connection: find_task(connection, task_id))
        if task is None or not task.is_declined or task_id in self.choosing:
            return task
        now = self._context.clock()
        ended = await self._context.database.write(lambda connection: _end_declined(connection, task_id, now))
        self._context.task_changes.notify(task_id)
        return ended

    def load(self) -> None:
        """End the tasks of a process that stopped between two agents: no call gives them to a further one."""
        for task_id in self._context.database.read(declined_tasks):
            self._end_declined(task_id)

    def _end_declined(self, task_id: str) -> None:
        now = self._context.clock()
        self._context.database.enqueue(
            lambda connection: _end_declined(connection, task_id, now),
            lambda _: self._context.task_changes.notify(task_id),
        )

    # --- files ------------------------------------------------------------------------------------

    def _lose_file(self, row: OutboxRow, code: str, fact: Callable[[Task], Event]) -> None:
        """A file cannot go. A task is refused with that; a result goes without it, and says so."""
        now, blob_id = self._context.clock(), piece_of(row.id)[0]

        def lose(connection: sqlite3.Connection) -> OutboxRow | Task | None:
            task = find_task(connection, row.task)
            if task is not None and not task.sent:
                drop_outbox_of_task(connection, row.task, "update")
                drop_pieces(connection, row.task, blob_id)
                lost = e.FileLost(f"{SCHEME}{blob_id}", NOT_KEPT.get(code, code))
                return self._without_file(connection, task, lost, now)
            if task is None or task.peer == row.peer:
                drop_outbox_of_task(connection, row.task, "blob", "task", "message", "update")
            return _apply(connection, task, row, fact, now)

        def settled(outcome: OutboxRow | Task | Exception | None) -> None:
            if isinstance(outcome, OutboxRow):
                self.on_letter(outcome)
                outcome = None
            self._settled(row, outcome)

        self._context.database.enqueue(lose, settled)

    def _without_file(self, connection: sqlite3.Connection, task: Task, lost: e.FileLost, now: float) -> OutboxRow:
        """Say in place of the file why it is not there, and tell the asker all that there is."""
        change = Change.of(task, lost, e.Spoken(), now=now)
        letter = update_letter(self._context, change, whole=True)
        save(connection, change)
        put_outbox(connection, letter)
        return letter

    # --- in the journal ---------------------------------------------------------------------------

    def _record(self, row: OutboxRow, fact: Callable[[Task], Event], *, drop: bool = False) -> None:
        """Record what happened to a message, and with `drop` that it goes nowhere any more."""
        now = self._context.clock()

        def settle(connection: sqlite3.Connection) -> Task | None:
            if drop:
                drop_outbox(connection, row)
            if row.type not in ("task", "message"):
                return None
            return _apply(connection, find_task(connection, row.task), row, fact, now)

        self._context.database.enqueue(settle, lambda outcome: self._settled(row, outcome))

    def _settled(self, row: OutboxRow, outcome: Task | Exception | None) -> None:
        if isinstance(outcome, Task) and outcome.is_declined and row.task not in self.choosing:
            self._end_declined(row.task)  # the choice was over while this was written
        self._context.task_changes.notify(row.task)


def _apply(
    connection: sqlite3.Connection, task: Task | None, row: OutboxRow, fact: Callable[[Task], Event], now: float
) -> Task | None:
    """The task after a fact about one of its messages; None if there is no task, or another agent has it now."""
    if task is None or task.peer != row.peer:
        return None
    event = fact(task)
    if not can(task.state, type(event)):
        return task
    change = Change.of(task, event, now=now)
    if change.events:
        save(connection, change)
    return change.task


def _end_declined(connection: sqlite3.Connection, task_id: str, now: float) -> Task | None:
    task = find_task(connection, task_id)
    if task is None or not task.is_declined:
        return task
    change = Change.of(task, e.Refused(), now=now)
    save(connection, change)
    return change.task
