"""How much of a relay one party may use. Every limit is answered with a typed refusal (`post_office`)."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.protocol.rates import Rate

MIB = 1024 * 1024
DAY = 86_400

WINDOW_FRAMES = 32
WINDOW_BYTES = MIB
"""What a recipient may leave unanswered before it is sent more; one message always goes."""

ELISION_SECONDS = 0.02
"""How long a recipient that is connected may take to answer before its message is written to the disk."""

MAX_INVITATIONS = 100
MAX_INVITATION_SECONDS = 30 * DAY
MAX_LISTINGS = 2000
"""Members of one network in the directory."""
MAX_LISTING_SECONDS = 30 * DAY
MAX_KEPT_ANSWERS = 1000
"""Answers that wait for one depositor; the oldest go first, and then it has to send again."""

FORGET_KEY_SECONDS = 90 * DAY
"""A key that was not seen for so long loses its mailbox."""

ROW_BYTES = 512
"""What a message costs on disk beside its envelope, more or less."""

DEPOSITS = Rate(60 / 60, 120)
DEPOSIT_BYTES = Rate(10 * MIB / 60, 10 * MIB)
REQUESTS = Rate(10, 300)
FAILURES = Rate(10 / 60, 10)


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What an operator may set."""

    max_queue: int = 1000
    """Messages per mailbox."""
    max_per_depositor: int = 200
    """Of them, from one key."""
    max_mailbox_bytes: int = 50 * MIB
    ttl_seconds: float = 7 * DAY
    deposits: Rate = DEPOSITS
    """Per key."""
    deposit_bytes: Rate = DEPOSIT_BYTES
    """Per key, listings and invitations included."""
    requests: Rate = REQUESTS
    """Per key: questions about keys and envelopes, listings, invitations."""
    max_keys: int = 100_000
    max_disk_bytes: int = 10 * 1024 * MIB
    max_memory_bytes: int = 256 * MIB
    """Of envelopes that are on their way to recipients or to the disk."""
    max_connections: int = 10_000
    max_connections_per_host: int = 50
    """Not of this machine itself."""
    max_connections_per_key: int = 5
    max_half_open: int = 256
    """Connections that have not proven a key yet. More than a node allows: after an outage everybody comes at once."""
    failures: Rate = FAILURES
    """Connections of one host that end without having proven a key. Not of this machine itself."""
