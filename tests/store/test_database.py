"""The one writer: a batch is one transaction, one bad operation harms no other, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mcp_a2a.errors.machine import HomeUnusableError
from mcp_a2a.store.database import Database
from mcp_a2a.store.disk import unusable
from mcp_a2a.store.journal import get_meta, set_meta
from mcp_a2a.store.opening import open_database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "node.db", "test") as database:
        yield database


async def test_what_was_written_is_read_at_once(database: Database) -> None:
    await database.write(lambda connection: set_meta(connection, "word", "here"))
    assert database.read(lambda connection: get_meta(connection, "word")) == "here"


async def test_an_operation_that_fails_takes_back_its_own_and_nothing_else(database: Database) -> None:
    outcomes: dict[str, object] = {}

    def half(connection: sqlite3.Connection) -> None:
        set_meta(connection, "half", "done")
        raise ValueError("in the middle")

    async def write(name: str) -> None:
        operation = half if name == "half" else lambda connection: set_meta(connection, name, "done")
        try:
            outcomes[name] = await database.write(operation)
        except ValueError as error:
            outcomes[name] = str(error)

    async with anyio.create_task_group() as tasks:
        for name in ("before", "half", "after"):
            tasks.start_soon(write, name)
    kept = [database.read(lambda c, name=name: get_meta(c, name)) for name in ("before", "half", "after")]
    assert kept == ["done", None, "done"]
    assert outcomes == {"before": None, "half": "in the middle", "after": None}


async def test_a_failure_that_was_not_foreseen_is_told_and_the_next_operation_is_done(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path, error: sqlite3.Error) -> Exception:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    async def outcome_of(operation: Callable[[sqlite3.Connection], object]) -> object:
        outcomes, told = list[object](), anyio.Event()

        def done(outcome: object) -> None:
            outcomes.append(outcome)
            told.set()

        database.enqueue(operation, done)
        with anyio.fail_after(30):
            await told.wait()
        return outcomes[0]

    monkeypatch.setattr("mcp_a2a.store.database.unusable", fails)
    assert isinstance(await outcome_of(lambda connection: connection.execute("SELECT 1 FROM nowhere")), OSError)
    assert await outcome_of(lambda connection: set_meta(connection, "word", "here")) is None
    assert database.read(lambda connection: get_meta(connection, "word")) == "here"


def test_why_a_folder_cannot_be_used_is_said_also_where_the_system_cannot_look_at_it(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    found = unusable(tmp_path / ("x" * 300) / "node.db", error)  # a name that no file system takes
    assert isinstance(found, HomeUnusableError)
    assert "disk I/O error" in str(found)


async def test_what_follows_a_commit_is_called_for_everybody_also_when_one_fails(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []

    def fail(_: object) -> None:
        raise ZeroDivisionError

    database.enqueue(lambda _: 1, fail)
    database.enqueue(lambda _: 2, told.append)
    await database.write(lambda _: 3)
    assert told == [2]
    assert "ZeroDivisionError" in caplog.text


async def test_operations_run_in_the_order_they_were_queued(database: Database) -> None:
    order: list[int] = []
    for number in range(1_000):
        database.enqueue(lambda _, number=number: order.append(number), lambda _: None)
    await database.write(lambda _: None)
    assert order == list(range(1_000))


async def test_a_write_that_is_given_up_is_finished_all_the_same(database: Database) -> None:
    after: list[str] = []

    async def write() -> None:
        await database.write(lambda connection: (time.sleep(0.02), set_meta(connection, "word", "kept")))
        after.append("what must follow the commit")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert database.read(lambda connection: get_meta(connection, "word")) == "kept"
    assert after == ["what must follow the commit"]


async def test_everything_around_may_be_cancelled_in_the_middle_of_a_write(tmp_path: Path) -> None:
    with anyio.fail_after(30), anyio.CancelScope() as everything:
        async with open_database(tmp_path / "node.db", "test") as database, anyio.create_task_group() as tasks:
            tasks.start_soon(database.write, lambda c: (time.sleep(0.02), set_meta(c, "word", "kept")))
            await anyio.lowlevel.checkpoint()
            everything.cancel()
    assert everything.cancelled_caught
    async with open_database(tmp_path / "node.db", "test") as database:
        assert database.read(lambda connection: get_meta(connection, "word")) == "kept"


async def test_whoever_waits_when_the_database_is_closed_is_told(tmp_path: Path) -> None:
    outcomes: list[object] = []

    async def write(database: Database, word: str) -> None:
        try:
            await database.write(lambda connection: set_meta(connection, word, "kept"))
        except HomeUnusableError as error:
            outcomes.append(error)
        else:
            outcomes.append(word)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            async with open_database(tmp_path / "node.db", "test") as database:
                for number in range(20):
                    tasks.start_soon(write, database, str(number))
                await anyio.lowlevel.checkpoint()
            tasks.start_soon(write, database, "too late")
    assert [word for word in outcomes if isinstance(word, str)] == [str(number) for number in range(20)]
    assert isinstance(outcomes[-1], HomeUnusableError)
    async with open_database(tmp_path / "node.db", "test") as database:
        assert database.read(lambda connection: get_meta(connection, "19")) == "kept"


async def test_a_steady_trickle_that_nobody_waits_for_gets_to_the_disk(database: Database) -> None:
    trickled = 0
    while not database.read(lambda connection: get_meta(connection, "trickle")):
        assert trickled < 100
        trickled += 1
        database.enqueue_lazily(lambda connection: set_meta(connection, "trickle", "here"))
        await anyio.sleep(0.01)


async def test_what_is_read_from_a_closed_database_is_trouble_of_this_machine(tmp_path: Path) -> None:
    async with open_database(tmp_path / "node.db", "test") as database:
        pass
    with pytest.raises(HomeUnusableError, match="cannot be used"):
        database.read(lambda connection: get_meta(connection, "word"))


async def test_lazy_operations_share_the_commit_of_the_next_operation_that_is_waited_for(database: Database) -> None:
    statements: list[str] = []
    await database.write(lambda connection: set_meta(connection, "first", "1"))
    database._writer.set_trace_callback(statements.append)
    for name in ("second", "third"):
        database.enqueue_lazily(lambda connection, name=name: set_meta(connection, name, "lazy"))
    last = await database.write(lambda connection: get_meta(connection, "third"))
    assert last == "lazy"
    assert statements.count("COMMIT") == 1


async def test_a_lazy_operation_wakes_a_writer_that_has_gone_to_rest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.store.database.IDLE_SECONDS", 0.01)
    statements: list[str] = []
    told = anyio.Event()
    database._writer.set_trace_callback(statements.append)
    await database.write(lambda connection: set_meta(connection, "word", "here"))
    with anyio.fail_after(30):
        while not any("wal_checkpoint" in statement for statement in statements):
            await anyio.lowlevel.checkpoint()
        database.enqueue_lazily(lambda connection: set_meta(connection, "word", "late"), lambda _: told.set())
        await told.wait()
    assert database.read(lambda connection: get_meta(connection, "word")) == "late"


def test_what_follows_a_commit_may_ask_for_the_time_and_start_tasks(tmp_path: Path) -> None:
    times: list[float] = []

    async def note() -> None:
        times.append(anyio.current_time())

    async def main() -> None:
        async with open_database(tmp_path / "node.db", "test") as database, anyio.create_task_group() as tasks:

            def done(_: object) -> None:
                times.append(anyio.current_time())
                tasks.start_soon(note)

            database.enqueue(lambda _: None, done)
            await database.write(lambda _: None)

    asyncio.run(main())  # not by anyio.run, which would tell sniffio which loop it is
    assert len(times) == 2


async def test_what_a_writer_may_do_meanwhile_is_done_before_the_commit_is_told(database: Database) -> None:
    order: list[str] = []
    database.enqueue(lambda _: time.sleep(0.02), lambda _: order.append("told"))
    await database.write(lambda _: None, lambda: order.append("meanwhile"))
    assert order == ["meanwhile", "told"]
