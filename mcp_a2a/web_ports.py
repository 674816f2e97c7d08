"""The seam around agents that speak A2A over HTTP: what a node asks of the client that calls them.

| port | implemented by |
|---|---|
| `WebCalls` | `a2a.client` |
| `WebWatch` | `mcp_a2a_transports.dns_sd` |

Task ids and context ids here are the agent's own. Every method raises only `WebError` and what is derived from it:
`retryable` says whether it is worth trying again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from mcp_a2a.errors.web import CardError, WebError
from mcp_a2a.protocol.model import AgentCard, Message, StreamResponse, TaskDocument
from mcp_a2a.protocol.web_url import host_in_url

NO_STREAM = frozenset({"UNSUPPORTED_OPERATION", "METHOD_NOT_FOUND", "NOT_FOUND"})
"""Reasons of a `WebRefusedError` for which something else than a stream may do."""


AUTH = "UNAUTHENTICATED"
"""Reason of a `WebRefusedError` that a credential would change."""


class NoCardError(CardError, code="no_card"):
    """There is nothing at a URL that means to be an agent card."""


class AnswerLostError(WebError, code="answer_lost"):
    """An agent took what it was told, and its answer did not come whole: it may have done it."""


class NotNowError(WebError, code="not_now"):
    """An agent says that it cannot now, and perhaps after how many `seconds` it can."""

    def __init__(self, message: str, hint: str = "", *, seconds: float = 0.0) -> None:
        super().__init__(message, hint)
        self.seconds = seconds


class HookGoneError(WebError, code="hook_gone", retryable=False):
    """A webhook is there no more (410), and nothing more is wanted by it."""


class Range(StrEnum):
    """The addresses to which calls to an agent may lead."""

    PUBLIC_HTTPS = "public https"
    PUBLIC = "public"
    """Also without TLS."""
    ANYWHERE = "anywhere"
    """The host of its URL may be in a private network; only a person, or the LAN about itself, opens that."""


@dataclass(frozen=True)
class WebAgent:
    """An agent at a URL, and how it may be called."""

    url: str
    card: AgentCard
    range: Range = Range.PUBLIC_HTTPS
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials, sent to the origin of `url` only."""

    @property
    def streams(self) -> bool:
        """True if it says that it does."""
        return bool(self.card.capabilities.streaming)


@dataclass(frozen=True)
class FoundCard:
    """A card, and the URL that stands for its agent."""

    url: str
    card: AgentCard
    key: str | None = None
    """did:key that has signed it."""
    bound: bool = False
    """True if it names no place but the origin that it was read from, as it was signed."""


@dataclass(frozen=True)
class WebRequest:
    """A message. `key` names the attempt to an agent that understands `Idempotency-Key`."""

    message: Message
    key: str


class WebCalls(Protocol):
    """Speaks A2A as a client."""

    async def find_card(self, url: str, *, within: Range, headers: Mapping[str, str]) -> FoundCard:
        """The agent at a URL: that of an agent, of an interface of it, or of its card.

        Raises:
            CardError: there is none, or it cannot be used; says why.
            AddressNotAllowedError, WebError
        """

    async def check(self, agent: WebAgent) -> None:
        """Look whether the interface that would be called may be, without calling it.

        Raises:
            AddressNotAllowedError: it may not.
        """

    async def send(self, agent: WebAgent, request: WebRequest) -> TaskDocument | Message:
        """A message, and what the agent makes of it. It is asked not to wait, but may."""

    def stream(
        self, agent: WebAgent, request: WebRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[StreamResponse]]]:
        """The same, with what happens from then on: as many events at once as came together."""

    async def get(self, agent: WebAgent, task_id: str, *, history: int | None = None) -> TaskDocument:
        """A task as it is now; with so many of its newest messages, where that is said."""

    def subscribe(
        self, agent: WebAgent, task_id: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[StreamResponse]]]:
        """A task as it is now, and what happens from then on."""

    async def cancel(self, agent: WebAgent, task_id: str) -> TaskDocument:
        """Ask the agent to stop."""


@dataclass(frozen=True)
class WebSighting:
    """An A2A agent that announces itself on the LAN. A hint: it is called only when a caller wants it."""

    name: str
    """Of the announcement, not of the agent."""
    host: str
    """The address that announced it."""
    port: int
    path: str
    """Of its card."""
    tls: bool
    others: tuple[str, ...] = ()
    """Addresses of other kinds that it named as well, best first: a server need not listen at all that its host has."""

    @property
    def card_url(self) -> str:
        """The URL of its card."""
        return f"http{'s' if self.tls else ''}://{host_in_url(self.host)}:{self.port}{self.path}"


class WebWatch(Protocol):
    """A source of sightings of A2A agents."""

    def open(
        self, sighted: Callable[[WebSighting], None], lost: Callable[[str], None]
    ) -> AbstractAsyncContextManager[None]:
        """Watch until the context ends; `lost` gets the name of an announcement. Both must not block.

        Raises:
            OSError: this machine does not allow it.
        """
