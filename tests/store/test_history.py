"""A long history costs neither a list nor a start: every question is answered from an index."""

from __future__ import annotations

import ast
import inspect
import random
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.history import a_task, multiply
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.protocol.model import Delivery, TaskPushNotificationConfig, TaskState
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store import (
    blobs,
    forgetting,
    journal,
    leases,
    networks,
    records,
    task_events,
    task_lists,
    web,
)
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.schema import LISTED
from mcp_a2a.store.task_lists import Within

Query = Callable[[sqlite3.Connection], object]

DID = "did:key:z6Mk"
OWN = Within("received", "caller:owner", "owner")
THEIRS = Within("sent", DID, "")
STATES = (None, *Moment)


def listing(**more: Any) -> Query:
    asked = {"state": None, "direction": None, "before": None, "limit": 20, "now": 1.0, **more}
    return lambda c: task_lists.list_tasks(c, **asked)


def within(what: Within = OWN, before: Any = None, **more: Any) -> Query:
    return lambda c: task_lists.tasks_within(c, replace(what, **more), before, 20)


def nothing_found(connection: sqlite3.Connection) -> None:
    with pytest.raises(TaskNotFoundError):
        records.get_task(connection, "abcdef")


HOOK = TaskPushNotificationConfig(task_id="task-x", id="h", url="https://a.example/")

LISTS: dict[str, Query] = {
    f"list {state or 'of all'} {direction or 'both ways'}{' on' * bool(before)}": listing(
        state=state, direction=direction, before=before
    )
    for state in STATES
    for direction in (None, "sent", "received")
    for before in (None, (1.0, "task-x"))
}
A2A_LISTS: dict[str, Query] = {
    f"A2A list {whose} {more}{' on' * bool(before)}": within(what, before, **more)
    for whose, what in (("of ours", OWN), ("of theirs", THEIRS))
    for before in (None, (1.0, "task-x"))
    for more in (
        {},
        {"state": TaskState.WORKING},
        {"context_id": "ctx"},
        {"context_id": "ctx", "state": TaskState.FAILED},
        {"after": 9e9},
        {"after": 9e9, "state": TaskState.WORKING},
        {"after": 9e9, "context_id": "ctx"},
    )
}
QUESTIONS: dict[str, Query] = {
    **LISTS,
    **A2A_LISTS,
    "by id": lambda c: records.find_task(c, "task-x"),
    "is there": lambda c: records.has_task(c, "task-x"),
    "by the end of an id": nothing_found,
    "new": lambda c: records.insert_task(c, a_task()),
    "changed by an event": lambda c: records.save(c, Change.of(a_task(), e.FileLost("blob:1", "no room"), now=1.0)),
    "logged": lambda c: task_events.log(c, Change.of(a_task(), e.FileLost("blob:1", "no room"), now=1.0)),
    "delivered": lambda c: records.move_delivery(c, "task-x", DID, e.Delivered, 1.0),
    "events": lambda c: task_events.page_after(c, "task-0", "0"),
    "kinds of events": lambda c: task_events.kinds_after(c, "task-0", 0),
    "newest event": lambda c: task_events.cursor_of(c, a_task()),
    "old events": lambda c: task_events.trim(c, 9e9),
    "events of a forgotten one": lambda c: task_events.forget_events(c, "task-x"),
    "tasks to offer": lambda c: leases.waiting_tasks(c, 1.0, 10),
    "next lease": leases.next_lease_end,
    "leases": leases.leased_tasks,
    "hops": lambda c: leases.highest_hop(c, "holder", 1.0),
    "waiting": lambda c: leases.count_waiting(c, 1.0),
    "clock set": lambda c: leases.shift_leases(c, 1.0),
    "clock ahead before": lambda c: leases.cap_leases(c, 1.0),
    "open of a peer": lambda c: records.count_open(c, DID),
    "open of a peer, and a fact": lambda c: records.count_open_and_read(c, DID, "forgotten"),
    "open with a peer": lambda c: records.open_tasks_with(c, DID),
    "asked of a peer": lambda c: records.has_open_sent(c, DID),
    "asked and taken": lambda c: records.open_sent_tasks(c, DID, 10),
    "known otherwise": lambda c: records.known_otherwise(c, DID, {"task-x": 1, "task-y": 2}),
    "asked of any": records.peers_with_open_tasks,
    "declined": records.declined_tasks,
    "just ended": lambda c: records.note_finished(c, 8e9, 9e9),
    "long ended": lambda c: forgetting.forget_finished(c, 1.0, 2.0),
    "why kept": lambda c: forgetting.why_kept(c, a_task()),
    "size": lambda c: forgetting.size_of(c, "task-x"),
    "forget": lambda c: forgetting.forget(c, a_task(), 1.0, "gone"),
    "files of": lambda c: blobs.blobs_of(c, "task-x"),
    "file of": lambda c: blobs.find_in(c, DID, "b"),
    "saved": lambda c: blobs.mark_saved(c, "task-x", 1.0),
    "dropped": lambda c: blobs.drop_blobs_of(c, "task-x"),
    "new file": lambda c: blobs.begin_in(c, blobs.new_in(DID, "b", "task-x", 1, 1.0)),
    "checked file": lambda c: blobs.mark_checked(c, DID, "b", "x"),
    "piece": lambda c: blobs.mark_piece(c, blobs.new_in(DID, "b", "task-x", 1, 1.0), 0),
    "open at URLs": web.unfinished_web_tasks,
    "old files": lambda c: blobs.forget_blobs(c, 1.0, 1.0),
    "room for files": lambda c: blobs.make_room(c, blobs.Wanted(1, 1), for_result=True),
    "room for files to send": lambda c: blobs.make_room_out(c, 1),
    "hooks of none": web.drop_orphaned_push,
    "hooks": lambda c: web.count_other_untold(c, HOOK, "ci"),
}

