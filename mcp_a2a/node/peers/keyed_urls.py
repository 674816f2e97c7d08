"""The agents at URLs that are agents with a key: one agent, however many ways lead to it.

A URL belongs to a key where its card is signed by that key *and* names no place but the origin that it was read from:
a card that another host shows makes no such link. What belongs together is shown as one agent, and its names lead to
the sealed way. The URL is used only when it is named, by what was decided about the URL alone: it inherits neither
trust nor consent of the key, and the key none of the URL.
Record: docs/decisions/0043-one-agent-per-key.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import WebPeer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.web_url import origin


@dataclass(eq=False)
class Ways:
    """Brings URLs and keys together."""

    me: PeerId
    directory: Directory
    web: WebBook
    trust: TrustBook

    def sealed(self, web: WebPeer) -> Peer | None:
        """The agent with a key that this URL is a further way to, if it is there, or the person knows it."""
        peer = self.directory.with_did(web.signer or "")
        if peer is None:
            return None
        is_there = bool(peer.online or peer.links or peer.sightings)
        return peer if is_there or peer.row.addresses or self.trust.of(peer) != "stranger" else None

    def is_ours(self, web: WebPeer) -> bool:
        """True if it is a way to this very node."""
        return web.signer == str(self.me)

    def urls_of(self, agent: RemoteAgent) -> Sequence[WebPeer]:
        """The URLs that are further ways to an agent, best first."""
        return sorted(
            (web for web in self.web if agent.signer and web.signer == agent.signer and web is not agent), key=_worth
        )

    def alone(self, webs: Iterable[WebPeer] | None = None) -> list[WebPeer]:
        """Of all URLs, or of these: those that are agents by themselves, one for each key."""
        best: dict[str, WebPeer] = {}
        for web in sorted(self.web if webs is None else webs, key=_worth):
            if not self.is_ours(web) and self.sealed(web) is None:
                best.setdefault(web.signer or web.url, web)
        return list(best.values())


def _worth(web: WebPeer) -> tuple[bool, bool, bool, str]:
    return not web.is_added, bool(web.trouble), origin(web.url)[0] != "https", web.url
