"""The services of a relay: joins its law (`relay_mail`, `admission`, `presence`) to its disk.

Knows no sockets: it hears of sessions, sends to them, and has the disk do what the law of mail orders. Its driver
calls `settle` after every round of events, and `handle_timeout` at `next_timeout`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from typing_extensions import override

from mcp_a2a.mailbox_ports import MailboxStore, RelayTotals
from mcp_a2a.protocol.admission import Admission
from mcp_a2a.protocol.aging import SoundClock
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.connections import Connections
from mcp_a2a.protocol.control import (
    Admit,
    ByeCode,
    Check,
    Claim,
    Find,
    MembershipProof,
    Offer,
    Refused,
    Request,
    Watch,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE, HEADER_SIZE, MAX_ENVELOPE, Header
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.network import proof_is_valid
from mcp_a2a.protocol.presence import PresenceTable
from mcp_a2a.protocol.relay_limits import (
    HOST,
    KEY,
    NETWORK,
    RelayLimits,
)
from mcp_a2a.protocol.relay_mail import RelayMail
from mcp_a2a.protocol.relay_session import RelaySession
from mcp_a2a.protocol.session_handler import SessionHandler
from mcp_a2a_transports.relay.correspondents import Correspondents
from mcp_a2a_transports.relay.key_register import KeyRegister
from mcp_a2a_transports.relay.network_admission import NetworkAdmission
from mcp_a2a_transports.relay.server_directory import DirectoryService
from mcp_a2a_transports.relay.server_doubles import Doubles
from mcp_a2a_transports.relay.server_rates import DepositRates
from mcp_a2a_transports.relay.storage_bridge import StorageBridge
from mcp_a2a_transports.relay.stranger_sessions import StrangerSessions

logger = logging.getLogger(__name__)

MAX_EXPIRED = 2000
"""Messages that are swept away in one go."""

COUNTED_AT_ONCE = 5000
"""Longest directory whose entries are counted for a question of the operator."""

_ID = slice(HEADER_SIZE - 4 - ENVELOPE_ID_SIZE, HEADER_SIZE - 4)


@dataclass(frozen=True)
class RelayKey:
    """The identity of the relay, and its accounts of hosts."""

    peer: PeerId
    account_of_host: Callable[[str], bytes]
    """The account of the mail of a host: a hash that only this relay can make, since it goes to the disk."""


class RelayService(SessionHandler):
    """Serves sessions until the relay ends."""

    def __init__(
        self,
        relay: RelayKey,
        store: MailboxStore,
        admission: Admission,
        limits: RelayLimits,
        clock: SoundClock,
    ) -> None:
        self.limits = limits
        self.admission = admission
        self.connections = Connections(store.keys(), limits.max_keys)
        self.presence = PresenceTable()
        self._correspondents = Correspondents(store, self.connections, self.presence)
        first = store.last_number() + 1
        self.mail = RelayMail(limits, self.connections, store.backlog(), first, self._correspondents.is_familiar)
        self._keys = KeyRegister(store, self.connections, self.mail, limits)
        self._doubles = Doubles(self.connections)
        self._strangers = StrangerSessions(limits.stranger_connections)
        self.directory = DirectoryService(store, self.presence, admission, limits, clock)
        self._networks = NetworkAdmission(relay.peer, store, admission)
        self._relay = relay
        self._store = store
        self._clock = clock
        self._stamp, self._aged = clock.stamp(), clock.aged()
        self._rates = DepositRates(limits, self.directory.bytes)
        self._bridge = StorageBridge(store, self.mail, self._tell_kept)
        self._totals = RelayTotals()
        self.has_more_to_sweep = False
        self.sessions: dict[RelaySession, None] = {}
        """The sessions that are served."""

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
        self.mail.opened(session)
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
        self.mail.closed(session)

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
        self.mail.unregister(member.key)
        self._store.erase(member.key)
        self._store.erase_network(member)
        return ended

    def _account_of(self, session: RelaySession, peer: PeerId) -> bytes:
        """The account of the mail of a key."""
        admitted = self.admission.networks_of(session.networks)
        if admitted:
            return NETWORK + admitted[0].key
        return KEY + peer.key if self.admission.is_admitted(peer) else self._relay.account_of_host(session.host)

    def _seat(self, session: RelaySession, peer: PeerId, now: float) -> ByeCode | None:
        """Give a session its place, and its key a mailbox; or why there is none for it."""
        if session.account[:1] != HOST or not self._strangers.is_full():
            return self._keys.register(session, peer.key, now)
        rival = self._strangers.rival_of(session.host)
        objection = ByeCode.BUSY if rival is None else self._keys.register(session, peer.key, now)
        if rival is not None and objection is None:
            rival.close(ByeCode.BUSY, now)
        return objection

    def _make_room(self, key: bytes, now: float) -> None:
        wires = self.connections.wires_of(key)
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
            self.mail.deposits.refuse(session, envelope[_ID], "too_large")
            return
        header = Header.parse_untrusted(envelope)
        wait = self._rates.take(session, len(envelope), now)
        if wait:
            self.mail.deposits.refuse(session, header.envelope_id, "rate_limited", round(wait + 0.05, 1))
            session.spend_excess(now)
            return
        if self.admission.is_revoked(header.to):
            self.mail.deposits.refuse(session, header.envelope_id, "revoked")
            return
        self.mail.deposits.take(session, header, envelope, now, self._aged, self._stamp)
        self._correspondents.note(session.key, header.to.key, self._stamp)

    @override
    def answered(self, session: RelaySession, envelopes: Sequence[bytes], frame: str) -> bool:
        known = self.mail.answered(session, envelopes, frame)
        if known:
            self._keys.received(session.key)
        return known

    @override
    def put_off(self, session: RelaySession, envelope: bytes, retry_after: float | None, now: float) -> bool:
        return self.mail.put_off(session, envelope, retry_after, now)

    @override
    def postponed(self, session: RelaySession, refusal: Refused, now: float) -> bool:
        return self.mail.postponed(session, refusal, now)

    # --- questions --------------------------------------------------------------------------------

    @override
    def bundle_changed(self, session: RelaySession, bundle: KeyBundle) -> None:
        self._keys.bundle_changed(session, bundle, self._stamp)

    @override
    def requested(self, session: RelaySession, request: Request, now: float) -> None:
        match request:
            case Check(envelopes):
                self._check(session, envelopes, now)
            case Admit():
                self._networks.requested(session, request, now, self._stamp)
            case _ if not self.directory.may_ask(session, request.number, now):
                return
            case Find():
                self.directory.find(session, request, self._keys.bundle_of(request.peer))
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
                self.mail.deposits.refuse(session, envelope, "rate_limited")
            return
        stored = self._store.stored_among(session.key, envelopes)
        answers = self._store.answers_about(session.key, envelopes)
        self.mail.deposits.tell_what_became_of(session, envelopes, stored, answers)

    def settle(self) -> None:
        """Have the disk do what was ordered since the last time."""
        self._bridge.settle(self._aged)

    def _tell_kept(self, depositor: bytes) -> None:
        wires = self.connections.wires_of(depositor)
        if wires and isinstance(wires[-1], RelaySession):
            self._send_kept_answers(wires[-1])  # it came back before its answer was on disk

    # --- time -------------------------------------------------------------------------------------

    def next_timeout(self) -> float:
        """The time of the next call of `handle_timeout`."""
        return min(self.mail.next_timeout(), self.presence.next_timeout())

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.mail.handle_timeout(now)
        self.presence.handle_timeout(now)

    def tick(self, now: float) -> None:
        """Work of every second: mail that waits for memory or for the disk."""
        self._stamp, self._aged = self._clock.stamp(), self._clock.aged()
        self._doubles.tick()
        self.mail.feed()
        self._bridge.try_again()

    def sweep(self, now: float) -> None:
        """Every few seconds: what has expired, and what is as good as forgotten."""
        self.sweep_mail()
        self._store.note_time(self._clock.mark())
        self._store.forget_expired(self._aged)
        self._store.measure(self._measured)
        self._rates.forget_full(now)
        self._keys.forget_full(now)
        self._networks.forget_full(now)
        self.directory.forget_full(now)

    def sweep_mail(self) -> None:
        """Every second while there is a lot of it: all that was sent for one hour expires with it."""
        expired = self._store.expired(self._aged, MAX_EXPIRED)
        self.has_more_to_sweep = len(expired) == MAX_EXPIRED
        for row in expired:
            self.mail.expired(row.number, row.recipient, row.envelope, row.depositor, row.size)

    def totals(self) -> RelayTotals:
        """The counts beside messages: of this moment, or the last ones if counting takes long."""
        if self._totals.listings > COUNTED_AT_ONCE:
            return self._totals
        return self._store.totals()

    def _measured(self, outcome: RelayTotals | Exception) -> None:
        if isinstance(outcome, RelayTotals):
            self._totals = outcome
            self.mail.accounting.other_bytes = outcome.size
            self.mail.accounting.room_until = self.mail.accounting.disk_bytes + outcome.spare
            self.directory.stranger_bytes = outcome.stranger_size

    def forget_unused(self) -> None:
        """Work of every few minutes: forget keys unused for months, and newcomers without mail for an hour."""
        online = [session.key for session in self.sessions if session.is_open]
        self._keys.forget_unused(online, self._stamp, self._aged)
