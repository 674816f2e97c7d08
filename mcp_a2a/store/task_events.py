"""The log of tasks: a short row for each event of which a reader may be told, in the transaction that changes the task.

A row has a body where the row of its task will not say later what the reader is told. An end has none: status, error
and artifacts of a task that ended are read from the task. So nothing large is stored twice.

    cursor     NUMBER.NONCE of the newest event that a reader knows; the nonce tells it from an event that a restored
               database has in its place
    follows    the events behind it, if each of them is there with its body; else the reader needs the whole task

Rows stay as long as their task (a trigger drops them with it), the newest of them. Bodies go soon after a task is at
rest, and where there is too much of them, the oldest first. A reader that is further behind gets the task as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from pydantic import TypeAdapter

from mcp_a2a.protocol.model import Artifact, ArtifactChunk, TaskState, TaskStatus
from mcp_a2a.protocol.state import at_rest
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.table import SILENT
from mcp_a2a.protocol.task.task import Task

MAX_BODY = 1024 * 1024
"""Bytes of a body. Of a larger one only the size is kept."""

MAX_BODIES_OF_TASK = 16 * 1024 * 1024
MAX_EVENTS_OF_TASK = 5_000
"""Bytes of bodies, and bodies, that are kept of one task."""

ROWS_FOR_EACH_BODY = 4
"""So many times as many rows are kept of one task: an agent may talk for as long as its task is open."""

MAX_BODIES = 64 * 1024 * 1024
"""Bytes of all bodies, looked at by the minute (`trim`)."""

REST_SECONDS = 60.0
"""Bodies of a task that has been at rest for so long are dropped."""

LOOK_EVERY = 64
_LOOK_AT_BYTES = 64 * 1024
"""The bodies of a task are counted at every so-manieth event, and behind one that is so large."""

_BITS = 24
_NUMBERS = (1 << _BITS) - 1
"""The id of an event is the number of its task, and in the lower bits its number within the task."""

KINDS: Mapping[type[object], str] = {
    e.Opened: "opened",
    e.Stored: "stored",
    e.Held: "held",
    e.Delivered: "delivered",
    e.Declined: "declined",
    e.Refused: "refused",
    e.Expired: "expired",
    e.Entrusted: "entrusted",
    e.LeaseEnded: "lease_ended",
    e.Accepted: "accepted",
    e.Progressed: "progressed",
    e.ArtifactsGrown: "artifacts_grown",
    e.ArtifactsReplaced: "artifacts_replaced",
    e.Asked: "asked",
    e.AuthorizationAsked: "authorization_asked",
    e.Replied: "replied",
    e.CancelAsked: "cancel_asked",
    e.Completed: "completed",
    e.Failed: "failed",
    e.Rejected: "rejected",
    e.Canceled: "canceled",
    e.FileLost: "file_lost",
}
"""The name of each logged event in the database."""

WORDS = frozenset(KINDS.values())

ENDS = frozenset({"refused", "expired", "completed", "failed", "rejected", "canceled"})

_RESTING = ", ".join(f"'{state}'" for state in TaskState if at_rest(state))

_CHUNKS = TypeAdapter(tuple[ArtifactChunk, ...])
_REPLACED = TypeAdapter(tuple[str, ...] | tuple[Artifact, ...])

_ROWS_AT_ONCE = 8
# A number that is there already is one of a damaged row: the log is no reason for a task to stop.
_INSERTS = tuple(
    "REPLACE INTO task_events(id, at, kind, size, body)"  # noqa: S608  placeholders
    " SELECT n << 24 | column1, column2, column3, column4, column5"
    f" FROM tasks, (VALUES {', '.join(['(?, ?, ?, ?, ?)'] * count)}) WHERE tasks.id = ?"
    for count in range(_ROWS_AT_ONCE + 1)
)
"""The statements that store so many events of one task."""


# --- writing --------------------------------------------------------------------------------------


def log(connection: sqlite3.Connection, change: Change) -> None:
    """Log the events of a change, in its transaction.

    Args:
        connection: in the transaction that has stored the task.
        change: its events count on from `change.before.events`.
    """
    number = change.before.events if change.before is not None else 0
    ends = change.task.done and (change.before is None or not change.before.done)
    rows, heavy = list[tuple[object, ...]](), False
    for event, status in zip(change.events, change.statuses, strict=True):
        kind = KINDS.get(type(event))
        if kind is None:
            continue
        number += 1
        body, size = _body(event, status, ends=ends)
        rows.append((number, change.at, kind, size, body))
        heavy = heavy or size > _LOOK_AT_BYTES or number % LOOK_EVERY == 0
    if rows and number <= _NUMBERS:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            connection.execute(_INSERTS[len(some)], (*chain.from_iterable(some), change.task.id))
    if heavy:
        _trim_task(connection, change.task.id, number)


def _body(event: object, status: TaskStatus | None, *, ends: bool) -> tuple[bytes | None, int]:
    """The body of an event, and its size in bytes: a size without a body sends the reader to the task."""
    body: bytes | None = None
    match event:
        case e.ArtifactsGrown():
            body = _CHUNKS.dump_json(event.chunks, by_alias=True, exclude_none=True)
        case e.ArtifactsReplaced():
            named = tuple(artifact.artifact_id for artifact in event.artifacts) if ends else event.artifacts
            body = _REPLACED.dump_json(named, by_alias=True, exclude_none=True)
        case e.FileLost():
            return None, 0 if status is None or at_rest(status.state) else 1
        case _ if status is not None and KINDS[type(event)] not in ENDS:
            body = status.to_json().encode()
    if body is None:
        return None, 0
    return (body if len(body) <= MAX_BODY else None), len(body)


def log_one(connection: sqlite3.Connection, n: int, number: int, event: type[e.Event], now: float) -> None:
    """Log an event without a body of a task whose row was updated by SQL alone."""
    if event not in SILENT and number <= _NUMBERS:
        connection.execute(
            "REPLACE INTO task_events(id, at, kind) VALUES (?, ?, ?)", (n << _BITS | number, now, KINDS[event])
        )


def _trim_task(connection: sqlite3.Connection, task_id: str, newest: int) -> None:
    """Drop the oldest bodies of a task that has too much of them, and the oldest rows."""
    (n,) = connection.execute("SELECT n FROM tasks WHERE id=?", (task_id,)).fetchone() or (0,)
    left = min(newest, _NUMBERS) - ROWS_FOR_EACH_BODY * MAX_EVENTS_OF_TASK
    if left > 0:
        connection.execute("DELETE FROM task_events WHERE id BETWEEN ? AND ?", (n << _BITS, n << _BITS | left))
    bodies = connection.execute(
        "SELECT id, size FROM task_events WHERE id BETWEEN ? AND ? AND body IS NOT NULL ORDER BY id DESC",
        (n << _BITS, n << _BITS | _NUMBERS),
    )
    count = total = 0
    for event_id, size in bodies.fetchall():
        count, total = count + 1, total + size
        if count > MAX_EVENTS_OF_TASK or total > MAX_BODIES_OF_TASK:
            connection.execute(
                "UPDATE task_events SET body=NULL WHERE id BETWEEN ? AND ? AND body IS NOT NULL", (n << _BITS, event_id)
            )
            return


def trim(connection: sqlite3.Connection, now: float) -> None:
    """Drop the bodies of tasks that have been at rest for long, and the oldest of all where there is too much.

    Args:
        connection: in a transaction.
        now: seconds since the epoch, by the clock that dates tasks.
    """
    connection.execute(
        "UPDATE task_events SET body=NULL WHERE id IN (SELECT task_events.id FROM task_events"  # noqa: S608  ours
        " INDEXED BY task_events_full CROSS JOIN tasks ON tasks.n = task_events.id >> 24"
        f" WHERE body IS NOT NULL AND at < ? AND tasks.updated < ? AND tasks.state IN ({_RESTING}))",
        (now - REST_SECONDS, now - REST_SECONDS),
    )
    over = _bytes_of_bodies(connection) - MAX_BODIES
    if over <= 0:
        return
    oldest = connection.execute(
        "SELECT id, size FROM task_events INDEXED BY task_events_full WHERE body IS NOT NULL ORDER BY at"
    )
    dropped = []
    for event_id, size in oldest:
        if over <= 0:
            break
        dropped.append((event_id,))
        over -= size
    connection.executemany("UPDATE task_events SET body=NULL WHERE id=?", dropped)


def _bytes_of_bodies(connection: sqlite3.Connection) -> int:
    query = "SELECT COALESCE(SUM(size), 0) FROM task_events INDEXED BY task_events_full WHERE body IS NOT NULL"
    return int(connection.execute(query).fetchone()[0])


def forget_events(connection: sqlite3.Connection, task_id: str) -> None:
    """Drop the events of a task whose texts a person had removed."""
    connection.execute(
        "DELETE FROM task_events WHERE id BETWEEN (SELECT n << 24 FROM tasks WHERE id=?1)"
        " AND (SELECT n << 24 | 16777215 FROM tasks WHERE id=?1)",
        (task_id,),
    )


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A logged event, as it was stored."""

    kind: str
    at: float
    """Seconds since the epoch."""
    body: bytes | None

    @property
    def is_end(self) -> bool:
        """True if the task ended with it."""
        return self.kind in ENDS

    def status(self) -> TaskStatus | None:
        """The status that the task has since; None if it is the one before, or is read from the task.

        Raises:
            ValueError: it holds something else than what was stored.
        """
        if self.body is None or self.kind in ("artifacts_grown", "artifacts_replaced"):
            return None
        return TaskStatus.model_validate_json(self.body)

    def chunks(self) -> tuple[ArtifactChunk, ...]:
        """The chunks that it added to the artifacts.

        Raises:
            ValueError: as `status`.
        """
        if self.body is None or self.kind != "artifacts_grown":
            return ()
        return _CHUNKS.validate_json(self.body)

    def replaced(self, task: Task | None) -> tuple[Artifact, ...]:
        """The artifacts that were made or replaced whole.

        Args:
            task: as it ended, where it has: what it ended with is read from it.

        Raises:
            ValueError: as `status`.
        """
        if self.body is None or self.kind != "artifacts_replaced":
            return ()
        named = _REPLACED.validate_json(self.body)
        known = {artifact.artifact_id: artifact for artifact in task.artifacts} if task is not None else {}
        found = (known.get(one) if isinstance(one, str) else one for one in named)
        return tuple(one for one in found if one is not None)


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a task that a reader of its events needs, without its texts, which may be long."""

    context_id: str
    state: TaskState
    direct: bool
    events: int


@dataclass(frozen=True, slots=True)
class Page:
    """The events of a task behind a cursor."""

    head: Head
    entries: tuple[Entry, ...] | None
    """None if the cursor is none of this task, or something behind it is not kept: the whole task must be read."""
    cursor: str
    """Behind the newest of them."""


def page_after(connection: sqlite3.Connection, task_id: str, cursor: str) -> Page | None:
    """The events of a task behind a cursor; None without such a task."""
    row = connection.execute(
        "SELECT created, context_id, state, direct, events, e.id & 16777215, e.at, e.kind, e.size, e.body FROM tasks"
        " LEFT JOIN task_events e ON e.id BETWEEN tasks.n << 24 | ?2 AND tasks.n << 24 | events"
        " WHERE tasks.id = ?1 ORDER BY e.id",
        (task_id, _number(cursor)),
    ).fetchall()
    if not row:
        return None
    created, context_id, state, direct, events = row[0][:5]
    head, number = Head(str(context_id), TaskState(state), bool(direct), int(events)), _number(cursor)
    found = [one[5:] for one in row if one[5] is not None]
    behind = [one for one in found if one[0] > number]
    # An event that a damaged database lost has the nonce of its task (`cursor_of`), or its reader would never wait.
    known_at = found[0][1] if len(found) > len(behind) else created
    is_here = not number or cursor == cursor_at(number, known_at)
    is_whole = len(behind) == head.events - number and all(body is not None or not size for *_, size, body in behind)
    newest = (behind[-1][0], behind[-1][1]) if behind else (number, known_at)
    entries = tuple(Entry(kind, at, body) for _, at, kind, _, body in behind)
    return Page(head, entries if is_here and is_whole else None, cursor_at(newest[0], newest[1]))


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind and time of an event, without its texts."""

    number: int
    at: float
    kind: str


def kinds_after(connection: sqlite3.Connection, task_id: str, number: int) -> list[Kind]:
    """The events of a task behind the one with this number."""
    rows = connection.execute(
        "SELECT e.id & 16777215, e.at, e.kind FROM tasks JOIN task_events e"
        " ON e.id BETWEEN (tasks.n << 24 | ?2) + 1 AND tasks.n << 24 | events WHERE tasks.id = ?1 ORDER BY e.id",
        (task_id, number),
    )
    return [Kind(*row) for row in rows.fetchall()]


def cursor_of(connection: sqlite3.Connection, task: Task) -> str:
    """The cursor behind the newest event of a task. Where that is not stored, it has the time of the beginning."""
    row = connection.execute(
        "SELECT at FROM task_events WHERE id = (SELECT n << 24 FROM tasks WHERE id=?) | ?", (task.id, task.events)
    ).fetchone()
    return cursor_at(task.events, task.created if row is None else row[0])


def cursor_at(number: int, at: float) -> str:
    """The cursor behind the event with this number and time."""
    return f"{number}.{int(at * 1000):x}" if number else "0"


def _number(cursor: str) -> int:
    """The number that a cursor names; one that no event has for what is no cursor."""
    number = cursor.partition(".")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else _NUMBERS
