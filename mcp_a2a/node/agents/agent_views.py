"""Agents as they are shown: with the alias of the person, the networks we share, and what waits for them."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.api.agents import AgentView
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.peer_views import agent_view
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.peers.ways import Ways
from mcp_a2a.node.peers.web_peer import WebPeer
from mcp_a2a.node.runtime.clocks import Clocks
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.names import memorable_name


class AgentViews:
    """Makes them."""

    def __init__(
        self, directory: Directory, trust: TrustBook, networks: Networks, outbox: Outbox, ways: Ways, clocks: Clocks
    ) -> None:
        self._directory = directory
        self._trust = trust
        self._networks = networks
        self._outbox = outbox
        self._ways = ways
        self._clocks = clocks

    def view(self, agent: Peer | WebPeer) -> AgentView:
        """An agent with a key, or one at a URL."""
        if isinstance(agent, WebPeer):
            return self._with_alias(agent.view(), agent.url, self._ways.others_of(agent))
        shared, waiting = self._networks.shared_with(agent.peer_id), self._outbox.waiting(agent.peer_id)
        view = agent_view(agent, self._trust.of(agent), shared, waiting)
        return self._with_alias(view, agent.row.did, self._ways.urls_of(agent))

    def _with_alias(self, view: AgentView, key: str, webs: Sequence[WebPeer]) -> AgentView:
        more: dict[str, object] = {"urls": tuple(web.url for web in webs)} if webs else {}
        alias = self._directory.aliases.of(key)
        if alias is not None:
            more |= {"name": alias, "alias": alias, "claimed": view.name}
        return view.model_copy(update=more)

    def called(self, key: str, name: str) -> str:
        """The name of the agent with this did or URL here: the person's own word, or else the agent's."""
        return self._directory.aliases.of(key) or name

    def clock_trouble(self) -> tuple[str, ...]:
        """Whose clock is off and by how much, in sentences."""
        return self._clocks.trouble(self._told_apart)

    def _told_apart(self, peer_id: PeerId) -> str:
        """An agent by a word of ours: by its name only where it is one of this folder, since others choose theirs."""
        peer = self._directory.known(peer_id)
        if peer is not None and self._trust.of(peer) == "own":
            return peer.name
        return f"{memorable_name(peer_id)} (…{str(peer_id)[-6:]})"
