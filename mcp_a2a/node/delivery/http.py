"""Carries messages to agents at URLs, and looks at their tasks there.

    a message waits  ->  it is told, by stream where the agent streams
    nothing waits, work goes on  ->  a look: subscribe; where that is not known, poll
    a person must log in  ->  a look, seldom: where that is done, no agent tells
    otherwise  ->  the task is left alone until its caller says something

The queue says when, and this courier how. A destination is a task, not an agent: one thing is done for each task at a
time, and one task at an agent that does not answer keeps no other one. A message leaves the journal in the transaction
that stores the answer to it, so after a crash it is told again, under the same ids.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import ExpiredError
from mcp_a2a.errors.web import AddressNotAllowedError, WebError
from mcp_a2a.node.delivery import patience
from mcp_a2a.node.delivery.answers import Answered, Word
from mcp_a2a.node.delivery.events import MessageDropped, MessageExpired, MessageFate, MessagePutOff, MessageRefused
from mcp_a2a.node.delivery.http_calls import HttpCalls, RemoteTask, Telling
from mcp_a2a.node.delivery.http_messages import HttpMessages
from mcp_a2a.node.delivery.http_verdicts import (
    DISK_SECONDS,
    answer_of,
    fault_of,
    given_up,
    has_heard,
    may_pass,
    pause_of,
)
from mcp_a2a.node.delivery.model import At, Fault, Kind, Looked, Route, Send, Way
from mcp_a2a.node.delivery.outcomes import error_view
from mcp_a2a.node.delivery.queue import DeliveryQueue
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import way_to_allow
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.model import StreamResponse, TaskState
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.responses import needs_nothing
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.store.journal import OutboxRow, drop_outbox
from mcp_a2a.store.web import forget_web_contexts, unfinished_web_tasks

logger = logging.getLogger(__name__)

GLANCE_SECONDS = 1.5
"""Time that a reader of a task waits for a look at what rests at its agent."""


@dataclass(eq=False)
class HttpCourier:
    """The courier of agents at URLs. Implements `Courier`; a destination is the id of a task."""

    context: Context
    book: WebBook
    files: Files
    queue: DeliveryQueue
    rows: Mapping[str, OutboxRow]
    """The journal rows of the messages that wait, by id."""
    at: Callable[[], At]
    reported: Callable[[], None]
    """Called after a report."""
    dropped: Callable[[str], None]
    """Called with a task of which nothing more is to be told."""
    _tasks: dict[str, RemoteTask] = field(default_factory=dict)
    _ending: set[str] = field(default_factory=set)
    """Tasks of which the end is being stored."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._calls = HttpCalls(self.context, self.book, HttpMessages(self.context, self.files), self._delivered)

    @property
    def patience(self) -> patience.Patience:
        """The numbers that the queue goes by."""
        return patience.HTTP

    def start(self) -> None:
        """Go on with the tasks that an earlier process left open."""
        for task_id in self.context.database.read(unfinished_web_tasks):
            self.attend(task_id)
        self.context.database.enqueue_lazily(forget_web_contexts)
        self.reported()

    # --- what the queue asks for -------------------------------------------------------------------

    def carry(self, send: Send) -> None:
        """Tell an agent a message, when what is going on about its task is over; a stream is broken off."""
        remote, telling = self._tasks[send.destination], Telling(self.rows[send.id], b"http %d" % next(self._numbers))
        self.queue.sent(send.id, telling.token, self.at())
        remote.users += 1
        remote.waiting += 1
        remote.wanted.set()
        self.context.tasks.start_soon(self._carry, remote, telling)

    def dial(self, destination: str) -> None:
        """A URL has no connection to be opened: whether its agent is there is seen by telling it something."""
        url, streams = "", False
        with suppress(McpA2AError):  # what cannot be read now is found when it is told something
            record = self._calls.record(destination)
            url = record.peer if record is not None else ""
            peer = self.book.known(url)
            streams = peer is not None and peer.agent.streams
        route = Route(next(self._numbers), url, Way.HTTP, streams=streams)
        self._tasks[destination] = RemoteTask(destination, route, can_stream=streams)
        self.queue.route_opened(destination, route, self.at())
        self._close_if_idle(destination)

    def look(self, destination: str) -> None:
        """Look at a task, when what is going on about it is over. Reports `looked`.

        A task that was closed since then is not looked at.
        """
        remote = self._tasks.get(destination)
        if remote is not None:
            remote.users += 1
            self.context.tasks.start_soon(self._look, remote)

    def attend(self, task_id: str) -> None:
        """Have a task looked at if its agent may have news of it, and forget it if there is nothing to do."""
        try:
            record = self._calls.record(task_id)
            wanted = record is not None and not needs_nothing(record) and task_id not in self._ending
            slow = record is not None and record.state == TaskState.AUTH_REQUIRED
        except McpA2AError as error:  # asked again after the next look: the disk may be there by then
            logger.warning("whether there is news of %s cannot be read: %s", task_id, error)
            wanted, slow = True, False
        self.queue.attend(task_id, self.at(), wanted=wanted, slow=slow)
        self._close_if_idle(task_id)

    def leave_off(self, task_id: str) -> None:
        """Break off a stream about a task of which nothing more is told, and forget the task."""
        if task_id in self._tasks:
            self._tasks[task_id].wanted.set()
        self.attend(task_id)

    def _close_if_idle(self, task_id: str) -> None:
        remote = self._tasks.get(task_id)
        if remote is not None and not remote.users and self.queue.is_idle(task_id):
            del self._tasks[task_id]
            self.queue.route_closed(task_id, remote.route.id, self.at())

    def _leave(self, remote: RemoteTask) -> None:
        remote.users -= 1
        self.attend(remote.id)
        self.reported()

    async def _carry(self, remote: RemoteTask, telling: Telling) -> None:
        async with remote.turn:
            remote.waiting -= 1
            remote.begin()
            if self.queue.holds(telling.row.id):
                error = await self._try(remote, telling)
                if telling.is_answered:
                    remote.trouble = error  # of the stream that went on behind the answer
                elif error is None:
                    self._report(remote, telling, Answered(Word.SUPERSEDED, signed=True))
                else:
                    self._report(remote, telling, answer_of(error, telling.row, is_taken=remote.named.is_set()))
        self._leave(remote)

    def _delivered(self, remote: RemoteTask, telling: Telling) -> None:
        self._report(remote, telling, Answered(Word.DELIVERED, signed=True))

    def _report(self, remote: RemoteTask, telling: Telling, answered: Answered) -> None:
        telling.is_answered = True
        self._set_route(remote)
        self.attend(remote.id)
        self.queue.answered(telling.token, answered, remote.route, self.at())
        self.reported()

    async def _look(self, remote: RemoteTask) -> None:
        async with remote.turn:
            error = remote.begin()
            if error is None and not remote.waiting:
                error = await self._try(remote)
            self._set_route(remote)
            self.attend(remote.id)
            self._report_look(remote, error)
            self.reported()
        self._leave(remote)

    def _report_look(self, remote: RemoteTask, error: McpA2AError | None) -> None:
        if error is None:
            self.queue.looked(remote.id, Looked.NEWS if remote.has_news else Looked.SAME, self.at())
            return
        remote.error, words = error, with_short_urls(error.message)
        fault = Fault.BROKE if error is remote.broke else fault_of(error)
        is_new = self.queue.attempts(remote.id) != (words,)
        self.queue.looked(remote.id, fault, self.at(), pause_of(error), (words,))
        if is_new:
            self.context.task_changes.notify(remote.id)

    async def _try(self, remote: RemoteTask, telling: Telling | None = None) -> McpA2AError | None:
        """Tell an agent a message, or look at its task; why that failed."""
        peer = None
        try:
            record = self._calls.record(remote.id)
            if record is None or (telling is None and needs_nothing(record)):
                return None
            if record.remote is not None:
                remote.named.set()
            peer = await self.book.find(record.peer)
            if telling is None:
                await self._calls.look(remote, record, peer)
            elif telling.row.type == Kind.CANCEL:
                await self._calls.cancel(remote, record, peer, telling)
            else:
                await self._calls.tell(remote, record, peer, telling)
            self.book.answered(peer)
        except McpA2AError as error:
            if isinstance(error, AddressNotAllowedError) and peer is not None:
                error.remedy = way_to_allow(peer.agent, error)
            if isinstance(error, WebError) and peer is not None and may_pass(error):
                self.book.failed(peer, error)
            logger.info("%s waits: %s", remote.id, error)
            remote.error = error
            return error
        except Exception:  # one agent must not end the deliveries to all others
            logger.exception("what was to be done for %s broke", remote.id)
            why = error_view(McpA2AError("It failed inside this node.", "See its log."))
            self._end(remote.id, lambda _: e.Failed(error=why))
        return None

    def _set_route(self, remote: RemoteTask) -> None:
        """Tell the queue whether the next look is a stream, which begins without a pause."""
        if remote.route.streams != remote.can_stream:
            remote.route = replace(remote.route, streams=remote.can_stream)
            self.queue.route_opened(remote.id, remote.route, self.at())

    async def glance(self, record: Task) -> None:
        """A reader looks at a task that waits for its caller: look once, for a moment, whether it still does."""
        is_resting = record.state == TaskState.INPUT_REQUIRED and record.sent and record.remote is not None
        if not is_resting or record.id in self._tasks:
            return
        with anyio.move_on_after(GLANCE_SECONDS):
            try:
                peer = await self.book.find(record.peer)
                task = await self.book.calls.get(peer.agent, record.remote or "")
                remote = RemoteTask(record.id, Route(next(self._numbers), record.peer, Way.HTTP))
                await self._calls.store(remote, [StreamResponse(task=task)])
            except McpA2AError as error:
                logger.info("%s was not looked at: %s", record.id, error)
        self.attend(record.id)
        self.reported()

    # --- what became of messages and tasks -----------------------------------------------------------

    def record(self, event: MessageFate, row: OutboxRow) -> None:
        """Report the outcome of a message. An answered message is stored already, and has left the journal so."""
        match event:
            case MessagePutOff():
                self.context.task_changes.notify(row.task)
            case MessageExpired():
                self._end(row.task, _expired)
            case MessageRefused(lost=lost) if row.type != Kind.CANCEL:
                self._give_up(row.task, lost)
            case MessageRefused() | MessageDropped():  # how the task ends is seen by looking on
                self.context.database.enqueue_lazily(lambda connection: drop_outbox(connection, row))
            case _:
                pass

    def look_given_up(self, task_id: str, fault: Fault) -> None:
        """So many looks at a task have failed that it ends."""
        broke = self._tasks[task_id].broke
        if fault is Fault.BROKE and broke is not None:
            self._end(task_id, lambda _: e.Failed(error=error_view(broke)))
        else:
            self._give_up(task_id)

    def _give_up(self, task_id: str, lost: int = 0) -> None:
        error = self._tasks[task_id].error or WebError("It was refused.")

        def ending(task: Task) -> Event:
            why = error_view(given_up(task, error, lost))
            is_heard = isinstance(error, WebError) and has_heard(task, error, lost)
            return e.Failed(error=why, delivered=True) if is_heard else e.Refused(why)

        self._end(task_id, ending)

    def _end(self, task_id: str, ending: Callable[[Task], Event]) -> None:
        """End a task. Nothing more is told of it, also while the end cannot be stored."""
        self._ending.add(task_id)
        self.dropped(task_id)
        self.context.tasks.start_soon(self._store_end, task_id, ending)

    async def _store_end(self, task_id: str, ending: Callable[[Task], Event]) -> None:
        while task_id in self._ending:
            try:
                await self._calls.end(task_id, ending)
                self._ending.discard(task_id)
            except McpA2AError as error:  # the disk is full
                logger.warning("the end of %s waits: %s", task_id, error)
                await anyio.sleep(DISK_SECONDS)
        self.attend(task_id)
        self.reported()


def _expired(task: Task) -> Event:
    return e.Expired(error_view(ExpiredError(task.peer_name, MAX_LIFETIME_SECONDS / 86_400)))
