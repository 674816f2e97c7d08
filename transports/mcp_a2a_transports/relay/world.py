"""What every session of an open transport shares."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import aiohttp

from mcp_a2a.ports import Credentials, LinkHandler


@dataclass(frozen=True)
class World:
    """Who we are, who hears what happens, and what connections are made with."""

    credentials: Credentials
    handler: LinkHandler
    client: aiohttp.ClientSession
    tls: ssl.SSLContext | None
