"""The agent that this node is: its card and its name, and how the node stands."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from mcp_a2a.api.a2a import A2ACardRequest, A2ACardView
from mcp_a2a.api.agents import AgentDetail, AgentView
from mcp_a2a.api.networks import NetworksRequest, NetworksView
from mcp_a2a.api.status import RenameRequest, RenameView, StatusView
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.agents.own_card import sign_own
from mcp_a2a.node.networks.membership import Membership
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.duplicate_keys import DuplicateKeys
from mcp_a2a.node.peers.lookups import Lookups
from mcp_a2a.node.peers.own_advert import OwnAdvert, keep_card
from mcp_a2a.node.peers.peer_views import skill_views
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.node.runtime.parts import NodeParts
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.names import fingerprint_words
from mcp_a2a.protocol.times import iso
from mcp_a2a.store.folder import read_name
from mcp_a2a.store.journal import count_held, count_outbox
from mcp_a2a.store.leases import count_waiting
from mcp_a2a.store.opening import damage
from mcp_a2a.version import __version__

RELAY_SECONDS = 1.8
"""Seconds that a list of networks waits for relays that have not answered yet."""


@dataclass(eq=False)
class OwnAgent:
    """Answers what is asked of this node itself."""

    parts: NodeParts
    context: Context
    directory: Directory
    own_advert: OwnAdvert
    networks: Networks
    publishing: Publishing
    membership: Membership
    lookups: Lookups
    views: AgentViews
    kept_answers: Callable[[], int]
    """The number of finished answers that wait for room to be stored."""
    duplicate_keys: DuplicateKeys

    @property
    def card(self) -> AgentCard:
        """The card of this agent."""
        return self.own_advert.card

    def detail(self) -> AgentDetail:
        """The agent that this node is, with the state of the node."""
        card, status = self.card, self._status()
        view = AgentView(
            name=card.name,
            did=str(self.context.me),
            words=fingerprint_words(self.context.me),
            description=card.description,
            skills=skill_views(card.skills),
            route="local",
            online=True,
            trust="self",
        )
        return AgentDetail(agent=view, card=card, addresses=status.listening, node=status)

    def _status(self) -> StatusView:
        now, read = self.context.clock(), self.context.database.read
        return StatusView(
            version=__version__,
            identity=self.parts.identity_name,
            name=self.card.name,
            did=str(self.context.me),
            words=fingerprint_words(self.context.me),
            home=str(self.parts.home),
            pid=os.getpid(),
            uptime_seconds=round(anyio.current_time() - self.lookups.started, 1),
            listening=tuple(str(address) for address in self.lookups.listening),
            lookups=dict(self.lookups.in_words()),
            clocks=self.views.clock_trouble(),
            damage=read(damage),
            networks=self.membership.all().networks,
            agents_online=len(self.directory.present()),
            outbox=read(count_outbox),
            inbox=read(lambda connection: count_waiting(connection, now)),
            held=read(count_held),
            kept=self.kept_answers(),
            runs_twice=iso(self.duplicate_keys.noticed_at) if self.duplicate_keys.noticed_at is not None else None,
            accept=self.parts.accept,
        )

    @answers(NetworksRequest)
    async def our_networks(self, _: NetworksRequest) -> NetworksView:
        """Our networks, once their relays have answered or not."""
        await self.networks.wait_settled(RELAY_SECONDS)
        return self.membership.all()

    @answers(RenameRequest)
    async def rename(self, _: RenameRequest) -> RenameView:
        """Go by the name that was kept, and tell all others, unless this process was given one."""
        kept = read_name(self.parts.folder)
        name = self.parts.given_name or kept or self.parts.own_name
        if name and name != self.card.name:
            self.own_advert.card = self.card.model_copy(update={"name": name})
            keep_card(self.context.database, self.card)
            self.own_advert.greet_all(self.directory)
            self.publishing.everywhere()
            self.directory.changes.notify()
        return RenameView(name=self.card.name, kept=kept, given=self.parts.given_name)

    @answers(A2ACardRequest)
    async def a2a_card(self, request: A2ACardRequest) -> A2ACardView:
        """Sign the card of our own agent."""
        return A2ACardView(card=sign_own(request.card, self.card, self.context.identity))
