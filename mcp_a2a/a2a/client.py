"""An A2A client: reads cards at URLs, and speaks 1.0 or 0.3 over JSON-RPC or HTTP+JSON with whoever has one.

find_card(url)  ->  agent-card.json, agent.json, the URL itself; the first that is a card
send, stream    ->  the best interface; a stream may turn out to be one answer
subscribe       ->  the task as it is, then its events; by POST where GET is not known
"""

from __future__ import annotations

import codecs
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Self, TypeVar

import anyio
from pydantic import JsonValue
from typing_extensions import override

from mcp_a2a.a2a.addresses import PUBLIC, PUBLIC_HTTPS, Policy, as_typed, check_addresses, check_url
from mcp_a2a.a2a.client_card import card_of, is_current, names_only, read_card, usable
from mcp_a2a.a2a.client_faults import check_answer, check_event, names_no_agent, wrong
from mcp_a2a.a2a.client_read import read_answer, read_event, read_task
from mcp_a2a.a2a.client_write import Asked, Operation, ask_card, ask_message, ask_older_card, ask_task, with_extensions
from mcp_a2a.a2a.guarded import Answered, Call, Gone, GuardedSession, Resolve, Streaming, pause_asked, resolve_anywhere
from mcp_a2a.a2a.message_pieces import whole_messages
from mcp_a2a.a2a.sse import EventReader, is_stream
from mcp_a2a.a2a.unreachable import NotConnectedError
from mcp_a2a.errors import AddressNotAllowedError, CardError, WebAnswerError, WebError, WebRefusedError
from mcp_a2a.protocol.extensions import required_extensions
from mcp_a2a.protocol.model import AgentInterface, Message, StreamResponse, TaskDocument
from mcp_a2a.protocol.signed_card import verify_card
from mcp_a2a.protocol.web_url import agent_url, card_urls, origin, spelled
from mcp_a2a.web_ports import (
    AnswerLostError,
    FoundCard,
    NoCardError,
    NotNowError,
    Range,
    WebAgent,
    WebCalls,
    WebRequest,
)

CARD_SECONDS = 5.0
MAX_CARD = 64 * 1024

SEND_SECONDS = 900.0
"""An agent that was asked not to wait may wait nevertheless, and answer with the result."""

CALL_SECONDS = 30.0
MAX_ANSWER = 8 * 1024 * 1024
IDLE_SECONDS = 300.0
"""A stream that says nothing for so long, not even that it is there, is no longer there."""

Noun = TypeVar("Noun")

Events = AsyncIterator[Sequence[StreamResponse]]
Ask = Callable[[AgentInterface], Asked]
"""A request as an interface has it."""

MAX_SPOKEN = 1024
"""Interfaces that are remembered to speak another version than their card says."""
_OTHER_VERSION = frozenset({"VERSION_NOT_SUPPORTED", "METHOD_NOT_FOUND"})
_NO_SUCH_PATH = _OTHER_VERSION | {"NOT_FOUND"}
"""The same over HTTP+JSON, where a path has the version in it. Of messages alone: for a task it says something else."""

logger = logging.getLogger(__name__)


