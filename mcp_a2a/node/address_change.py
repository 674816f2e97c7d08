"""A machine that moves: whether links still work is tried, and members are told where this node is now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.lookups import Lookups
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.protocol.advert import MAX_ADDRESSES
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr

ADDRESS_SECONDS = 3.0
"""A node that lives longer than that tells its networks where it listens: a command is over before."""

MOVED_SECONDS = 1.5
"""Seconds in which the other end of a link must give a sign of life after this machine has moved."""


@dataclass(eq=False)
class Moves:
    """Moves of this machine and of peers to other addresses, and the links that survive them."""

    directory: Directory
    own_advert: OwnAdvert
    networks: Networks
    publishing: Publishing
    lookups: Lookups
    moved: Callable[[], Awaitable[None]] | None
    """Returns when addresses of this machine have changed; without it they are looked at now and then."""

    async def watch(self) -> None:
        """After each move of this machine, test the links, and publish the new addresses to members."""
        before: Sequence[DirectAddr] | None = None
        await anyio.sleep(ADDRESS_SECONDS)
        while True:
            here = tuple(self.lookups.own_addresses)
            if before is not None and here != before:
                self.probe_links()
            before = here
            self._tell_addresses()
            await (anyio.sleep(ADDRESS_SECONDS) if self.moved is None else self.moved())

    def probe_links(self) -> None:
        """Ask every link for a sign of life."""
        for peer in self.directory:
            for link in peer.links:
                link.probe(MOVED_SECONDS)
        self.networks.relays.probe(MOVED_SECONDS)

    def _tell_addresses(self) -> None:
        """Members learn where we listen, anew when this machine has moved."""
        addresses = tuple(str(address) for address in self.lookups.own_addresses if not address.is_zoned)[
            :MAX_ADDRESSES
        ]
        if addresses != self.own_advert.addresses:
            self.own_advert.addresses = addresses
            self.publishing.everywhere()

    def came_anew(self, peer: Peer) -> None:
        """Ask the older links of a peer for a sign of life: what it had before its newest link may be cut."""
        for older in peer.links[:-1]:
            if not (peer.links[-1].is_relayed or older.is_relayed):
                older.probe(MOVED_SECONDS)

    def doubt_links(self, peer: Peer) -> None:
        """Ask links on our networks for a sign of life whose other end is at an address that is no longer named.

        Only ask: what names it is no proof, and a link that answers is better than any word about it.
        """
        named = {_host_of(address) for seen in peer.sightings.values() for address in seen.addresses}
        for link in peer.links:
            if link.route == "lan" and _host_of(link.address) not in named:
                link.probe(MOVED_SECONDS)


def _host_of(address: TransportAddr | str) -> str:
    return str(address).rpartition(":")[0]
