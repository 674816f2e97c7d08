"""The agents that are known here: listing, adding, and what may be sent to each unasked."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import anyio

from mcp_a2a.api.agents import AgentView, ConsentRequest, ConsentView, ContactView, PeersView
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.consent import ConsentBook, shown_key
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.keyed_urls import Ways
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.payload import Payload, TaskBody
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.times import iso
from mcp_a2a.store.journal import HeldRow, held, save_peer

DESCRIBE_SECONDS = 3.0
"""Seconds in which an agent that was just reached must have sent its name."""


@dataclass(eq=False)
class KnownAgents:
    """Lists the known agents, and takes decisions of a person about them."""

    context: Context
    directory: Directory
    ways: Ways
    views: AgentViews
    dialer: Dialer
    consents: ConsentBook
    web: WebBook

    def peers(self) -> PeersView:
        """The agents known by key, the agents at URLs, and the contact requests."""
        known = {peer.key for peer in self.directory}
        alone = [web for web in self.ways.alone() if web.signer not in known]
        agents: list[RemoteAgent] = [*sorted(self.directory, key=_place), *sorted(alone, key=_place)]
        views = tuple(map(self.views.view, agents))
        return PeersView(peers=views, contacts=self._contacts(), aliases=dict(self.directory.aliases.all()))

    def _contacts(self) -> tuple[ContactView, ...]:
        by_sender: dict[str, list[HeldRow]] = defaultdict(list)
        for row in self.context.database.read(held):
            by_sender[row.sender].append(row)
        return tuple(self._contact(rows) for rows in by_sender.values())

    def _contact(self, rows: list[HeldRow]) -> ContactView:
        peer = self.directory.get(PeerId.parse_untrusted(rows[0].sender))
        return ContactView(
            name=peer.name,  # the question to the person says that it calls itself so
            did=peer.row.did,
            words=peer.words,
            messages=len(rows),
            preview=_preview(rows[0]),
            since=iso(rows[0].received),
        )

    async def add(self, address: str) -> AgentView:
        """Dial an address and remember the agent that answers there.

        Raises:
            NoRouteError, ConfigurationError
        """
        link = await self.dialer.dial_address(address)
        peer = self.directory.get(link.peer)
        before = peer.row.addresses
        if address not in before:
            peer.row.addresses = (*before, address)
        row = replace(peer.row)
        try:
            await self.context.database.write(lambda connection: save_peer(connection, row))
        except Exception:
            peer.row.addresses = before  # it was not added, so nothing goes there unasked
            raise
        with anyio.move_on_after(DESCRIBE_SECONDS):
            while peer.advert is None and peer.links:
                await self.directory.changes.event().wait()
        return self.views.view(peer)

    @answers(ConsentRequest)
    async def consent(self, request: ConsentRequest) -> ConsentView:
        """The consent for an agent; stores the answer of a person, if there is one.

        Raises:
            PeerNotFoundError: no agent has this key or URL.
            CardError, WebError, AddressNotAllowedError: it is a URL that was to be read and cannot be.
        """
        consent = self.consents
        key, agent = consent.meant(request.agent)
        if agent is None and request.meet:
            agent = await self.web.find(key)
            key = agent.key
        if request.answer is not None:
            await consent.answer(key, agent, request.answer, files=request.files)
        shown = shown_key(key)
        if agent is None:
            view = AgentView(name=shown, did=key, words="")
            return ConsentView(agent=view, key=shown, text=consent.url_allowed(key), files=False)
        view = self.views.view(agent)
        allowed = consent.text(agent) == "allowed", consent.files(agent) == "allowed"
        return ConsentView(agent=view, key=shown, text=allowed[0], files=allowed[1])


def _preview(row: HeldRow) -> str:
    try:
        body = Payload.parse_untrusted(row.payload).body
    except RemoteProtocolError:
        return ""
    return preview(body.message.text, 64) if isinstance(body, TaskBody) else ""


def _place(agent: RemoteAgent) -> tuple[bool, str, str]:
    return not agent.online, agent.name, agent.key
