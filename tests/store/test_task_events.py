"""The log of tasks: what readers put together from it is the task, whatever happens to the database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from mcp_a2a.protocol.model import Artifact, Delivery, TaskState, TaskStatus
from mcp_a2a.protocol.state import at_rest
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.artifacts import grow, replace
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change, apply
from mcp_a2a.protocol.task.table import DELIVERIES, SIDES, SILENT, TRANSITIONS, can
from mcp_a2a.protocol.task.task import Task, with_
from mcp_a2a.store import schema, task_events
from mcp_a2a.store.audit import audit
from mcp_a2a.store.forgetting import forget, forget_finished
from mcp_a2a.store.records import find_task, insert_task, move_delivery, note_finished, save
from mcp_a2a.store.task_events import KINDS, MAX_BODY, Entry, cursor_of, page_after, trim
from tests.protocol.task.samples import T0, artifact, chunk, opening, said
from tests.protocol.task.test_machine import EVENTS, artifacts, chunks

ID = "task-1"


def fresh() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA secure_delete=ON")
    for migration in schema.MIGRATIONS:
        connection.executescript(migration)
    return connection


def record(connection: sqlite3.Connection, *events: Event, now: float = T0, files: Any = ()) -> Task:
    task = find_task(connection, ID)
    assert task is not None
    change = Change.of(task, *events, now=now, files=files)
    save(connection, change)
    return change.task


def begin(connection: sqlite3.Connection, direction: str = "sent", **changes: Any) -> Task:
    change = Change.opening(opening(direction, **changes), now=T0)
    assert save(connection, change)
    return change.task


def rows(connection: sqlite3.Connection) -> list[tuple[int, str, int, bytes | None]]:
    return connection.execute("SELECT id & 16777215, kind, size, body FROM task_events ORDER BY id").fetchall()


@dataclass
class Reader:
    """A client: what it was told, put together."""

    cursor: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    status: TaskStatus | None = None
    wholes: int = 0

    def read(self, connection: sqlite3.Connection) -> list[Entry]:
        page = page_after(connection, ID, self.cursor) if self.cursor is not None else None
        task = find_task(connection, ID)
        assert task is not None
        if page is None or page.entries is None:
            self.cursor, self.artifacts, self.status = cursor_of(connection, task), task.artifacts, task.status
            self.wholes += 1
            return []
        self.cursor = page.cursor
        for entry in page.entries:
            self.artifacts = grow(self.artifacts, entry.chunks())
            self.artifacts = replace(self.artifacts, entry.replaced(task))
            self.status = task.status if entry.is_end else entry.status() or self.status
        return list(page.entries)


def test_each_event_is_silent_or_has_a_name_in_the_log() -> None:
    events = {event for row in TRANSITIONS.values() for event in row}
    assert {*KINDS} == (events - SILENT) | {e.Opened}
    assert len(set(KINDS.values())) == len(KINDS)


def test_a_quick_task_costs_a_row_for_each_event_and_no_body() -> None:
    with closing(fresh()) as connection:
        begin(connection)
        record(connection, e.Told(0, 1), e.Delivered(), e.ArtifactsReplaced((artifact("four"),)), e.Completed())
        assert [(kind, body) for _, kind, _, body in rows(connection)] == [
            ("opened", None), ("delivered", None), ("artifacts_replaced", b'["result"]'), ("completed", None),
        ]  # fmt: skip


def test_what_a_task_is_at_rest_with_is_read_from_it_and_not_stored_twice() -> None:
    secret = "x" * 5_000
    with closing(fresh()) as connection:
        begin(connection, "received")
        reader = Reader()
        reader.read(connection)
        record(connection, e.ArtifactsReplaced((artifact(secret),)), e.Completed(said(TaskState.COMPLETED, secret)))
        assert sum(size for _, _, size, _ in rows(connection)) < 100
        reader.read(connection)
        assert reader.artifacts == (artifact(secret),)
        assert reader.status == said(TaskState.COMPLETED, secret)
        assert reader.wholes == 1


def test_artifacts_are_told_as_they_were_when_they_were_made() -> None:
    with closing(fresh()) as connection:
        begin(connection, "received")
        reader = Reader()
        reader.read(connection)
        record(connection, e.ArtifactsReplaced((artifact("one "),)))
        record(connection, e.ArtifactsGrown((chunk("two"),), 1))
        assert [one.replaced(None) for one in reader.read(connection)] == [(artifact("one "),), ()]
        assert reader.artifacts == (artifact("one two"),)


def test_a_reader_of_a_task_whose_log_is_lost_gets_the_task() -> None:
    with closing(fresh()) as connection:
        begin(connection, "received")
        connection.execute("DELETE FROM task_events")
        page = page_after(connection, ID, "0")
        assert page is not None
        assert page.entries is None


def test_a_reader_of_something_too_large_to_be_logged_gets_the_task() -> None:
    with closing(fresh()) as connection:
        begin(connection, "received")
        reader = Reader()
        reader.read(connection)
        task = record(connection, e.ArtifactsGrown((chunk("x" * MAX_BODY),), 1))
        assert reader.read(connection) == []
        assert (reader.wholes, reader.artifacts) == (2, task.artifacts)
        record(connection, e.ArtifactsGrown((chunk("y"),), 2))
        assert len(reader.read(connection)) == 1


@pytest.mark.parametrize("cursor", ["elsewhere.7", "", ".", "1", "1.0", "9.abc", "-1.0", "99999999999999999999.0", "²"])
def test_a_cursor_that_is_none_gives_the_task(cursor: str) -> None:
    with closing(fresh()) as connection:
        begin(connection)
        page = page_after(connection, ID, cursor)
        assert page is not None
        assert page.entries is None


def test_a_cursor_of_a_future_that_a_backup_took_back_is_noticed() -> None:
    with closing(fresh()) as connection:
        begin(connection)
        backup = copy_of(connection)
        record(connection, e.Progressed(said(TaskState.WORKING, "then")), now=T0 + 1)
        task = find_task(connection, ID)
        assert task is not None
        cursor = cursor_of(connection, task)
    with closing(backup):
        record(backup, e.Progressed(said(TaskState.WORKING, "now")), now=T0 + 2)
        page = page_after(backup, ID, cursor)
        assert page is not None
        assert page.entries is None


def test_bodies_of_one_task_are_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_events, "MAX_EVENTS_OF_TASK", 70)
    with closing(fresh()) as connection:
        begin(connection, "received")
        late, soon = Reader(), Reader()
        late.read(connection)
        for number in range(130):
            record(connection, e.ArtifactsGrown((chunk(f"{number} "),), number + 1))
            if number % 10 == 0:
                soon.read(connection)
        kept = [number for number, _, _, body in rows(connection) if body is not None]
        assert len(kept) <= 70 + 64
        assert kept == list(range(132 - len(kept), 132))
        assert soon.read(connection)
        assert late.read(connection) == []
        assert late.artifacts == soon.artifacts


def test_bytes_of_one_task_and_of_all_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_events, "MAX_BODIES_OF_TASK", 300_000)
    with closing(fresh()) as connection:
        begin(connection, "received")
        for number in range(8):
            record(connection, e.ArtifactsGrown((chunk("x" * 100_000),), number + 1), now=T0 + number)
        assert sum(size for _, _, size, body in rows(connection) if body is not None) <= 300_000
        monkeypatch.setattr(task_events, "MAX_BODIES", 150_000)
        trim(connection, T0)
        kept = [number for number, _, _, body in rows(connection) if body is not None]
        assert kept == [9]


def test_bodies_go_when_a_task_has_been_at_rest_for_long_and_its_rows_with_it() -> None:
    with closing(fresh()) as connection:
        begin(connection, "received")
        record(connection, e.Progressed(said(TaskState.WORKING, "half")))
        trim(connection, T0 + 9_999)
        assert [body is not None for *_, body in rows(connection)] == [False, True], "it is still worked on"
        record(connection, e.Completed(), now=T0 + 10_000)
        trim(connection, T0 + 10_030)
        assert any(body for *_, body in rows(connection))
        trim(connection, T0 + 10_061)
        assert [(kind, body) for _, kind, _, body in rows(connection)] == [
            ("opened", None), ("progressed", None), ("completed", None),
        ]  # fmt: skip
        note_finished(connection, T0, T0 + 10_000)
        forget_finished(connection, T0 + 9e9, 1.0)
        assert rows(connection) == []


def test_nothing_is_written_where_there_is_nothing_to_drop() -> None:
    with closing(fresh()) as connection:
        begin(connection)
        record(connection, e.Completed())
        before = connection.total_changes
        trim(connection, T0 + 9_999)
        assert connection.total_changes == before


def test_of_a_forgotten_task_no_text_is_left_in_the_file() -> None:
    with closing(fresh()) as connection:
        begin(connection, "received")
        record(connection, e.Progressed(said(TaskState.WORKING, "the secret")))
        task = record(connection, e.Completed())
        reader = Reader()
        reader.read(connection)
        forget(connection, task, T0 + 1, "gone")
        assert b"the secret" not in connection.serialize()
        assert rows(connection) == []
        reader.cursor = "1.0"
        reader.read(connection)
        assert reader.wholes == 2


def test_a_task_takes_no_event_of_another_that_had_its_number() -> None:
    with closing(fresh()) as connection:
        begin(connection, "received")
        record(connection, e.Progressed(said(TaskState.WORKING, "half")))
        connection.execute("DELETE FROM tasks")
        begin(connection, "received")
        assert [kind for _, kind, _, _ in rows(connection)] == ["opened"]


def test_a_number_of_events_that_was_damaged_stops_no_task() -> None:
    with closing(fresh()) as connection:
        begin(connection)
        reader = Reader()
        record(connection, e.Progressed(said(TaskState.WORKING, "one")))
        reader.read(connection)
        connection.execute("UPDATE tasks SET events=1")
        record(connection, e.Progressed(said(TaskState.WORKING, "two")), now=T0 + 1)
        assert move_delivery(connection, ID, opening("sent").peer, e.Delivered, T0 + 1)
        reader.read(connection)
        assert reader.status == said(TaskState.WORKING, "two")
        connection.execute("UPDATE tasks SET events=-3")
        assert audit(connection) == {"tasks": 1}


def test_a_task_that_was_opened_before_is_not_logged_again() -> None:
    with closing(fresh()) as connection:
        begin(connection)
        assert not save(connection, Change.opening(opening("sent"), now=T0 + 5))
        assert len(rows(connection)) == 1


def test_a_word_of_progress_writes_the_conversation_of_a_task_not_again() -> None:
    with closing(fresh()) as connection:
        begin(connection, "received")
        said_so_far: list[str] = []
        connection.set_trace_callback(said_so_far.append)
        record(connection, e.Progressed(said(TaskState.WORKING, "half")), e.Spoken())
        (update,) = {one for one in said_so_far if one.startswith("UPDATE tasks")}
        assert "messages" not in update
        assert "artifacts" not in update
        task = find_task(connection, ID)
        assert task is not None
        assert (task.state, task.seq_out, task.events) == (TaskState.WORKING, 1, 2)


@pytest.mark.parametrize("event", [e.Stored(), e.Delivered()], ids=["stored", "delivered"])
@pytest.mark.parametrize("state", list(TaskState))
@pytest.mark.parametrize("delivery", list(Delivery))
def test_a_receipt_moves_the_row_as_the_machine_moves_the_task(
    event: e.Stored | e.Delivered, state: TaskState, delivery: Delivery
) -> None:
    with closing(fresh()) as connection:
        task = with_(begin(connection), state=state, status=said(state), delivery=delivery)
        connection.execute("DELETE FROM tasks")
        insert_task(connection, task)
        after = apply(task, event, T0 + 1)
        assert move_delivery(connection, ID, task.peer, type(event), T0 + 1) == (after is not task)
        assert find_task(connection, ID) == after
        assert len(rows(connection)) == (after is not task)
    assert type(event) in DELIVERIES


def copy_of(connection: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(copy)
    return copy


RESETS = (e.Told, e.Leased, e.Entrusted, e.Resent, e.Forgotten, e.FileLost)
"""Events behind which a client has more than the task: artifacts that are begun anew, or have a sentence for a file."""


class Log(RuleBasedStateMachine):
    """One task in a real database, and readers with cursors of any age."""

    readers: Bundle[Reader] = Bundle("readers")

    @initialize(direction=st.sampled_from(["sent", "received"]))
    def open(self, direction: str) -> None:
        self.connection = fresh()
        self.now, self.streamed = T0, 0
        begin(self.connection, direction)
        self.backup = copy_of(self.connection)

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()
            self.backup.close()

    @property
    def task(self) -> Task:
        task = find_task(self.connection, ID)
        assert task is not None
        return task

    @rule(target=readers)
    def come(self) -> Reader:
        return Reader()

    @rule(events=st.lists(st.sampled_from([one for one in EVENTS if one not in RESETS]), max_size=3), data=st.data())
    def happen(self, events: list[type[Event]], data: st.DataObject) -> None:
        task, chosen = self.task, list[Event]()
        for kind in events:
            if can(task.state, kind) and task.direction in SIDES[kind]:
                event = data.draw(EVENTS[kind])
                task, chosen = apply(task, event, self.now), [*chosen, event]
        record(self.connection, *chosen, now=self.now)

    @rule(given=chunks, whole=artifacts, more=st.integers(1, 3))
    def stream(self, given: Any, whole: Any, more: int) -> None:
        if can(self.task.state, e.ArtifactsGrown):
            grown = e.ArtifactsGrown(given, self.task.streamed + len(given))
            record(self.connection, grown, e.ArtifactsReplaced(tuple(whole)), now=self.now)

    @rule(seconds=st.floats(0.001, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def keep_house(self) -> None:
        trim(self.connection, self.now)

    @rule()
    def back_up(self) -> None:
        self.backup.close()
        self.backup = copy_of(self.connection)

    @rule()
    def restore(self) -> None:
        self.connection.close()
        self.connection = copy_of(self.backup)
        self.now += 1

    @rule(reader=readers)
    def read(self, reader: Reader) -> None:
        wholes = reader.wholes
        told = reader.read(self.connection)
        assert reader.artifacts == self.task.artifacts
        assert reader.status == self.task.status
        if wholes == reader.wholes:
            assert sum(entry.is_end for entry in told) <= 1
        assert reader.read(self.connection) == [], "nothing is told twice"

    @invariant()
    def each_event_has_a_row(self) -> None:
        if hasattr(self, "connection"):
            assert [number for number, *_ in rows(self.connection)] == list(range(1, self.task.events + 1))

    @invariant()
    def no_body_of_a_task_that_was_trimmed_is_left(self) -> None:
        if hasattr(self, "connection") and at_rest(self.task.state):
            copy = copy_of(self.connection)
            trim(copy, self.task.updated + 9_999)
            assert not any(body for *_, body in rows(copy))
            copy.close()


TestLog = Log.TestCase
TestLog.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