WALKS: dict[str, str] = {
    "finished_before": "a person forgets all tasks of an age, some hundred at a time, each looked at once",
    "forget_strangers": "more than 2,304 strangers are known: once for every 256 of them",
    "forget_web_contexts": "once at a start; the contexts of agents at URLs, each looked up in an index",
}
"""Functions that look at every task, and why they may."""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    return tmp_path / "node.db"


async def plans(path: Path, questions: Mapping[str, Query]) -> dict[str, list[str]]:
    async with open_database(path, "test") as database:
        return await database.write(lambda c: {name: plans_of(c, query) for name, query in questions.items()})


def plans_of(connection: sqlite3.Connection, question: Query) -> list[str]:
    """How SQLite answers each statement about tasks, what triggers do included."""
    said: list[str] = []
    connection.set_trace_callback(said.append)
    try:
        question(connection)
    finally:
        connection.set_trace_callback(None)
    about = [one for one in said if re.search(r"\btask(?:s|_events)\b", one) and not one.startswith("--")]
    return [
        "; ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")) for statement in about
    ]


SCAN = re.compile(
    r"SCAN (?:tasks|task_counts|task_events)"
    r"(?! USING (?:COVERING )?INDEX (?:tasks_(?:open|asked|forgotten)|task_events_full)\b)"
)
"""A walk through all rows; but the indexes of what is open, or has a body, hold no history."""


async def test_no_question_looks_at_every_task(tables: Path) -> None:
    for name, steps in (await plans(tables, QUESTIONS)).items():
        for plan in steps:
            ordered = name in LISTS or name in A2A_LISTS
            scans = SCAN.findall(plan.replace("SCAN tasks USING INDEX tasks_by_update", "") if ordered else plan)
            assert not scans, (name, plan)


async def test_every_list_is_read_in_its_order_and_not_sorted(tables: Path) -> None:
    for name, steps in (await plans(tables, LISTS | A2A_LISTS)).items():
        assert not [plan for plan in steps if "TEMP B-TREE" in plan], (name, steps)


def asking(module: ModuleType) -> set[str]:
    """The functions of a module with a statement about tasks."""
    source = inspect.getsource(module)
    about = re.compile(r"(?:FROM|UPDATE|INTO|JOIN) tasks|_SELECT|_INSERT|_UPDATE")
    return {
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and about.search(ast.get_source_segment(source, node) or "")
    }


def test_every_function_that_asks_for_tasks_is_among_the_questions() -> None:
    asked = inspect.getsource(inspect.getmodule(asking))  # type: ignore[arg-type]
    for module in (blobs, forgetting, journal, networks, records, task_events, web):
        for name in asking(module):
            assert name in WALKS or name.startswith("_") or f".{name}" in asked, (module.__name__, name)


# --- work that does not grow ----------------------------------------------------------------------


async def steps_of(path: Path, count: int, questions: Mapping[str, Query]) -> dict[str, int]:
    """Steps of SQLite's machine for each question with so many finished tasks."""
    theirs = replace(a_task(), id="task-1", direction="sent", peer=DID, caller="", delivery=Delivery.DELIVERED)

    def ask(connection: sqlite3.Connection) -> dict[str, int]:
        for record in (a_task(), theirs):
            records.insert_task(connection, record)
            multiply(connection, record.id, count)
        return {name: machine_steps(connection, query) for name, query in questions.items()}

    async with open_database(path, "test") as database:
        return await database.write(ask)


