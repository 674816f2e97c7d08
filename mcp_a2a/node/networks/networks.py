"""The networks that we are in, and their members.

What relays tell of members comes through `listings`, and `publishing` tells members of us.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import anyio

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.networks import NetworkNotFoundError, RelayError
from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError
from mcp_a2a.file_events import watched
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Changes, Context
from mcp_a2a.ports import Sighting
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.paths import DirectAddr, RelayAddr, parse_address
from mcp_a2a.relay_ports import Relays, Watched
from mcp_a2a.store.network_folder import NetworkFolder, NetworkRow
from mcp_a2a.store.networks import (
    MemberRow,
    all_members,
    all_syncs,
    drop_network,
    save_member,
    save_sync,
)

logger = logging.getLogger(__name__)

MAX_NETWORKS = 32
"""Networks that one data folder may be in: a hello to a relay proves no more (`control.MAX_MEMBERSHIPS`)."""

MAX_MEMBERS = 1_500
"""Others that are believed to be in one network: a member could make up any number of agents."""


@dataclass(eq=False)
class Joined:
    """A network of ours, and until when each of its other members is believed to be one."""

    row: NetworkRow
    network: Network
    members: dict[PeerId, float] = field(default_factory=dict)
    listed: dict[PeerId, int] = field(default_factory=dict)
    """The number of the newest entry of each, or of the newest greeting that vouched for it."""
    left: dict[PeerId, int] = field(default_factory=dict)
    """The number of the withdrawal of each that has left: relays that did not hear of it go on listing it."""


class Networks:
    """Our networks and their members; the folder has the list of networks."""

    def __init__(
        self,
        context: Context,
        directory: Directory,
        relays: Relays,
        folder: NetworkFolder,
        near: Callable[[DirectAddr], bool],
    ) -> None:
        self._context = context
        self._directory = directory
        self.relays = relays
        self.folder = folder
        self._stamp: frozenset[tuple[str, int, int]] | None = frozenset()
        self._near = near
        self._joined: dict[PeerId, Joined] = {}
        self._syncs: dict[tuple[str, str], tuple[int, int]] = {}
        self._synced: set[tuple[PeerId, str]] = set()
        self.failures: dict[str, str] = {}
        """Relays that there is no session with, and why."""
        self.changes = Changes()
        """Notified (with no key) when a relay has told something."""
        self.on_newcomer: Callable[[Peer, str], None] = lambda *_: None
        """Called with an agent that was no member as far as was known here, and the name of the network."""
        self.on_member: Callable[[PeerId], None] = lambda _: None
        """Called with each peer that turns out to be a member."""
        self.on_vouched: Callable[[PeerId], None] = lambda _: None
        """Called with a member that showed a voucher for the first time: it may not know yet that we are one."""

    def __iter__(self) -> Iterator[Joined]:
        return iter(self._joined.values())

    def load(self) -> None:
        """Go on with what is remembered; the relays are kept from now on."""
        read = self._context.database.read
        self._syncs = read(all_syncs)
        self.reload()
        for member in read(all_members):
            joined = self._joined.get(PeerId.parse_untrusted(member.network))
            if joined is not None:
                self._remembered(joined, member)

    async def watch_folder(self) -> None:
        """Notice what another identity of this data folder has joined or left, until cancelled."""
        if self.folder.path is None:
            return
        async with watched(self.folder.path) as changes:
            while True:
                if self.folder.stamp() not in (self._stamp, None):
                    self.reload()
                await changes.wait()

    def reload(self) -> None:
        """Be in the networks that the folder names, and in no other; for want of open files alone none is left."""
        self._stamp = self.folder.stamp()
        rows = {row.id: row for row in self.folder.rows()}
        gone = [joined for joined in self if joined.row.id not in rows and not self.folder.holds(joined.row.id)]
        known = {joined.row.id: joined.row for joined in self}
        changed = [row for row in rows.values() if known.get(row.id) != row]
        for joined in gone:
            self._remove(joined)
        for row in changed:
            self._add(row)
        touched = [*(joined.row for joined in gone), *changed, *(known[row.id] for row in changed if row.id in known)]
        for url in {url for row in touched for url in row.relays}:
            self.keep(url)
        if touched:
            self.notify()

    def _remembered(self, joined: Joined, member: MemberRow) -> None:
        peer_id = PeerId.parse_untrusted(member.did)
        joined.members[peer_id] = member.expires
        joined.listed[peer_id] = member.seq
        peer = self._directory.get(peer_id)
        if member.relay is not None and member.relay in joined.row.relays:
            self._directory.sighted(self.sighting(peer_id, member.relay, peer.advert))

    # --- asking ----------------------------------------------------------------------------------

    def named(self, name: str) -> Joined:
        """The network of this name: of several, as a renewal leaves that was cut short, the one with most members.

        Raises:
            NetworkNotFoundError
        """
        wanted = name.strip().casefold()
        found = [joined for joined in self if wanted in (joined.row.name.casefold(), joined.row.id.casefold())]
        if not found:
            raise NetworkNotFoundError(name, [joined.row.name for joined in self])
        return max(found, key=lambda joined: len(joined.members))

    @property
    def urls(self) -> set[str]:
        """Every relay of our networks."""
        return {url for joined in self for url in joined.row.relays}

    def at(self, url: str) -> list[Joined]:
        """Our networks that have this relay."""
        return [joined for joined in self if url in joined.row.relays]

    def connected_relays(self) -> set[str]:
        """The URLs of the relays that we are connected to now."""
        return {state.url for state in self.relays.states() if state.connected}

    def by_id(self, network: PeerId) -> Joined | None:
        """The network of this id, if it is ours."""
        return self._joined.get(network)

    def shared_with(self, peer_id: PeerId) -> tuple[str, ...]:
        """Names of our networks that this peer is a member of."""
        now = self._context.clocks.aged()
        return tuple(joined.row.name for joined in self if joined.members.get(peer_id, 0) > now)

    def is_member(self, peer_id: PeerId) -> bool:
        """True if this peer is in a network of ours."""
        return bool(self.shared_with(peer_id))

    @property
    def settled(self) -> bool:
        """True if every relay has told what it knows, or cannot be reached."""
        return all(self.is_synced(joined, url) or url in self.failures for joined in self for url in joined.row.relays)

    async def wait_settled(self, seconds: float) -> None:
        """Wait until that is so, but not longer."""
        with anyio.move_on_after(seconds):
            while not self.settled:
                await self.changes.event().wait()

    def is_synced(self, joined: Joined, url: str) -> bool:
        """True if the relay has told all it knows of the network since we started."""
        return (joined.network.id, url) in self._synced

    async def find(self, did: str) -> bool:
        """True if a relay of ours has a mailbox for this key; then it can be sent to from now on."""
        try:
            peer_id = PeerId.parse_untrusted(did)
        except RemoteProtocolError:
            return False
        for state in self.relays.states():
            try:
                bundle = await self.relays.find(state.url, peer_id) if state.connected else None
            except RelayError as error:
                logger.info("could not ask for %s: %s", did, error)
                continue
            if bundle is not None:
                self._directory.get(peer_id).learn_bundle(bundle)
                self._directory.sighted(self.sighting(peer_id, state.url, None))
                return True
        return False

    def _add(self, row: NetworkRow) -> None:
        try:
            network = Network(bytes.fromhex(row.secret))
        except (ValueError, LocalProtocolError):
            logger.error("the network %s is damaged, so it is left out", row.name)  # noqa: TRY400  it would quote the secret
            return
        known = self._joined.get(network.id)
        self._joined[network.id] = replace(known, row=row) if known else Joined(row, network)

    def _remove(self, joined: Joined) -> None:
        del self._joined[joined.network.id]
        self._context.database.enqueue_lazily(lambda connection: drop_network(connection, joined.row.id))
        for url in joined.row.relays:
            self._syncs.pop((joined.row.id, url), None)
            for peer_id in joined.members:
                self.unlist(peer_id, url)

    def keep(self, url: str) -> None:
        """Hold a session with a relay as long as one of our networks is there."""
        self.failures.pop(url, None)
        self._unsync(url)
        if self.at(url):
            self.relays.keep(url, partial(self._watched, url))
        else:
            self.relays.drop(url)

    def _watched(self, url: str) -> Sequence[Watched]:
        return [Watched(joined.network, *self._syncs.get((joined.row.id, url), (0, 0))) for joined in self.at(url)]

    def unlist(self, peer_id: PeerId, url: str) -> None:
        """A relay no longer lists a peer for this network; perhaps it still does for another."""
        if any(peer_id in joined.members for joined in self.at(url)):
            return
        self._directory.lost(peer_id, _provenance(url))
        peer = self._directory.known(peer_id)
        if peer is not None:
            self._directory.attended(peer, url, present=False, now=self._context.clock())

    def session_opened(self, url: str) -> None:
        """A session with a relay is up: it tells anew who is connected."""
        self.failures.pop(url, None)
        self._forget_presence(url)

    def session_closed(self, url: str, reason: str) -> None:
        """A session has ended, or did not come about."""
        self.failures[url] = reason
        self._forget_presence(url)
        self._unsync(url)
        self.notify()

    def _unsync(self, url: str) -> None:
        self._synced = {(network, where) for network, where in self._synced if where != url}

    def _forget_presence(self, url: str) -> None:
        for peer in self._directory:
            self._directory.attended(peer, url, present=False, now=self._context.clock())

    def synced(self, url: str, network: PeerId) -> None:
        """A relay has told all that it knows of a network."""
        self._synced.add((network, url))
        self.notify()

    def resume_after(self, url: str, network: PeerId, epoch: int, revision: int) -> None:
        """Have the next session with a relay tell what comes after a revision."""
        self._syncs[str(network), url] = (epoch, revision)
        self._context.database.enqueue_lazily(
            lambda connection: save_sync(connection, str(network), url, epoch, revision)
        )

    def vouched(self, advert: Advert, vouchers: Sequence[bytes], expires: float) -> None:
        """A peer has shown vouchers with its advert: it is a member of the networks that one of them fits."""
        peer_id = advert.peer
        for joined in self:
            if advert.seq < joined.left.get(peer_id, -1):
                continue  # a greeting that came late: it has left since
            fits = any(joined.network.is_vouched(peer_id, self._context.me, voucher) for voucher in vouchers)
            if fits and self.has_room(joined, peer_id):
                is_new = peer_id not in joined.members
                joined.listed[peer_id] = max(advert.seq, joined.listed.get(peer_id, -1))
                self.believe(joined, peer_id, expires, None)
                if is_new:
                    self.on_vouched(peer_id)

    def expect(self, joined: Joined, peer_id: PeerId, expires: float) -> None:
        """A peer was given the network's secret, and will show itself; until then its mailbox is where it was."""
        self.believe(joined, peer_id, expires, next(iter(joined.row.relays), None))
        for url in joined.row.relays:
            self._directory.sighted(self.sighting(peer_id, url, self._directory.get(peer_id).advert))

    def forget_lapsed(self) -> None:
        """Members who have not shown themselves for too long are no longer believed."""
        now = self._context.clocks.aged()
        for joined in self:
            for peer_id in [peer_id for peer_id, expires in joined.members.items() if expires <= now]:
                del joined.members[peer_id]

    def has_room(self, joined: Joined, peer_id: PeerId) -> bool:
        """True if the peer is a member already, or one more is accepted."""
        if peer_id in joined.members or len(joined.members) < MAX_MEMBERS:
            return True
        logger.warning("%s has more than %d members; %s is not taken notice of", joined.row.name, MAX_MEMBERS, peer_id)
        return False

    def believe(self, joined: Joined, peer_id: PeerId, expires: float, relay: str | None) -> None:
        """Take a peer for a member until `expires`; `relay` lists it."""
        is_new = peer_id not in joined.members
        joined.members[peer_id] = max(expires, joined.members.get(peer_id, 0.0))
        row = MemberRow(joined.row.id, str(peer_id), relay, expires, joined.listed.get(peer_id, -1))
        self._context.database.enqueue_lazily(lambda connection: save_member(connection, row))
        self.on_member(peer_id)
        if is_new:
            self.on_newcomer(self._directory.get(peer_id), joined.row.name)
        self.notify()

    def notify(self) -> None:
        """Wake those who wait for news of networks."""
        self.changes.notify()
        self._directory.changes.notify()

    def sighting(self, peer_id: PeerId, url: str, advert: Advert | None) -> Sighting:
        """Through the relay, and where it says itself that it listens, as far as that can be reached from here."""
        direct = [address for text in (advert.addresses if advert else ()) if (address := _direct(text)) is not None]
        near = [address for address in direct if self._near(address)]
        return Sighting(peer_id, (*near, RelayAddr(url)), _provenance(url))


def _provenance(url: str) -> str:
    return f"relay {url}"


def _direct(text: str) -> DirectAddr | None:
    try:
        return parse_address(text)
    except ConfigurationError:
        return None
