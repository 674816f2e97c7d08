"""A relay: what its operator asks and commands, and is told."""

from __future__ import annotations

from typing import Literal

from mcp_a2a.api.request import Request
from mcp_a2a.api.view import View
from mcp_a2a.protocol.untrusted import Fact


class RelayStatusView(View):
    """A relay as it is now, or as it was left. No names: it knows none."""

    running: bool
    url: Fact | None = None
    relay: Fact
    """Its did, which its URL pins."""
    closed: bool
    version: Fact
    folder: Fact
    uptime_seconds: float | None = None
    connections: int = 0
    agents_online: int = 0
    keys: int = 0
    """Keys that have a mailbox."""
    mailboxes: int = 0
    """Those with something in it."""
    messages: int = 0
    message_bytes: int = 0
    listings: int = 0
    networks: int = 0
    invitations: int = 0
    admitted: int = 0
    revoked: int = 0
    delivered: int = 0
    """Messages that their recipient has answered; like the next two, since the start."""
    stored: int = 0
    refused: int = 0
    warnings: tuple[Fact, ...] = ()


class RelayMemberView(View):
    """A key on the list of a relay: an agent's, or the id of a network."""

    member: Fact
    state: Literal["admitted", "revoked"]
    kind: Literal["agent", "network", "unknown"]
    online: int = 0
    """Its connections now."""
    note: Fact = ""
    since: Fact


class RelayUrlView(View):
    """The URL of a relay."""

    url: Fact
    """With the key that pins it, and with a new admission secret where one was asked for."""
    closed: bool
    admits: bool
    """True if the URL holds the admission secret: it is shown only now."""


class RelayMembersView(View):
    """The list of a relay. An open relay serves all that are not revoked."""

    closed: bool
    running: bool
    members: tuple[RelayMemberView, ...]


class RelayStatusRequest(Request[RelayStatusView], operation="status"):
    """The state of the relay."""


class RelayMembersRequest(Request[RelayMembersView], operation="members"):
    """The keys that were admitted or revoked."""


class RelayMemberRequest(View):
    """An agent or a network whose standing at the relay changes.

    Raises:
        ConfigurationError: `member` is no key.
    """

    member: str
    """A did:key: of an agent, or the id of a network."""
    note: str = ""
    """For the operator."""


class RelayAdmitRequest(RelayMemberRequest, Request[RelayMemberView], operation="admit"):
    """Serve an agent, or the members of a network, at a closed relay."""


class RelayRevokeRequest(RelayMemberRequest, Request[RelayMemberView], operation="revoke"):
    """Serve it no longer: its sessions end now, and what waited for it is deleted."""


class RelayUrlRequest(Request[RelayUrlView], operation="url"):
    """The URL of the relay that runs.

    Raises:
        ConfigurationError: it does not run.
    """

    new: bool = False
    """Make a new admission secret, which the URL then holds; the old one admits no longer."""
