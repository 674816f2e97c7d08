"""What happens to tasks that somebody follows, numbered, so that everybody reads the same in the same order.

A thread begins when a task is first followed, with the task as it is then, and grows with each committed change. Who
reads it names the number up to which it knows it; a thread that was dropped, or that another process had, is begun
anew, and its reader gets the whole task once more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

import anyio

from mcp_a2a.node.context import Context, wait_until
from mcp_a2a.node.document import document, shown_artifact
from mcp_a2a.protocol.model import (
    Artifact,
    ArtifactChunk,
    Message,
    Part,
    StreamResponse,
    TaskArtifactUpdateEvent,
    TaskDocument,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from mcp_a2a.protocol.state import at_rest
from mcp_a2a.store.records import TaskRecord, find_task

MAX_EVENTS = 5_000
MAX_BACKLOG = 16 * 1024 * 1024
"""Events, and characters of what they hold, kept of one task. A reader who is further behind gets it as it is."""

IDLE_SECONDS = 60.0
"""A thread that nobody reads is kept so long."""

MAX_THREADS = 5_000
MAX_WEIGHT = 64 * 1024 * 1024
"""Threads, and characters of content in them, above which those that nobody reads go sooner."""


@dataclass
class _Thread:
    """The events of one task."""

    name: str
    latest: TaskRecord
    begun_with: int
    """Characters of content in the task when it was first followed, or nearly."""
    events: deque[tuple[StreamResponse, int]] = field(default_factory=deque)
    """Each with its weight."""
    backlog: int = 0
    """Their weights together."""
    dropped: int = 0
    """Events that are no longer kept."""
    grew: anyio.Event = field(default_factory=anyio.Event)
    readers: int = 0
    """How many wait for it to grow."""

    @property
    def weight(self) -> int:
        return self.begun_with + self.backlog

    @property
    def length(self) -> int:
        return self.dropped + len(self.events)

    def is_over(self, *, to_end: bool) -> bool:
        """True if no event follows for a reader: of the whole task, or of a task until it is at rest."""
        return self.latest.done if to_end else at_rest(self.latest.state)

    def cursor(self, position: int) -> str:
        return f"{self.name}.{position}"

    def position(self, cursor: str) -> int | None:
        """Where the reader is; None where it reads something else, or is too far behind."""
        name, _, number = cursor.rpartition(".")
        if name != self.name or not number.isdecimal():
            return None
        position = int(number)
        return position if self.dropped <= position <= self.length else None

    def since(self, position: int) -> tuple[StreamResponse, ...]:
        """What came after it and is kept."""
        return tuple(event for event, _ in islice(self.events, max(0, position - self.dropped), None))

    def append(self, events: list[StreamResponse]) -> int:
        """Grow; how much heavier that made it."""
        before = self.backlog
        for event in events:
            weight = _event_weight(event)
            self.events.append((event, weight))
            self.backlog += weight
        while len(self.events) > MAX_EVENTS or self.backlog > MAX_BACKLOG:
            self.backlog -= self.events.popleft()[1]
            self.dropped += 1
        grew, self.grew = self.grew, anyio.Event()
        grew.set()
        return self.backlog - before


@dataclass(frozen=True)
class Reading:
    """What a reader gets: `whole` where it begins, else what came since."""

    whole: TaskRecord | None
    events: tuple[StreamResponse, ...]
    cursor: str
    over: bool
    direct: TaskRecord | None = None
    """The task, where its agent answered with a message and meant no task."""


@dataclass(frozen=True)
class Beginning:
    """A task as it is where somebody begins to follow it, and the cursor to read on from."""

    whole: TaskRecord
    cursor: str


class Feed:
    """The threads of a node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._threads: dict[str, _Thread] = {}
        self._unread: dict[str, float] = {}
        """Tasks whose threads nobody reads now, and since when; what was read longest ago comes first."""
        self._weight = 0
        context.task_changes.listeners.append(self._changed)

    def open(self, record: TaskRecord) -> Beginning:
        """Follow a task from now on: from what is known of it here, or else from this record."""
        thread = self._thread(record)
        return Beginning(thread.latest, thread.cursor(thread.length))

    async def read(self, record: TaskRecord, cursor: str | None, seconds: float, *, to_end: bool = False) -> Reading:
        """What came after `cursor`, waiting for it up to so long; without one, the task as it is.

        With `to_end` it is not over while the task waits for somebody.
        """
        thread = self._thread(record)
        position = thread.position(cursor) if cursor is not None else None
        if position is None:
            begun, over = thread.cursor(thread.length), thread.is_over(to_end=to_end)
            return Reading(thread.latest, (), begun, over, _direct(thread.latest))
        if position == thread.length and not thread.is_over(to_end=to_end):
            await self._wait(record.id, thread, seconds)
        # What was read before may have been dropped while this waited.
        over = thread.is_over(to_end=to_end)
        return Reading(None, thread.since(position), thread.cursor(thread.length), over, _direct(thread.latest))

    def drop_idle(self) -> None:
        """Drop the threads that nobody has read for long, and while there is too much, those read longest ago."""
        now = anyio.current_time()
        while len(self._unread) > 1:  # the last was opened just now
            task_id, since = next(iter(self._unread.items()))
            fits = len(self._threads) <= MAX_THREADS and self._weight <= MAX_WEIGHT
            if fits and now - since < IDLE_SECONDS:
                return
            self._drop(task_id)

    def _thread(self, record: TaskRecord) -> _Thread:
        thread = self._threads.get(record.id)
        if thread is None:
            thread = self._threads[record.id] = _Thread(self._context.fresh_id(), record, _weight(record))
            self._weight += thread.weight
            self._leave(record.id, thread)
            self.drop_idle()
        else:
            self._leave(record.id, thread)
        return thread

    def _leave(self, task_id: str, thread: _Thread) -> None:
        """Somebody has read it, and may come again."""
        self._unread.pop(task_id, None)
        if not thread.readers:
            self._unread[task_id] = anyio.current_time()

    async def _wait(self, task_id: str, thread: _Thread, seconds: float) -> None:
        """Wait until a thread grows, or its task is gone."""
        thread.readers += 1
        self._unread.pop(task_id, None)
        try:
            await wait_until(thread.grew, seconds)
        finally:
            thread.readers -= 1
            if self._threads.get(task_id) is thread:
                self._leave(task_id, thread)

    def _drop(self, task_id: str) -> None:
        self._unread.pop(task_id, None)
        thread = self._threads.pop(task_id)
        self._weight -= thread.weight
        thread.grew.set()  # who waits for it begins anew

    def _changed(self, task_id: str, record: TaskRecord | None) -> None:
        thread = self._threads.get(task_id)
        if thread is None:
            return
        latest = record or self._context.database.read(lambda connection: find_task(connection, task_id))
        if latest is None:
            self._drop(task_id)
            return
        if thread.latest.done or _older(latest, thread.latest):
            return
        events = _events(thread.latest, latest)
        thread.latest = latest
        if events:
            self._weight += thread.append(events)


