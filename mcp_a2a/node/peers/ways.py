"""Which agents at URLs are agents with a key: one agent, however many ways lead to it.

A URL belongs to a key where its card is signed by that key *and* names no place but the origin that it was read from:
a card that another host shows makes no such link. What belongs together is shown as one agent, and its names lead to
the sealed way. The URL is used only when it is named, by what was decided about the URL alone: it inherits neither
trust nor consent of the key, and the key none of the URL.
Record: docs/decisions/0043-one-agent-per-key.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import WebPeer
from mcp_a2a.protocol.did import PeerId


class Ways:
    """Brings URLs and keys together."""

    def __init__(self, me: PeerId, directory: Directory, web: WebBook, trust: TrustBook) -> None:
        self._me = me
        self._directory = directory
        self._web = web
        self._trust = trust

    def sealed(self, web: WebPeer) -> Peer | None:
        """The agent with a key that this URL is a further way to, if it is there, or the person knows it."""
        try:
            peer = self._directory.known(PeerId.parse_untrusted(web.key)) if web.key else None
        except RemoteProtocolError:
            return None
        if peer is None:
            return None
        is_there = bool(peer.online or peer.links or peer.sightings)
        return peer if is_there or peer.row.addresses or self._trust.of(peer) != "stranger" else None

    def is_ours(self, web: WebPeer) -> bool:
        """True if it is a way to this very node."""
        return web.key == str(self._me)

    def urls_of(self, peer: Peer) -> Sequence[WebPeer]:
        """The URLs that are further ways to an agent with a key, best first."""
        return sorted((web for web in self._web if web.key == peer.row.did), key=_worth)

    def others_of(self, web: WebPeer) -> Sequence[WebPeer]:
        """The other URLs of the same key."""
        return sorted((one for one in self._web if web.key and one.key == web.key and one is not web), key=_worth)

    def alone(self, webs: Iterable[WebPeer] | None = None) -> list[WebPeer]:
        """Of all URLs, or of these: those that are agents by themselves, one for each key."""
        best: dict[str, WebPeer] = {}
        for web in sorted(self._web if webs is None else webs, key=_worth):
            if not self.is_ours(web) and self.sealed(web) is None:
                best.setdefault(web.key or web.url, web)
        return list(best.values())


def _worth(web: WebPeer) -> tuple[bool, bool, bool, str]:
    return not web.is_typed, bool(web.trouble), not web.url.startswith("https:"), web.url