def machine_steps(connection: sqlite3.Connection, question: Query) -> int:
    ran = 0

    def tick() -> None:
        nonlocal ran
        ran += 1

    connection.execute("SAVEPOINT asked")
    connection.set_progress_handler(tick, 50)
    try:
        question(connection)
    finally:
        connection.set_progress_handler(None, 0)
        connection.execute("ROLLBACK TO asked")
        connection.execute("RELEASE asked")
    return ran * 50


IN_A_CONTEXT_OF_OURS = re.compile(r"A2A list of theirs \{'context_id'(?!.*after)")


async def test_no_question_works_more_for_a_long_history_than_for_a_short_one(tmp_path: Path) -> None:
    short = await steps_of(tmp_path / "short.db", 200, QUESTIONS)
    long = await steps_of(tmp_path / "long.db", 3_000, QUESTIONS)
    grown = {name: (short[name], long[name]) for name in short if long[name] > short[name] + 500}
    assert not {name for name in grown if not IN_A_CONTEXT_OF_OURS.match(name)}, grown


# --- the numbers of tasks -------------------------------------------------------------------------


COUNTED = """
    SELECT peer, direction, caller, '' AS context, state, COUNT(*) FROM tasks WHERE {listed} GROUP BY 1, 2, 3, 5
    UNION ALL SELECT peer, direction, caller, '=' || context_id, state, COUNT(*) FROM tasks
      WHERE {listed} AND (caller <> '' OR peer GLOB 'caller:*') GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""


def check_counts(connection: sqlite3.Connection) -> None:
    kept = connection.execute("SELECT peer, direction, caller, context, state, n FROM task_counts ORDER BY 1,2,3,4,5")
    assert kept.fetchall() == connection.execute(COUNTED.format(listed=LISTED)).fetchall()


def any_task(chance: random.Random, number: int) -> Task:
    direction = chance.choice(("sent", "received"))
    caller = chance.choice(("", "ci"))
    peer = (
        chance.choice((DID, "https://a.example/")) if direction == "sent" else chance.choice((DID, f"caller:{caller}"))
    )
    return replace(
        a_task(), id=f"task-{number}", direction=direction, peer=peer, caller=caller,
        context_id=chance.choice(("", "a", "=a")), state=chance.choice(list(TaskState)), direct=chance.random() < 0.1,
    )  # fmt: skip


async def test_the_numbers_of_tasks_are_those_of_the_rows_whatever_happens_to_them(tables: Path) -> None:
    chance = random.Random(7)
    async with open_database(tables, "test") as database:

        def live(connection: sqlite3.Connection) -> None:
            for number in range(400):
                name = chance.randrange(60)
                record = records.find_task(connection, f"task-{name}")
                if record is None:
                    records.insert_task(connection, any_task(chance, name))
                elif chance.random() < 0.15:
                    connection.execute("DELETE FROM tasks WHERE id=?", (record.id,))
                elif record.done and chance.random() < 0.2:
                    forgetting.forget(connection, record, 1.0, "gone")
                else:
                    other = any_task(chance, name)
                    after = replace(other, id=record.id) if number % 3 else replace(record, state=other.state)
                    records.save(connection, Change(record, after, (), (), 1.0))
                assert not records.insert_task(connection, any_task(chance, name)) or record is not None
                if number % 20 == 0:
                    check_counts(connection)
            check_counts(connection)

        await database.write(live)


async def test_the_total_of_a_list_is_the_number_of_its_tasks(tables: Path) -> None:
    chance = random.Random(3)
    async with open_database(tables, "test") as database:
        everything = [any_task(chance, number) for number in range(200)]
        for record in everything:
            await database.write(lambda c, one=record: records.insert_task(c, one))
        for caller in ("", "ci"):
            for what in (Within("received", f"caller:{caller}", caller), Within("sent", DID, caller)):
                for context in (None, "", "a", "=a"):
                    for state in (None, *TaskState):
                        wanted = [
                            one
                            for one in everything
                            if what.holds(one) and not one.direct
                            and context in (None, one.context_id) and state in (None, one.state)
                        ]  # fmt: skip
                        asked = replace(what, context_id=context, state=state)
                        page, total = database.read(lambda c, a=asked: task_lists.tasks_within(c, a, None, 500))
                        assert total == len(page) == len(wanted), asked


async def test_an_age_walks_through_the_tasks_once(tmp_path: Path) -> None:
    async with open_database(tmp_path / "node.db", "test") as database:
        assert database.read(lambda c: forgetting.finished_before(c, 1.0, "", 10)) == []
        assert await database.read_aside(lambda c: forgetting.finished_before(c, 1.0, "", 10)) == []
