"""What an agent at a URL says, stored with the journal in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.model import Delivery, StreamResponse
from mcp_a2a.protocol.task.responses import apply, end, remote_of
from mcp_a2a.store.records import TaskRecord, find_task, save_task
from mcp_a2a.store.web import LetterRow, drop_web_letter, drop_web_letters, put_web_context


def store_news(
    connection: sqlite3.Connection, task: str, events: Sequence[StreamResponse], letter: LetterRow | None, now: float
) -> tuple[TaskRecord | None, bool]:
    """The task with what its agent says, and whether anything is new about it."""
    if letter is not None:
        drop_web_letter(connection, letter)
    record = find_task(connection, task)
    if record is None:
        return None, False
    remote, context_id = remote_of(events)
    if remote is not None and (record.remote is None or letter is not None):
        record.remote = remote
    if context_id is not None and context_id != record.context_id:
        put_web_context(connection, record.peer, record.context_id, context_id)
    before = record.delivery
    if letter is not None and letter.type == "message" and not record.done:
        record.delivery = Delivery.DELIVERED
    changed = apply(record, events, now) or record.delivery != before
    save_task(connection, record)
    return record, changed


def store_end(
    connection: sqlite3.Connection, task: str, error: McpA2AError, delivery: Delivery | None, now: float
) -> TaskRecord | None:
    """The task ended by an error, with nothing more to tell its agent; None where it had ended."""
    drop_web_letters(connection, task)
    record = find_task(connection, task)
    if record is None or record.done:
        return None
    end(record, error, now, delivery=delivery)
    save_task(connection, record)
    return record
