"""Short pauses before a relay is tried again, for tests that cut the wire to it. Growing ones are tested elsewhere."""

from __future__ import annotations

from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a_transports.relay import backoff


def reconnect() -> None:
    """Hardly pause."""
    backoff.FIRST = backoff.LATER = Backoff(cap=0.2)
