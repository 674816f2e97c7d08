"""Stores the responses of an agent at a URL with the journal, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from mcp_a2a.protocol.model import StreamResponse
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.responses import facts_of_responses, remote_of
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import OutboxRow, drop_outbox, drop_outbox_of_task
from mcp_a2a.store.records import find_task, save
from mcp_a2a.store.web import put_web_context


def store_news(
    connection: sqlite3.Connection, task_id: str, told: Sequence[StreamResponse], row: OutboxRow | None, now: float
) -> tuple[Task | None, bool]:
    """Store what an agent says of a task. `row` is the message that it answers by that; it leaves the journal.

    Returns:
        The task, and whether anything is new about it.
    """
    if row is not None:
        drop_outbox(connection, row)
    task = find_task(connection, task_id)
    if task is None:
        return None, False
    remote, context_id = remote_of(told)
    if context_id is not None and context_id != task.context_id:
        put_web_context(connection, task.peer, task.context_id, context_id)
    is_named = remote is not None and (task.remote is None or row is not None)
    named = (e.Named(remote),) if remote is not None and is_named else ()
    has_arrived = row is not None and row.type == "message" and not task.done
    news = (*((e.Delivered(),) if has_arrived else ()), *facts_of_responses(task, told, now))
    change = Change.of(task, *named, *news, now=now)
    if change.events:
        save(connection, change)
    return change.task, len(change.events) > len(named)


def store_end(connection: sqlite3.Connection, task_id: str, ending: Callable[[Task], Event], now: float) -> Task | None:
    """Store the end of a task, of which nothing more is told to its agent.

    Returns:
        The task; None if it had ended.
    """
    drop_outbox_of_task(connection, task_id, "message", "cancel")
    task = find_task(connection, task_id)
    if task is None or task.done:
        return None
    newest = e.Told(task.seq_in + 1, task.attempts, task.direct)
    change = Change.of(task, newest, ending(task), now=now)
    save(connection, change)
    return change.task
