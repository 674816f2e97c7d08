"""Correspondents at a relay: an owner knows the keys to which it has sent, or with which it shares a network."""

from __future__ import annotations

from collections import OrderedDict

from mcp_a2a.mailbox_ports import MailboxStore
from mcp_a2a.protocol.connections import Connections, Wire
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.presence import PresenceTable
from mcp_a2a.protocol.relay_session import RelaySession

RECENT_CORRESPONDENTS = 20_000
"""Pairs of keys that are not written down anew with each message."""

NOTE_AGAIN_SECONDS = 3600.0
"""They are noted again after this time: of too many, the disk forgets those that were noted longest ago."""


class Correspondents:
    """Pairs of keys, the disk's and the recent ones."""

    def __init__(self, store: MailboxStore, connections: Connections, presence: PresenceTable) -> None:
        self._store = store
        self._connections = connections
        self._presence = presence
        self._noted: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()
        """The time at which each pair was written down."""

    def note(self, key: bytes, other: bytes, stamp: float) -> None:
        """Remember that a key has sent to another: then the other may use all of the key's mailbox."""
        pair = key, other
        noted = self._noted.get(pair)
        if noted is not None and abs(stamp - noted) < NOTE_AGAIN_SECONDS:  # the clock may have been set back
            return
        if not self._connections.has_mailbox(other):
            return
        self._noted[pair] = stamp
        self._noted.move_to_end(pair)
        if len(self._noted) > RECENT_CORRESPONDENTS:
            self._noted.popitem(last=False)
        self._store.note_correspondent(key, other, stamp)

    def is_familiar(self, wire: Wire, recipient: bytes) -> bool:
        """True if the owner of a mailbox knows the key of a connection."""
        if wire.key == recipient or self._store.has_sent(recipient, wire.key):
            return True
        networks = wire.networks if isinstance(wire, RelaySession) else ()
        peer = PeerId(recipient)
        return any(self._presence.is_here(network, peer) for network in networks) or (
            bool(networks) and self._store.is_listed(recipient, networks)
        )
