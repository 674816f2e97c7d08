"""Tasks in the database: how a task is kept, changed and found."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path

from pydantic import TypeAdapter

from mcp_a2a.errors.machine import DamagedRowError
from mcp_a2a.errors.tasks import TaskForgottenError, TaskNotFoundError
from mcp_a2a.protocol.model import Artifact, Delivery, Message, TaskState, TaskStatus
from mcp_a2a.protocol.naming import tail_of
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Delivered, Stored
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.table import DELIVERIES
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.blobs import put_out
from mcp_a2a.store.checked import forget_checked
from mcp_a2a.store.schema import OPEN
from mcp_a2a.store.task_events import log, log_one

logger = logging.getLogger(__name__)

_MESSAGES = TypeAdapter(tuple[Message, ...])
_ARTIFACTS = TypeAdapter(tuple[Artifact, ...])
_TRIED = TypeAdapter(tuple[str, ...])

TASK_COLUMNS = tuple(column.name for column in fields(Task) if column.metadata.get("kept", True))
SELECT_TASK = f"SELECT {', '.join(TASK_COLUMNS)} FROM tasks"  # noqa: S608  the names are ours
_WRITTEN = (*TASK_COLUMNS, "status_at")
_INSERT = (
    f"INSERT INTO tasks({', '.join(_WRITTEN)}) VALUES ({', '.join('?' * len(_WRITTEN))})"  # noqa: S608
    " ON CONFLICT(id) DO NOTHING"
)
_DUMPS: Mapping[str, Callable[[Task], object]] = {
    "messages": lambda task: _MESSAGES.dump_json(task.messages, by_alias=True, exclude_none=True),
    "artifacts": lambda task: _ARTIFACTS.dump_json(task.artifacts, by_alias=True, exclude_none=True),
    "status": lambda task: task.status.to_json(),
    "error": lambda task: task.error.model_dump_json() if task.error else None,
    "tried": lambda task: _TRIED.dump_json(task.tried),
    "state": lambda task: task.state.value,
    "delivery": lambda task: task.delivery.value,
}
"""The stored form of columns that have no plain values."""


_kept = attrgetter(*TASK_COLUMNS)
_written = attrgetter(*_WRITTEN)
_DUMPED = {_WRITTEN.index(name): dump for name, dump in _DUMPS.items()}


_EMPTY = (b"[]", "[]")


def parse_task(row: tuple[object, ...]) -> Task:
    """The record of a row of `TASK_COLUMNS`.

    Raises:
        ValueError, TypeError: it holds something else than what was stored.
    """
    values = dict(zip(TASK_COLUMNS, row, strict=True))
    artifacts = _text(values["artifacts"])
    values.update(
        state=TaskState(str(values["state"])),
        delivery=Delivery(str(values["delivery"])),
        worker=bool(values["worker"]),
        direct=bool(values["direct"]),
        messages=_MESSAGES.validate_json(_text(values["messages"])),
        status=TaskStatus.model_validate_json(_text(values["status"])),
        artifacts=() if artifacts in _EMPTY else _ARTIFACTS.validate_json(artifacts),
        error=ErrorDetail.model_validate_json(_text(values["error"])) if values["error"] else None,
        tried=() if values["tried"] in _EMPTY else _TRIED.validate_json(_text(values["tried"])),
        size=len(artifacts),
    )
    return Task(**values)  # type: ignore[arg-type]  # the others are as SQLite has them


def _record(connection: sqlite3.Connection, row: tuple[object, ...]) -> Task:
    """One task that was asked for.

    Raises:
        DamagedRowError: its row cannot be read.
    """
    try:
        return parse_task(row)
    except (ValueError, TypeError) as error:
        _doubt(connection, row[0])
        raise DamagedRowError(str(row[0])) from error


def read_tasks(connection: sqlite3.Connection, rows: Iterable[tuple[object, ...]]) -> list[Task]:
    """The tasks of a list. One that cannot be read is left out: the others are still wanted."""
    records = []
    for row in rows:
        try:
            records.append(parse_task(row))
        except (ValueError, TypeError):
            _doubt(connection, row[0])
    return records


def _doubt(connection: sqlite3.Connection, task_id: object) -> None:
    """The next start reads every row, and sets aside what it cannot read."""
    logger.error("the row of %s is damaged: `mcp-a2a repair`, or the next start, sets it aside", repr(task_id)[:80])
    for _, name, file in connection.execute("PRAGMA database_list").fetchall():
        if name == "main" and file:
            forget_checked(Path(file))


def _text(value: object) -> str | bytes:
    return value if isinstance(value, str | bytes) else ""


def insert_task(connection: sqlite3.Connection, task: Task) -> bool:
    """Store a new task; False, and nothing changed, when there is one of this id."""
    values = list(_written(task))
    for place, dump in _DUMPED.items():
        values[place] = dump(task)
    return connection.execute(_INSERT, values).rowcount > 0


def save(connection: sqlite3.Connection, change: Change) -> bool:
    """Store a change of a task, log its events, and keep the files that it attached.

    Args:
        connection: in the transaction that read the task.
        change: its `before` is the task as it was read.

    Returns:
        False, and nothing is stored, if the change opens a task and there is one of its id.
    """
    before, task = change.before, change.task
    if before is not None:
        _update(connection, before, task)
    elif not insert_task(connection, task):
        return False
    log(connection, change)
    if change.files:
        put_out(connection, change.files, task.id, task.updated)
    return True


def _update(connection: sqlite3.Connection, before: Task, task: Task) -> None:
    """Write what changed: a word of progress does not write the whole conversation again."""
    # What an event does not change stays the same object, so no text is compared.
    values = {
        name: now if (dump := _DUMPS.get(name)) is None else dump(task)
        for name, was, now in zip(TASK_COLUMNS, _kept(before), _kept(task), strict=True)
        if was is not now and (name in _DUMPS or was != now)
    }
    if not values:
        return
    if "status" in values or "updated" in values:
        values["status_at"] = task.status_at
    statement = f"UPDATE tasks SET {'=?, '.join(values)}=? WHERE id=?"  # noqa: S608  names of ours
    connection.execute(statement, (*values.values(), task.id))


def move_delivery(
    connection: sqlite3.Connection, task_id: str, peer: str, event: type[Stored | Delivered], now: float
) -> bool:
    """Store the word of `peer` about the message that opened a task, without reading the task's texts.

    Returns:
        True if the task moved: it does as `machine.apply` has it, in each state, unless another agent has it now.
    """
    move = DELIVERIES[event]
    row = connection.execute(
        "UPDATE tasks SET delivery=?, events=events+1 WHERE id=? AND peer=? AND direction='sent'"  # noqa: S608  placeholders
        f" AND delivery IN ({', '.join('?' * len(move.sources))}) RETURNING n, events",
        (move.target, task_id, peer, *move.sources),
    ).fetchone()
    if row is not None:
        log_one(connection, row[0], row[1], event, now)
    return row is not None


def declined_tasks(connection: sqlite3.Connection) -> list[str]:
    """Tasks that their agent declined, and that no other one was given (`Task.is_declined`)."""
    rows = connection.execute(
        f"SELECT id FROM tasks INDEXED BY tasks_asked WHERE direction='sent' AND {OPEN}"  # noqa: S608
        " AND state='TASK_STATE_SUBMITTED' AND delivery='REFUSED'"
    )
    return [task_id for (task_id,) in rows]


def find_task(connection: sqlite3.Connection, task_id: str) -> Task | None:
    """The task with exactly this id."""
    row = connection.execute(f"{SELECT_TASK} WHERE id=?", (task_id,)).fetchone()
    return _record(connection, row) if row else None


def has_task(connection: sqlite3.Connection, task_id: str) -> bool:
    """True if there is a task with exactly this id."""
    return connection.execute("SELECT 1 FROM tasks WHERE id=?", (task_id,)).fetchone() is not None


def get_task(connection: sqlite3.Connection, asked: str) -> Task:
    """The task with this id, or with the only id that starts (or ends) so: people type the part they can see.

    Raises:
        TaskNotFoundError: none, or several.
        TaskForgottenError: a person has removed it.
    """
    exact = find_task(connection, asked)
    if exact:
        return _remembered(exact)
    short = (tail_of(asked) or asked).strip().lower().removeprefix("task-")
    if len(short) < 4 or not short.isalnum():
        raise TaskNotFoundError(asked)
    rows = connection.execute(
        f"{SELECT_TASK} WHERE id IN (SELECT id FROM tasks WHERE id >= ? AND id < ?"  # noqa: S608  the names are ours
        " UNION SELECT id FROM tasks WHERE substr(id, -4) = ? AND id GLOB ?) LIMIT 3",
        (f"task-{short}", f"task-{short}{_LAST}", short[-4:], f"task-*{short}"),
    ).fetchall()
    if len(rows) != 1:
        raise TaskNotFoundError(asked, matches=len(rows))
    return _remembered(_record(connection, rows[0]))


_LAST = "\U0010ffff"
"""Behind every letter that an id can go on with."""


def _remembered(record: Task) -> Task:
    if record.forgotten is not None:
        raise TaskForgottenError(record.id, moment(record.forgotten))
    return record


def moment(at: float) -> str:
    """A time as people read it; in UTC, as logs are."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def count_open(connection: sqlite3.Connection, peer: str) -> tuple[int, int]:
    """Received tasks that are not finished: of this peer, and of all."""
    return count_open_and_read(connection, peer, "")[:2]