class WebClient(WebCalls):
    """Calls agents at URLs. Use as a context."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve_anywhere,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._tls, self._resolve = tls, resolve
        self._idle_seconds = idle_seconds
        self._sessions: dict[Policy, GuardedSession] = {}
        self._spoken: dict[AgentInterface, AgentInterface] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        sessions, self._sessions = self._sessions, {}
        with anyio.CancelScope(shield=True):  # closing takes no time, and what is left open is left for ever
            for session in sessions.values():
                await session.close()

    def close_gone(self, gone: Gone) -> None:
        """End what runs over an address that this machine no longer has, so that it is tried anew at once."""
        for session in self._sessions.values():
            session.close_gone(gone)

    def _session(self, url: str, within: Range) -> GuardedSession:
        policy = _policy(url, within)
        session = self._sessions.get(policy)
        if session is None:
            session = self._sessions[policy] = GuardedSession(policy, tls=self._tls, resolve=self._resolve)
        return session

    # --- cards -----------------------------------------------------------------------------------

    @override
    async def find_card(self, url: str, *, within: Range, headers: Mapping[str, str]) -> FoundCard:
        session = self._session(url, within)
        check_url(spelled(url), session.policy)
        missing: list[str] = []
        for candidate in card_urls(url):
            secrets = headers if origin(candidate) == origin(spelled(url)) else {}
            answer = await session.fetch(
                Call(
                    "GET",
                    candidate,
                    {"Accept": "application/json", "A2A-Version": "1.0"},
                    max_bytes=MAX_CARD,
                    seconds=CARD_SECONDS,
                    follow=True,
                    secrets=secrets,
                )
            )
            reason = _no_card(answer, candidate)
            if reason is None:
                return await self._extended(_found(answer.body, candidate), within, headers)
            missing.append(reason)
            if answer.status == 404 and names_no_agent(answer.status, answer.body):
                break
        raise NoCardError(
            f"There is no agent card at {url}: {'; '.join(missing[:3])}.",
            "Ask the agent's owner for its address; its card is at /.well-known/agent-card.json below that.",
        )

    async def _extended(self, found: FoundCard, within: Range, headers: Mapping[str, str]) -> FoundCard:
        """The card that the agent shows to who has a credential, where it says that there is one."""
        if not (headers and found.card.capabilities.extended_agent_card):
            return found
        agent = WebAgent(found.url, found.card, within, headers)
        try:
            extended = _found(json.dumps(await self._extended_card(agent)).encode(), found.url)
        except WebError as error:
            logger.info("the extended card of %s is not to be had: %s", found.url, error)
            return found
        if found.key is not None and extended.key != found.key:
            logger.warning("the extended card of %s is not signed as its card is, and is not read", found.url)
            return found
        return replace(extended, url=found.url)

    async def _extended_card(self, agent: WebAgent) -> JsonValue:
        try:
            return await self._fetch(agent, ask_card, CARD_SECONDS)
        except WebRefusedError as refused:
            if refused.reason != "METHOD_NOT_FOUND" or is_current(self._ways(agent)[0]):
                raise
        return await self._fetch(agent, ask_older_card, CARD_SECONDS)

    @override
    async def check(self, agent: WebAgent) -> None:
        policy = _policy(agent.url, agent.range)
        *others, last = self._ways(agent)
        for interface in others:
            with suppress(AddressNotAllowedError):
                return await self._check(interface.url, policy)
        return await self._check(last.url, policy)

    async def _check(self, url: str, policy: Policy) -> None:
        host, port = check_url(url, policy)
        if policy.allows_anything_at(host, port):
            return
        # A name that nobody knows now leads nowhere; that is found out by whoever calls it.
        with anyio.move_on_after(CARD_SECONDS), suppress(OSError, UnicodeError):
            check_addresses(url, (host, port), await self._resolve(host, port), policy)

    # --- tasks -----------------------------------------------------------------------------------

    @override
    async def send(self, agent: WebAgent, request: WebRequest) -> TaskDocument | Message:
        value = await self._fetch(agent, partial(_ask_message, "send", request, agent), SEND_SECONDS, tells=True)
        return _read(agent, read_answer, value)

    @override
    @asynccontextmanager
    async def stream(self, agent: WebAgent, request: WebRequest) -> AsyncIterator[Events]:
        ask = partial(_ask_message, "stream", request, agent)
        async with self._stream(agent, ask, SEND_SECONDS, answers=True) as events:
            yield whole_messages(_about(None, events), agent.url)

    @override
    async def get(self, agent: WebAgent, task_id: str, *, history: int | None = None) -> TaskDocument:
        return await self._task(agent, "get", task_id, history)

    @override
    @asynccontextmanager
    async def subscribe(self, agent: WebAgent, task_id: str) -> AsyncIterator[Events]:
        method = "GET"
        interface = self._ways(agent)[0]
        if interface.protocol_binding == "HTTP+JSON":
            # The specification's text has POST here and its protobuf GET, so agents have either.
            asked = ask_task(interface, "subscribe", task_id, method=method)
            method = await self._known_method(agent, asked)
        ask = partial(_ask_subscription, agent, task_id, method)
        async with self._stream(agent, ask, CALL_SECONDS, answers=False) as events:
            yield _about(task_id, events)

    @override
    async def cancel(self, agent: WebAgent, task_id: str) -> TaskDocument:
        return await self._task(agent, "cancel", task_id)

    async def _task(
        self, agent: WebAgent, operation: Operation, task_id: str, history: int | None = None
    ) -> TaskDocument:
        """What the agent says of a task that it has taken."""
        ask = partial(_ask_task, agent, operation, task_id, history)
        value = await self._fetch(agent, ask, CALL_SECONDS)
        if value is None:
            raise WebRefusedError(f"{agent.url} returned nothing about this task.", reason="TASK_NOT_FOUND")
        task = _read(agent, read_task, _unwrapped(value))
        if task.id != task_id:
            raise wrong(agent.url, WebAnswerError("it answers with another task than the one asked for"))
        return task

    # --- calls -----------------------------------------------------------------------------------

    def _ways(self, agent: WebAgent) -> list[AgentInterface]:
        """The interfaces that we speak, best first, in the version that turned out to be spoken there."""
        found = usable(agent.card)
        if not found:
            raise CardError(f"The agent at {agent.url} has no interface that mcp-a2a speaks.")
        return [self._spoken.get(interface, interface) for interface in found]

    async def _fetch(self, agent: WebAgent, ask: Ask, seconds: float, *, tells: bool = False) -> JsonValue:
        session = self._session(agent.url, agent.range)

        async def fetch(interface: AgentInterface) -> JsonValue:
            answer = await session.fetch(_call(agent, ask(interface), seconds))
            if 200 <= answer.status < 300 and is_stream(answer.media_type, answer.body):
                return await _last_told(agent, answer.body)
            return check_answer(
                agent.url, answer.status, answer.media_type, answer.body, later=pause_asked(answer.headers)
            )

        return await self._attempt(agent, fetch, tells=tells)

    async def _attempt(
        self, agent: WebAgent, call: Callable[[AgentInterface], Awaitable[Noun]], *, tells: bool = False
    ) -> Noun:
        """Call the best interface; where it is dead or may not be called, the next one. `tells`: with a message."""
        *others, last = self._ways(agent)
        for interface in others:
            try:
                return await self._in_either_version(interface, call, tells=tells)
            except (NotConnectedError, AddressNotAllowedError) as error:
                logger.info("the next interface of %s is tried: %s", agent.url, error)
        return await self._in_either_version(last, call, tells=tells)

    async def _in_either_version(
        self, interface: AgentInterface, call: Callable[[AgentInterface], Awaitable[Noun]], *, tells: bool
    ) -> Noun:
        """The card may name the other version: an agent that says so has done nothing yet."""
        try:
            return await call(interface)
        except WebRefusedError as refused:
            by_path = interface.protocol_binding != "JSONRPC"
            if refused.reason not in (_NO_SUCH_PATH if by_path else _OTHER_VERSION) or (by_path and not tells):
                raise
            other = interface.model_copy(update={"protocol_version": "0.3" if is_current(interface) else "1.0"})
            try:
                answer = await call(other)
            except WebError:
                raise refused from None
            self._remember(interface, other)
            return answer

    def _remember(self, interface: AgentInterface, spoken: AgentInterface) -> None:
        self._spoken = {said: found for said, found in self._spoken.items() if found != interface}
        self._spoken[interface] = spoken
        while len(self._spoken) > MAX_SPOKEN:
            del self._spoken[next(iter(self._spoken))]

    async def _known_method(self, agent: WebAgent, asked: Asked) -> str:
        """The one of two methods to subscribe by that the agent knows."""
        session = self._session(agent.url, agent.range)
        async with session.stream(_call(agent, asked, CALL_SECONDS)) as answer:
            return "POST" if answer.status in (404, 405) else asked.method

    @asynccontextmanager
    async def _stream(self, agent: WebAgent, ask: Ask, seconds: float, *, answers: bool) -> AsyncIterator[Events]:
        session = self._session(agent.url, agent.range)
        async with AsyncExitStack() as stack:

            async def begin(interface: AgentInterface) -> Events:
                answer = await stack.enter_async_context(session.stream(_call(agent, ask(interface), seconds)))
                if 200 <= answer.status < 300 and answer.media_type == "text/event-stream":
                    return _events(agent, answer, self._idle_seconds, answers=answers)
                body = await _whole(agent, answer)
                if 200 <= answer.status < 300 and is_stream(answer.media_type, body):
                    again = replace(answer, pieces=_again(body))
                    return _events(agent, again, self._idle_seconds, answers=answers)
                return _only(_one_answer(agent, answer, body))

            yield await self._attempt(agent, begin, tells=answers)


async def _last_told(agent: WebAgent, body: bytes) -> JsonValue:
    """The message of a stream that came where none was asked for, or its last task; what follows that is looked for."""
    reader = EventReader()
    told, problem = _read_events(agent, [*reader.feed(body), *reader.end()])
    last: StreamResponse | None = None
    async for events in whole_messages(_only(*told), agent.url):
        last = next((event for event in reversed(events) if event.task or event.message), last)
    if problem is not None and (last is None or last.message is None):
        raise problem
    if last is None:
        raise wrong(agent.url, WebAnswerError("its stream names no task"))
    return last.model_dump(mode="json", by_alias=True, exclude_none=True)


def _ask_message(operation: Operation, request: WebRequest, agent: WebAgent, interface: AgentInterface) -> Asked:
    asked = ask_message(interface, operation, request, _modes(agent))
    declared = {extension.uri for extension in agent.card.capabilities.extensions or ()}
    active = (uri for uri in request.message.extensions or () if uri in declared)
    return with_extensions(asked, interface, (*required_extensions(agent.card), *active))


def _modes(agent: WebAgent) -> Sequence[str]:
    """The media types of its answers, all of which are accepted."""
    skills = (mode for skill in agent.card.skills for mode in skill.output_modes or ())
    return list(dict.fromkeys((*agent.card.default_output_modes, *skills)))


def _ask_task(
    agent: WebAgent, operation: Operation, task_id: str, history: int | None, interface: AgentInterface
) -> Asked:
    asked = ask_task(interface, operation, task_id, history=history)
    return with_extensions(asked, interface, required_extensions(agent.card))


def _ask_subscription(agent: WebAgent, task_id: str, method: str, interface: AgentInterface) -> Asked:
    method = "POST" if interface.protocol_binding == "JSONRPC" else method
    asked = ask_task(interface, "subscribe", task_id, method=method)
    return with_extensions(asked, interface, required_extensions(agent.card))


def _policy(url: str, within: Range) -> Policy:
    match within:
        case Range.PUBLIC_HTTPS:
            return PUBLIC_HTTPS
        case Range.PUBLIC:
            return PUBLIC
        case Range.ANYWHERE:
            return as_typed(url)


async def _events(agent: WebAgent, answer: Streaming, idle_seconds: float, *, answers: bool) -> Events:
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
            event = _read(agent, read_event, check_event(agent.url, data))
        except WebError as error:
            return events, error
        if event is not None:
            events.append(event)
    return events, None


async def _whole(agent: WebAgent, answer: Streaming) -> bytes:
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


async def _again(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _one_answer(agent: WebAgent, answer: Streaming, body: bytes) -> StreamResponse:
    """What came in place of a stream: an error, or an agent that answers at once."""
    later = pause_asked(answer.headers)
    value = check_answer(agent.url, answer.status, answer.media_type, body, later=later)
    event = _read(agent, read_event, value)
    if event is not None:
        return event
    said = _read(agent, read_answer, value)
    return StreamResponse(task=said) if isinstance(said, TaskDocument) else StreamResponse(message=said)


async def _only(*events: StreamResponse) -> Events:
    yield events


async def _about(task_id: str | None, events: Events) -> Events:
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


def _call(agent: WebAgent, asked: Asked, seconds: float) -> Call:
    secrets = agent.headers if origin(asked.url) == origin(agent.url) else {}
    return Call(
        asked.method, asked.url, asked.headers, asked.body, max_bytes=MAX_ANSWER, seconds=seconds, secrets=secrets
    )


def _unwrapped(value: JsonValue) -> JsonValue:
    """A bare task, also where an agent wraps it as in an answer to a message."""
    if isinstance(value, dict) and isinstance(value.get("task"), dict) and "id" not in value:
        return value["task"]
    return value


def _read(agent: WebAgent, read: Callable[[JsonValue], Noun], value: JsonValue) -> Noun:
    try:
        return read(value)
    except WebAnswerError as error:
        raise wrong(agent.url, error) from None


def _no_card(answer: Answered, url: str) -> str | None:
    """Why what is there is no card at all; None where it means to be one.

    Raises:
        WebError: it may be there, but not now, or not for us.
    """
    if answer.status in (401, 403):
        raise CardError(
            f"{url} requires a login (HTTP {answer.status}).",
            f"Give it a credential: mcp-a2a peers add {agent_url(url)} --token-stdin",
        )
    if answer.status in (408, 425, 429) or answer.status >= 500:
        later = pause_asked(answer.headers)
        raise NotNowError(f"{url} answers with HTTP {answer.status}.", "Try again later.", seconds=later)
    if answer.status != 200:
        return f"{url} answers with HTTP {answer.status}"
    if answer.body.removeprefix(codecs.BOM_UTF8).lstrip()[:1] != b"{":  # whatever its server calls it
        return f"{url} is {'a web page' if 'html' in answer.media_type else 'no JSON object'}"
    return None


def _found(body: bytes, url: str) -> FoundCard:
    card, fields = read_card(body, url)
    signed = verify_card(fields)
    if signed.card is not fields:  # what is not signed of it does not count
        card = card_of(signed.card, url)
    key = str(signed.key) if signed.key is not None else None
    return FoundCard(agent_url(url), card, key, bound=names_only(signed.card, url))
