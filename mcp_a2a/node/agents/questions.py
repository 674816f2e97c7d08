"""Other agents as their owner's questions name them: by name, key, address or URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mcp_a2a.api.agents import AddPeerRequest, AgentDetail, AgentView, GetAgentRequest, PeersRequest, PeersView
from mcp_a2a.api.diagnostics import PingRequest, PingView
from mcp_a2a.api.view import Consent
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.agents.known_agents import KnownAgents
from mcp_a2a.node.agents.own_agent import OwnAgent
from mcp_a2a.node.agents.search import Search
from mcp_a2a.node.agents.startup_wait import Patience
from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.consent import ConsentBook
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.keyed_urls import Ways
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.protocol.naming import Counterpart, kind_of_agent
from mcp_a2a.protocol.web_url import is_shortened

Pings: TypeAlias = Mapping[Counterpart, Callable[[str, float], Awaitable[PingView]]]
"""The ping of each kind of agent, by its key and for so many seconds."""


@dataclass(eq=False)
class Agents:
    """Answers what the owner asks about one agent, and who is known."""

    own: OwnAgent
    directory: Directory
    web: WebBook
    ways: Ways
    consent: ConsentBook
    search: Search
    patience: Patience
    views: AgentViews
    known: KnownAgents
    pings: Pings

    @answers(GetAgentRequest)
    async def get_agent(self, request: GetAgentRequest) -> AgentDetail:
        """One agent; `self` is this node."""
        if request.agent == "self":
            await self.patience.look_up()
            return self.own.detail()
        peer = await self.meant(request.agent, request.consent)
        await self.patience.look_up(peer.key)
        card = peer.card or self.own.card.model_copy(
            update={"name": peer.name, "description": "It has not described itself yet.", "skills": ()}
        )
        return AgentDetail(agent=self.views.view(peer), card=card, addresses=peer.addresses)

    async def meant(self, asked: str, consent: Consent) -> RemoteAgent:
        """The agent that is meant; a URL that was never met is read if that may be."""
        asked = self.directory.aliases.meant(asked)
        if kind_of_agent(asked) == "url" and not is_shortened(asked) and self.web.known(asked) is None:
            self.consent.check_url(asked, consent)
        return await self.search.named(asked, meet=True)

    @answers(AddPeerRequest)
    async def add_peer(self, request: AddPeerRequest) -> AgentView:
        """Dial an address and remember it."""
        if kind_of_agent(request.address) == "url":
            web = await self.web.add(request.address, request.headers)
            peer = self.ways.sealed(web)
            if peer is not None:
                await self.patience.await_link(peer)
            return self.views.view(peer or web)
        return await self.known.add(request.address)

    @answers(PeersRequest)
    async def peers(self, _: PeersRequest) -> PeersView:
        """Every agent that is known by key, and the contact requests."""
        await self.patience.look_up()
        return self.known.peers()

    @answers(PingRequest)
    async def ping(self, request: PingRequest) -> PingView:
        """A sealed message there and a receipt back."""
        peer = await self.search.meant(request.agent)
        return await self.pings[peer.counterpart](peer.key, request.timeout_seconds)