def count_open_and_read(connection: sqlite3.Connection, peer: str, key: str) -> tuple[int, int, str | None]:
    """The same, and in the same statement a small fact (`journal.get_meta`): both are asked for each new task."""
    row: tuple[int, int, str | None] = connection.execute(
        "SELECT COUNT(*) FILTER (WHERE peer=?), COUNT(*), (SELECT value FROM meta WHERE key=?) FROM tasks"  # noqa: S608
        f" WHERE direction = 'received' AND {OPEN}",
        (peer, key),
    ).fetchone()
    return row


def open_tasks_with(connection: sqlite3.Connection, peer: str) -> list[Task]:
    """Tasks with this peer that are not finished, both ways."""
    # Each half as in its partial index: without one, this would look at every task with this peer.
    rows = connection.execute(
        f"{SELECT_TASK} WHERE direction = 'sent' AND peer=? AND {OPEN}"
        f" UNION ALL {SELECT_TASK} WHERE direction = 'received' AND peer=? AND {OPEN}",
        (peer, peer),
    ).fetchall()
    return read_tasks(connection, rows)


def has_open_sent(connection: sqlite3.Connection, peer: str) -> bool:
    """True if a task that we sent to this peer is not finished."""
    query = f"SELECT 1 FROM tasks WHERE direction='sent' AND peer=? AND {OPEN} LIMIT 1"  # noqa: S608
    return connection.execute(query, (peer,)).fetchone() is not None


