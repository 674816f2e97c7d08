"""Pages of tasks: by newest change for the owner of a node, by newest status for A2A."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from mcp_a2a.protocol.model import TaskState
from mcp_a2a.protocol.moment import Moment, delivery_of, state_of
from mcp_a2a.protocol.naming import counterpart_of
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.records import SELECT_TASK, read_tasks
from mcp_a2a.store.schema import LISTED

Position = tuple[float, str]
"""The end of a page of tasks: the time of its last task, by which the list is ordered, and its id."""


def position_token(at: float, last: Task) -> str:
    """The page token that asks for the tasks after this one (A2A 3.1.4)."""
    return f"{at!r}/{last.id}"


def parse_position(token: str) -> Position:
    """The position in a token of `position_token`.

    Raises:
        ValueError
    """
    at, _, task_id = token.partition("/")
    return float(at), task_id


def list_tasks(
    connection: sqlite3.Connection,
    *,
    state: Moment | None,
    direction: str | None,
    before: Position | None,
    limit: int,
    now: float,
) -> list[Task]:
    """Tasks by newest change, after the position `before` (updated, id) of an earlier page."""
    later, values = (" AND (updated, id) < (?, ?)", before) if before is not None else ("", ())
    selects, asked = [], list[object]()
    # Each alternative is read from an index in order, and SQLite merges them; with OR it would sort all that match.
    for conditions, wanted in _alternatives(state, direction, now):
        where = " AND ".join(("forgotten IS NULL", *conditions))
        selects.append(f"{SELECT_TASK} INDEXED BY tasks_by_state WHERE {where}{later}")
        asked.extend((*wanted, *values))
    rows = connection.execute(
        f"{' UNION ALL '.join(selects)} ORDER BY updated DESC, id DESC LIMIT ?", (*asked, limit)
    ).fetchall()
    return read_tasks(connection, rows)


_LEASED = "(direction='received' AND lease_until IS NOT NULL AND lease_until > ?)"


Condition = tuple[tuple[str, ...], tuple[object, ...]]


def _alternatives(state: Moment | None, direction: str | None, now: float) -> list[Condition]:
    """The conditions of a list, each one that the index by state answers: it has states and directions apart."""
    return [
        ((*conditions, "direction=?"), (*values, one))
        for conditions, values in _at(state, now)
        for one in ((direction,) if direction is not None else ("sent", "received"))
    ]


def _at(moment: Moment | None, now: float) -> list[Condition]:
    """The tasks that a word stands for, as `protocol.moment` has it: alternatives, each with its values."""
    if moment is None:
        return [(("state=?",), (one.value,)) for one in TaskState]
    state, delivery = state_of(moment).value, delivery_of(moment)
    if delivery is not None:
        return [(("state=?", "delivery=?"), (state, delivery.value))]
    if moment == Moment.SUBMITTED:
        delivered = "delivery NOT IN ('QUEUED', 'STORED', 'HELD')"
        return [(("state=?", delivered, f"NOT {_LEASED}"), (state, now))]
    if moment == Moment.WORKING:
        leased = (("state=?", _LEASED), (TaskState.SUBMITTED.value, now))
        return [(("state=?",), (state,)), leased]
    return [(("state=?",), (state,))]


@dataclass(frozen=True, slots=True)
class Within:
    """The tasks with one agent that a caller may see, and the filter of its request."""

    direction: str
    peer: str
    caller: str
    context_id: str | None = None
    state: TaskState | None = None
    after: float | None = None
    """Only those that have their status since then: "greater than or equal" (a2a.proto, ListTasksRequest)."""

    def holds(self, record: Task) -> bool:
        """True if a task is in reach."""
        return (record.direction, record.peer, record.caller) == (self.direction, self.peer, self.caller)

    def where(self) -> tuple[str, list[object]]:
        """The condition, and its values. An answer that is a message is no task."""
        clauses = [f"direction=? AND peer=? AND caller=? AND {LISTED}"]
        values: list[object] = [self.direction, self.peer, self.caller]
        after = None if self.after is None else round(self.after * 1000, 3)
        for clause, value in (("context_id=?", self.context_id), ("state=?", self.state), ("status_at>=?", after)):
            if value is not None:
                clauses.append(clause)
                values.append(value.value if isinstance(value, TaskState) else value)
        return " AND ".join(clauses), values

    @property
    def index(self) -> str:
        """The index that has these tasks together and in order."""
        if self.context_id is not None:
            return "tasks_by_peer_context"
        return "tasks_by_peer" if self.state is None else "tasks_by_peer_state"

    @property
    def is_counted(self) -> bool:
        """True if the database keeps the number of these tasks."""
        of_client = bool(self.caller) or counterpart_of(self.peer) == "caller"
        return self.after is None and (self.context_id is None or of_client)


def tasks_within(
    connection: sqlite3.Connection, within: Within, before: Position | None, limit: int
) -> tuple[list[Task], int]:
    """A page of the tasks in reach, newest status first, and how many there are in all."""
    where, values = within.where()
    total = _count_within(connection, within)
    if before is not None:
        where, values = f"{where} AND (status_at, id) < (?, ?)", [*values, *before]
    rows = connection.execute(
        f"{SELECT_TASK} INDEXED BY {within.index} WHERE {where} ORDER BY status_at DESC, id DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    return read_tasks(connection, rows), total


def _count_within(connection: sqlite3.Connection, within: Within) -> int:
    """The number of tasks in reach. Only a count since some time, or in a context of ours, reads each of them."""
    if not within.is_counted:
        where, values = within.where()
        query = f"SELECT COUNT(*) FROM tasks INDEXED BY {within.index} WHERE {where}"  # noqa: S608
        return int(connection.execute(query, values).fetchone()[0])
    context = "" if within.context_id is None else f"={within.context_id}"
    row = connection.execute(
        "SELECT COALESCE(SUM(n), 0) FROM task_counts WHERE peer=? AND direction=? AND caller=? AND context=?"
        " AND (? IS NULL OR state=?)",
        (within.peer, within.direction, within.caller, context, within.state, within.state),
    ).fetchone()
    return int(row[0])
