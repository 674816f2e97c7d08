"""The parts of a node; the composition root chooses them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcp_a2a.ports import AddressLookup, Hooks, Transport
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.relay_ports import Relays
from mcp_a2a.store.database import Database
from mcp_a2a.store.network_folder import NetworkFolder
from mcp_a2a.web_ports import WebCalls, WebWatch

LEASE_SECONDS = 900.0


@dataclass(frozen=True)
class NodeParts:
    """The parts of one node."""

    identity: Identity
    identity_name: str
    database: Database
    home: Path
    transports: Sequence[Transport]
    lookups: Sequence[AddressLookup]
    card: AgentCard
    """The card of its agent; its name is given, kept or its own."""
    accept: str
    wall_clock: Callable[[], float]
    uptime: Callable[[], float]
    """Seconds since this machine started, also while it slept."""
    randomness: Callable[[int], bytes]
    own_dids: Callable[[], frozenset[str]]
    relays: Relays
    """The transport through relays, which is one of `transports`."""
    networks: NetworkFolder
    own_addresses: Callable[[int], Sequence[DirectAddr]]
    """The addresses at which others on our networks may dial a port of ours."""
    near: Callable[[DirectAddr], bool]
    """True if an address that a member names is worth dialling from here."""
    moved: Callable[[], Awaitable[None]] | None = None
    """Returns when interfaces or addresses of this machine have changed; without it they are looked at every
    `moves.ADDRESS_SECONDS`."""
    given_name: str | None = None
    """The name that its process was started with: it counts as long as that runs."""
    own_name: str = ""
    """Its name where none is given or kept."""
    boot: str = ""
    """Names this start of the machine; empty where that is not told."""
    lease_seconds: float = LEASE_SECONDS
    accept_rate: int = 30
    """New tasks a minute from each stranger, where all are accepted."""
    downloads: Path | None = None
    """Folder for received files that are saved on request; by default `files` in the data folder."""
    hooks: Hooks | None = None
    """The client for push notifications; None: none are sent."""
    web: WebCalls | None = None
    """The client for agents at URLs; None: no such agent is called."""
    web_watch: WebWatch | None = None
    """The lookup of A2A agents that announce themselves."""

    @property
    def folder(self) -> Path:
        """The folder of the identity."""
        return self.home / "identities" / self.identity_name

    @property
    def files_folder(self) -> Path:
        """The folder for files of others that are saved on request."""
        return self.downloads or self.home / "files"
