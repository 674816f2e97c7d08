"""An A2A client: reads cards at URLs, and speaks 1.0 or 0.3 over JSON-RPC or HTTP+JSON with the agents there.

find_card(url)  ->  agent-card.json, agent.json, the URL itself; the first that is a card
send, stream    ->  the best interface; a stream may turn out to be one answer
subscribe       ->  the task as it is, then its events; by POST where GET is not known
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Self, TypeVar

import anyio
from pydantic import JsonValue
from typing_extensions import override

from mcp_a2a.a2a.addresses import PUBLIC, PUBLIC_HTTPS, Policy, as_typed, check_addresses, check_url
from mcp_a2a.a2a.client_card import found_card, is_current, usable, why_no_card
from mcp_a2a.a2a.client_faults import check_answer, names_no_agent, wrong
from mcp_a2a.a2a.client_read import read_answer, read_task, unwrapped
from mcp_a2a.a2a.client_streams import (
    CALL_SECONDS,
    MAX_ANSWER,
    Events,
    about,
    events_of,
    is_stream,
    last_told,
    one_answer,
    only,
    read_noun,
    whole_body,
    whole_messages,
)
from mcp_a2a.a2a.client_write import (
    Asked,
    Operation,
    ask_about,
    ask_card,
    ask_message,
    ask_older_card,
    ask_subscription,
    ask_task,
)
from mcp_a2a.a2a.guarded import Call, Gone, GuardedSession, Resolve, pause_asked, resolve_anywhere
from mcp_a2a.a2a.http_answer import NotConnectedError
from mcp_a2a.errors.web import AddressNotAllowedError, CardError, WebAnswerError, WebError, WebRefusedError
from mcp_a2a.protocol.model import AgentInterface, Message, TaskDocument
from mcp_a2a.protocol.web_url import card_urls, origin, spelled
from mcp_a2a.web_ports import (
    FoundCard,
    NoCardError,
    Range,
    WebAgent,
    WebCalls,
    WebRequest,
)

CARD_SECONDS = 5.0
MAX_CARD = 64 * 1024

SEND_SECONDS = 900.0
"""An agent that was asked not to wait may wait nevertheless, and answer with the result."""

IDLE_SECONDS = 300.0
"""A stream that says nothing for so long, not even that it is there, is no longer there."""

Noun = TypeVar("Noun")

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
            reason = why_no_card(answer, candidate)
            if reason is None:
                return await self._extended(found_card(answer.body, candidate), within, headers)
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
            extended = found_card(json.dumps(await self._extended_card(agent)).encode(), found.url)
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
        # A name that does not resolve now leads nowhere; a later call finds that out.
        with anyio.move_on_after(CARD_SECONDS), suppress(OSError, UnicodeError):
            check_addresses(url, (host, port), await self._resolve(host, port), policy)

    # --- tasks -----------------------------------------------------------------------------------

    @override
    async def send(self, agent: WebAgent, request: WebRequest) -> TaskDocument | Message:
        value = await self._fetch(agent, partial(ask_message, "send", request, agent), SEND_SECONDS, tells=True)
        return read_noun(agent, read_answer, value)

    @override
    @asynccontextmanager
    async def stream(self, agent: WebAgent, request: WebRequest) -> AsyncIterator[Events]:
        ask = partial(ask_message, "stream", request, agent)
        async with self._stream(agent, ask, SEND_SECONDS, answers=True) as events:
            yield whole_messages(about(None, events), agent.url)

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
        ask = partial(ask_subscription, agent, task_id, method)
        async with self._stream(agent, ask, CALL_SECONDS, answers=False) as events:
            yield about(task_id, events)

    @override
    async def cancel(self, agent: WebAgent, task_id: str) -> TaskDocument:
        return await self._task(agent, "cancel", task_id)

    async def _task(
        self, agent: WebAgent, operation: Operation, task_id: str, history: int | None = None
    ) -> TaskDocument:
        """The agent's document about a task that it has taken."""
        ask = partial(ask_about, agent, operation, task_id, history)
        value = await self._fetch(agent, ask, CALL_SECONDS)
        if value is None:
            raise WebRefusedError(f"{agent.url} returned nothing about this task.", reason="TASK_NOT_FOUND")
        task = read_noun(agent, read_task, unwrapped(value))
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
                return await last_told(agent, answer.body)
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
                    return events_of(agent, answer, self._idle_seconds, answers=answers)
                body = await whole_body(agent, answer)
                if 200 <= answer.status < 300 and is_stream(answer.media_type, body):
                    again = replace(answer, pieces=_again(body))
                    return events_of(agent, again, self._idle_seconds, answers=answers)
                return only(one_answer(agent, answer, body))

            yield await self._attempt(agent, begin, tells=answers)


def _policy(url: str, within: Range) -> Policy:
    match within:
        case Range.PUBLIC_HTTPS:
            return PUBLIC_HTTPS
        case Range.PUBLIC:
            return PUBLIC
        case Range.ANYWHERE:
            return as_typed(url)


async def _again(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _call(agent: WebAgent, asked: Asked, seconds: float) -> Call:
    secrets = agent.headers if origin(asked.url) == origin(agent.url) else {}
    return Call(
        asked.method, asked.url, asked.headers, asked.body, max_bytes=MAX_ANSWER, seconds=seconds, secrets=secrets
    )
