"""Attacks on the log of tasks."""

from __future__ import annotations

from contextlib import closing

from mcp_a2a.protocol.model import TaskState
from mcp_a2a.protocol.task import events as e
from mcp_a2a.store.records import find_task
from mcp_a2a.store.task_events import cursor_of, page_after
from tests.protocol.task.samples import said
from tests.store.test_task_events import ID, begin, fresh, record


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
