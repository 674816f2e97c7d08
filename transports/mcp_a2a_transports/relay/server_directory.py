"""A relay's directories and invitations: entries of members, watchers of each network, and limits of requests.

A directory is sent in pieces, the next when the last has been read, so that a slow reader costs no memory; a reader
that is too slow for the live changes goes on from the disk.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial

from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.mailbox_ports import Invitation, MailboxStore
from mcp_a2a.protocol.admission import Admission
from mcp_a2a.protocol.aging import SoundClock
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import Claim, Claimed, Done, Failed, Find, Found, Offer, Watch
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.presence import PresenceTable
from mcp_a2a.protocol.rates import Buckets
from mcp_a2a.protocol.relay_limits import HOST, MAX_INVITATION_SECONDS, MAX_LISTING_SECONDS, ROW_BYTES, RelayLimits
from mcp_a2a.protocol.relay_session import RelaySession
from mcp_a2a.protocol.replay import stale_code

logger = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
FULL_RETRY_SECONDS = 60.0
MAX_USES = 100_000


@dataclass(slots=True)
class _Watch:
    """The revision of a network up to which a session knows it."""

    number: int
    revision: int
    is_synced: bool = False


class DirectoryService:
    """Serves members of networks."""

    def __init__(
        self,
        store: MailboxStore,
        presence: PresenceTable,
        admission: Admission,
        limits: RelayLimits,
        clock: SoundClock,
    ) -> None:
        self._admission = admission
        self.bytes: Buckets[bytes] = Buckets(limits.deposit_bytes)
        """Shared with mail."""
        self.stranger_bytes = 0
        """Bytes of the entries and invitations of networks that were not admitted, on disk."""
        self._requests: Buckets[bytes] = Buckets(limits.requests)
        self._store = store
        self._presence = presence
        self._limits = limits
        self._clock = clock
        self._epoch = store.epoch()
        self._watches: dict[RelaySession, dict[PeerId, _Watch]] = {}
        self._syncing: dict[tuple[RelaySession, PeerId], None] = {}

    # --- how much may be asked --------------------------------------------------------------------

    def wait_for(self, session: RelaySession, cost: float, now: float) -> float:
        """Take what a request costs, or say how long to wait."""
        wait = self._requests.of(session.key, now).take(cost, now)
        if wait:
            session.spend_excess(now)
        return wait

    def may_ask(self, session: RelaySession, number: int, now: float) -> bool:
        """True if one request more is served now; otherwise it is answered here."""
        wait = self.wait_for(session, 1, now)
        if wait:
            session.send(encode(Failed(number, "rate_limited", round(wait + 0.05, 1))))
        return not wait

    def forget_full(self, now: float) -> None:
        """Forget the keys that have made no request for long."""
        self._requests.forget_full(now)
        self.bytes.forget_full(now)

    # --- keys -------------------------------------------------------------------------------------

    def find(self, session: RelaySession, request: Find, bundle: KeyBundle | None) -> None:
        """Answer a `find`: has the key a mailbox and, told to members of one of its networks only, is it connected."""
        if bundle is None:
            session.send(encode(Failed(request.number, "unknown")))
            return
        online = request.peer == session.peer or any(
            self._presence.is_here(network, request.peer) for network in session.networks
        )
        session.send(encode(Found(request.number, bundle, online)))

    # --- publishing -------------------------------------------------------------------------------

    def publish(self, session: RelaySession, listing: Listing, now: float) -> None:
        """Keep a member's own entry, and tell the others when it is on disk."""
        if self._may_keep(session, listing.revision, self._objection(session, listing), len(listing.sealed), now):
            self._store.publish(listing, partial(self._published, session, listing))

    def _may_keep(self, session: RelaySession, number: int, code: str | None, size: int, now: float) -> bool:
        """Charge a key for so many bytes on the disk; False if it was refused, with the code or for its rate."""
        wait = self.bytes.of(session.key, now).take(size, now) if code is None else 0.0
        if code is None and not wait:
            return True
        session.send(encode(Failed(number, code or "rate_limited", round(wait + 0.05, 1) if wait else None)))
        return False

    def _objection(self, session: RelaySession, listing: Listing) -> str | None:
        if listing.network not in session.networks or listing.peer != session.peer:
            return "not_member"
        untimely = self._untimely(listing.expires, MAX_LISTING_SECONDS)
        if untimely is not None:
            return untimely
        return None if self._has_room(listing.network, listing.size) else "share"

    def _untimely(self, expires: float, longest: float) -> str | None:
        """The code of a refusal for what is over by our clock, or lasts longer than it may."""
        aged, latest = self._clock.aged(), self._clock.stamp() + longest
        if aged < expires <= latest:
            return None
        return stale_code(expires - (aged if expires <= aged else latest))

    def _has_room(self, network: PeerId, size: int) -> bool:
        """True if a network may keep so much more here: those that were not admitted share a part of the disk."""
        if not size or self._admission.is_admitted(network):
            return True
        self.stranger_bytes += size + ROW_BYTES  # until it is counted anew
        return self.stranger_bytes <= self._limits.disk_share(HOST)

    def _published(self, session: RelaySession, listing: Listing, outcome: int | str | Exception) -> None:
        number = listing.revision
        if isinstance(outcome, str | Exception):
            session.send(encode(_failure(number, outcome)))
        else:
            session.send(encode(Done(number, self._epoch, outcome or self._store.revision())))
            if outcome:
                self._push(replace(listing, revision=outcome))

    def _push(self, listing: Listing) -> None:
        here = self._presence.is_here(listing.network, listing.peer)
        frame = replace(listing, online=here).to_bytes()
        for wire in self._presence.watchers(listing.network):
            watch = self._watches.get(wire, {}).get(listing.network) if isinstance(wire, RelaySession) else None
            if watch is None or not watch.is_synced or not isinstance(wire, RelaySession):
                continue  # it comes to this change by itself
            if wire.is_congested:
                watch.is_synced = False
                self._syncing[wire, listing.network] = None
            else:
                watch.revision = listing.revision
                wire.send(frame)

    # --- watching ---------------------------------------------------------------------------------

    def watch(self, session: RelaySession, request: Watch) -> None:
        """Tell a member everything that it does not know, and then whatever comes."""
        if request.network not in session.networks:
            session.send(encode(Failed(request.number, "not_member")))
            return
        # Who knows of later changes than we have made knew us before our database came from a backup.
        is_ours = request.epoch == self._epoch and request.since <= self._store.revision()
        since = request.since if is_ours else 0
        self._watches.setdefault(session, {})[request.network] = _Watch(request.number, since)
        self._syncing[session, request.network] = None

    def unwatch(self, session: RelaySession, network: PeerId) -> None:
        """It is no member any more."""
        session.networks = tuple(other for other in session.networks if other != network)
        self._watches.get(session, {}).pop(network, None)
        self._syncing.pop((session, network), None)

    def forget(self, session: RelaySession) -> None:
        """Forget the watches of a session that has ended."""
        for network in self._watches.pop(session, {}):
            self._syncing.pop((session, network), None)

    def sync(self) -> bool:
        """Send the next piece to every watcher that is behind.

        Returns:
            True if a watcher that reads is still behind.
        """
        for session, network in list(self._syncing):
            if not session.is_congested and not session.has_frames:
                self._send_piece(session, network, self._watches[session][network])
        return any(not session.is_congested for session, _ in self._syncing)

    def _send_piece(self, session: RelaySession, network: PeerId, watch: _Watch) -> None:
        listings = self._store.listings(network, watch.revision, PIECE_BYTES)
        aged = self._clock.aged()
        for listing in listings:
            watch.revision = listing.revision
            if listing.expires > aged:
                here = self._presence.is_here(network, listing.peer)
                session.send(replace(listing, online=here).to_bytes())
        if not listings:
            self._synced(session, network, watch)

    def _synced(self, session: RelaySession, network: PeerId, watch: _Watch) -> None:
        del self._syncing[session, network]
        watch.is_synced = True
        for presence in self._presence.present(network):
            session.send(encode(presence))
        self._presence.watch(session, network)
        session.send(encode(Done(watch.number, self._epoch, max(watch.revision, self._store.revision()))))

    # --- invitations ------------------------------------------------------------------------------

    def offer(self, session: RelaySession, offer: Offer, now: float) -> None:
        """Keep an invitation."""
        aged = self._clock.aged()
        code = None
        if offer.network not in session.networks:
            code = "not_member"
        elif (untimely := self._untimely(offer.expires, MAX_INVITATION_SECONDS)) is not None:
            code = untimely
        elif not 1 <= offer.uses <= MAX_USES:
            code = "used"
        elif not self._has_room(offer.network, len(offer.sealed)):
            code = "share"
        if self._may_keep(session, offer.number, code, len(offer.sealed), now):
            invitation = Invitation(offer.network, offer.invitation, offer.sealed, offer.uses, offer.expires)
            self._store.offer(invitation, aged, partial(self._offered, session, offer.number))

    def _offered(self, session: RelaySession, number: int, outcome: str | Exception | None) -> None:
        session.send(encode(Done(number) if outcome is None else _failure(number, outcome)))

    def claim(self, session: RelaySession, claim: Claim) -> None:
        """Hand out an invitation; told when it is on disk that this key has had it."""
        done = partial(self._claimed, session, claim.number)
        self._store.claim(claim.invitation, session.key, self._clock(), done)

    def _claimed(self, session: RelaySession, number: int, outcome: bytes | str | Exception) -> None:
        session.send(encode(Claimed(number, outcome) if isinstance(outcome, bytes) else _failure(number, outcome)))


def _failure(number: int, outcome: str | Exception) -> Failed:
    """The answer where the disk refuses with a code, or takes nothing."""
    if isinstance(outcome, str):
        return Failed(number, outcome)
    if not isinstance(outcome, StorageFullError):
        logger.error("the disk does not take a directory's entry: %s", outcome)
    return Failed(number, "full", FULL_RETRY_SECONDS)
