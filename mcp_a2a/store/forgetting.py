"""Removes what finished tasks said and brought, because a person wants that.

What is left of a task is its row without a text: as long as a message of it could come again, that row answers it with
the final state, and nothing runs twice. It goes once no such message can be accepted (`forget_finished`).
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from mcp_a2a.errors.tasks import NotForgettableError
from mcp_a2a.protocol import replay
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.protocol.task.events import Forgotten
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.blobs import BlobRow, drop_blobs_of
from mcp_a2a.store.records import find_task, save
from mcp_a2a.store.schema import ENDED, OPEN
from mcp_a2a.store.task_events import forget_events

FORGOTTEN_SECONDS = float(replay.MAX_LIFETIME_SECONDS + replay.DEDUPE_MARGIN_SECONDS)
"""Seconds that the rest of a forgotten task is kept after its end: until no message of it can be accepted."""

GONE = "Its result was removed from the machine of the agent."


@dataclass(frozen=True, slots=True)
class Removed:
    """The removed parts of one task: bytes of text, and its files."""

    text_bytes: int
    files: tuple[BlobRow, ...]


def finished_before(connection: sqlite3.Connection, before: float, after: str, limit: int) -> list[str]:
    """Finished tasks that did not change since then and are not forgotten, by id from after `after` on."""
    rows = connection.execute(
        f"SELECT id FROM tasks WHERE forgotten IS NULL AND updated < ? AND id > ? AND state IN {ENDED}"  # noqa: S608
        " ORDER BY id LIMIT ?",
        (before, after, limit),
    )
    return [task_id for (task_id,) in rows]


def why_kept(connection: sqlite3.Connection, record: Task) -> str | None:
    """Why a task cannot be forgotten now, as the end of a sentence; None where it can."""
    if not record.done:
        return NotForgettableError.unfinished(sent=record.sent)
    waiting = connection.execute("SELECT 1 FROM outbox WHERE task=? LIMIT 1", (record.id,)).fetchone()
    if waiting is not None:
        return "has a message that is not delivered yet: wait until its other side has it"
    return None


def size_of(connection: sqlite3.Connection, task_id: str) -> int:
    """Bytes of what a task said."""
    row = connection.execute(
        "SELECT length(CAST(messages AS BLOB)) + length(CAST(artifacts AS BLOB)) + length(CAST(status AS BLOB))"
        " FROM tasks WHERE id=?",
        (task_id,),
    ).fetchone()
    return int(row[0]) if row is not None else 0


def forget(connection: sqlite3.Connection, task: Task, now: float, said: str) -> Removed:
    """Remove the texts, files and result of a finished task. `said` stands in their place where we asked."""
    before = size_of(connection, task.id)
    opening = Message(message_id=task.messages[0].message_id, role=Role.USER, parts=(Part(text="(removed)"),))
    note = Message(message_id=f"forgotten-{task.id}", role=Role.AGENT, parts=(Part(text=said if task.sent else GONE),))
    save(connection, Change.of(task, Forgotten(opening, note), now=now))
    forget_events(connection, task.id)
    connection.execute("DELETE FROM push_configs WHERE task=?", (task.id,))
    files = drop_blobs_of(connection, task.id)
    return Removed(before, tuple(files))


def forgettable(connection: sqlite3.Connection, task_id: str) -> Task | None:
    """The task, unless it is forgotten already."""
    record = find_task(connection, task_id)
    return None if record is None or record.forgotten is not None else record


# --- tasks that ended long ago ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dropped:
    """The dropped part of the history."""

    dates: list[float]
    """Of the messages that had opened received tasks here."""
    is_more_left: bool
    """True if there may be more to drop."""


AT_ONCE = 500
"""Tasks that are dropped in one transaction: after a long pause a whole history may be due."""


def forget_finished(connection: sqlite3.Connection, aged: float, seconds: float) -> Dropped:
    """Drop tasks that ended so long before `aged` (`aging`), unless a message of theirs could come again.

    At most `AT_ONCE` of each kind, so that no other write waits for long.
    """
    rows: list[tuple[str, float, float]] = []
    left = False
    for which, before in (("forgotten IS NOT NULL", aged - FORGOTTEN_SECONDS), (f"NOT ({OPEN})", aged - seconds)):
        dropped = connection.execute(
            "DELETE FROM tasks WHERE n IN (SELECT n FROM tasks WHERE ended < ? AND updated < ? AND dated < ? "  # noqa: S608
            f"AND {which} LIMIT ?) RETURNING direction, opened, dated",
            (before, before, aged - replay.Forgotten.MARGIN, AT_ONCE),
        ).fetchall()
        rows += dropped
        left = left or len(dropped) == AT_ONCE
    return Dropped([date for direction, *dates in rows if direction == "received" for date in dates], left)
