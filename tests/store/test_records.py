"""Lists of tasks as A2A has them: by the time of the status, which streaming does not move."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node.tasks.document import document
from mcp_a2a.protocol.model import Delivery, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.database import Database
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.records import get_task, insert_task, save
from mcp_a2a.store.task_lists import Within, parse_position, position_token, tasks_within

WITHIN = Within("received", "caller:ann", "ann")

NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "node.db", "test") as database:
        yield database


def record(name: str, timestamp: str | None, updated: float) -> Task:
    said = Message(message_id=f"m-{name}", role=Role.USER, parts=(Part(text="hello"),))
    return Task(
        id=f"task-{name}", direction="received", peer="caller:ann", peer_name="ann", skill=None, context_id="c", hop=0,
        state=TaskState.WORKING, delivery=Delivery.DELIVERED, seq_out=0, seq_in=0, attempts=1, holder=None,
        worker=False, lease_until=None, messages=(said,),
        status=TaskStatus(state=TaskState.WORKING, timestamp=timestamp), artifacts=(), error=None, tried=(),
        chosen=None, created=NOON, updated=updated, caller="ann",
    )  # fmt: skip


async def stored(database: Database, *records: Task) -> None:
    for one in records:
        await database.write(lambda connection, one=one: insert_task(connection, one))  # type: ignore[misc]


def listed(database: Database, within: Within = WITHIN) -> list[str]:
    return [task.id for task in database.read(lambda connection: tasks_within(connection, within, None, 10))[0]]


async def test_what_streams_into_a_task_leaves_it_where_its_status_put_it(database: Database) -> None:
    first = record("1", "2026-11-21T12:00:00.100Z", NOON + 0.1001)
    await stored(database, first, record("2", "2026-11-21T12:00:00.200Z", NOON + 0.2001))
    await database.write(
        lambda connection: save(connection, Change(first, replace(first, updated=NOON + 9), (), (), NOON + 9))
    )
    assert listed(database) == ["task-2", "task-1"]
    assert listed(database, replace(WITHIN, after=NOON + 0.101)) == ["task-2"]


@pytest.mark.parametrize("shown", ["…jdmp5a", "...jdmp5a", "jdmp5a", "…JDMP5A", " …jdmp5a ", "task-abcd"])
async def test_a_task_is_found_by_the_end_that_a_table_shows(database: Database, shown: str) -> None:
    await stored(database, record("abcdjdmp5a", None, NOON), record("efghijklmn", None, NOON))
    assert database.read(lambda connection: get_task(connection, shown)).id == "task-abcdjdmp5a"


@pytest.mark.parametrize("shown", ["…", "…p5a", "...", "…zzzzzz", "…jdmp5a*"])
async def test_what_no_table_shows_is_no_task(database: Database, shown: str) -> None:
    await stored(database, record("abcdjdmp5a", None, NOON))
    with pytest.raises(TaskNotFoundError):
        database.read(lambda connection: get_task(connection, shown))


@pytest.mark.parametrize("beyond", [0.0, 0.0009])
async def test_a_list_since_the_time_that_a_task_shows_has_that_task(database: Database, beyond: float) -> None:
    await stored(database, record("1", "2026-11-21T12:00:00.123Z", NOON + 0.123 + beyond))
    assert listed(database, replace(WITHIN, after=NOON + 0.123)) == ["task-1"]
    assert listed(database, replace(WITHIN, after=NOON + 0.1235)) == []
    assert listed(database, replace(WITHIN, after=NOON + 0.124)) == []


async def test_pages_go_on_where_the_last_one_ended_also_within_a_millisecond(database: Database) -> None:
    await stored(database, *(record(name, "2026-11-21T12:00:00.100Z", NOON + 0.1) for name in "31542"))
    seen: list[str] = []
    before = None
    while page := database.read(lambda connection: tasks_within(connection, WITHIN, before, 2))[0]:  # noqa: B023
        seen += [task.id for task in page]
        before = parse_position(position_token(page[-1].status_at, page[-1]))
    assert seen == [f"task-{name}" for name in "54321"]


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        ("2026-11-21T14:00:00.100999+02:00", "2026-11-21T12:00:00.100Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("1901-01-01T00:00:00Z", "1901-01-01T00:00:00.000Z"),
        *((none, "2026-11-21T12:00:00.500Z") for none in (None, "", "yesterday", "2026-11-21T12:00:00")),
        ("0001-01-01T00:00:00+14:00", "2026-11-21T12:00:00.500Z"),
    ],
)
async def test_a_list_goes_by_what_is_shown_whatever_the_agent_says_of_its_time(
    database: Database, timestamp: str | None, shown: str
) -> None:
    odd = record("1", timestamp, NOON + 0.5004)
    assert document(odd).status.timestamp == shown
    await stored(database, odd, record("2", shown, NOON))
    assert listed(database) == ["task-2", "task-1"]


async def test_a_database_of_before_learns_since_when_its_tasks_have_their_status(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    older, newer = record("1", "2026-11-21T12:00:00.100Z", NOON + 9), record("2", None, NOON + 0.2001)
    async with open_database(path, "test") as database:
        await stored(database, older, newer)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP TRIGGER tasks_counted_in; DROP TRIGGER tasks_counted_out; DROP TRIGGER tasks_counted_anew;"
            "DROP TRIGGER tasks_events_out; DROP TABLE task_events; ALTER TABLE tasks DROP COLUMN events;"
            "DROP TABLE task_counts; DROP INDEX tasks_by_peer_state; DROP INDEX tasks_by_peer_context;"
            "DROP INDEX tasks_by_ending; DROP INDEX tasks_by_context; DROP INDEX tasks_forgotten;"
            "DROP INDEX tasks_by_peer;"
            "ALTER TABLE tasks DROP COLUMN status_at;"
            "PRAGMA user_version=3;"
            "ALTER TABLE outbox RENAME COLUMN postmark TO envelope;"
            "DROP INDEX tasks_by_end; ALTER TABLE tasks DROP COLUMN ended; ALTER TABLE tasks DROP COLUMN opened;"
            "ALTER TABLE tasks DROP COLUMN dated; ALTER TABLE outbox DROP COLUMN kept;"
            "ALTER TABLE held DROP COLUMN host; DROP TABLE consents; DROP INDEX IF EXISTS tasks_asked;"
            "ALTER TABLE blobs DROP COLUMN saved; DROP TABLE damaged;"
            "DROP INDEX tasks_by_state;"
            "ALTER TABLE tasks DROP COLUMN forgotten; ALTER TABLE peers DROP COLUMN paired;"
            "ALTER TABLE tasks DROP COLUMN heard; ALTER TABLE tasks DROP COLUMN made;"
            "ALTER TABLE web_agents DROP COLUMN bound;"
            "CREATE INDEX tasks_by_update ON tasks(updated DESC, id);"
            "CREATE INDEX tasks_by_peer ON tasks(peer, direction, caller, updated DESC, id)"
        )
    async with open_database(path, "test") as database:
        assert listed(database) == ["task-2", "task-1"]
        assert database.read(times_of) == [older.status_at, newer.status_at]


def times_of(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT status_at FROM tasks ORDER BY id")]


async def test_a_list_reads_an_index_and_sorts_nothing(database: Database) -> None:
    where, values = replace(WITHIN, after=NOON).where()
    query = f"SELECT id FROM tasks WHERE {where} AND (status_at, id) < (?, ?) ORDER BY status_at DESC, id DESC LIMIT 9"
    plan = database.read(lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {query}", (*values, 1, "")))
    assert "tasks_by_peer" in (steps := str(plan.fetchall()))
    assert "TEMP B-TREE" not in steps
