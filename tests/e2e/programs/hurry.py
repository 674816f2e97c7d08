"""Shorter pauses between attempts to reach a relay, for tests that kill it again and again."""

from __future__ import annotations

import os

from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a_transports.relay import backoff


def where_asked() -> None:
    """Never pause for long, where HURRY is set. How pauses grow is tested elsewhere."""
    if os.environ.get("HURRY"):
        backoff.LATER = Backoff(cap=2.0)
