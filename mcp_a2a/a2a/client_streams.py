"""Streams of agents at URLs, event by event, and what comes in place of a stream."""

from __future__ import annotations

import codecs
import io
import logging
import math
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import anyio
from pydantic import JsonValue

from mcp_a2a.a2a.client_faults import check_answer, check_event, wrong
from mcp_a2a.a2a.client_read import read_answer, read_event
from mcp_a2a.a2a.guarded import Streaming, pause_asked
from mcp_a2a.errors.web import WebAnswerError, WebError
from mcp_a2a.protocol.model import Message, StreamResponse, TaskDocument, TaskState, TaskStatus, TaskStatusUpdateEvent
from mcp_a2a.protocol.task.artifacts import continued
from mcp_a2a.web_ports import AnswerLostError, WebAgent

# A message in a stream: in A2A it is all of the stream (3.1.2), and some agents tell one in pieces, or on the way.
#
# message, end              ->  the message
# message, message, end     ->  one message: what has one id, or none, is one text, in pieces or each time with more
# message, task or update   ->  what the agent says while it works, and then that
# task, message, end        ->  what it says while it works, which is the answer where nothing follows it

HOLD_SECONDS = 1.0
"""How long a message waits for what comes behind it, where the stream does not end with it. Not behind a task: its
stream ends with it (3.1.2), so as long as that is open the agent works."""

logger = logging.getLogger(__name__)


async def whole_messages(
    events: AsyncIterator[Sequence[StreamResponse]], url: str
) -> AsyncIterator[Sequence[StreamResponse]]:
    """The events of the agent at a URL with each message whole, and only at the end of them.

    Raises:
        WebAnswerError: a message is larger in its pieces than it could be in one.
    """
    held: Message | None = None
    size = 0
    begun = ""
    told: Sequence[StreamResponse] | None = ()
    while told is not None:
        told = await _next(events, may_be_all=held is not None and not begun)
        known: list[StreamResponse] = []
        for event in told or ():
            if (piece := event.message) is not None:
                held = piece if held is None else _with(held, piece)
                size = len(piece.to_json()) + (0 if held.parts is piece.parts else size)
                if held is not piece and size > MAX_EVENT:
                    raise wrong(url, WebAnswerError("a message of its stream does not end"))
                if begun:
                    known.append(_on_the_way(held, begun))
                continue
            if held is not None and not begun:
                known.append(_on_the_way(held, (_task_of(event) or "")))
            held, begun = None, begun or (_task_of(event) or "")
            known.append(event)
        if known:
            yield known
    if held is not None:
        yield [StreamResponse(message=held)]


async def _next(
    events: AsyncIterator[Sequence[StreamResponse]], *, may_be_all: bool
) -> Sequence[StreamResponse] | None:
    """The next events; None at the end; None also if none comes in time, or is readable, and `may_be_all` holds."""
    with anyio.move_on_after(HOLD_SECONDS if may_be_all else math.inf):
        try:
            return await anext(events)
        except StopAsyncIteration:
            return None
        except WebError as error:
            if not may_be_all:
                raise
            logger.info("behind a message its agent told nothing that can be read: %s", error)  # it has answered
    return None


def _with(held: Message, piece: Message) -> Message:
    same = held.message_id == piece.message_id
    parts = continued(held.parts, piece.parts) if same else (*held.parts, *piece.parts)
    return piece.model_copy(update={"parts": parts})


def _on_the_way(message: Message, task_id: str) -> StreamResponse:
    """A message of an agent about this task, as an A2A event."""
    status = TaskStatus(state=TaskState.WORKING, message=message)
    told = TaskStatusUpdateEvent(task_id=task_id, context_id=message.context_id or "", status=status)
    return StreamResponse(status_update=told)


# Server-sent events out of whatever pieces they come in (HTML Living Standard 9.2.6), without any I/O.

MAX_EVENT = 8 * 1024 * 1024
"""Characters of one event; also of a line that does not end."""


NEWS = frozenset({"", "message"})
"""Names of events that are for everyone. What has another one, such as `ping`, is for who waits for that."""

_ANSWERS = (
    ('"jsonrpc"', '"result"'), ('"jsonrpc"', '"error"'), ('"task"',), ('"statusUpdate"',), ('"artifactUpdate"',),
)  # fmt: skip
"""Members of an event that is an answer, whatever its name: some agents name events after their content."""


_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")


def is_stream(media_type: str, body: bytes) -> bool:
    """True if these are server-sent events, by their type or by how they begin."""
    return media_type == "text/event-stream" or _BEGINNING.match(body) is not None


