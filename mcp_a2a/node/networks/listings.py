"""The entries of members of our networks, as relays list them.

A member is known by what only a member can make: an advert sealed with the network's directory key, or a voucher in
a greeting. What a relay says beside that (who is connected) only decides how things are shown and which way is tried
first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.networks.networks import MAX_MEMBERS, Joined, Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.store.networks import drop_member

logger = logging.getLogger(__name__)


class Listings:
    """Reads what relays tell. Implements `relay_ports.RelayHandler`."""

    def __init__(self, context: Context, directory: Directory, networks: Networks, publishing: Publishing) -> None:
        self._context = context
        self._directory = directory
        self._networks = networks
        self._publishing = publishing
        self._suspects: set[str] = set()
        self._passed_over: set[tuple[PeerId, str]] = set()
        """Networks and relays with an entry that was over by our clock. If that was wrong, the relay sends it again."""
        self.on_relay: Callable[[str], None] = lambda _: None
        """Called when a session with a relay is up."""
        self.on_doubled: Callable[[str], None] = lambda _: None
        """Called with what says that our key runs twice."""
        networks.relays.hear(self)

    def clock_set(self) -> None:
        """Read entries again after our clock was set: some may not be over, and our own is dated by it."""
        for url in {url for _, url in self._passed_over} & self._networks.urls:
            self._networks.keep(url)
        self._publishing.everywhere()

    def relay_opened(self, url: str) -> None:
        """Note an open session with a relay, and publish our entries there."""
        self._networks.session_opened(url)
        self._passed_over = {(network, where) for network, where in self._passed_over if where != url}
        self._context.tasks.start_soon(self._publishing.at, url)
        self.on_relay(url)
        self._networks.notify()

    def relay_closed(self, url: str, reason: str) -> None:
        """A session has ended, or did not come about."""
        logger.info("no session with the relay %s: %s", url, reason)
        self._networks.session_closed(url, reason)

    def listed(self, url: str, listing: Listing) -> None:
        """Take in the entry of a member."""
        joined = self._networks.by_id(listing.network)
        if joined is not None and listing.is_withdrawal:
            self._said_to_have_left(joined, listing, url)
            return
        if joined is None or listing.peer == self._context.me:
            return
        try:
            advert = listing.open_untrusted(joined.network.directory_key)
        except RemoteProtocolError as error:
            self._suspect(url, error)
            return
        if advert.seq < joined.left.get(advert.peer, -1):
            return
        if not advert.fresh(self._context.clocks.aged()):
            self._passed_over.add((joined.network.id, url))
        elif self._networks.has_room(joined, advert.peer):
            self._listed(joined, advert, url, online=listing.online)

    def _said_to_have_left(self, joined: Joined, listing: Listing, url: str) -> None:
        if not listing.is_signed:
            self._suspect(url, "a withdrawal without the signature of its member")
        elif listing.peer == self._context.me:
            if not self._publishing.is_leaving(listing.network):
                self._context.tasks.start_soon(self._publishing.come_back, listing, url)
        elif listing.seq > joined.listed.get(listing.peer, -1):
            self._withdrawn(joined, listing, url)

    def _suspect(self, url: str, why: object) -> None:
        level = logging.DEBUG if url in self._suspects else logging.WARNING  # it is said once, not with each
        self._suspects.add(url)
        logger.log(level, "the relay %s lists something that no member has made: %s", url, why)

    def _listed(self, joined: Joined, advert: Advert, url: str, *, online: bool) -> None:
        peer = self._directory.advert_received(advert)
        if peer is not None:
            self._directory.remember(self._context.database, peer)
        self._directory.sighted(self._networks.sighting(advert.peer, url, advert))
        self._directory.attended(self._directory.get(advert.peer), url, present=online, now=self._context.clock())
        joined.listed[advert.peer] = max(advert.seq, joined.listed.get(advert.peer, -1))
        self._networks.believe(joined, advert.peer, advert.expires, url)
        self._networks.notify()

    def _withdrawn(self, joined: Joined, listing: Listing, url: str) -> None:
        peer_id = listing.peer
        # Also of who is not known: the relay that lists it may be heard next. Such withdrawals are free to make.
        if joined.members.pop(peer_id, None) is not None or len(joined.left) < MAX_MEMBERS:
            joined.left[peer_id] = max(listing.seq, joined.left.get(peer_id, -1))
        self._context.database.enqueue_lazily(lambda connection: drop_member(connection, joined.row.id, str(peer_id)))
        self._networks.unlist(peer_id, url)
        self._networks.notify()

    def doubled(self, url: str) -> None:
        """Our key is also connected from elsewhere."""
        self.on_doubled(f"the relay {url}")

    def synced(self, url: str, network: PeerId, epoch: int, revision: int) -> None:
        """Everything up to a revision was told."""
        self._networks.synced(url, network)
        if (network, url) not in self._passed_over:  # else the next session tells it again
            self._networks.resume_after(url, network, epoch, revision)

    def presence(self, url: str, network: PeerId, online: Sequence[PeerId], offline: Sequence[PeerId]) -> None:
        """Note the known members that are connected to the relay. It cannot fill our memory with unknown ones."""
        for peers, present in ((online, True), (offline, False)):
            for peer_id in peers:
                peer = self._directory.known(peer_id)
                if peer is not None:
                    self._directory.attended(peer, url, present=present, now=self._context.clock())
        self._networks.notify()
