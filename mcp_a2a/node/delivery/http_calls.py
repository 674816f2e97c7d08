"""Calls to an agent at a URL about a task, and its responses until they are stored."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.web import WebAnswerError, WebError, WebFailedError, WebRefusedError
from mcp_a2a.node.delivery.http_journal import store_end, store_news
from mcp_a2a.node.delivery.http_messages import HttpMessages
from mcp_a2a.node.delivery.model import Route
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import WebPeer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.extensions import check_extensions
from mcp_a2a.protocol.model import StreamResponse, TaskDocument, TaskState
from mcp_a2a.protocol.state import at_rest, is_terminal
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.responses import facts_of_responses, remote_of, stops
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.task.turns import has_made_something, is_old_question, wordless_rest
from mcp_a2a.store.journal import OutboxRow
from mcp_a2a.store.records import find_task
from mcp_a2a.web_ports import NO_STREAM, AnswerLostError, WebRequest

logger = logging.getLogger(__name__)

MAX_HISTORY = 1_024
"""Messages of a history that are asked for where a task rests without a word: some agents tell an answer in pieces."""

MAX_LISTENING = 128
"""Streams at once; beyond that it is polled, so that there is always a connection to send and to cancel with."""

Responses = AbstractAsyncContextManager[AsyncIterator[Sequence[StreamResponse]]]


@dataclass(eq=False)
class Telling:
    """A message that is being told."""

    row: OutboxRow
    token: bytes
    """The token that its answer names in the queue."""
    is_answered: bool = False


@dataclass(eq=False)
class RemoteTask:
    """A task at an agent at a URL, for as long as something is to be told or asked. One thing is done at a time."""

    id: str
    route: Route
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    users: int = 0
    """Calls that are going on or wait for their turn."""
    waiting: int = 0
    """Of them, messages that wait."""
    wanted: anyio.Event = field(default_factory=anyio.Event)
    """A message waits, or nothing more is to be told: nothing need be listened to any more."""
    named: anyio.Event = field(default_factory=anyio.Event)
    """The agent has told its name for the task."""
    streams: bool = True
    """False after its card's word about streaming has turned out to be wrong."""
    can_stream: bool = False
    """The next look is a stream."""
    has_news: bool = False
    """Something new was stored in this turn."""
    trouble: McpA2AError | None = None
    """The error that ended a stream behind the answer to a message. The next look reports it."""
    broke: WebFailedError | None = None
    """The agent's report of a failure in a stream of a task that went on."""
    error: McpA2AError | None = None
    """The newest failure."""

    def begin(self) -> McpA2AError | None:
        """Begin a turn; the trouble that the one before has left."""
        trouble, self.trouble, self.has_news = self.trouble, None, False
        self.wanted = anyio.Event()
        if self.waiting:
            self.wanted.set()
        return trouble


