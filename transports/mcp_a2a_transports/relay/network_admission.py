"""Admits networks to a relay for makers that show its admission secret (`protocol.admission_secret`)."""

from __future__ import annotations

import logging
from functools import partial

from mcp_a2a.mailbox_ports import MailboxStore, RelayMember
from mcp_a2a.protocol.admission import Admission
from mcp_a2a.protocol.admission_secret import admission_is_proven
from mcp_a2a.protocol.control import Admit, Done, Failed
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.rates import Buckets
from mcp_a2a.protocol.relay_limits import ADMISSIONS, MAX_SPONSORED
from mcp_a2a.protocol.relay_session import RelaySession

logger = logging.getLogger(__name__)

NOTE = "by the admission secret"
"""The operator's note about a network that was admitted so."""


class NetworkAdmission:
    """Answers every `Admit`."""

    def __init__(self, relay: PeerId, store: MailboxStore, admission: Admission) -> None:
        self._relay = relay
        self._store = store
        self._admission = admission
        self._attempts: Buckets[str] = Buckets(ADMISSIONS)

    def requested(self, session: RelaySession, request: Admit, now: float, stamp: float) -> None:
        """Serve a network from now on, if the relay's admission secret is shown or was shown by the same key before.

        Without a proof it is also the question whether the network is served anyhow.
        """
        if not request.proof and self._serves(session, request.network):
            session.send(encode(Done(request.number)))
            return
        peer, attempts = session.peer, self._attempts.of(session.host, now)
        wait = attempts.take(1, now)
        if peer is None or wait:
            session.send(encode(Failed(request.number, "rate_limited", round(wait + 0.05, 1))))
            return
        code = self._objection(session, peer, request)
        if code is not None:
            session.send(encode(Failed(request.number, code)))
        elif self._admission.is_admitted(request.network):
            session.send(encode(Done(request.number)))
        else:
            entry = RelayMember(request.network, admitted=True, note=NOTE, since=stamp, sponsor=peer)
            self._store.admit(entry, partial(self._stored, session, request, peer))

    def _serves(self, session: RelaySession, network: PeerId) -> bool:
        """True if the relay serves a network of this session, for all its members."""
        is_open = self._admission.is_admitted(network) or not self._admission.closed
        return is_open and network in session.networks and not self._admission.is_revoked(network)

    def _objection(self, session: RelaySession, peer: PeerId, request: Admit) -> str | None:
        if request.network not in session.networks:
            return "not_member"
        if self._admission.is_revoked(request.network):
            return "revoked"
        key, sponsored = self._admission.key, self._admission.sponsored_by(peer)
        is_shown = key is not None and admission_is_proven(
            key, request.proof, network=request.network, relay=self._relay, asker=peer, nonce=session.nonce
        )
        if not is_shown and (request.proof or not sponsored):
            return "secret"
        return "full" if sponsored >= MAX_SPONSORED else None

    def _stored(self, session: RelaySession, request: Admit, peer: PeerId, outcome: object) -> None:
        if isinstance(outcome, Exception):
            logger.error("the disk does not take the admission of a network: %s", outcome)
            session.send(encode(Failed(request.number, "storage_full")))
            return
        if self._admission.is_revoked(request.network):  # meanwhile; the disk has kept what the operator decided
            session.send(encode(Failed(request.number, "revoked")))
            return
        self._admission.admit(request.network, peer)
        session.send(encode(Done(request.number)))

    def forget_full(self, now: float) -> None:
        """Forget the hosts that have made no attempt for long."""
        self._attempts.forget_full(now)
