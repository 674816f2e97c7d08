"""What a long history costs: a start, a list of tasks, a list for an A2A client, beside the same with a short one.

The rows are those of a real task, multiplied by SQL. A start is what every process of an identity does before its first
answer: open the database in order, load the node's books. Times are the best of several; the ratio is what to watch.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio

from mcp_a2a.protocol.model import Delivery, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.blobs import all_blobs
from mcp_a2a.store.database import Database
from mcp_a2a.store.journal import all_peers, pending_outbox
from mcp_a2a.store.leases import leased_tasks, next_lease_end
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.records import insert_task, peers_with_open_tasks
from mcp_a2a.store.task_lists import Within, list_tasks, tasks_within
from mcp_a2a.store.web import unfinished_web_tasks, untold_configs

SHORT, LONG = 100, 100_000
ROUNDS = 9


def a_task(now: float = 1.7e9) -> Task:
    """One as a client of our A2A server leaves it."""
    said = Message(message_id="m", role=Role.USER, parts=(Part(text="word " * 60),))
    return Task(
        id="task-0", direction="received", peer="caller:owner", peer_name="owner", skill=None, context_id="ctx", hop=1,
        state=TaskState.COMPLETED, delivery=Delivery.DELIVERED, seq_out=1, seq_in=1, attempts=1, holder=None,
        worker=False, lease_until=None, messages=(said,), status=TaskStatus(state=TaskState.COMPLETED), artifacts=(),
        error=None, tried=(), chosen=None, created=now, updated=now, caller="owner",
    )  # fmt: skip


def multiply(connection: sqlite3.Connection, task_id: str, count: int) -> None:
    """Put so many tasks like this one into the database, in 50 conversations, each a second older than the last."""
    names = [row[1] for row in connection.execute("PRAGMA table_info(tasks)") if row[1] != "n"]
    changed = {"id": "id || '-' || value", "updated": "updated - value", "status_at": "status_at - value",
               "context_id": "'ctx-' || (value % 50)", "ended": "updated"}  # fmt: skip
    values = ", ".join(changed.get(name, name) for name in names)
    numbers = "WITH RECURSIVE numbers(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < ?)"
    rows = f"INSERT INTO tasks({', '.join(names)}) SELECT {values} FROM tasks, numbers WHERE id=?"  # noqa: S608  names of ours
    connection.execute(f"{numbers} {rows}", (count - 1, task_id))


async def build(path: Path, count: int) -> None:
    """A database with so many finished tasks, opened once, as after its last start."""
    async with open_database(path, "benchmark") as database:
        await database.write(lambda connection: insert_task(connection, a_task()))
    with closing(sqlite3.connect(path)) as connection, connection:
        multiply(connection, "task-0", count)
    async with open_database(path, "benchmark"):
        pass


async def start(path: Path) -> None:
    """What a node does before its first answer."""
    async with open_database(path, "benchmark") as database:
        for query in (
            all_peers, pending_outbox, peers_with_open_tasks, unfinished_web_tasks, untold_configs, all_blobs,
            leased_tasks, next_lease_end,
        ):  # fmt: skip
            database.read(query)


async def best(operation: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> float:
    """Seconds of the quickest of several."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        await operation()
        times.append(time.perf_counter() - began)
    return min(times)


async def measure(path: Path) -> dict[str, float]:
    """Milliseconds of each."""
    figures = {"start": await best(lambda: start(path))}
    async with open_database(path, "benchmark") as database:

        async def listed(state: Moment | None) -> None:
            database.read(lambda c: list_tasks(c, state=state, direction=None, before=None, limit=20, now=time.time()))

        async def within(database: Database = database, **more: str | TaskState) -> None:
            what = replace(Within("received", "caller:owner", "owner"), **more)
            await database.read_aside(lambda c: tasks_within(c, what, None, 20))

        figures["list_20"] = await best(lambda: listed(None))
        figures["list_working"] = await best(lambda: listed(Moment.WORKING))
        figures["a2a_list_20"] = await best(within)
        figures["a2a_working"] = await best(lambda: within(state=TaskState.WORKING))
        figures["a2a_context"] = await best(lambda: within(context_id="ctx-7"))
    return {name: round(seconds * 1000, 3) for name, seconds in figures.items()}


async def run() -> dict[str, dict[str, float]]:
    """Both histories, and the ratios."""
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (SHORT, LONG):
            path = Path(folder) / f"{count}.db"
            await build(path, count)
            figures[f"{count}_tasks_ms"] = await measure(path)
    short, long = figures[f"{SHORT}_tasks_ms"], figures[f"{LONG}_tasks_ms"]
    figures["ratio"] = {name: round(long[name] / short[name], 2) for name in short}
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = anyio.run(run)
    if asked.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    names = list(figures["ratio"])
    sys.stdout.write(f"{'':18}" + "".join(f"{name:>16}" for name in names) + "\n")
    for row, values in figures.items():
        sys.stdout.write(f"{row:18}" + "".join(f"{values[name]:16}" for name in names) + "\n")


if __name__ == "__main__":
    main()
