"""A database of an earlier version is opened with nothing lost, and its node goes on where it was.

`old/schema-4.sql` was made by nodes of commit 79c7c58, `old/schema-18.sql` by those of 365b7cb, each with rows of every
kind (`old/make.py`).
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import ListTasksRequest, SendTaskRequest
from mcp_a2a.protocol.model import (
    Artifact,
    ArtifactChunk,
    Delivery,
    Part,
    StreamResponse,
    TaskPushNotificationConfig,
    TaskState,
    text_of,
)
from mcp_a2a.store.audit import audit
from mcp_a2a.store.leases import leased_tasks
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.records import find_task
from mcp_a2a.store.schema import MIGRATIONS, VERSION
from mcp_a2a.store.web import untold_configs
from tests.node.world import World, acquainted

DUMPS = {version: Path(__file__).parent / "old" / f"schema-{version}.sql" for version in (4, 18)}

Rows = dict[str, list[dict[str, object]]]


@pytest.fixture(params=DUMPS)
def version(request: pytest.FixtureRequest) -> int:
    """The schema of then."""
    return int(request.param)


def made_at(version: int) -> float:
    """When the nodes of then ended, in seconds since the epoch."""
    return float(DUMPS[version].read_text().split()[1].rstrip(":"))


@pytest.fixture
def old(tmp_path: Path, version: int) -> Path:
    """Bob's database as it was left."""
    path = tmp_path / "bob" / "node.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(DUMPS[version].read_text())
    return path


def rows_of(path: Path) -> Rows:
    """Every row of every table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
            )
        ]
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")] for table in tables
        }


CHANGED = {("outbox", "relay"): None, ("outbox", "envelope"): None}
"""Copies at relays of which only the id was kept can no longer be confirmed: these messages are sent again."""

WEEK = 7 * 86_400.0


def check_nothing_lost(before: Rows, after: Rows) -> None:
    peers = {row["id"]: row["peer"] for row in before["tasks"]}
    told = [row for row in after["outbox"] if str(row["peer"]).startswith("https://")]
    after = {**after, "outbox": [row for row in after["outbox"] if row not in told]}
    for table, rows in before.items():
        if table == "web_letters":  # they are in the one journal, in their order and in front of all others
            assert [(row["peer"], row["task"], row["type"], row["payload"]) for row in told] == [
                (peers[row["task"]], row["task"], row["type"], b"") for row in rows
            ]
            for row, letter in zip(told, rows, strict=True):
                named = f"{letter['task']}/{letter['message'] or 'cancel-' + str(letter['n'])}"
                assert (row["id"], row["created"], row["kept"]) == (named, letter["created"], letter["created"])
                assert row["expires"] == float(str(letter["created"])) + WEEK
            assert max(int(str(row["n"])) for row in told) < min(int(str(row["n"])) for row in after["outbox"])
            continue
        assert len(after[table]) == len(rows), table
        for old_row, new_row in zip(rows, after[table], strict=True):
            for column, value in old_row.items():
                if (table, column) not in CHANGED:
                    assert new_row[column] == value, (table, column)


def test_the_old_database_has_rows_of_every_kind(old: Path) -> None:
    rows = rows_of(old)
    assert all(rows.values())
    assert {row["type"] for row in rows["outbox"]} == {"task", "message", "cancel", "update", "blob"}
    assert {row["type"] for row in rows["web_letters"]} == {"message", "cancel"}
    for direction in ("sent", "received"):
        states = {row["state"] for row in rows["tasks"] if row["direction"] == direction}
        assert states == {state.value for state in TaskState}
    assert {row["delivery"] for row in rows["tasks"]} == {delivery.value for delivery in Delivery}
    assert {row["trust"] for row in rows["peers"]} == {"trusted", "blocked", "stranger"}
    assert {row["told"] for row in rows["push_configs"]} == {0, 1}
    assert {row["direction"] for row in rows["blobs"]} == {"in", "out"}
    assert any(row["streamed"] for row in rows["tasks"])
    assert any(row["attempts"] == 2 for row in rows["tasks"])
    assert any(row["tried"] != "[]" for row in rows["tasks"])


async def test_an_old_database_is_opened_with_every_row_as_it_was(old: Path) -> None:
    before = rows_of(old)
    async with open_database(old, "test") as database:
        ids = [row["id"] for row in before["tasks"]]
        tasks = database.read(lambda c: [find_task(c, str(task_id)) for task_id in ids])
        assert all(task is not None and task.events == 0 for task in tasks)
        assert await database.write(audit) == {}
        untold = database.read(untold_configs)
        assert [config.id for config in untold] == ["hook"]
        assert {task.holder for task in database.read(leased_tasks)} == {"client", "worker-1"}
    check_nothing_lost(before, rows_of(old))


def statements(migration: str) -> Iterator[str]:
    """The statements of a migration, one by one."""
    statement = ""
    for piece in migration.split(";"):
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@pytest.mark.parametrize(("newest", "least"), [(VERSION - 1, 4), (VERSION, 2)])
async def test_a_start_that_is_killed_at_any_statement_of_the_newest_migration_loses_nothing(
    old: Path, version: int, tmp_path: Path, newest: int, least: int
) -> None:
    before = rows_of(old)
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        for number, migration in enumerate(MIGRATIONS[version : newest - 1], version + 1):
            connection.executescript(f"BEGIN IMMEDIATE;{migration};PRAGMA user_version={number};COMMIT")
    steps = list(statements(MIGRATIONS[newest - 1]))
    assert len(steps) >= least
    for done in range(len(steps) + 1):
        folder = tmp_path / f"after-{done}"
        with closing(sqlite3.connect(old, isolation_level=None)) as connection:
            connection.execute("PRAGMA cache_size=1")  # so that what is not committed is in the log
            connection.execute("BEGIN IMMEDIATE")
            for step in steps[:done]:
                connection.execute(step)
            shutil.copytree(old.parent, folder)  # as a kill leaves it
            connection.execute("ROLLBACK")
        async with open_database(folder / "node.db", "test") as database:
            assert await database.write(audit) == {}
        check_nothing_lost(before, rows_of(folder / "node.db"))
        with closing(sqlite3.connect(folder / "node.db")) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


class Posts:
    """Where clients want to be told of their tasks."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.posted = anyio.Event()

    def tells_whole_tasks(self, _config: TaskPushNotificationConfig) -> bool:
        return False

    def check(self, url: str) -> None:
        assert url

    async def post(self, config: TaskPushNotificationConfig, event: StreamResponse) -> None:
        assert event.task is not None, "first the task as it is"
        assert event.task.id == config.task_id
        self.tasks.append(event.task.id)
        self.posted.set()


