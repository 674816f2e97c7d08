"""The limits of a relay for each party. Every limit is answered with a typed refusal (`relay_mail`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mcp_a2a.protocol.rates import Rate

MIB = 1024 * 1024
DAY = 86_400

WINDOW_FRAMES = 32
WINDOW_BYTES = MIB
"""Bytes that a recipient may leave unanswered before it is sent more; one message always goes."""

ELISION_SECONDS = 0.02
"""Seconds in which a connected recipient may answer before its message is written to the disk."""

MAX_INVITATIONS = 100
MAX_INVITATION_SECONDS = 30 * DAY
MAX_LISTINGS = 2000
"""Members of one network in the directory."""
MAX_LISTING_SECONDS = 30 * DAY
MAX_KEPT_ANSWERS = 1000
"""Answers that wait for one depositor; the oldest go first, and then it has to send again."""

FORGET_KEY_SECONDS = 90 * DAY
"""A key that was not seen for so long loses its mailbox."""
FORGET_NEWCOMER_SECONDS = 3600
"""So does, after this time, a key that proved no admitted network, received no mail and is listed nowhere."""

MAX_SPONSORED = 100
"""Networks that one key may have admitted."""

MAX_CORRESPONDENTS = 256
"""Keys that one key is known to have sent to. The oldest are forgotten first."""
MAX_PEER_LISTINGS = 64
"""Entries of one key in all directories: twice the networks that one session may prove."""

ROW_BYTES = 512
"""Approximate bytes of a message on disk beside its envelope."""

DEPOSITS = Rate(1200 / 60, 600)
DEPOSIT_BYTES = Rate(10 * MIB / 60, 10 * MIB)
REQUESTS = Rate(10, 300)
FAILURES = Rate(10 / 60, 10)
ADMISSIONS = Rate(10 / 60, 10)
"""Attempts of one host to show an admission secret."""
HOUR = 3600
NEW_KEYS = Rate(10 / HOUR, 10)

HERE, HOST, NETWORK, KEY = b"l", b"h", b"n", b"k"
"""The first byte of an account: this machine, another host, an admitted network, an admitted key without a network."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """The limits that an operator may set."""

    max_queue: int = 1000
    """Messages per mailbox."""
    max_per_sender: int = 200
    """Of them, from one key."""
    max_mailbox_bytes: int = 50 * MIB
    ttl_seconds: float = 7 * DAY
    deposits: Rate = DEPOSITS
    """Deposits of one key."""
    deposit_bytes: Rate = DEPOSIT_BYTES
    """Per key, listings and invitations included."""
    requests: Rate = REQUESTS
    """Per key: questions about keys and envelopes, listings, invitations."""
    max_keys: int = 100_000
    new_keys: Rate = NEW_KEYS
    """New keys of one host that prove no admitted network. Not of this machine itself."""
    host_senders: float = 2
    """The rates of one host, in those of one key. Not of this machine itself."""
    network_senders: float = 20
    """The rates of one admitted network, as a multiple of the same."""
    max_disk_bytes: int = 10 * 1024 * MIB
    host_disk_share: float = 0.1
    """Of the disk, for the mail of one host and for the entries of all networks that were not admitted."""
    network_disk_share: float = 0.5
    """Of the disk, for the mail of one admitted network."""
    strangers_share: float = 0.5
    """Of disk and memory, for the mail of all hosts together: what is beyond is for admitted networks and keys."""
    strangers_places: float = 0.9
    """Of keys and connections, likewise."""
    max_memory_bytes: int = 256 * MIB
    """Of envelopes that are on their way to recipients or to the disk."""
    max_connections: int = 10_000
    host_connections: int = 50
    """Not of this machine itself."""
    agent_connections: int = 5
    max_half_open: int = 256
    """Connections that have not proven a key yet. More than a node allows: after an outage all clients come at once."""
    failures: Rate = FAILURES
    """Connections of one host that end without having proven a key. Not of this machine itself."""

    @property
    def stranger_keys(self) -> int:
        """Up to how many keys a stranger still gets a mailbox."""
        return max(1, int(self.max_keys * self.strangers_places))

    @property
    def stranger_connections(self) -> int:
        """The number of connections that strangers may have."""
        return max(1, int(self.max_connections * self.strangers_places))

    @property
    def strangers_disk(self) -> float:
        """The most bytes on disk that the mail of all strangers may take; likewise at least two messages."""
        return max(self.strangers_share * self.max_disk_bytes, 2 * MIB)

    def memory_for(self, account: bytes) -> float:
        """Up to how many bytes in all an account may add to what is in memory; always one of the largest messages."""
        share = self.strangers_share if account[:1] == HOST else 1.0
        return max(share * self.max_memory_bytes, min(MIB, self.max_memory_bytes))

    def disk_share(self, account: bytes) -> float:
        """The most bytes on disk that the mail of one account may take; never less than two of the largest messages."""
        match account[:1]:
            case b"":
                return math.inf  # stored before there were accounts
            case b"h" | b"l":
                share = self.host_disk_share
            case _:
                share = self.network_disk_share
        return max(share * self.max_disk_bytes, 2 * MIB)
