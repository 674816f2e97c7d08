"""A start with a long history works no more than one with a short one, and lists leave the event loop alone."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.history import a_task, multiply
from mcp_a2a.api.a2a import A2AListRequest
from mcp_a2a.api.tasks import ListTasksRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store import opening, records
from mcp_a2a.store.opening import open_database

EVERY = 100
"""Steps of SQLite's machine that are counted at once."""

DID = "did:key:z6MkjQs6wm5G1AkCWbTCVF7D4BTRy5FUvk74nQ3eu3gGxAxw"


def alone(home: Path) -> Settings:
    return Settings(home=home, mdns=False, networks=False, link_host="127.0.0.1")


async def lived(home: Path, count: int) -> Settings:
    """A data folder with so many finished tasks each way, as its last process left it."""
    settings = alone(home)
    async with open_node(settings):
        pass
    own = a_task(time.time())  # not so long ago that a node tidies it away
    theirs = replace(own, id="task-1", direction="sent", peer=DID, caller="", delivery=Delivery.DELIVERED)

    def fill(connection: sqlite3.Connection) -> None:
        for record in (own, theirs):
            records.insert_task(connection, record)
            multiply(connection, record.id, count)

    async with open_database(settings.folder / "node.db", "test") as database:
        await database.write(fill)
    return settings


async def steps_of_a_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    """What SQLite has to do until the first list is there."""
    steps: Counter[str] = Counter()
    connect = opening._connect

    def counted(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_progress_handler(lambda: steps.update(["all"]), EVERY)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(opening, "_connect", counted)
        async with open_node(settings) as node:
            page = await node.call(ListTasksRequest(limit=3, state=Moment.COMPLETED))
    assert len(page.tasks) == 3
    return steps["all"] * EVERY


async def test_a_start_works_no_more_for_a_long_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = await steps_of_a_start(await lived(tmp_path / "short", 50), monkeypatch)
    long = await steps_of_a_start(await lived(tmp_path / "long", 4_000), monkeypatch)
    assert long < short + 4_000, (short, long)  # not one step for each task


async def test_lists_are_read_and_parsed_outside_of_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = await lived(tmp_path / "home", 5)
    threads: list[str] = []
    parse = records.parse_task

    def noted(row: tuple[object, ...]) -> Task:
        threads.append(threading.current_thread().name)
        return parse(row)

    async with open_node(settings) as node:
        monkeypatch.setattr(records, "parse_task", noted)
        await node.call(ListTasksRequest())
        await node.call(A2AListRequest(agent="self", caller="owner", page_size=5))
    assert len(threads) >= 10
    assert threading.main_thread().name not in threads