async def test_a_node_goes_on_where_it_was_with_an_old_database(old: Path, version: int, tmp_path: Path) -> None:
    world, hooks = World(tmp_path), Posts()
    world.make_own("alice", "bob")
    world.clock.offset = made_at(version) + 1 - world.clock()
    before = rows_of(old)
    hook = next(row["task"] for row in before["push_configs"] if not row["told"])
    streaming = next(str(row["id"]) for row in before["tasks"] if row["streamed"] and row["direction"] == "received")
    async with world.person("bob", "sing", hooks=hooks) as bob, world.person("alice", "sing") as alice:
        await acquainted(alice, bob)
        listed = await bob.api.call(ListTasksRequest(limit=100))
        assert len(listed.tasks) == len(before["tasks"])

        # What waited for alice is brought to her; and a key that was used then names the task of then.
        texts = set[str]()
        while not {"when you are back", "read"} <= texts:
            inbox = await alice.api.call(CheckInboxRequest(wait_seconds=30, limit=9))
            assert inbox.items
            texts |= {item.text for item in inbox.items}
        again = SendTaskRequest(agent="alice", message="when you are back", wait_seconds=0, idempotency_key="key-back")
        known = next(row["id"] for row in before["tasks"] if "when you are back" in str(row["messages"]))
        assert (await bob.api.call(again)).task_id == known

        # A stream goes on behind the chunks that there were.
        more = ArtifactChunk(artifact=Artifact(artifact_id="out", parts=(Part(text="d"),)), append=True)
        await bob.api.call(AnswerRequest(task_id=streaming, status="working", chunks=(more,), streamed=3))
        task = bob.node.sending.latest(streaming)
        assert (text_of(task.artifacts[0].parts), task.streamed) == ("a b c d", 4)

        # What was leased to a process that is gone is offered again, as the attempt that it is. Nothing is forgotten.
        world.clock.advance(30)
        offered = await bob.api.call(CheckInboxRequest(wait_seconds=30, limit=10))
        assert {item.attempt for item in offered.items if item.task_id == "task-received-working-delivered"} == {3}
        with anyio.fail_after(30):
            await hooks.posted.wait()
        assert hooks.tasks == [hook]
        assert len((await bob.api.call(ListTasksRequest(limit=100))).tasks) == len(before["tasks"])
