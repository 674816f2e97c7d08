"""`mcp-a2a forget`: removes finished tasks, their texts and their files, a few at a time."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mcp_a2a.api.tasks import ForgetRequest, ForgetView, KeptTask
from mcp_a2a.errors.tasks import NotForgettableError
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.blobs import BlobRow, blobs_of
from mcp_a2a.store.forgetting import Removed, finished_before, forget, forgettable, size_of, why_kept
from mcp_a2a.store.records import get_task, moment
from mcp_a2a.store.schema import drop_copies

BATCH = 200
"""Tasks of one transaction: others wait for a commit no longer than that takes."""


class Forgetting:
    """Removes what a person no longer wants to keep."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @answers(ForgetRequest)
    async def forget(self, request: ForgetRequest) -> ForgetView:
        """Forget tasks by id, or the next of those that are old enough; with `count_only` only say what would go.

        Raises:
            TaskNotFoundError, TaskForgottenError: there is no such task, or no longer.
            NotForgettableError: a task that was named is not finished.
        """
        now = self._context.clock()
        if request.count_only:
            return self._context.database.read(lambda connection: self._forget(connection, request, now))
        view = await self._context.database.write(lambda connection: self._forget(connection, request, now))
        self._context.database.empty_log()
        drop_copies(self._context.database.path)
        return view

    def _forget(self, connection: sqlite3.Connection, request: ForgetRequest, now: float) -> ForgetView:
        named = [get_task(connection, asked) for asked in request.task_ids]
        for record in named:
            why = why_kept(connection, record)
            if why is not None:
                raise NotForgettableError(record.id, why)
        if named:
            found, more = named, False
        else:
            found, more = self._old(connection, request, now)
        done: list[str] = []
        kept: list[KeptTask] = []
        freed = files = 0
        for record in {record.id: record for record in found}.values():
            why = why_kept(connection, record)
            if why is not None:
                kept.append(KeptTask(task_id=record.id, reason=why))
                continue
            removed = self._measure(connection, record) if request.count_only else self._remove(connection, record, now)
            done.append(record.id)
            freed += removed.text_bytes + sum(self._bytes(row) for row in removed.files)
            files += len(removed.files)
            if not request.count_only:
                self._context.spool.remove(self._path(row) for row in removed.files)
        after = found[-1].id if found and more else None
        return ForgetView(tasks=tuple(done), kept=tuple(kept), files=files, freed_bytes=freed, after=after)

    def _old(self, connection: sqlite3.Connection, request: ForgetRequest, now: float) -> tuple[list[Task], bool]:
        before = now - (request.older_than_seconds or 0.0)
        ids = finished_before(connection, before, request.after or "", BATCH + 1)
        records = [forgettable(connection, task_id) for task_id in ids[:BATCH]]
        return [record for record in records if record is not None], len(ids) > BATCH

    def _remove(self, connection: sqlite3.Connection, record: Task, now: float) -> Removed:
        return forget(connection, record, now, f"{record.id} was deleted by you at {moment(now)}.")

    def _measure(self, connection: sqlite3.Connection, record: Task) -> Removed:
        return Removed(size_of(connection, record.id), tuple(blobs_of(connection, record.id)))

    def _path(self, row: BlobRow) -> Path:
        return self._context.spool.path(row.direction, row.peer, row.id)

    def _bytes(self, row: BlobRow) -> int:
        try:
            return self._path(row).stat().st_size
        except OSError:
            return 0
