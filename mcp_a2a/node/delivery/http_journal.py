"""What an agent at a URL says, stored with the journal in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.delivery.outcomes import error_view
from mcp_a2a.protocol.model import Delivery, StreamResponse
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.responses import facts_of_responses, remote_of
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.records import find_task, save
from mcp_a2a.store.web import LetterRow, drop_web_letter, drop_web_letters, put_web_context


def store_news(
    connection: sqlite3.Connection, task_id: str, told: Sequence[StreamResponse], letter: LetterRow | None, now: float
) -> tuple[Task | None, bool]:
    """The task with what its agent says, and whether anything is new about it."""
    if letter is not None:
        drop_web_letter(connection, letter)
    task = find_task(connection, task_id)
    if task is None:
        return None, False
    remote, context_id = remote_of(told)
    if context_id is not None and context_id != task.context_id:
        put_web_context(connection, task.peer, task.context_id, context_id)
    is_named = remote is not None and (task.remote is None or letter is not None)
    named = (e.Named(remote),) if remote is not None and is_named else ()
    has_arrived = letter is not None and letter.type == "message" and not task.done
    news = (*((e.Delivered(),) if has_arrived else ()), *facts_of_responses(task, told, now))
    change = Change.of(task, *named, *news, now=now)
    if change.events:
        save(connection, change)
    return change.task, len(change.events) > len(named)


def store_end(
    connection: sqlite3.Connection, task_id: str, error: McpA2AError, delivery: Delivery | None, now: float
) -> Task | None:
    """The task ended by an error, with nothing more to tell its agent; None where it had ended."""
    drop_web_letters(connection, task_id)
    task = find_task(connection, task_id)
    if task is None or task.done:
        return None
    newest = e.Told(task.seq_in + 1, task.attempts, task.direct)
    change = Change.of(task, newest, _end(error, delivery), now=now)
    save(connection, change)
    return change.task


def _end(error: McpA2AError, delivery: Delivery | None) -> Event:
    why = error_view(error)
    match delivery:
        case Delivery.REFUSED:
            return e.Refused(why)
        case Delivery.EXPIRED:
            return e.Expired(why)
        case _:
            return e.Failed(error=why, delivered=delivery == Delivery.DELIVERED)
