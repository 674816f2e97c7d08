"""What the fate of a message means for its task, recorded in one transaction with the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from mcp_a2a.errors import ExpiredError, McpA2AError, RefusedError
from mcp_a2a.node.context import Context, delivery_of
from mcp_a2a.node.letters import update_letter
from mcp_a2a.protocol.blob import SCHEME, piece_of
from mcp_a2a.protocol.filename import safe_name
from mcp_a2a.protocol.model import Delivery, Part, TaskState, TaskStatus
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS, said_of_time
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.store.journal import OutboxRow, drop_outbox, drop_outbox_of_task, drop_pieces, mark_stored, put_outbox
from mcp_a2a.store.records import TaskRecord, find_task, save_task

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


class Settlement:
    """Closes the books on journalled messages."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.on_letter: Callable[[OutboxRow], None] = lambda _: None
        """Called with what is to be sent in place of something that could not be."""

    def delivered(self, row: OutboxRow) -> None:
        """The recipient signed for it. Losing this note to a crash only means that it is sent once more."""

        def settle(connection: sqlite3.Connection) -> None:
            drop_outbox(connection, row)
            if row.type == "task":
                connection.execute(
                    "UPDATE tasks SET delivery='DELIVERED' WHERE id=? AND delivery IN ('QUEUED', 'STORED', 'HELD')",
                    (row.task,),
                )

        key = delivery_of(row.task)
        self._context.database.enqueue_lazily(settle, lambda _: self._context.task_changes.notify(key))

    def stored(self, row: OutboxRow, relay: str, postmark: bytes) -> None:
        """A relay keeps a copy. The note spares a restarted node from leaving a second one there."""

        def settle(connection: sqlite3.Connection) -> None:
            mark_stored(connection, row.n, relay, postmark)
            if row.type == "task":
                connection.execute("UPDATE tasks SET delivery='STORED' WHERE id=? AND delivery='QUEUED'", (row.task,))

        key = delivery_of(row.task)
        self._context.database.enqueue_lazily(settle, lambda _: self._context.task_changes.notify(key))

    def put_off(self, row: OutboxRow) -> None:
        """A relay does not take it now: whoever waits for the task wants to know."""
        self._context.task_changes.notify(row.task)

    def held(self, row: OutboxRow) -> None:
        """The recipient's owner must decide first."""
        if row.type == "task":
            self._change(row.task, lambda record: _deliver(record, Delivery.HELD))

    def refused(self, row: OutboxRow, name: str, code: str) -> None:
        """The recipient refused it for good: the task ends here."""
        stale = code.removeprefix("stale:")
        if stale != code:
            error = RefusedError(name, stale, CLOCK_HINT)
        else:
            error = RefusedError(name, REFUSALS.get(code, f"it answered {code!r}"))
        if code.startswith("file_"):
            error.hint = FILE_HINT
        if code in NO_ROOM:
            error.message, error.hint = NO_ROOM[code].format(name), ROOM_HINT
        if row.type == "blob":
            self._lose_file(row, code, error)
        else:
            self._end(row, Delivery.REFUSED, TaskState.REJECTED, error)

    def _lose_file(self, row: OutboxRow, code: str, error: RefusedError) -> None:
        """A file cannot go. A task ends with that; a result goes without it, and says so."""
        now, blob_id = self._context.clock(), piece_of(row.id)[0]

        def lose(connection: sqlite3.Connection) -> OutboxRow | None:
            record = find_task(connection, row.task)
            if record is not None and not record.sent:
                drop_outbox_of_task(connection, row.task, "update")
                drop_pieces(connection, row.task, blob_id)
                return self._without_file(connection, record, f"{SCHEME}{blob_id}", NOT_KEPT.get(code, code), now)
            drop_outbox_of_task(connection, row.task, "blob", "task", "message", "update")
            if record is not None and not record.done:
                record.error, record.updated = error_view(error), now
                record.delivery, record.state = Delivery.REFUSED, TaskState.REJECTED
                record.status = TaskStatus(state=record.state)
                save_task(connection, record)
            return None

        def lost(letter: OutboxRow | Exception | None) -> None:
            if isinstance(letter, OutboxRow):
                self.on_letter(letter)
            self._context.task_changes.notify(row.task)

        self._context.database.enqueue(lose, lost)

    def _without_file(
        self, connection: sqlite3.Connection, record: TaskRecord, url: str, reason: str, now: float
    ) -> OutboxRow | None:
        """Say in place of the file why it is not there, and tell the asker all that there is."""
        record.artifacts = tuple(
            artifact.model_copy(update={"parts": _without(artifact.parts, url, reason)})
            for artifact in record.artifacts
        )
        if record.status.message is not None:
            parts = _without(record.status.message.parts, url, reason)
            message = record.status.message.model_copy(update={"parts": parts})
            record.status = record.status.model_copy(update={"message": message})
        record.seq_out, record.updated = record.seq_out + 1, now
        save_task(connection, record)
        letter = update_letter(self._context, record, now, whole=True)
        put_outbox(connection, letter)
        return letter

    def expired(self, row: OutboxRow, name: str) -> None:
        """It could not be delivered in its lifetime."""
        self._end(row, Delivery.EXPIRED, TaskState.FAILED, ExpiredError(name, MAX_LIFETIME_SECONDS / 86_400))

    def _end(self, row: OutboxRow, delivery: Delivery, state: TaskState, error: McpA2AError) -> None:
        def end(record: TaskRecord) -> bool:
            if row.type not in ("task", "message") or record.done:
                return False
            record.delivery, record.state = delivery, state
            record.status, record.error = TaskStatus(state=state), error_view(error)
            return True

        self._change(row.task, end, drop=row)

    def _change(self, task_id: str, change: Callable[[TaskRecord], bool], drop: OutboxRow | None = None) -> None:
        now = self._context.clock()

        def settle(connection: sqlite3.Connection) -> None:
            if drop is not None:
                drop_outbox(connection, drop)
            record = find_task(connection, task_id)
            if record is not None and change(record):
                record.updated = now
                save_task(connection, record)

        self._context.database.enqueue(settle, lambda _: self._context.task_changes.notify(task_id))


def _without(parts: tuple[Part, ...], url: str, reason: str) -> tuple[Part, ...]:
    return tuple(
        Part(text=f"(The file {safe_name(part.filename)} was not kept: {reason}.)") if part.url == url else part
        for part in parts
    )


def _deliver(record: TaskRecord, delivery: Delivery) -> bool:
    if record.delivery not in (Delivery.QUEUED, Delivery.STORED):
        return False
    record.delivery = delivery
    return True
