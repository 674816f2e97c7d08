"""Shorter pauses between attempts to reach a relay, for tests that kill it again and again."""

from __future__ import annotations

import os
from functools import partial

from mcp_a2a_transports.relay import backoff


def where_asked() -> None:
    """Never pause for long, where HURRY is set. How pauses grow is tested elsewhere."""
    if os.environ.get("HURRY"):
        backoff.full_jitter = partial(backoff.full_jitter, cap=2.0)