def open_sent_tasks(connection: sqlite3.Connection, peer: str, limit: int) -> list[tuple[str, int]]:
    """Unfinished tasks that this peer has taken, each with its newest update that we know; oldest news first."""
    rows = connection.execute(
        f"SELECT id, seq_in FROM tasks WHERE direction='sent' AND peer=? AND {OPEN} AND delivery='DELIVERED' "  # noqa: S608
        "ORDER BY updated LIMIT ?",
        (peer, limit),
    )
    return [(task_id, seq) for task_id, seq in rows]


@dataclass(frozen=True, slots=True)
class Newest:
    """Our newest update of a task."""

    seq: int
    streamed: int
    """The number of its chunks."""


def known_otherwise(connection: sqlite3.Connection, peer: str, known: Mapping[str, int]) -> dict[str, Newest]:
    """Tasks of this sender of which it knows another update than our newest, and that.

    They are in the order that it asked. It knows a newer one where our journal went back in time.
    """
    rows = connection.execute(
        "SELECT id, seq_out, streamed FROM tasks WHERE direction='received' AND peer=? "  # noqa: S608
        f"AND id IN ({', '.join('?' * len(known))})",
        (peer, *known),
    )
    newest = {task_id: Newest(seq, streamed) for task_id, seq, streamed in rows}
    told = {task_id: max(seq, 0) for task_id, seq in known.items() if task_id in newest}
    return {task_id: newest[task_id] for task_id, seq in told.items() if newest[task_id].seq != seq}


def peers_with_open_tasks(connection: sqlite3.Connection) -> set[str]:
    """Peers that a task of ours is open with: they stay listed while they are away."""
    rows = connection.execute(f"SELECT DISTINCT peer FROM tasks WHERE direction='sent' AND {OPEN}")  # noqa: S608
    return {row[0] for row in rows}


def note_finished(connection: sqlite3.Connection, before: float, stamp: float) -> None:
    """Stamp the tasks that ended since the last look, which was at `before`.

    So a clock that was behind makes none of them older than that; a stamp of one that was ahead is put right.
    """
    query = f"UPDATE tasks SET ended=min(?, max(updated, ?)) WHERE ended IS NULL AND NOT ({OPEN})"  # noqa: S608
    connection.execute(query, (stamp, before))
    connection.execute("UPDATE tasks SET ended=? WHERE ended > ?", (stamp, stamp))
