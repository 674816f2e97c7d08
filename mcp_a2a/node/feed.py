"""What happens to tasks that somebody follows, numbered, so that everybody reads the same in the same order.

A thread begins when a task is first followed, with the task as it is then, and grows with each committed change. Who
reads it names the number up to which it knows it; a thread that was dropped, or that another process had, is begun
anew, and its reader gets the whole task once more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import anyio

from mcp_a2a.node.context import Context, wait_until
from mcp_a2a.node.document import document, shown_artifact
from mcp_a2a.protocol.model import (
    Artifact,
    ArtifactChunk,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatusUpdateEvent,
)
from mcp_a2a.protocol.task import INTERRUPTED
from mcp_a2a.store.records import TaskRecord, find_task

MAX_EVENTS = 5_000
"""Events kept of one task. A reader who is further behind gets the task as it is."""

IDLE_SECONDS = 120.0
"""A thread that nobody reads is kept so long."""

MAX_THREADS = 5_000


@dataclass
class _Thread:
    """The events of one task."""

    name: str
    latest: TaskRecord
    read_at: float
    events: deque[StreamResponse] = field(default_factory=deque)
    dropped: int = 0
    """Events that are no longer kept."""
    grew: anyio.Event = field(default_factory=anyio.Event)
    readers: int = 0
    """How many wait for it to grow."""

    @property
    def length(self) -> int:
        return self.dropped + len(self.events)

    @property
    def resting(self) -> bool:
        """Whether nothing will happen until somebody says something."""
        return self.latest.done or self.latest.state in INTERRUPTED

    def is_over(self, *, to_end: bool) -> bool:
        """Whether a reader has all there will be: to the end of the task, or until it waits for somebody."""
        return self.latest.done if to_end else self.resting

    def cursor(self, position: int) -> str:
        return f"{self.name}.{position}"

    async def wait(self, seconds: float) -> None:
        """Wait until it grows, or is dropped."""
        self.readers += 1
        try:
            await wait_until(self.grew, seconds)
        finally:
            self.readers -= 1

    def position(self, cursor: str) -> int | None:
        """Where the reader is; None where it reads something else, or is too far behind."""
        name, _, number = cursor.rpartition(".")
        if name != self.name or not number.isdecimal():
            return None
        position = int(number)
        return position if self.dropped <= position <= self.length else None

    def append(self, events: list[StreamResponse]) -> None:
        self.events.extend(events)
        while len(self.events) > MAX_EVENTS:
            self.events.popleft()
            self.dropped += 1
        grew, self.grew = self.grew, anyio.Event()
        grew.set()


@dataclass(frozen=True)
class Reading:
    """What a reader gets: `whole` where it begins, else what came since."""

    whole: TaskRecord | None
    events: tuple[StreamResponse, ...]
    cursor: str
    over: bool
    direct: TaskRecord | None = None
    """The task, where its agent answered with a message and meant no task."""


class Feed:
    """The threads of a node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._threads: dict[str, _Thread] = {}
        context.task_changes.on_notify = self._changed

    def open(self, record: TaskRecord) -> str:
        """Follow a task from now on; the cursor to read on from."""
        thread = self._threads.get(record.id)
        if thread is None:
            self._drop_idle()
            thread = _Thread(self._context.fresh_id(), record, anyio.current_time())
            self._threads[record.id] = thread
        return thread.cursor(thread.length)

    async def read(self, record: TaskRecord, cursor: str | None, seconds: float, *, to_end: bool = False) -> Reading:
        """What came after `cursor`, waiting for it up to so long; without one, the task as it is.

        With `to_end` it is not over while the task waits for somebody.
        """
        begun = self.open(record)
        thread = self._threads[record.id]
        thread.read_at = anyio.current_time()
        position = thread.position(cursor) if cursor is not None else None
        if position is None:
            return Reading(thread.latest, (), begun, thread.is_over(to_end=to_end), _direct(thread.latest))
        if position == thread.length and not thread.is_over(to_end=to_end):
            await thread.wait(seconds)
        thread.read_at = anyio.current_time()
        # What was read before may have been dropped while this waited.
        events = tuple(thread.events)[max(0, position - thread.dropped) :]
        over = thread.is_over(to_end=to_end)
        return Reading(None, events, thread.cursor(thread.length), over, _direct(thread.latest))

    def _changed(self, task_id: str, record: TaskRecord | None) -> None:
        thread = self._threads.get(task_id)
        if thread is None:
            return
        latest = record or self._context.database.read(lambda connection: find_task(connection, task_id))
        if latest is None:
            self._threads.pop(task_id).grew.set()
            return
        if thread.latest.done or _older(latest, thread.latest):
            return
        events = _events(thread.latest, latest)
        thread.latest = latest
        if events:
            thread.append(events)

    def _drop_idle(self) -> None:
        if not self._threads:
            return
        now = anyio.current_time()
        oldest = next(iter(self._threads))
        if len(self._threads) < MAX_THREADS and now - self._threads[oldest].read_at < IDLE_SECONDS:
            return
        idle = [
            name
            for name, thread in self._threads.items()
            if not thread.readers and now - thread.read_at >= IDLE_SECONDS
        ]
        if not idle and len(self._threads) >= MAX_THREADS:
            idle = [oldest]
        for name in idle:
            self._threads.pop(name).grew.set()  # who waits for it begins anew


def _direct(record: TaskRecord) -> TaskRecord | None:
    return record if record.direct and record.done else None


def _older(record: TaskRecord, known: TaskRecord) -> bool:
    """Whether news came late: two that changed a task tell of it in their own order."""
    return (record.seq_out, record.seq_in) < (known.seq_out, known.seq_in) and not record.added


def _events(before: TaskRecord, after: TaskRecord) -> list[StreamResponse]:
    """What one change means to those who follow: first what was made, then where the task stands."""
    task = document(after)
    chunks = [*after.added, *(_whole(artifact) for artifact in _replaced(before, after))]
    events = [StreamResponse(artifact_update=_artifact_update(task, chunk)) for chunk in chunks]
    if after.status != before.status:
        update = TaskStatusUpdateEvent(task_id=task.id, context_id=after.context_id, status=task.status)
        events.append(StreamResponse(status_update=update))
    return events


def _replaced(before: TaskRecord, after: TaskRecord) -> list[Artifact]:
    """Artifacts that are new as a whole."""
    if after.renewed:
        return list(after.renewed)
    grown = {chunk.artifact.artifact_id for chunk in after.added}
    known = {artifact.artifact_id: artifact for artifact in before.artifacts}
    return [
        artifact
        for artifact in after.artifacts
        if artifact.artifact_id not in grown and known.get(artifact.artifact_id) != artifact
    ]


def _whole(artifact: Artifact) -> ArtifactChunk:
    return ArtifactChunk(artifact=artifact, append=False, last_chunk=True)


def _artifact_update(task: Task, chunk: ArtifactChunk) -> TaskArtifactUpdateEvent:
    return TaskArtifactUpdateEvent(
        task_id=task.id,
        context_id=task.context_id or "",
        artifact=shown_artifact(chunk.artifact),
        append=chunk.append,
        last_chunk=chunk.last_chunk,
    )
