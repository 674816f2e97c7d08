"""Streams of agents at URLs, event by event, and what comes in place of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import anyio
from pydantic import JsonValue

from mcp_a2a.a2a.client_faults import check_answer, check_event, wrong
from mcp_a2a.a2a.client_read import read_answer, read_event
from mcp_a2a.a2a.guarded import Streaming, pause_asked
from mcp_a2a.a2a.message_pieces import whole_messages
from mcp_a2a.a2a.sse import EventReader, is_stream
from mcp_a2a.errors.web import WebAnswerError, WebError
from mcp_a2a.protocol.model import StreamResponse, TaskDocument
from mcp_a2a.web_ports import AnswerLostError, WebAgent

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
    """What came in place of a stream: an error, or an agent that answers at once."""
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
    """What is told of one task, by default the first that is named: what else a stream tells is about others."""
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
    """What an agent says, as one of our nouns.

    Raises:
        WebAnswerError: it cannot be read; says whose answer it is.
    """
    try:
        return read(value)
    except WebAnswerError as error:
        raise wrong(agent.url, error) from None
