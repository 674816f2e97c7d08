"""Agents: discovery, cards, trust, consent, contact requests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from mcp_a2a.api.request import Request
from mcp_a2a.api.status import StatusView
from mcp_a2a.api.view import Consent, Trust, View
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.untrusted import WHOLE, Fact, Name, PeerText, Who


class SkillView(View):
    """A skill as its agent describes it."""

    id: PeerText
    name: PeerText
    description: PeerText
    tags: tuple[PeerText, ...] = ()
    examples: tuple[PeerText, ...] = ()
    input_schema: Annotated[dict[str, JsonValue], WHOLE] | None = None


class AgentView(View):
    """One agent in a list."""

    name: Name
    did: Who
    words: Fact = ""
    """Fingerprint words, to compare with what the owner sees; none of an agent at a URL that shows no key."""
    description: PeerText = ""
    skills: Annotated[tuple[SkillView, ...], WHOLE] = ()
    route: Fact | None = None
    """The route to it: "local", "lan", "direct" or "relay"; None if it is offline."""
    rtt_ms: float | None = None
    online: bool = False
    last_seen: Fact | None = None
    trust: Trust = "stranger"
    networks: tuple[Name, ...] = ()
    """Names of the networks that we share with it."""
    waiting: int = 0
    """Messages of ours that it has not taken yet."""
    look_alike: bool = False
    """True if another agent that we know has a name that looks the same: compare words or dids."""
    alias: Fact | None = None
    """The user's own name for it; it is the `name` too, and wins over every other."""
    claimed: Name | None = None
    """Its own name, if it has an alias."""
    urls: tuple[Who, ...] = ()
    """Further ways to the same agent: URLs whose card its key has signed. Used only when the URL is named."""


class DiscoverView(View):
    """The agents found; when there is none, `reason` says why and what to do. It also says whose clock is off."""

    agents: tuple[AgentView, ...]
    total: int
    reason: Fact | None = None
    on_offer: Annotated[tuple[str, ...], WHOLE] | None = None
    """Ids of skills that agents here have, where none matches."""


class DiscoverRequest(Request[DiscoverView], operation="discover"):
    """Agents that can be sent tasks, best match first.

    `settle_seconds` bounds the wait for first answers right after a start.
    """

    query: str | None = None
    skill: str | None = None
    limit: int = Field(default=20, ge=1, le=200)
    settle_seconds: float = Field(default=2.0, ge=0, le=45)


class AgentDetail(View):
    """Everything known about one agent."""

    agent: AgentView
    card: Annotated[AgentCard, WHOLE]
    addresses: Annotated[tuple[str, ...], WHOLE] = ()
    node: StatusView | None = None
    """Only for `self`."""


class GetAgentRequest(Request[AgentDetail], operation="get_agent"):
    """An agent by name, PeerId (did:key) or `self`. A URL that was never met is read only by consent."""

    agent: str
    consent: Consent = "ask"


class SetTrustView(View):
    """The agent after the change, and how many waiting messages were released or dropped by it."""

    agent: AgentView
    released: int = 0
    dropped: int = 0


class SetTrustRequest(Request[SetTrustView], operation="set_trust"):
    """Trust an agent (which releases its held messages), block it (which drops them) or forget it.

    The agent is named by name or PeerId. Only ever asked for a person: by the command line, or after an elicitation was
    accepted.
    """

    agent: str
    level: Literal["trusted", "blocked", "stranger"]


class ConsentView(View):
    """An agent, and what may be sent to it unasked."""

    agent: AgentView
    key: Who
    """The argument of `mcp-a2a allow` that names it."""
    text: bool
    files: bool


class ConsentRequest(Request[ConsentView], operation="consent"):
    """The consent of a person for sending to an agent; with `answer`, a new one that the person has just given.

    Made for a person only: by `mcp-a2a allow`, or after an elicitation.

    Raises:
        PeerNotFoundError: no such agent; a name does not count.
    """

    agent: str
    """Its did, the beginning of it, its URL or the handle of that. Never a name, which the agent chooses."""
    answer: Literal["allowed", "declined", "forgotten"] | None = None
    files: bool = False
    """The answer is about files too."""
    meet: bool = False
    """A URL that was never met may be read: a person typed it."""


class ContactView(View):
    """A stranger who sent something that is held until you decide."""

    name: Name
    did: Who
    words: Fact
    messages: int
    preview: PeerText
    """At most 64 cleaned characters. For a person, never for a model."""
    since: Fact


class PeersView(View):
    """All agents known by key, online or not, and the contact requests."""

    peers: tuple[AgentView, ...]
    contacts: tuple[ContactView, ...]
    aliases: dict[Fact, Who] = Field(default_factory=dict)
    """The user's names for agents: by did, or by the URL of an agent without one."""


class PeersRequest(Request[PeersView], operation="peers"):
    """The known agents and the contact requests; no arguments."""


class AddPeerRequest(Request[AgentView], operation="add_peer"):
    """Dial an address and remember it: HOST:PORT of a node's listener, or the URL of an A2A agent.

    Only ever a person's: a URL may lead into a private network.

    Raises:
        NoRouteError: no node answers there.
    """

    address: str
    headers: dict[str, str] | None = Field(default=None, repr=False)
    """Credentials for an agent at a URL, for its origin only. None leaves those that it has."""
