"""The leases of received tasks: which tasks wait for a holder, and when the lease of one ends."""

from __future__ import annotations

import sqlite3

from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.records import SELECT_TASK, read_tasks
from mcp_a2a.store.schema import OPEN

_WAITING = f"direction = 'received' AND {OPEN} AND state IN ('TASK_STATE_SUBMITTED', 'TASK_STATE_WORKING')"


def waiting_tasks(connection: sqlite3.Connection, now: float, limit: int) -> list[Task]:
    """Received tasks that no worker holds, oldest first."""
    rows = connection.execute(
        f"{SELECT_TASK} WHERE {_WAITING} AND (lease_until IS NULL OR lease_until <= ?) ORDER BY created LIMIT ?",
        (now, limit),
    ).fetchall()
    return read_tasks(connection, rows)


def next_lease_end(connection: sqlite3.Connection) -> float | None:
    """The end of the first lease; None without a lease."""
    row = connection.execute(
        f"SELECT MIN(lease_until) FROM tasks WHERE {_WAITING}"  # noqa: S608
    ).fetchone()
    return None if row[0] is None else float(row[0])


def leased_tasks(connection: sqlite3.Connection) -> list[Task]:
    """Received tasks that a worker holds or held, also if the lease has expired."""
    rows = connection.execute(f"{SELECT_TASK} WHERE lease_until IS NOT NULL AND {_WAITING}").fetchall()
    return read_tasks(connection, rows)


def highest_hop(connection: sqlite3.Connection, holder: str, now: float) -> int:
    """The highest hop count of the tasks that this holder has leased; 0 for none."""
    row = connection.execute(
        f"SELECT MAX(hop) FROM tasks WHERE {_WAITING} AND holder=? AND lease_until > ?",  # noqa: S608
        (holder, now),
    ).fetchone()
    return int(row[0] or 0)


def count_waiting(connection: sqlite3.Connection, now: float) -> int:
    """The number of received tasks that no worker holds."""
    row = connection.execute(
        f"SELECT COUNT(*) FROM tasks WHERE {_WAITING} AND (lease_until IS NULL OR lease_until <= ?)",  # noqa: S608
        (now,),
    ).fetchone()
    return int(row[0])


def shift_leases(connection: sqlite3.Connection, seconds: float) -> None:
    """Move all lease deadlines by a step of the wall clock: each holder keeps the time that it had left."""
    connection.execute(
        f"UPDATE tasks SET lease_until=lease_until+? WHERE direction='received' AND {OPEN}"  # noqa: S608
        " AND lease_until IS NOT NULL",
        (seconds,),
    )


def cap_leases(connection: sqlite3.Connection, latest: float) -> None:
    """No lease ends later than that: one that does began while the clock was ahead."""
    connection.execute(
        f"UPDATE tasks SET lease_until=? WHERE direction='received' AND {OPEN} AND lease_until > ?",  # noqa: S608
        (latest, latest),
    )
