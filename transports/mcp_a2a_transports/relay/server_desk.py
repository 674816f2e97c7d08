"""The services of a relay: joins its law (`relay_mail`, `admission`, `presence`) to its disk.

Knows no sockets: it hears of sessions, sends to them, and has the disk do what the law of mail orders. Its driver
calls `settle` after every round of events, and `handle_timeout` at `next_timeout`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from typing_extensions import override

from mcp_a2a.mailbox_ports import KnownKey, MailboxStore, RelayMember, RelayTotals
from mcp_a2a.protocol.admission import Admission
from mcp_a2a.protocol.admission_secret import admission_is_proven
from mcp_a2a.protocol.aging import SoundClock
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.connections import Connections, Wire
from mcp_a2a.protocol.control import (
    Admit,
    ByeCode,
    Check,
    Claim,
    Done,
    Failed,
    Find,
    MembershipProof,
    Offer,
    Refused,
    Request,
    Watch,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE, HEADER_SIZE, MAX_ENVELOPE, Header
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.network import proof_is_valid
from mcp_a2a.protocol.presence import PresenceTable
from mcp_a2a.protocol.rates import Buckets
from mcp_a2a.protocol.relay_desk import Desk
from mcp_a2a.protocol.relay_limits import (
    ADMISSIONS,
    FORGET_KEY_SECONDS,
    FORGET_NEWCOMER_SECONDS,
    HERE,
    HOST,
    KEY,
    MAX_SPONSORED,
    NETWORK,
    RelayLimits,
)
from mcp_a2a.protocol.relay_mail import RelayMail
from mcp_a2a.protocol.relay_session import RelaySession
from mcp_a2a_transports.relay.server_directory import DirectoryDesk
from mcp_a2a_transports.relay.server_doubles import Doubles
from mcp_a2a_transports.relay.server_rates import DepositRates
from mcp_a2a_transports.relay.storage_bridge import StorageBridge
from mcp_a2a_transports.relay.stranger_sessions import StrangerSessions

logger = logging.getLogger(__name__)

RECENT_BUNDLES = 256
"""Bundles in memory, among them those that are not on disk yet."""

RECENT_CORRESPONDENTS = 20_000
"""Pairs of keys that are not written down anew with each message."""

NOTE_AGAIN_SECONDS = 3600.0
"""They are noted again after this time: of too many, the disk forgets those that were noted longest ago."""

NOTE = "by the admission secret"
"""What the operator reads of a network that was admitted so."""

MAX_EXPIRED = 2000
"""Messages that are swept away in one go."""

COUNTED_AT_ONCE = 5000
"""Longest directory whose entries are counted for a question of the operator."""

_ID = slice(HEADER_SIZE - 4 - ENVELOPE_ID_SIZE, HEADER_SIZE - 4)


@dataclass(frozen=True)
class RelayKey:
    """Who the relay is."""

    peer: PeerId
    account_of_host: Callable[[str], bytes]
    """What the mail of a host is charged to: a hash that only this relay can make, since it goes to the disk."""


class RelayDesk(Desk):
    """Serves sessions until the relay ends."""

    def __init__(
        self,
        relay: RelayKey,
        store: MailboxStore,
        admission: Admission,
        limits: RelayLimits,
        clock: SoundClock,
        wake: Callable[[RelaySession], None],
    ) -> None:
        self.limits = limits
        self.admission = admission
        self.roster = Connections(store.keys(), limits.max_keys)
        self.office = RelayMail(limits, self.roster, store.backlog(), store.last_number() + 1, self._is_familiar)
        self.presence = PresenceTable()
        self._doubles = Doubles(self.roster)
        self._strangers = StrangerSessions(limits.stranger_connections)
        self.directory = DirectoryDesk(store, self.presence, admission, limits, clock)
        self._relay = relay
        self._store = store
        self._clock = clock
        self._wake = wake
        self._stamp, self._aged = clock.stamp(), clock.aged()
        self._rates = DepositRates(limits, self.directory.bytes)
        self._newcomers: Buckets[str] = Buckets(limits.new_keys)
        self._admissions: Buckets[str] = Buckets(ADMISSIONS)
        self._correspondents: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()
        """Who has sent to whom lately, and when that was written down."""
        self._bundles: OrderedDict[bytes, KeyBundle] = OrderedDict()
        self._bridge = StorageBridge(store, self.office, self._tell_kept)
        self._totals = RelayTotals()
        self._unsettled: set[bytes] = set(store.newcomers())
        """Keys that have not received any mail, and proved no admitted network."""
        self.has_more_to_sweep = False
        self.sessions: dict[RelaySession, None] = {}
        """Those that are served."""

    # --- who is there -----------------------------------------------------------------------------

    @override
    def admit(self, session: RelaySession, proofs: Sequence[MembershipProof], now: float) -> ByeCode | None:
        peer = session.peer
        if peer is None:
            return ByeCode.PROOF
        valid = [proof.network for proof in proofs if proof_is_valid(proof, self._relay.peer, peer, session.nonce)]
        session.networks = tuple(dict.fromkeys(valid))
        objection = self.admission.objection(peer, session.networks)
        if objection is not None:
            session.objection = objection
            return objection
        session.networks = tuple(network for network in session.networks if not self.admission.is_revoked(network))
        session.account = self._account_of(session, peer)
        objection = self._seat(session, peer, now)
        if objection is not None:
            session.objection = objection
            return objection
        self._make_room(peer.key, now)
        self.sessions[session] = None
        if session.account[:1] == HOST:
            self._strangers.add(session)
        self.presence.came(peer, session.networks, now)
        self._send_kept_answers(session)
        self.office.opened(session)
        self._doubles.opened(session)
        return None

    @override
    def left(self, session: RelaySession, now: float) -> None:
        self.sessions.pop(session, None)
        self._strangers.remove(session)
        if session.peer is not None:
            self.presence.went(session, session.peer, session.networks, now)
            self._store.seen([session.key], self._stamp)
        self.directory.forget(session)
        self.office.closed(session)

    @override
    def has_output(self, session: RelaySession) -> None:
        self._wake(session)

    def end_revoked(self, member: PeerId, now: float) -> int:
        """End the sessions that are no longer served after `member` was revoked; returns how many."""
        ended = 0
        for session in list(self.sessions):
            if session.peer is None:
                continue
            objection = self.admission.objection(session.peer, session.networks)
            if objection is not None:
                session.close(ByeCode.REVOKED, now)
                ended += 1
            elif member in session.networks:
                self.presence.went(session, session.peer, [member], now)
                self.directory.unwatch(session, member)
        self.office.unregister(member.key)
        self._store.erase(member.key)
        self._store.erase_network(member)
        return ended

    def _admit_network(self, session: RelaySession, request: Admit, now: float) -> None:
        """Serve a network from now on, if the relay's admission secret is shown or was shown by the same key before.

        Without a proof it is also the question whether the network is served anyhow.
        """
        if not request.proof and self._serves(session, request.network):
            session.send(encode(Done(request.number)))
            return
        peer, attempts = session.peer, self._admissions.of(session.host, now)
        wait = attempts.take(1, now)
        if peer is None or wait:
            session.send(encode(Failed(request.number, "rate_limited", round(wait + 0.05, 1))))
            return
        code = self._admission_objection(session, peer, request)
        if code is not None:
            session.send(encode(Failed(request.number, code)))
        elif self.admission.is_admitted(request.network):
            session.send(encode(Done(request.number)))
        else:
            entry = RelayMember(request.network, admitted=True, note=NOTE, since=self._stamp, sponsor=peer)
            self._store.admit(entry, partial(self._network_admitted, session, request, peer))

    def _serves(self, session: RelaySession, network: PeerId) -> bool:
        """True if the relay serves a network of this session, for all its members."""
        is_open = self.admission.is_admitted(network) or not self.admission.closed
        return is_open and network in session.networks and not self.admission.is_revoked(network)

    def _admission_objection(self, session: RelaySession, peer: PeerId, request: Admit) -> str | None:
        if request.network not in session.networks:
            return "not_member"
        if self.admission.is_revoked(request.network):
            return "revoked"
        key, sponsored = self.admission.key, self.admission.sponsored_by(peer)
        is_shown = key is not None and admission_is_proven(
            key, request.proof, network=request.network, relay=self._relay.peer, asker=peer, nonce=session.nonce
        )
        if not is_shown and (request.proof or not sponsored):
            return "secret"
        return "full" if sponsored >= MAX_SPONSORED else None

    def _network_admitted(self, session: RelaySession, request: Admit, peer: PeerId, outcome: object) -> None:
        if isinstance(outcome, Exception):
            logger.error("the disk does not take the admission of a network: %s", outcome)
            session.send(encode(Failed(request.number, "storage_full")))
            return
        if self.admission.is_revoked(request.network):  # meanwhile; the disk has kept what the operator decided
            session.send(encode(Failed(request.number, "revoked")))
            return
        self.admission.admit(request.network, peer)
        session.send(encode(Done(request.number)))

    def _account_of(self, session: RelaySession, peer: PeerId) -> bytes:
        """What the mail of a key is charged to."""
        admitted = self.admission.networks_of(session.networks)
        if admitted:
            return NETWORK + admitted[0].key
        return KEY + peer.key if self.admission.is_admitted(peer) else self._relay.account_of_host(session.host)

    def _seat(self, session: RelaySession, peer: PeerId, now: float) -> ByeCode | None:
        """Give a session its place, and its key a mailbox; or why there is none for it."""
        if session.account[:1] != HOST or not self._strangers.is_full():
            return self._register(session, peer, now)
        rival = self._strangers.rival_of(session.host)
        objection = ByeCode.BUSY if rival is None else self._register(session, peer, now)
        if rival is not None and objection is None:
            rival.close(ByeCode.BUSY, now)
        return objection

    def _register(self, session: RelaySession, peer: PeerId, now: float) -> ByeCode | None:
        """Give a key its mailbox; or why there is none for it."""
        if self.roster.has_mailbox(peer.key):
            return None
        newcomers = None
        if session.account[:1] == HOST:
            newcomers = self._newcomers.of(session.host, now)
            if newcomers.wait_for(1, now):
                return ByeCode.CROWDED
            if self.roster.registered >= self.limits.stranger_keys:
                return ByeCode.FULL
        if not self.roster.register(peer.key):
            return ByeCode.FULL
        if newcomers is not None:
            newcomers.spend(1)
        if session.account[:1] in (HOST, HERE):
            self._unsettled.add(peer.key)
        return None

    def _make_room(self, key: bytes, now: float) -> None:
        wires = self.roster.wires_of(key)
        if len(wires) >= self.limits.agent_connections and isinstance(wires[0], RelaySession):
            wires[0].close(ByeCode.REPLACED, now)

    def _send_kept_answers(self, session: RelaySession) -> None:
        kept = self._store.answers_for(session.key)
        for answer in kept:
            session.send(answer.frame)
        if kept:
            self._store.mark_sent([answer.number for answer in kept])

    # --- mail -------------------------------------------------------------------------------------

    @override
    def deposit(self, session: RelaySession, envelope: bytes, now: float) -> None:
        if len(envelope) > MAX_ENVELOPE:
            self.office.deposits.refuse(session, envelope[_ID], "too_large")
            return
        header = Header.parse_untrusted(envelope)
        wait = self._rates.take(session, len(envelope), now)
        if wait:
            self.office.deposits.refuse(session, header.envelope_id, "rate_limited", round(wait + 0.05, 1))
            session.spend_excess(now)
            return
        if self.admission.is_revoked(header.to):
            self.office.deposits.refuse(session, header.envelope_id, "revoked")
            return
        self.office.deposits.take(session, header, envelope, now, self._aged, self._stamp)
        pair = session.key, header.to.key
        noted = self._correspondents.get(pair)
        if noted is None or abs(self._stamp - noted) >= NOTE_AGAIN_SECONDS:  # the clock may have been set back
            self._note_correspondents(pair)

    def _note_correspondents(self, pair: tuple[bytes, bytes]) -> None:
        """Remember that a key has sent to another: then the other may use all of the key's mailbox."""
        key, other = pair
        if not self.roster.has_mailbox(other):
            return
        self._correspondents[pair] = self._stamp
        self._correspondents.move_to_end(pair)
        if len(self._correspondents) > RECENT_CORRESPONDENTS:
            self._correspondents.popitem(last=False)
        self._store.note_correspondent(key, other, self._stamp)

    def _is_familiar(self, wire: Wire, recipient: bytes) -> bool:
        """True if the owner of a mailbox knows the key of a connection."""
        if wire.key == recipient or self._store.has_sent(recipient, wire.key):
            return True
        networks = wire.networks if isinstance(wire, RelaySession) else ()
        peer = PeerId(recipient)
        return any(self.presence.is_here(network, peer) for network in networks) or (
            bool(networks) and self._store.is_listed(recipient, networks)
        )

    @override
    def answered(self, session: RelaySession, envelopes: Sequence[bytes], frame: str) -> bool:
        known = self.office.answered(session, envelopes, frame)
        if known and session.key in self._unsettled:
            self._unsettled.discard(session.key)
            self._store.settle_key(session.key)
        return known

    @override
    def put_off(self, session: RelaySession, envelope: bytes, retry_after: float | None, now: float) -> bool:
        return self.office.put_off(session, envelope, retry_after, now)

    @override
    def postponed(self, session: RelaySession, refusal: Refused, now: float) -> bool:
        return self.office.postponed(session, refusal, now)

    # --- questions --------------------------------------------------------------------------------

    @override
    def bundle_changed(self, session: RelaySession, bundle: KeyBundle) -> None:
        self._bundles[session.key] = bundle
        self._bundles.move_to_end(session.key)
        if len(self._bundles) > RECENT_BUNDLES:
            self._bundles.popitem(last=False)
        known = KnownKey(
            session.key, bundle.to_text(), bundle.seq, session.account, settled=session.account[:1] in (NETWORK, KEY)
        )
        self._store.remember(known, self._stamp)

    @override
    def requested(self, session: RelaySession, request: Request, now: float) -> None:
        match request:
            case Check(envelopes):
                self._check(session, envelopes, now)
            case Admit():
                self._admit_network(session, request, now)
            case _ if not self.directory.may_ask(session, request.number, now):
                return
            case Find():
                self.directory.find(session, request, self._bundle_of(request.peer))
            case Watch():
                self.directory.watch(session, request)
            case Offer():
                self.directory.offer(session, request, now)
            case Claim():
                self.directory.claim(session, request)

    @override
    def published(self, session: RelaySession, listing: Listing, now: float) -> None:
        if self.directory.may_ask(session, listing.revision, now):
            self.directory.publish(session, listing, now)

    def _check(self, session: RelaySession, envelopes: Sequence[bytes], now: float) -> None:
        if self.directory.wait_for(session, 1 + len(envelopes) / 16, now):
            for envelope in envelopes:
                self.office.deposits.refuse(session, envelope, "rate_limited")
            return
        stored = self._store.stored_among(session.key, envelopes)
        answers = self._store.answers_about(session.key, envelopes)
        self.office.deposits.tell_what_became_of(session, envelopes, stored, answers)

    def _bundle_of(self, peer: PeerId) -> KeyBundle | None:
        recent = self._bundles.get(peer.key)
        if recent is not None:
            return recent if self.roster.has_mailbox(peer.key) else None
        known = self._store.bundle_of(peer.key) if self.roster.has_mailbox(peer.key) else None
        return KeyBundle.parse_untrusted(known.bundle) if known is not None else None

    def settle(self) -> None:
        """Have the disk do what was ordered since the last time."""
        self._bridge.settle(self._aged)

    def _tell_kept(self, depositor: bytes) -> None:
        wires = self.roster.wires_of(depositor)
        if wires and isinstance(wires[-1], RelaySession):
            self._send_kept_answers(wires[-1])  # it came back before its answer was on disk

    # --- time -------------------------------------------------------------------------------------

    def next_timeout(self) -> float:
        """When `handle_timeout` has something to do."""
        return min(self.office.next_timeout(), self.presence.next_timeout())

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.office.handle_timeout(now)
        self.presence.handle_timeout(now)

    def tick(self, now: float) -> None:
        """Work of every second: mail that waits for memory or for the disk."""
        self._stamp, self._aged = self._clock.stamp(), self._clock.aged()
        self._doubles.tick()
        self.office.feed()
        self._bridge.try_again()

    def sweep(self, now: float) -> None:
        """Every few seconds: what has expired, and what is as good as forgotten."""
        self.sweep_mail()
        self._store.note_time(self._clock.mark())
        self._store.forget_expired(self._aged)
        self._store.measure(self._measured)
        self._rates.forget_full(now)
        self._newcomers.forget_full(now)
        self._admissions.forget_full(now)
        self.directory.forget_full(now)

    def sweep_mail(self) -> None:
        """Every second while there is a lot of it: all that was sent for one hour expires with it."""
        expired = self._store.expired(self._aged, MAX_EXPIRED)
        self.has_more_to_sweep = len(expired) == MAX_EXPIRED
        for row in expired:
            self.office.expired(row.number, row.recipient, row.envelope, row.depositor, row.size)

    def totals(self) -> RelayTotals:
        """How much there is beside messages: as it is now, or lately where counting takes long."""
        if self._totals.listings > COUNTED_AT_ONCE:
            return self._totals
        return self._store.totals()

    def _measured(self, outcome: RelayTotals | Exception) -> None:
        if isinstance(outcome, RelayTotals):
            self._totals = outcome
            self.office.accounting.other_bytes = outcome.size
            self.office.accounting.room_until = self.office.accounting.disk_bytes + outcome.spare
            self.directory.stranger_bytes = outcome.stranger_size

    def forget_unused(self) -> None:
        """Work of every few minutes: forget keys unused for months, and newcomers without mail for an hour."""
        online = [session.key for session in self.sessions if session.is_open]
        self._store.seen(online, self._stamp)
        self._store.forget_unseen(self._aged - FORGET_KEY_SECONDS, self._forgotten)
        idle = self._store.idle_newcomers(self._aged - FORGET_NEWCOMER_SECONDS)
        gone = [key for key in idle if not (self.roster.is_online(key) or self.office.is_concerned(key))]
        for key in gone:
            self.office.unregister(key)
            self._bundles.pop(key, None)
            self._unsettled.discard(key)
        self._store.forget_keys(gone)

    def _forgotten(self, outcome: Sequence[bytes] | Exception) -> None:
        if isinstance(outcome, Exception):
            logger.warning("unused keys were not forgotten: %s", outcome)
            return
        for key in outcome:
            if not self.roster.is_online(key) and not self.office.holds_mail(key):
                self.office.unregister(key)
