"""The keys of a relay: how one gets a mailbox, the newest key bundle of each, and when one is forgotten."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence

from mcp_a2a.mailbox_ports import KnownKey, MailboxStore
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.connections import Connections
from mcp_a2a.protocol.control import ByeCode
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.rates import Buckets
from mcp_a2a.protocol.relay_limits import (
    FORGET_KEY_SECONDS,
    FORGET_NEWCOMER_SECONDS,
    HERE,
    HOST,
    KEY,
    NETWORK,
    RelayLimits,
)
from mcp_a2a.protocol.relay_mail import RelayMail
from mcp_a2a.protocol.relay_session import RelaySession

logger = logging.getLogger(__name__)

RECENT_BUNDLES = 256
"""Bundles in memory, among them those that are not on disk yet."""


class KeyRegister:
    """Gives keys their mailboxes, and takes them back."""

    def __init__(self, store: MailboxStore, connections: Connections, mail: RelayMail, limits: RelayLimits) -> None:
        self._store = store
        self._connections = connections
        self._mail = mail
        self._stranger_keys = limits.stranger_keys
        self._newcomers: Buckets[str] = Buckets(limits.new_keys)
        self._bundles: OrderedDict[bytes, KeyBundle] = OrderedDict()
        self._unsettled: set[bytes] = set(store.newcomers())
        """Keys that have not received any mail, and proved no admitted network."""

    def register(self, session: RelaySession, key: bytes, now: float) -> ByeCode | None:
        """Give a key its mailbox; or the reason why there is none for it."""
        if self._connections.has_mailbox(key):
            return None
        newcomers = None
        if session.account[:1] == HOST:
            newcomers = self._newcomers.of(session.host, now)
            if newcomers.wait_for(1, now):
                return ByeCode.CROWDED
            if self._connections.registered >= self._stranger_keys:
                return ByeCode.FULL
        if not self._connections.register(key):
            return ByeCode.FULL
        if newcomers is not None:
            newcomers.spend(1)
        if session.account[:1] in (HOST, HERE):
            self._unsettled.add(key)
        return None

    def received(self, key: bytes) -> None:
        """A key has received mail: it is no newcomer any more."""
        if key in self._unsettled:
            self._unsettled.discard(key)
            self._store.settle_key(key)

    # --- bundles ----------------------------------------------------------------------------------

    def bundle_changed(self, session: RelaySession, bundle: KeyBundle, stamp: float) -> None:
        """Keep the bundle that a key has brought."""
        self._bundles[session.key] = bundle
        self._bundles.move_to_end(session.key)
        if len(self._bundles) > RECENT_BUNDLES:
            self._bundles.popitem(last=False)
        settled = session.account[:1] in (NETWORK, KEY)
        self._store.remember(
            KnownKey(session.key, bundle.to_text(), bundle.seq, session.account, settled=settled), stamp
        )

    def bundle_of(self, peer: PeerId) -> KeyBundle | None:
        """The newest bundle of a key; None if it has no mailbox."""
        if not self._connections.has_mailbox(peer.key):
            return None
        recent = self._bundles.get(peer.key)
        known = self._store.bundle_of(peer.key) if recent is None else None
        return recent if known is None else KeyBundle.parse_untrusted(known.bundle)

    # --- forgetting -------------------------------------------------------------------------------

    def forget_full(self, now: float) -> None:
        """Forget the hosts that have brought no new key for long."""
        self._newcomers.forget_full(now)

    def forget_unused(self, online: Sequence[bytes], stamp: float, aged: float) -> None:
        """Forget keys unused for months, and newcomers without mail for an hour."""
        self._store.seen(online, stamp)
        self._store.forget_unseen(aged - FORGET_KEY_SECONDS, self._forgotten)
        idle = self._store.idle_newcomers(aged - FORGET_NEWCOMER_SECONDS)
        gone = [key for key in idle if not (self._connections.is_online(key) or self._mail.is_concerned(key))]
        for key in gone:
            self._mail.unregister(key)
            self._bundles.pop(key, None)
            self._unsettled.discard(key)
        self._store.forget_keys(gone)

    def _forgotten(self, outcome: Sequence[bytes] | Exception) -> None:
        if isinstance(outcome, Exception):
            logger.warning("unused keys were not forgotten: %s", outcome)
            return
        for key in outcome:
            if not self._connections.is_online(key) and not self._mail.holds_mail(key):
                self._mail.unregister(key)
