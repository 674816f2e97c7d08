"""The log of a task for its followers, in A2A's words.

A reader names the cursor up to which it knows the task. What is behind that is the same for every reader, in the same
order, in each process and after a restart. Where it is not all kept, the reader gets the whole task once more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import anyio

from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node.runtime.context import Context, wait_until
from mcp_a2a.node.tasks.document import shown_artifact, shown_status, status_of
from mcp_a2a.protocol.model import ArtifactChunk, StreamResponse, TaskArtifactUpdateEvent, TaskStatusUpdateEvent
from mcp_a2a.protocol.state import at_rest, is_terminal
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.records import find_task
from mcp_a2a.store.task_events import Entry, Page, cursor_of, page_after


@dataclass(frozen=True)
class Reading:
    """The answer for a reader: the task at the beginning (`whole`), else the events since its cursor."""

    whole: Task | None
    events: tuple[StreamResponse, ...]
    cursor: str
    over: bool
    """No event follows for this reader."""
    direct: Task | None = None
    """The task, where its agent answered with a message and meant no task."""


@dataclass(frozen=True)
class Beginning:
    """A task as it is when a reader begins to follow it, and the cursor to read on from."""

    whole: Task
    cursor: str


class Events:
    """The events of the tasks of a node."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def begin(self, task: Task) -> Beginning:
        """Follow a task from now on: from how it is stored, or as it is given where it is not stored yet."""
        read = self._context.database.read
        whole = read(partial(find_task, task_id=task.id)) or task
        return Beginning(whole, read(partial(cursor_of, task=whole)))

    async def read(self, task_id: str, cursor: str | None, seconds: float, *, to_end: bool = False) -> Reading:
        """The events behind a cursor.

        Args:
            task_id: the whole id.
            cursor: of an earlier reading; None for the task as it is.
            seconds: how long to wait where nothing is behind it.
            to_end: it is not over while the task is at rest and has not ended.

        Raises:
            TaskNotFoundError
        """
        deadline = anyio.current_time() + seconds
        while True:
            changed = self._context.task_changes.event(task_id)
            reading = self._context.database.read(partial(_read, task_id=task_id, cursor=cursor, to_end=to_end))
            left = deadline - anyio.current_time()
            if reading.whole is not None or reading.events or reading.over or left <= 0:
                return reading
            cursor = reading.cursor
            await wait_until(changed, left)


def _read(connection: sqlite3.Connection, task_id: str, cursor: str | None, *, to_end: bool) -> Reading:
    is_over = is_terminal if to_end else at_rest
    page = page_after(connection, task_id, cursor) if cursor is not None else None
    if page is not None and page.entries is not None:
        try:
            return _told(connection, task_id, page, over=is_over(page.head.state))
        except ValueError:  # a damaged row: the task says the same
            pass
    task = find_task(connection, task_id)
    if task is None:
        raise TaskNotFoundError(task_id)
    direct = task if task.direct and task.done else None
    return Reading(task, (), cursor_of(connection, task), is_over(task.state), direct)


def _told(connection: sqlite3.Connection, task_id: str, page: Page, *, over: bool) -> Reading:
    entries, is_direct = page.entries or (), page.head.direct and is_terminal(page.head.state)
    ended = find_task(connection, task_id) if is_direct or any(entry.is_end for entry in entries) else None
    events = tuple(event for entry in entries for event in _events(entry, task_id, page.head.context_id, ended))
    return Reading(None, events, page.cursor, over, ended if is_direct else None)


def _events(entry: Entry, task_id: str, context_id: str, ended: Task | None) -> Iterator[StreamResponse]:
    """The A2A events of an entry of the log; none, if A2A has no word for it."""
    whole = (ArtifactChunk(artifact=one, append=False, last_chunk=True) for one in entry.replaced(ended))
    for chunk in (*entry.chunks(), *whole):
        made = TaskArtifactUpdateEvent(task_id=task_id, context_id=context_id, artifact=shown_artifact(chunk.artifact),
                                       append=chunk.append, last_chunk=chunk.last_chunk)  # fmt: skip
        yield StreamResponse(artifact_update=made)
    told = entry.status()
    status = status_of(ended) if ended is not None and entry.is_end else None
    if told is not None:
        status = shown_status(told, task_id, context_id, entry.at)
    if status is not None:
        moved = TaskStatusUpdateEvent(task_id=task_id, context_id=context_id, status=status)
        yield StreamResponse(status_update=moved)
