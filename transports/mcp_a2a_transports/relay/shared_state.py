"""The state that all sessions of an open transport share."""

from __future__ import annotations

import ssl
from collections import deque
from dataclasses import dataclass, field

import aiohttp

from mcp_a2a.ports import Credentials, LinkHandler

MAX_NAMES = 1024


@dataclass(frozen=True)
class World:
    """Our credentials, the handler of links, and the client of connections."""

    credentials: Credentials
    handler: LinkHandler
    client: aiohttp.ClientSession
    tls: ssl.SSLContext | None
    names: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_NAMES))
    """Of our newest connections, as relays call them."""