def _direct(record: TaskRecord) -> TaskRecord | None:
    return record if record.direct and record.done else None


def _older(record: TaskRecord, known: TaskRecord) -> bool:
    """Whether news came late: two that changed a task tell of it in their own order."""
    return (record.seq_out, record.seq_in) < (known.seq_out, known.seq_in)


def _events(before: TaskRecord, after: TaskRecord) -> list[StreamResponse]:
    """What one change means to those who follow: that it is worked on, what was made, then where the task stands."""
    task = document(after)
    made = [StreamResponse(artifact_update=_artifact_update(task, chunk)) for chunk in _chunks(before, after)]
    if after.status == before.status:
        return made
    moved = _moved(task, task.status)
    if after.state == TaskState.WORKING:
        return [moved, *made]
    if made and before.state == TaskState.SUBMITTED:
        begun = TaskStatus(state=TaskState.WORKING, timestamp=task.status.timestamp)
        return [_moved(task, begun), *made, moved]
    return [*made, moved]


def _moved(task: TaskDocument, status: TaskStatus) -> StreamResponse:
    update = TaskStatusUpdateEvent(task_id=task.id, context_id=task.context_id or "", status=status)
    return StreamResponse(status_update=update)


def _chunks(before: TaskRecord, after: TaskRecord) -> list[ArtifactChunk]:
    """What was made since: by chunks where all of them are known, else artifacts as a whole."""
    added = _added(before, after)
    if added is not None and after.renewed:
        return [*added, *map(_whole, after.renewed)]
    grown = {chunk.artifact.artifact_id for chunk in added or ()}
    known = {artifact.artifact_id: artifact for artifact in before.artifacts}
    fresh = (one for one in after.artifacts if one.artifact_id not in grown and known.get(one.artifact_id) != one)
    return [*(added or ()), *map(_whole, fresh)]


def _added(before: TaskRecord, after: TaskRecord) -> tuple[ArtifactChunk, ...] | None:
    """The chunks that are new to a thread; None where it lacks some that came between.

    It may have begun, or have been told of a later change, while the news of this one was on its way.
    """
    if after.attempts > before.attempts:
        return after.added  # begun anew
    missing = after.streamed - before.streamed
    if missing > len(after.added):
        return None
    return after.added[len(after.added) - max(0, missing) :]


def _whole(artifact: Artifact) -> ArtifactChunk:
    return ArtifactChunk(artifact=artifact, append=False, last_chunk=True)


def _artifact_update(task: TaskDocument, chunk: ArtifactChunk) -> TaskArtifactUpdateEvent:
    return TaskArtifactUpdateEvent(
        task_id=task.id,
        context_id=task.context_id or "",
        artifact=shown_artifact(chunk.artifact),
        append=chunk.append,
        last_chunk=chunk.last_chunk,
    )


def _weight(record: TaskRecord) -> int:
    last = record.status.message
    said = (*record.messages, last) if last is not None else record.messages
    return sum(map(_content_weight, said)) + sum(map(_content_weight, record.artifacts))


def _event_weight(event: StreamResponse) -> int:
    if event.artifact_update is not None:
        return _content_weight(event.artifact_update.artifact)
    said = event.status_update.status.message if event.status_update is not None else None
    return _content_weight(said) if said is not None else 0


def _content_weight(content: Artifact | Message) -> int:
    """Characters of its parts, and of its names and metadata: an agent may put all it has there."""
    return len(content.model_copy(update={"parts": ()}).to_json()) + sum(map(_part_weight, content.parts))


def _part_weight(part: Part) -> int:
    """Characters of a part. A large text is not written as JSON for that."""
    around = part.model_copy(update={"text": None, "raw": None})
    return len(part.text or "") + len(part.raw or "") + len(around.to_json())
