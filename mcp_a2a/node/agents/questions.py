"""Other agents as their owner's questions name them: by name, key, address or URL."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.api.agents import AddPeerRequest, AgentDetail, AgentView, GetAgentRequest, PeersRequest, PeersView
from mcp_a2a.api.diagnostics import PingRequest, PingView
from mcp_a2a.api.view import Consent
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.agents.known_agents import KnownAgents
from mcp_a2a.node.agents.own_agent import OwnAgent
from mcp_a2a.node.agents.patience import Patience
from mcp_a2a.node.agents.reach import Reach
from mcp_a2a.node.agents.search import Search
from mcp_a2a.node.peers.consent import ConsentBook
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.peer_views import addresses_of
from mcp_a2a.node.peers.ways import Ways
from mcp_a2a.node.peers.web_book import WebBook, ping_web
from mcp_a2a.node.peers.web_peer import WebPeer
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.protocol.naming import kind_of_agent
from mcp_a2a.protocol.web_url import is_shortened


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
    reach: Reach

    @answers(GetAgentRequest)
    async def get_agent(self, request: GetAgentRequest) -> AgentDetail:
        """One agent; `self` is this node."""
        if request.agent == "self":
            await self.patience.look_up()
            return self.own.detail()
        peer = await self.meant(request.agent, request.consent)
        if isinstance(peer, WebPeer):
            return AgentDetail(agent=self.views.view(peer), card=peer.row.card, addresses=peer.addresses)
        await self.patience.look_up((peer,))
        card = (
            peer.advert.card
            if peer.advert
            else self.own.card.model_copy(
                update={"name": peer.name, "description": "It has not described itself yet.", "skills": ()}
            )
        )
        return AgentDetail(agent=self.views.view(peer), card=card, addresses=addresses_of(peer))

    async def meant(self, asked: str, consent: Consent) -> Peer | WebPeer:
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
            return self.views.view(web) if peer is None else self.views.view(peer)
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
        if isinstance(peer, WebPeer):
            return await ping_web(self.web, peer, request.timeout_seconds)
        return await self.reach.ping(peer, request.timeout_seconds)