class EventReader:
    """Feed it pieces; get the data of the events that they complete."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest, self._rest_size = io.StringIO(), 0
        """The line that has not ended: a piece costs what is new in it, however long the line is by then."""
        self._held = ""
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._is_too_large = False

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that end in this piece.

        Raises:
            WebAnswerError: an event is larger than a reader accepts; those before it were given out.
        """
        text = "" if self._is_too_large else self._held + self._decoder.decode(piece)
        self._held = "\r" if text.endswith("\r") else ""  # it may be the first half of one line end
        *lines, rest = text.removesuffix(self._held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if lines:
            lines[0] = self._take_rest() + lines[0]
        self._rest_size += self._rest.write(rest)
        events = [data for line in lines if (data := self._line(line)) is not None]
        self._is_too_large = self._is_too_large or self._size + self._rest_size > MAX_EVENT
        if self._is_too_large and not events:
            raise WebAnswerError("an event of its stream does not end")
        return events

    def end(self) -> list[str]:
        """The rest at the end of the stream: some agents leave out the last empty line."""
        return [data for line in (self._take_rest(), "") if (data := self._line(line)) is not None]

    def _take_rest(self) -> str:
        rest, self._rest, self._rest_size = self._rest.getvalue(), io.StringIO(), 0
        return rest

    def _line(self, line: str) -> str | None:
        if not line:
            data, name = "\n".join(self._data), self._name
            self._data, self._name, self._size = [], "", 0
            return data if data.strip() and (name in NEWS or _is_answer(data)) else None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == "event":
            self._name = value
        return None


def _is_answer(data: str) -> bool:
    return data.lstrip().startswith("{") and any(all(mark in data for mark in marks) for marks in _ANSWERS)


Noun = TypeVar("Noun")

Events = AsyncIterator[Sequence[StreamResponse]]

CALL_SECONDS = 30.0
MAX_ANSWER = 8 * 1024 * 1024


async def last_told(agent: WebAgent, body: bytes) -> JsonValue:
    """The message of a stream that came where none was asked for, or its last task; what follows that is looked for."""
    reader = EventReader()
    told, problem = _read_events(agent, [*reader.feed(body), *reader.end()])
    last: StreamResponse | None = None
    async for events in whole_messages(only(*told), agent.url):
        last = next((event for event in reversed(events) if event.task or event.message), last)
    if problem is not None and (last is None or last.message is None):
        raise problem
    if last is None:
        raise wrong(agent.url, WebAnswerError("its stream names no task"))
    return last.model_dump(mode="json", by_alias=True, exclude_none=True)


async def events_of(agent: WebAgent, answer: Streaming, idle_seconds: float, *, answers: bool) -> Events:
    """The events as they come, those of one piece together.

    Where there was one, or where this `answers` no message, nothing but signs of life for `idle_seconds` ends it: some
    proxies keep a stream alive that is dead behind them, and the reader looks at the task.
    """
    reader = EventReader()
    last = None if answers else anyio.current_time()
    pieces = aiter(answer.pieces)
    going = True
    while going:
        piece = b""
        with anyio.move_on_after(idle_seconds) as patience:
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                going = False
        if patience.cancelled_caught:
            raise AnswerLostError(f"{agent.url} has said nothing for {idle_seconds:.0f} s.", "It is asked again.")
        try:
            told = reader.feed(piece) if going else reader.end()
        except WebAnswerError as error:
            raise wrong(agent.url, error) from None
        # What comes behind the end of a task cannot undo it, so what was good of a piece is told before what was not.
        events, problem = _read_events(agent, told)
        if events:
            yield events
            last = anyio.current_time()
        elif last is not None and anyio.current_time() - last > idle_seconds:
            return
        if problem is not None and going:  # half an event at the end is what was cut off
            raise problem


def _read_events(agent: WebAgent, told: Sequence[str]) -> tuple[Sequence[StreamResponse], WebError | None]:
    """The events up to the first that cannot be read, and what is wrong with that one."""
    events: list[StreamResponse] = []
    for data in told:
        try:
            event = read_noun(agent, read_event, check_event(agent.url, data))
        except WebError as error:
            return events, error
        if event is not None:
            events.append(event)
    return events, None


async def whole_body(agent: WebAgent, answer: Streaming) -> bytes:
    """The body of what does not call itself a stream; of one that is a stream all the same, what comes in a while."""
    body = bytearray()
    with anyio.move_on_after(CALL_SECONDS) as patience:
        async for piece in answer.pieces:
            body += piece
            if len(body) > MAX_ANSWER:
                raise WebAnswerError(f"{agent.url} answers with more than {MAX_ANSWER:,} bytes.")
    if patience.cancelled_caught and not is_stream(answer.media_type, bytes(body)):
        raise AnswerLostError(f"{agent.url} did not end its answer within {CALL_SECONDS:.0f} s.", "It is asked again.")
    return bytes(body)


def one_answer(agent: WebAgent, answer: Streaming, body: bytes) -> StreamResponse:
    """The single answer in place of a stream: an error, or the answer of an agent that answers at once."""
    later = pause_asked(answer.headers)
    value = check_answer(agent.url, answer.status, answer.media_type, body, later=later)
    event = read_noun(agent, read_event, value)
    if event is not None:
        return event
    said = read_noun(agent, read_answer, value)
    return StreamResponse(task=said) if isinstance(said, TaskDocument) else StreamResponse(message=said)


async def only(*events: StreamResponse) -> Events:
    """A stream of these events."""
    yield events


async def about(task_id: str | None, events: Events) -> Events:
    """The events of one task, by default the first that is named; other events of a stream are about other tasks."""
    async for told in events:
        mine = []
        for event in told:
            named = _task_of(event) or None
            task_id = task_id or named
            if named in (None, task_id):
                mine.append(event)
        if mine:
            yield mine


def _task_of(event: StreamResponse) -> str | None:
    if event.task is not None:
        return event.task.id
    if event.message is not None:
        return event.message.task_id
    update = event.status_update or event.artifact_update
    return update.task_id if update is not None else None


def read_noun(agent: WebAgent, read: Callable[[JsonValue], Noun], value: JsonValue) -> Noun:
    """An agent's answer, as one of our nouns.

    Raises:
        WebAnswerError: it cannot be read; says whose answer it is.
    """
    try:
        return read(value)
    except WebAnswerError as error:
        raise wrong(agent.url, error) from None
