"""A long history costs neither a list nor a start: every question is answered from an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store import records
from mcp_a2a.store.forgetting import finished_before
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.records import Within

Query = Callable[[sqlite3.Connection], object]

DID = "did:key:z6Mk"
QUESTIONS: dict[str, Query] = {
    "list": lambda c: records.list_tasks(c, state=None, direction=None, before=None, limit=20, now=1.0),
    "list of a state": lambda c: records.list_tasks(
        c, state=Moment.WORKING, direction=None, before=(1.0, "task-x"), limit=20, now=1.0
    ),
    "list of a direction": lambda c: records.list_tasks(
        c, state=None, direction="sent", before=None, limit=20, now=1.0
    ),
    "A2A list": lambda c: records.tasks_within(c, Within("received", "caller:owner", "owner"), (1.0, "t"), 20),
    "A2A list of a context": lambda c: records.tasks_within(
        c, Within("received", "caller:owner", "owner", context_id="ctx"), None, 20
    ),
    "tasks to offer": lambda c: records.waiting_tasks(c, 1.0, 10),
    "next lease": records.next_lease_end,
    "leases": records.leased_tasks,
    "waiting": lambda c: records.count_waiting(c, 1.0),
    "open of a peer": lambda c: records.count_open(c, DID),
    "open with a peer": lambda c: records.open_tasks_with(c, DID),
    "asked of a peer": lambda c: records.has_open_sent(c, DID),
    "asked of any": records.peers_with_open_tasks,
    "just ended": lambda c: records.note_finished(c, 1.0, 2.0),
    "long ended": lambda c: records.forget_finished(c, 1.0, 2.0),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_no_question_looks_at_every_task(tmp_path: Path, question: str) -> None:
    async with open_database(tmp_path / "node.db", "test") as database:
        plans = await database.write(lambda connection: plans_of(connection, QUESTIONS[question]))
    assert plans
    for plan in plans:
        assert "SCAN tasks" not in plan.replace("SCAN tasks USING INDEX", "").replace(
            "SCAN tasks USING COVERING INDEX", ""
        ), plan


async def test_the_first_page_is_read_in_order_and_not_sorted(tmp_path: Path) -> None:
    async with open_database(tmp_path / "node.db", "test") as database:
        for question in ("list", "list of a state", "list of a direction"):
            for plan in await database.write(lambda c, q=question: plans_of(c, QUESTIONS[q])):
                assert "TEMP B-TREE" not in plan, (question, plan)


def plans_of(connection: sqlite3.Connection, question: Query) -> list[str]:
    """How SQLite answers each statement on the table of tasks."""
    said: list[str] = []
    connection.set_trace_callback(said.append)
    try:
        question(connection)
    finally:
        connection.set_trace_callback(None)
    about = [statement for statement in said if "tasks" in statement]
    return [
        "; ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")) for statement in about
    ]


async def test_an_age_walks_through_the_tasks_once(tmp_path: Path) -> None:
    async with open_database(tmp_path / "node.db", "test") as database:
        assert database.read(lambda c: finished_before(c, 1.0, "", 10)) == []
        assert await database.read_aside(lambda c: finished_before(c, 1.0, "", 10)) == []
