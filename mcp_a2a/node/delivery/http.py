"""Brings tasks to agents at URLs, and their responses back.

    messages in the journal   ->  message, by stream where the agent streams; cancel
    no message, task working  ->  subscribe; where the task is unknown to the agent, poll
    login needed              ->  poll slowly: the agent does not report a login
    otherwise                 ->  the errand ends until there is a message again

One errand for each task, one request at a time. A message leaves the journal in the transaction that stores the answer
to it, so after a crash it is sent again, under the same ids. An unreachable agent is tried again with growing pauses;
an agent that took a message and gave no proper answer, a few times only.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import anyio.lowlevel

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import ExpiredError
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.errors.web import AddressNotAllowedError, WebAnswerError, WebError, WebFailedError, WebRefusedError
from mcp_a2a.node.delivery.http_journal import store_end, store_news
from mcp_a2a.node.delivery.http_messages import Outgoing
from mcp_a2a.node.delivery.http_verdicts import Errand, given_up, interrupt
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import WebPeer, way_to_allow
from mcp_a2a.node.runtime.context import Context, pause_after, wait_until
from mcp_a2a.protocol.backoff import MAX_EXPONENT, Backoff
from mcp_a2a.protocol.extensions import check_extensions
from mcp_a2a.protocol.model import Delivery, StreamResponse, TaskDocument, TaskState
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS
from mcp_a2a.protocol.state import at_rest, is_terminal
from mcp_a2a.protocol.task.responses import facts_of_responses, needs_nothing, remote_of, stops
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.task.turns import has_made_something, is_old_question, wordless_rest
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.store.records import find_task
from mcp_a2a.store.web import (
    LetterRow,
    drop_web_letter,
    forget_web_contexts,
    next_web_letter,
    unfinished_web_tasks,
)
from mcp_a2a.web_ports import NO_STREAM, AnswerLostError, NotNowError, WebRequest

logger = logging.getLogger(__name__)

RETRY = Backoff(cap=60.0, least=0.05)
DISK_SECONDS = 5.0
LOOK = Backoff(0.375, 18.75, 1.5, jitter=0.4)
"""Pauses between looks at a task that no stream tells of, growing while nothing is new."""

LOOKS_AFTER_FAILURE = 20
"""Looks in a row, about three minutes, that show nothing new of a task over which its agent said that it failed: there
are frameworks that never end a task whose function raised an error."""

MAX_HISTORY = 1_024
"""Messages of a history that are asked for where a task rests without a word: some agents tell an answer in pieces."""

GLANCE_SECONDS = 1.5
"""Longest wait of a caller that reads a task for a fresh look at a task that rests at its agent."""

MAX_LISTENING = 128
"""Streams at once; beyond that it is polled, so that there is always a connection to send and to cancel with."""

Events = AbstractAsyncContextManager[AsyncIterator[Sequence[StreamResponse]]]


class WebCourier:
    """Runs the errands of a node."""

    def __init__(self, context: Context, book: WebBook, files: Files) -> None:
        self._context, self._book = context, book
        self._outgoing = Outgoing(context, files)
        self._errands: dict[str, Errand] = {}
        self._listening = 0

    def start(self) -> None:
        """Take up what was left when the node stopped."""
        for task in self._context.database.read(unfinished_web_tasks):
            self.kick(task)
        self._context.database.enqueue_lazily(forget_web_contexts)

    def kick(self, task: str) -> None:
        """There is something to tell the agent of a task, or to ask it."""
        errand = self._errands.get(task)
        if errand is not None:
            errand.news.set()
            return
        self._errands[task] = Errand(task)
        self._context.tasks.start_soon(self._run, self._errands[task])

    async def glance(self, record: Task) -> None:
        """Read the state of a task that waits for our message from its agent once, within `GLANCE_SECONDS`."""
        resting = record.state == TaskState.INPUT_REQUIRED and record.sent and record.remote is not None
        if not resting or record.id in self._errands:
            return
        with anyio.move_on_after(GLANCE_SECONDS):
            try:
                peer = await self._book.find(record.peer)
                task = await self._book.calls.get(peer.agent, record.remote or "")
                await self._take(Errand(record.id), [StreamResponse(task=task)], None)
            except McpA2AError as error:
                logger.info("%s was not looked at: %s", record.id, error)
        latest = self._context.database.read(lambda connection: find_task(connection, record.id))
        if latest is not None and not needs_nothing(latest):
            self.kick(record.id)

    def tried(self, task: str) -> tuple[str, ...]:
        """Why a task does not get on."""
        errand = self._errands.get(task)
        return (errand.tried,) if errand is not None and errand.tried else ()

    async def _run(self, errand: Errand) -> None:
        going = True
        while going:
            try:
                going = await self._step(errand)
            except McpA2AError as error:  # a full disk, say: no caller was told of anything that is not stored
                logger.warning("the errand of %s waits: %s", errand.task, error)
                await anyio.sleep(DISK_SECONDS)
            except Exception:  # one agent must not take all others down with it
                logger.exception("the errand of %s broke", errand.task)
                errand.broken, going = True, not errand.broken
        del self._errands[errand.task]

    async def _step(self, errand: Errand) -> bool:
        """One thing to do for a task; False when there is none."""
        errand.news = anyio.Event()
        letter = self._next_letter(errand)
        record = self._context.database.read(lambda connection: find_task(connection, errand.task))
        if record is None or (letter is None and needs_nothing(record)):
            return False
        if errand.broken:
            await self._end(record, McpA2AError("It failed inside this node.", "See its log."))
            return False
        if record.remote is not None:
            errand.taken.set()
        peer: WebPeer | None = None
        try:
            peer = await self._book.find(record.peer)
            if letter is None:
                await self._look(errand, record, peer)
            else:
                await self._tell(errand, record, letter, peer)
        except WebError as error:
            await self._failed(errand, peer, error, letter)
        except FileError as error:
            await self._end(record, error, Delivery.REFUSED)
        else:
            self._book.answered(peer)
            errand.failures, errand.nonsense, errand.lost, errand.tried = 0, 0, 0, ""
        return True

    def _next_letter(self, errand: Errand) -> LetterRow | None:
        return self._context.database.read(lambda connection: next_web_letter(connection, errand.task))

    # --- telling ---------------------------------------------------------------------------------

    async def _tell(self, errand: Errand, record: Task, letter: LetterRow, peer: WebPeer) -> None:
        if letter.type == "cancel":
            await self._cancel(record, letter, peer)
            return
        message = next((one for one in record.said if one.message_id == letter.message), None)
        if message is None or (record.done and record.remote is None):
            await self._drop(letter)
            return
        await self._book.refresh(peer)
        check_extensions(peer.name, peer.row.card, message.extensions or ())  # since it was sent, perhaps
        # By task, for a client of ours may give several messages one id.
        request = WebRequest(await self._outgoing.made(record, message), f"{record.id}/{letter.message}")
        if self._may_stream(errand, peer):
            try:
                await self._listen(errand, self._book.calls.stream(peer.agent, request), letter)
            except WebRefusedError as error:
                if error.reason not in NO_STREAM:
                    raise
                errand.streams = False
                if self._next_letter(errand) != letter:  # it was taken before that was said: it is looked at next
                    return
            else:
                return
        answer = await self._book.calls.send(peer.agent, request)
        event = StreamResponse(task=answer) if isinstance(answer, TaskDocument) else StreamResponse(message=answer)
        await self._take(errand, await self._with_the_answer(errand, [event]), letter)

    async def _cancel(self, record: Task, letter: LetterRow, peer: WebPeer) -> None:
        events: list[StreamResponse] = []
        if record.remote is not None:
            try:
                events = [StreamResponse(task=await self._book.calls.cancel(peer.agent, record.remote))]
            except (WebRefusedError, WebAnswerError) as error:
                # It is over there already, or cannot be stopped: how it ends is seen by looking on.
                logger.info("%s was not canceled: %s", record.id, error)
        await self._take(Errand(record.id), events, letter)

    # --- looking ---------------------------------------------------------------------------------

    async def _look(self, errand: Errand, record: Task, peer: WebPeer) -> None:
        """How a task gets on that was taken."""
        if record.remote is None:
            raise WebAnswerError(f"{peer.url} began a task and did not say its id.")
        elsewhere = record.state == TaskState.AUTH_REQUIRED  # a person has to act, so no poll is urgent
        streaming = self._may_stream(errand, peer) and not elsewhere
        pause = pause_after(MAX_EXPONENT if elsewhere else errand.looks, LOOK)
        if (errand.looks or not streaming) and await wait_until(errand.news, pause):
            return
        errand.looks += 1
        if streaming:
            try:
                await self._listen(errand, self._book.calls.subscribe(peer.agent, record.remote), None)
            except (WebRefusedError, WebAnswerError):
                errand.streams = False
            except WebError as error:
                logger.info("the stream of %s broke, so it is looked at: %s", record.id, error)
            if errand.news.is_set() or self._is_resting(errand):
                return
        # A stream that failed, ended or told nothing leaves open how the task stands.
        task = await self._book.calls.get(peer.agent, record.remote)
        if await self._take(errand, await self._with_the_answer(errand, [StreamResponse(task=task)]), None):
            errand.broke = None
        elif errand.broke is not None and errand.looks >= LOOKS_AFTER_FAILURE:
            await self._end(record, errand.broke)

    def _is_resting(self, errand: Errand) -> bool:
        record = self._context.database.read(lambda connection: find_task(connection, errand.task))
        return record is None or at_rest(record.state)

    def _may_stream(self, errand: Errand, peer: WebPeer) -> bool:
        """True if the agent streams, as far as we know, and we have a connection to spare."""
        return peer.agent.streams and errand.streams and self._listening < MAX_LISTENING

    async def _listen(self, errand: Errand, events: Events, letter: LetterRow | None) -> None:
        """Apply what a stream tells until there is nothing more to come, or something to tell the agent."""
        problem: McpA2AError | None = None
        news, heard = errand.news, anyio.Event()
        if letter is None:
            heard.set()
        self._listening += 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(interrupt, (heard, news, errand.taken), tasks.cancel_scope)
            try:
                await self._hear(errand, events, letter, heard)
            except WebFailedError as error:
                problem = error
                if letter is not None and heard.is_set():  # it told of the task, and then that
                    errand.broke, errand.streams = error, False
            except McpA2AError as error:
                problem = error
            finally:
                self._listening -= 1
            tasks.cancel_scope.cancel()
        if problem is not None:
            raise problem

    async def _hear(self, errand: Errand, events: Events, letter: LetterRow | None, heard: anyio.Event) -> None:
        follow_up, first = letter is not None and errand.taken.is_set(), True
        whole = letter is not None  # a subscription need not begin where the last stream broke off
        async with events as stream:
            async for told in stream:
                whole = whole or any(event.task is not None for event in told)
                heard_now = told if whole else await self._with_what_was_missed(errand, told)
                await self._take(errand, await self._with_the_answer(errand, heard_now), letter)
                letter = None
                heard.set()
                record = self._context.database.read(lambda connection: find_task(connection, errand.task))
                # The first word after a reply may still be the question.
                if record is None or record.done or (at_rest(record.state) and not (first and follow_up)):
                    return
                first = False
                # Where more is always there, the loop waits for nothing but the disk, and that cannot be interrupted.
                await anyio.lowlevel.checkpoint()
        if letter is not None:
            raise AnswerLostError(f"The stream of {errand.task} ended before it began.", "It is tried again.")

    async def _with_what_was_missed(self, errand: Errand, told: Sequence[StreamResponse]) -> Sequence[StreamResponse]:
        """What is told, and before the agent stops the task as it has it: between two streams it may have said more."""
        record = self._context.database.read(lambda connection: find_task(connection, errand.task))
        if record is None or record.remote is None or not any(map(stops, told)):
            return told
        peer = await self._book.find(record.peer)
        try:
            task = await self._book.calls.get(peer.agent, record.remote)
        except (WebRefusedError, WebAnswerError) as error:
            logger.info("what was missed of %s is lost: %s", record.id, error)
            return told
        return [*(event for event in told if not stops(event)), StreamResponse(task=task), *filter(stops, told)]

    async def _with_the_answer(self, errand: Errand, told: Sequence[StreamResponse]) -> Sequence[StreamResponse]:
        """What is told, and before a status without a word the history: what is said may be there alone."""
        status = wordless_rest(told)
        record = self._context.database.read(lambda connection: find_task(connection, errand.task))
        if status is None or record is None or record.done or record.state == status.state:
            return told
        if status.state == TaskState.COMPLETED and has_made_something(record, told):
            return told
        if is_old_question(record, status, self._context.clock()):
            return told
        remote, peer = remote_of(told)[0] or record.remote, await self._book.find(record.peer)
        if remote is None:
            return told
        try:
            task = await self._book.calls.get(peer.agent, remote, history=MAX_HISTORY)
        except WebError as error:  # what was told is not to be told again for that
            logger.info("the history of %s is not to be had: %s", record.id, error)
            return told
        return [*told[:-1], StreamResponse(task=task), told[-1]]

    # --- the record ------------------------------------------------------------------------------

    async def _take(self, errand: Errand, events: Sequence[StreamResponse], letter: LetterRow | None) -> bool:
        """Store what the agent says, and that it has heard us, in one transaction; whether it was news."""
        now = self._context.clock()
        if letter is None and not self._is_news(errand, events, now):
            return False

        record, changed = await self._context.database.write(
            lambda connection: store_news(connection, errand.task, events, letter, now)
        )
        if record is not None:
            if record.remote is not None:
                errand.taken.set()
            if changed:
                errand.looks = 0
                self._context.task_changes.notify(record.id, record)
        return changed

    def _is_news(self, errand: Errand, events: Sequence[StreamResponse], now: float) -> bool:
        record = self._context.database.read(lambda connection: find_task(connection, errand.task))
        return record is not None and bool(facts_of_responses(record, events, now))

    async def _drop(self, letter: LetterRow) -> None:
        await self._context.database.write(lambda connection: drop_web_letter(connection, letter))

    async def _end(self, record: Task, error: McpA2AError, delivery: Delivery | None = None) -> None:
        now = self._context.clock()

        ended = await self._context.database.write(lambda c: store_end(c, record.id, error, delivery, now))
        if ended is not None:
            self._context.task_changes.notify(ended.id, ended)

    # --- trouble ---------------------------------------------------------------------------------

    async def _failed(self, errand: Errand, peer: WebPeer | None, error: WebError, told: LetterRow | None) -> None:
        """The agent could not be asked, would not, or answered nonsense. It may have heard it all the same."""
        letter = self._next_letter(errand)
        record = self._context.database.read(lambda connection: find_task(connection, errand.task))
        if record is None:
            return
        if isinstance(error, AddressNotAllowedError) and peer is not None:
            error.remedy = way_to_allow(peer.agent, error)
        if peer is not None and error.retryable and not isinstance(error, WebFailedError):
            self._book.failed(peer, error)
        if letter is not None and letter != told:
            return  # it came meanwhile, so that was no answer to it: it is told next
        if not errand.is_hopeless(error, undelivered=letter is not None):
            await self._pause(errand, record, letter, error)
        elif letter is not None and (letter.type == "cancel" or _may_have_been_heard(record, error)):
            await self._drop(letter)  # what became of it is seen by looking on
        elif not await self._has_ended(errand, record, letter, peer, error):
            heard = isinstance(error, WebAnswerError) or record.remote is not None or errand.lost > 0
            ending = given_up(record, error, lost=errand.lost)
            await self._end(record, ending, Delivery.DELIVERED if heard else Delivery.REFUSED)

    async def _has_ended(
        self, errand: Errand, record: Task, letter: LetterRow | None, peer: WebPeer | None, error: WebError
    ) -> bool:
        """True if its agent broke over our reply, and has an end of the task all the same: then that is its word."""
        if peer is None or letter is None or record.remote is None or not isinstance(error, WebFailedError):
            return False
        try:
            task = await self._book.calls.get(peer.agent, record.remote)
            if not is_terminal(task.status.state):
                return False
            await self._take(errand, await self._with_the_answer(errand, [StreamResponse(task=task)]), letter)
        except WebError as worse:
            logger.info("%s was not looked at: %s", record.id, worse)
            return False
        return True

    async def _pause(self, errand: Errand, record: Task, letter: LetterRow | None, error: WebError) -> None:
        if letter is not None and self._context.clocks.aged() - letter.created > MAX_LIFETIME_SECONDS:
            await self._end(record, ExpiredError(record.peer_name, MAX_LIFETIME_SECONDS / 86_400), Delivery.EXPIRED)
            return
        if errand.tried != (tried := with_short_urls(error.message)):
            errand.tried = tried
            self._context.task_changes.notify(errand.task)
        pause = pause_after(errand.failures, RETRY)
        errand.failures += 1
        asked = error.seconds if isinstance(error, NotNowError) else 0.0
        await wait_until(errand.news, max(pause, asked))


def _may_have_been_heard(record: Task, error: WebError) -> bool:
    """True if a refusal may only mean that the agent went on already: a reply whose answer was lost is told twice."""
    return record.remote is not None and isinstance(error, WebRefusedError) and error.reason == "UNSUPPORTED_OPERATION"
