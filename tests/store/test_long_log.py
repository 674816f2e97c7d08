"""Attacks on the log of tasks."""

from __future__ import annotations

from contextlib import closing

import pytest

from mcp_a2a.protocol.model import TaskState
from mcp_a2a.protocol.payload import UpdateBody
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.updates import facts_of
from mcp_a2a.store import task_events
from mcp_a2a.store.records import find_task
from mcp_a2a.store.task_events import cursor_of, page_after
from tests.protocol.task.samples import T0, artifact, said
from tests.store.test_task_events import ID, Reader, begin, fresh, record, rows


def test_a_reader_that_got_the_task_because_its_log_is_lost_waits_for_what_comes_then() -> None:
    with closing(fresh()) as connection:
        begin(connection, "received")
        record(connection, e.Progressed(said(TaskState.WORKING, "half")))
        connection.execute("DELETE FROM task_events")
        task = find_task(connection, ID)
        assert task is not None
        page = page_after(connection, ID, cursor_of(connection, task))
        assert page is not None
        assert page.entries == ()  # else the reader gets the whole task again and again, without a pause
        record(connection, e.Progressed(said(TaskState.WORKING, "more")))
        page = page_after(connection, ID, page.cursor)
        assert page is not None
        assert page.entries is not None
        assert [entry.kind for entry in page.entries] == ["progressed"]


def test_an_agent_that_talks_without_end_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_events, "MAX_EVENTS_OF_TASK", 10)
    with closing(fresh()) as connection:
        begin(connection)
        reader = Reader()
        for number in range(500):
            record(connection, e.Told(number, 1), e.Progressed(said(TaskState.WORKING, f"{number}")), now=T0 + number)
        assert len(rows(connection)) < 200
        reader.read(connection)
        record(connection, e.Progressed(said(TaskState.WORKING, "more")), now=T0 + 600)
        assert [entry.kind for entry in reader.read(connection)] == ["progressed"]


def test_a_whole_that_says_what_is_known_is_told_to_no_reader_and_written_nowhere() -> None:
    with closing(fresh()) as connection:
        begin(connection)
        made = (artifact("x" * 5_000), artifact("other", "b"))
        working = e.Progressed(said(TaskState.WORKING))
        record(connection, e.Told(1, 1), e.Delivered(), working, e.ArtifactsReplaced(made))
        before = rows(connection)
        for seq in range(2, 5):  # a link that breaks and comes back has the agent tell the task whole each time
            task = find_task(connection, ID)
            assert task is not None
            again = UpdateBody(status=task.status, artifacts=made, attempt=1, whole=0)
            facts = facts_of(task, seq, again)
            assert facts is not None
            record(connection, *facts, now=T0 + seq)
        assert rows(connection) == before
