"""Short pauses before a relay is tried again, for tests that cut the wire to it. Growing ones are tested elsewhere."""

from __future__ import annotations

from functools import partial

from mcp_a2a_transports.relay import backoff


def reconnect() -> None:
    """Hardly pause."""
    backoff.full_jitter = partial(backoff.full_jitter, cap=0.2)
    backoff.FIRST_SECONDS = 0.2
