"""Agents as they are shown: with the alias of the person, the networks we share, and what waits for them."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.api.agents import AgentView
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.keyed_urls import Ways
from mcp_a2a.node.peers.peer_views import agent_view
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.runtime.clocks import Clocks
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.names import memorable_name


@dataclass(eq=False)
class AgentViews:
    """Makes the views of agents."""

    directory: Directory
    trust: TrustBook
    networks: Networks
    outbox: Outbox
    ways: Ways
    clocks: Clocks

    def view(self, agent: RemoteAgent) -> AgentView:
        """An agent with a key, or one at a URL."""
        shared = self.networks.shared_with(agent.peer_id) if agent.peer_id is not None else ()
        view = agent_view(agent, self.trust.of(agent), shared, self.outbox.waiting(agent.key))
        urls = tuple(web.url for web in self.ways.urls_of(agent))
        more: dict[str, object] = {"urls": urls} if urls else {}
        alias = self.directory.aliases.of(agent.key)
        if alias is not None:
            more |= {"name": alias, "alias": alias, "claimed": view.name}
        return view.model_copy(update=more)

    def called(self, key: str, name: str) -> str:
        """The name of the agent with this did or URL here: the person's own word, or else the agent's."""
        return self.directory.aliases.of(key) or name

    def clock_trouble(self) -> tuple[str, ...]:
        """The clocks that are off, and by how much, in sentences."""
        return self.clocks.trouble(self._told_apart)

    def _told_apart(self, peer_id: PeerId) -> str:
        """An agent by a word of ours: by its name only where it is one of this folder, since others choose theirs."""
        peer = self.directory.known(peer_id)
        if peer is not None and self.trust.of(peer) == "own":
            return peer.name
        return f"{memorable_name(peer_id)} (…{str(peer_id)[-6:]})"
