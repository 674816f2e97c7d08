"""Outcomes of messages: each is recorded in the task and in the journal, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import ExpiredError, RefusedError
from mcp_a2a.node.delivery.letters import update_letter
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.blob import SCHEME, piece_of
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS, said_of_time
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change, refusal
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import ErrorDetail, Task
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.store.journal import OutboxRow, drop_outbox, drop_outbox_of_task, drop_pieces, mark_stored, put_outbox
from mcp_a2a.store.records import declined_tasks, find_task, move_delivery, save

TOO_LARGE_FOR_RELAY = "file_too_large_for_relay"
FILE_LOST = "file_lost"
"""Not said by the recipient: we give up by ourselves."""

CLOCK_HINT = "Put the clock right that is off, and send it again."
FILE_HINT = "Send it again when both are on one network, a smaller one, or where it can be fetched."

REFUSALS = {
    "blocked": "it does not take messages from you",
    "not_trusted": "its owner has not trusted you, and its list of waiting strangers has no place for more from you",
    "unanswered": "its owner did not accept you within 24 hours",
    "too_many_open": "you have too many unfinished tasks there",
    "stale": "by its clock the message has expired or is not yet valid; check the clocks of both machines",
    "conversation_full": "the conversation of this task is as long as it may be; go on in another one",
    "hop_limit": "the task was passed on too often",
    "key_reused": "you used this idempotency key before, for another request",
    "file_damaged": "a file did not arrive as it was sent",
    TOO_LARGE_FOR_RELAY: "only a relay reaches it, and a file is larger than may go through one (10 MiB)",
    FILE_LOST: "a file that was to be sent is no longer here",
    "rejected": "its node could not read the message, also when it was sealed anew",
}
"""What the codes of a final refusal mean for a person. A code we do not know is shown as it came."""


NO_ROOM = {
    "file_quota": "The agent {} has no room for more files from you.",
    "file_no_room": "The disk of the agent {} has no room for a file of this size.",
}
"""Codes that mean no refusal of what was asked: its sender reads that there is no room, and whose room it is."""

NOT_KEPT = {
    "file_quota": "its recipient has no room for more files from this agent",
    "file_no_room": "the disk of its recipient has no room for it",
    TOO_LARGE_FOR_RELAY: "only a relay reaches its recipient, and it is larger than may go through one (10 MiB)",
    FILE_LOST: "it is no longer on the machine of the agent",
}
"""Why a result arrived without a file of it. The asker reads it."""

ROOM_HINT = (
    "Send it without the file, or ask its owner to make room: mcp-a2a forget --older-than 30d, on that agent's machine."
)

RELAY_REFUSALS = {
    "no_mailbox": "it has no mailbox for that agent, which was never there or not for 90 days",
    "mailbox_full": "the agent's mailbox is full",
    "quota": "the agent's mailbox holds as many messages from you as it may",
    "rate_limited": "you send more messages a minute than it takes",
    "too_large": "the message is larger than it takes",
    "storage_full": "its disk is full",
    "not_admitted": "it is a closed relay, and you are not admitted",
    "revoked": "its operator has revoked your key",
    "busy": "it has too much to do",
    "duplicate": "it holds another message under the same number",
    "reserved": "the other half of the agent's mailbox is for those it shares a network with, or wrote to",
    "share": "your network, or your address, takes up as much of its disk as it may",
}
"""What a relay's codes mean. It may change its mind, so none of them ends a task."""


def relay_refusal(code: str) -> str:
    """What a relay's code means, in words."""
    return said_of_time(code, "the message") or RELAY_REFUSALS.get(code, f"it answers {code!r}")


def error_view(error: McpA2AError) -> ErrorDetail:
    """An error as it is kept with a task."""
    return ErrorDetail(
        code=error.code,
        message=with_short_urls(error.message),
        hint=with_short_urls(error.hint),
        retryable=error.retryable,
    )


def _refused(name: str, code: str) -> RefusedError:
    """The error that a code of a final refusal means."""
    stale = code.removeprefix("stale:")
    if stale != code:
        return RefusedError(name, stale, CLOCK_HINT)
    error = RefusedError(name, REFUSALS.get(code, f"it answered {code!r}"))
    if code.startswith("file_"):
        error.hint = FILE_HINT
    if code in NO_ROOM:
        error.message, error.hint = NO_ROOM[code].format(name), ROOM_HINT
    return error


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
        error, choosing = error_view(_refused(name, code)), row.task in self.choosing
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
