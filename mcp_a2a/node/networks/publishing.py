"""Telling the members of our networks about us: entries in the directories of relays, and vouchers in greetings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.node.networks.networks import Joined, Networks
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.crypto import AEAD_NONCE_SIZE
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing

logger = logging.getLogger(__name__)


class Publishing:
    """Our entries, at all relays of our networks."""

    def __init__(self, context: Context, own_advert: OwnAdvert, networks: Networks) -> None:
        self._context = context
        self._own_advert = own_advert
        self._networks = networks
        self._leaving: set[PeerId] = set()
        self.unpublished: set[str] = set()
        """Relays that did not take our entry; perhaps because of a clock."""

    @contextmanager
    def leaving(self, joined: Joined) -> Iterator[None]:
        """While it lasts we do not say that we are in this network: that would be newer than our withdrawal.

        If we are still in it afterwards, we could not leave (a full disk, a call that was cancelled), and say so again.
        """
        self._leaving.add(joined.network.id)
        try:
            yield
        finally:
            self._leaving.discard(joined.network.id)
            if self._networks.by_id(joined.network.id) is not None:
                self.everywhere()

    def is_leaving(self, network: PeerId) -> bool:
        """True if we are about to be in this network no more."""
        return network in self._leaving

    async def publish(self, joined: Joined, url: str) -> None:
        """Put our entry into the network's directory at this relay, unless we leave it or have left it meanwhile.

        Raises:
            RelayError
        """
        if joined.network.id in self._leaving or self._networks.by_id(joined.network.id) is None:
            return
        advert = self._own_advert.entry()
        nonce = self._context.randomness(AEAD_NONCE_SIZE)
        listing = Listing.seal(joined.network.id, joined.network.directory_key, advert, nonce)
        await self._networks.relays.publish(url, listing)

    def everywhere(self) -> None:
        """Our entry has changed: bring it to every relay that can be reached now; the others get it when they open."""
        for url in self._networks.urls:
            self._context.tasks.start_soon(self.at, url)

    async def at(self, url: str) -> None:
        """Bring our entry to a relay, if there is a session with it."""
        if url not in self._networks.connected_relays():
            return
        self.unpublished.discard(url)
        for joined in self._networks.at(url):
            try:
                await self.publish(joined, url)
            except RelayError as error:
                logger.warning("our entry in the network %s is not up to date: %s", joined.row.name, error)
                self.unpublished.add(url)

    def again(self) -> None:
        """Bring our entry to the relays that did not take it: their clock, or ours, may be right by now."""
        for url in self.unpublished & self._networks.urls:
            self._context.tasks.start_soon(self.at, url)

    async def come_back(self, listing: Listing, url: str) -> None:
        """We have said that we leave, and are a member: by a data folder from a backup of before."""
        if self._own_advert.entry().seq >= listing.seq:
            return
        try:
            await self._own_advert.count_from(listing.seq)
        except McpA2AError as error:
            # This process counts from there all the same.
            logger.warning("the number of our entry could not be stored: %s", error)
        await self.at(url)

    def vouchers(self, to: PeerId) -> Sequence[bytes]:
        """The vouchers that show to this peer alone which of its networks we are in."""
        staying = (joined for joined in self._networks if joined.network.id not in self._leaving)
        return [joined.network.vouch(self._context.me, to) for joined in staying]