@dataclass(eq=False)
class HttpCalls:
    """Calls agents about tasks, and stores what they say."""

    context: Context
    book: WebBook
    messages: HttpMessages
    answered: Callable[[RemoteTask, Telling], None]
    """Called when the answer to a message was stored."""
    listening: int = 0

    def record(self, task_id: str) -> Task | None:
        """The task as it is stored."""
        return self.context.database.read(lambda connection: find_task(connection, task_id))

    # --- calls -------------------------------------------------------------------------------------

    async def tell(self, remote: RemoteTask, record: Task, peer: WebPeer, telling: Telling) -> None:
        """Tell the agent a message, by a stream where it streams. What there is no reason to tell any more is not told.

        Raises:
            McpA2AError: it was not told; or it was, and the stream that followed broke.
        """
        said = (one for one in record.said if telling.row.id == f"{record.id}/{one.message_id}")
        message = next(said, None)
        if message is None or (record.done and record.remote is None):
            return
        await self.book.refresh(peer)
        check_extensions(peer.name, peer.row.card, message.extensions or ())  # since it was sent, perhaps
        # By task, for a client of ours may give several messages one id.
        request = WebRequest(await self.messages.made(record, message), telling.row.id)
        try:
            if not self._can_stream(remote, peer):
                await self._send(remote, peer, request, telling)
                return
            await self._listen(remote, self.book.calls.stream(peer.agent, request), telling)
        except WebFailedError:
            if telling.is_answered or not await self._has_ended(remote, record, peer, telling):
                raise
        except WebRefusedError as error:
            if error.reason not in NO_STREAM or not remote.can_stream:
                raise
            remote.streams = remote.can_stream = False
            if not telling.is_answered:  # otherwise it was taken before that was said, and is looked at next
                await self._send(remote, peer, request, telling)

    async def _send(self, remote: RemoteTask, peer: WebPeer, request: WebRequest, telling: Telling) -> None:
        answer = await self.book.calls.send(peer.agent, request)
        event = StreamResponse(task=answer) if isinstance(answer, TaskDocument) else StreamResponse(message=answer)
        await self.take(remote, [event], telling)

    async def _has_ended(self, remote: RemoteTask, record: Task, peer: WebPeer, telling: Telling) -> bool:
        """True if the agent broke over a reply, and has an end of the task all the same: then that is its word."""
        if record.remote is None:
            return False
        try:
            task = await self.book.calls.get(peer.agent, record.remote)
            if not is_terminal(task.status.state):
                return False
            await self.take(remote, [StreamResponse(task=task)], telling)
        except WebError as worse:
            logger.info("%s was not looked at: %s", record.id, worse)
            return False
        return True

    async def cancel(self, remote: RemoteTask, record: Task, peer: WebPeer, telling: Telling) -> None:
        """Ask the agent to stop, if it has the task.

        Raises:
            McpA2AError: it could not be asked.
        """
        events: list[StreamResponse] = []
        if record.remote is not None:
            try:
                events = [StreamResponse(task=await self.book.calls.cancel(peer.agent, record.remote))]
            except (WebRefusedError, WebAnswerError) as error:
                # It is over there already, or cannot be stopped: how it ends is seen by looking on.
                logger.info("%s was not canceled: %s", record.id, error)
        await self.store(remote, events, telling)

    async def look(self, remote: RemoteTask, record: Task, peer: WebPeer) -> None:
        """Ask the agent how a task gets on that it has taken: by a stream where it streams, else once.

        Raises:
            McpA2AError: it did not say.
        """
        if record.remote is None:
            raise WebAnswerError(f"{peer.url} began a task and did not say its id.")
        # Where a person must log in, nothing is to be heard soon.
        if self._can_stream(remote, peer) and record.state != TaskState.AUTH_REQUIRED:
            try:
                await self._listen(remote, self.book.calls.subscribe(peer.agent, record.remote))
            except (WebRefusedError, WebAnswerError):
                remote.streams = remote.can_stream = False
            except WebError as error:
                logger.info("the stream of %s broke, so it is looked at: %s", record.id, error)
            latest = self.record(remote.id)
            if remote.wanted.is_set() or latest is None or at_rest(latest.state):
                return
        # A stream that failed, ended or told nothing leaves open how the task stands.
        task = await self.book.calls.get(peer.agent, record.remote)
        await self.take(remote, [StreamResponse(task=task)])

    def _can_stream(self, remote: RemoteTask, peer: WebPeer) -> bool:
        """True if the agent streams, as far as is known, and a connection is left for that."""
        remote.can_stream = peer.agent.streams and remote.streams and self.listening < MAX_LISTENING
        return remote.can_stream

    # --- what it says ------------------------------------------------------------------------------

    async def take(self, remote: RemoteTask, events: Sequence[StreamResponse], telling: Telling | None = None) -> None:
        """Store what the agent says with what it has said before and does not say again. See `store`."""
        await self.store(remote, await self._with_the_answer(remote.id, events), telling)

    async def store(self, remote: RemoteTask, events: Sequence[StreamResponse], telling: Telling | None = None) -> None:
        """Store what the agent says, and that it has heard a message, in one transaction."""
        now = self.context.clock()
        row = telling.row if telling is not None and not telling.is_answered else None
        if row is None and not self._is_news(remote.id, events, now):
            return
        record, changed = await self.context.database.write(
            lambda connection: store_news(connection, remote.id, events, row, now)
        )
        if record is not None and record.remote is not None:
            remote.named.set()
        if record is not None and changed:
            remote.has_news = True
            self.context.task_changes.notify(record.id, record)
        if telling is not None and row is not None:
            self.answered(remote, telling)

    async def end(self, task_id: str, ending: Callable[[Task], Event]) -> None:
        """Store the end of a task that this node decides."""
        now = self.context.clock()
        task = await self.context.database.write(lambda connection: store_end(connection, task_id, ending, now))
        if task is not None:
            self.context.task_changes.notify(task_id, task)

    def _is_news(self, task_id: str, events: Sequence[StreamResponse], now: float) -> bool:
        record = self.record(task_id)
        return record is not None and bool(facts_of_responses(record, events, now))

    async def _listen(self, remote: RemoteTask, responses: Responses, telling: Telling | None = None) -> None:
        """Store what a stream tells until there is nothing more to come, or something to tell the agent."""
        problem: McpA2AError | None = None
        heard, was_named = anyio.Event(), remote.named.is_set()
        if telling is None:
            heard.set()
        self.listening += 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_interrupt, (heard, remote.wanted, remote.named), tasks.cancel_scope)
            try:
                await self._hear(remote, responses, telling, heard, is_follow_up=telling is not None and was_named)
            except McpA2AError as error:
                problem = error
            finally:
                self.listening -= 1
            tasks.cancel_scope.cancel()
        if problem is not None:
            if isinstance(problem, WebFailedError) and telling is not None and telling.is_answered:
                remote.broke, remote.streams, remote.can_stream = (
                    problem,
                    False,
                    False,
                )  # it told of the task, and then that
            raise problem

    async def _hear(
        self, remote: RemoteTask, responses: Responses, telling: Telling | None, heard: anyio.Event, *,
        is_follow_up: bool,
    ) -> None:  # fmt: skip
        is_first = True
        is_whole = telling is not None  # a subscription need not begin where the last stream broke off
        async with responses as stream:
            async for told in stream:
                is_whole = is_whole or any(event.task is not None for event in told)
                events = told if is_whole else await self._with_what_was_missed(remote.id, told)
                await self.take(remote, events, telling)
                heard.set()
                record = self.record(remote.id)
                # The first word after a reply may still be the question.
                if record is None or record.done or (at_rest(record.state) and not (is_first and is_follow_up)):
                    return
                is_first = False
                # Where more is always there, the loop waits for nothing but the disk, and that cannot be interrupted.
                await anyio.lowlevel.checkpoint()
        if not heard.is_set():
            raise AnswerLostError(f"The stream of {remote.id} ended before it began.", "It is tried again.")

    async def _with_what_was_missed(self, task_id: str, told: Sequence[StreamResponse]) -> Sequence[StreamResponse]:
        """The events, and before a stop of the agent its task: between two streams there may have been more."""
        record = self.record(task_id)
        if record is None or record.remote is None or not any(map(stops, told)):
            return told
        peer = await self.book.find(record.peer)
        try:
            task = await self.book.calls.get(peer.agent, record.remote)
        except (WebRefusedError, WebAnswerError) as error:
            logger.info("what was missed of %s is lost: %s", record.id, error)
            return told
        return [*(event for event in told if not stops(event)), StreamResponse(task=task), *filter(stops, told)]

    async def _with_the_answer(self, task_id: str, told: Sequence[StreamResponse]) -> Sequence[StreamResponse]:
        """The events, and before a status without a message the history, which alone may have the message."""
        status, record = wordless_rest(told), self.record(task_id)
        if status is None or record is None or record.done or record.state == status.state:
            return told
        if status.state == TaskState.COMPLETED and has_made_something(record, told):
            return told
        if is_old_question(record, status, self.context.clock()):
            return told
        remote, peer = remote_of(told)[0] or record.remote, await self.book.find(record.peer)
        if remote is None:
            return told
        try:
            task = await self.book.calls.get(peer.agent, remote, history=MAX_HISTORY)
        except WebError as error:  # what was told is not to be told again for that
            logger.info("the history of %s is not to be had: %s", record.id, error)
            return told
        return [*told[:-1], StreamResponse(task=task), told[-1]]


async def _interrupt(events: Sequence[anyio.Event], scope: anyio.CancelScope) -> None:
    """A message is to be told while a stream goes on: it waits for the answer to the one before, and a name.

    What is being told may be the very thing that the message is about: broken off, it would be told twice.
    """
    for event in events:
        await event.wait()
    scope.cancel()
