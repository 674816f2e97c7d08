"""Standing in for identities, without the nodes: which, when, and for how long."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import psutil
import pytest
from filelock import FileLock, Timeout

from mcp_a2a.node.ipc import stand_in
from mcp_a2a.node.ipc.glance import ask_to_leave
from mcp_a2a.node.ipc.stand_in import StandIn
from mcp_a2a.store.journal import OutboxRow, put_outbox
from mcp_a2a.store.keyfile import load_identity
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.owner_file import has_stand_in, write_owner
from mcp_a2a.store.schema import VERSION
from mcp_a2a.store.waiting import anything_waits


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("START_SECONDS", "LEAD_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(stand_in, name, 0.02)


async def identity(home: Path, name: str, *, waits: bool) -> Path:
    folder = home / "identities" / name
    folder.mkdir(mode=0o700, parents=True)
    load_identity(folder, os.urandom(32))
    async with open_database(folder / "node.db", "now") as database:
        if waits:
            row = OutboxRow(1, "m1", "did:key:zBob", "task-1", 1, "task", b"{}", 0.0, 9e9)
            await database.write(lambda connection: put_outbox(connection, row))
    return folder


class Opened:
    """Notes which identities were opened, and when they were closed again."""

    def __init__(self, *, broken: str = "") -> None:
        self.now: set[str] = set()
        self.ever: list[str] = []
        self.waits: set[str] = set()
        self._broken = broken

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[Callable[[], bool]]:
        self.ever.append(name)
        if name == self._broken:
            raise RuntimeError("its node cannot run")
        assert name not in self.now
        self.now.add(name)
        try:
            yield lambda: name in self.waits
        finally:
            self.now.discard(name)


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110  the stand-in tells of nothing
            await anyio.sleep(0.01)


def is_free(folder: Path) -> bool:
    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    lock.release()
    return True


@asynccontextmanager
async def standing(home: Path, opened: Opened, own: str = "own") -> AsyncIterator[StandIn]:
    one = StandIn(home, own, "node.db", opened.open)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        yield one
        tasks.cancel_scope.cancel()


async def test_only_an_identity_with_something_to_do_is_opened_and_closed_when_it_is_done(tmp_path: Path) -> None:
    folder = await identity(tmp_path, "waits", waits=True)
    for name in ("idle", "own"):
        await identity(tmp_path, name, waits=name == "own")
    opened = Opened()
    opened.waits.add("waits")
    async with standing(tmp_path, opened):
        await until(lambda: opened.now == {"waits"})
        assert has_stand_in(folder)
        assert not is_free(folder)
        opened.waits.clear()
        await until(lambda: not opened.now and is_free(folder))
    assert set(opened.ever) == {"waits"}


async def test_two_processes_never_open_the_same_identity_and_the_second_goes_on_for_the_first(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(6)]
    for name in names:
        await identity(tmp_path, name, waits=True)
    first, second = Opened(), Opened()
    for opened in (first, second):
        opened.waits.update(names)
    async with standing(tmp_path, second, own="b"):
        await until(lambda: second.now == set(names))
        async with standing(tmp_path, first, own="a"):
            await anyio.sleep(0.2)  # nothing happens
            assert not first.ever
    async with standing(tmp_path, first, own="a"):
        await until(lambda: first.now == set(names))


async def test_it_leaves_for_a_process_that_connects_and_leaves_the_identity_alone_then(tmp_path: Path) -> None:
    folder, other = [await identity(tmp_path, name, waits=True) for name in ("waits", "other")]
    opened = Opened()
    opened.waits.update(("waits", "other"))
    async with standing(tmp_path, opened):
        await until(lambda: opened.now == {"waits", "other"})
        ask_to_leave(folder)
        await until(lambda: is_free(folder))
        assert opened.now == {"other"}
        assert not is_free(other)
        await anyio.sleep(0.2)  # ten looks
        assert opened.ever.count("waits") == 1


async def test_a_node_that_cannot_run_harms_no_other(tmp_path: Path) -> None:
    for name in ("broken", "waits"):
        await identity(tmp_path, name, waits=True)
    opened = Opened(broken="broken")
    opened.waits.add("waits")
    async with standing(tmp_path, opened):
        await until(lambda: opened.now == {"waits"} and "broken" in opened.ever)
        await anyio.sleep(0.2)
        assert opened.now == {"waits"}
    assert opened.ever.count("broken") == 1
    assert is_free(tmp_path / "identities" / "broken")


async def test_an_identity_whose_own_process_runs_is_never_opened_and_60_idle_ones_take_no_files(
    tmp_path: Path,
) -> None:
    runs = await identity(tmp_path, "runs", waits=True)
    idle = await identity(tmp_path, "idle0", waits=False)
    for number in range(1, 60):
        shutil.copytree(idle, idle.with_name(f"idle{number}"))
    opened = Opened()
    with FileLock(runs / "lock", thread_local=False):
        write_owner(runs)
        before = psutil.Process().num_fds()
        async with standing(tmp_path, opened) as one:
            await until(lambda: len(one._idle) == 60)
            assert psutil.Process().num_fds() <= before + 2
            looked = dict(one._idle)
            await anyio.sleep(0.2)
            assert one._idle == looked
    assert not opened.ever


async def test_no_more_nodes_are_opened_at_once_than_one_process_carries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "MAX_AT_ONCE", 3)
    names = {f"n{number}" for number in range(5)}
    for name in names:
        await identity(tmp_path, name, waits=True)
    opened = Opened()
    opened.waits.update(names)
    async with standing(tmp_path, opened):
        await until(lambda: len(opened.now) == 3)
        opened.waits -= set(opened.now)
        await until(lambda: opened.now & opened.waits)
        assert len(opened.now) <= 3


async def test_a_database_of_another_version_is_left_to_its_own_process(tmp_path: Path) -> None:
    folders = [await identity(tmp_path, name, waits=True) for name in ("older", "newer", "same")]
    for folder, version in zip(folders, (VERSION - 1, VERSION + 1), strict=False):
        with closing(sqlite3.connect(folder / "node.db")) as connection:
            connection.execute(f"PRAGMA user_version={version}")
    opened = Opened()
    opened.waits.update(("older", "newer", "same"))
    async with standing(tmp_path, opened) as one:
        await until(lambda: opened.now == {"same"} and {"older", "newer"} <= one._idle.keys())
    assert opened.ever == ["same"]


async def test_a_long_history_is_not_read_to_find_what_waits(tmp_path: Path) -> None:
    plans: list[str] = []

    def explained(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(plans.append)
        anything_waits(connection)
        connection.set_trace_callback(None)
        (query,) = plans
        plans[:] = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]

    async with open_database(tmp_path / "node.db", "now") as database:
        database.read(explained)
    assert [plan for plan in plans if "tasks" in plan and not plan.startswith("SEARCH tasks USING INDEX")] == []
    assert any("tasks" in plan for plan in plans)
