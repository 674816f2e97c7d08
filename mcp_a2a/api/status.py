"""This node: its state and its name."""

from __future__ import annotations

from mcp_a2a.api.networks import NetworkView
from mcp_a2a.api.request import Request
from mcp_a2a.api.view import View
from mcp_a2a.protocol.untrusted import Fact, Name, Who


class StatusView(View):
    """The state of this node."""

    version: Fact
    identity: Fact
    name: Name
    did: Who
    words: Fact
    home: Fact
    pid: int
    uptime_seconds: float
    listening: tuple[Fact, ...]
    lookups: dict[Fact, Fact]
    """Each source of agents, and "on" or why it is not."""
    clocks: tuple[Fact, ...] = ()
    """Clocks that are off and by how much, in sentences; empty while all agree."""
    networks: tuple[NetworkView, ...] = ()
    agents_online: int
    outbox: int
    inbox: int
    held: int
    kept: int = 0
    """Finished answers that wait for room on the disk; they are stored as soon as there is some."""
    runs_twice: Fact | None = None
    """Time at which a peer last said that the key of this identity runs on another machine as well."""
    damage: tuple[Fact, ...] = ()
    """Damage of the database, in sentences, until a person runs `mcp-a2a repair`."""
    accept: Fact


class RenameView(View):
    """The new name of this node."""

    name: Name
    kept: Name | None = None
    given: Name | None = None
    """The name that its process was started with, which counts as long as it runs."""


class RenameRequest(Request[RenameView], operation="rename"):
    """Go by the name that a person has kept for this identity, and tell it to every peer.

    Only ever asked for a person, by the command line.
    """
