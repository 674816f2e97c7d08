"""Private networks: tickets, members, relays."""

from __future__ import annotations

from pydantic import Field

from mcp_a2a.api.request import Request
from mcp_a2a.api.view import AgentRef, View
from mcp_a2a.protocol.untrusted import Fact, Name, PeerText, Who


class RelayView(View):
    """A relay of a network."""

    url: PeerText
    connected: bool
    detail: PeerText
    """"on", or why not."""
    rtt_ms: float | None = None


class NetworkView(View):
    """A network that we are a member of."""

    name: Name
    id: Fact
    """The key by which a relay knows it (`relay admit`)."""
    owner: Who
    """did of who made it; only that agent can rotate it."""
    mine: bool
    relays: tuple[RelayView, ...] = ()
    members: int = 0
    """Other members that we know of."""
    online: int = 0
    joined: Fact


class InviteView(View):
    """The ticket: its holder can join."""

    ticket: Fact
    network: NetworkView
    uses: int | None = None
    expires: Fact | None = None
    warnings: tuple[PeerText, ...] = ()


class InviteRequest(Request[InviteView], operation="invite"):
    """A ticket to a network, which is made when there is none of that name.

    `relays` are added to those that the network has.

    Raises:
        RelayError, NetworkError
    """

    network: str = Field(min_length=1, max_length=64)
    relays: tuple[str, ...] = ()
    uses: int | None = Field(default=None, ge=1, le=1000)
    """Number of agents that may join with it; None: any number until the network is rotated."""
    expires_seconds: float | None = Field(default=None, gt=0, le=30 * 86_400)


class JoinView(View):
    """The network, and how many agents of others can be seen in it already."""

    network: NetworkView
    agents_visible: int
    """Without those of this data folder, which are in it too."""
    invited_by: AgentRef | None = None
    """The agent that made the ticket, if it is another one."""
    already_member: bool = False
    warnings: tuple[PeerText, ...] = ()


class JoinRequest(Request[JoinView], operation="join"):
    """Become a member of a network by a ticket.

    `wait_seconds` bounds the wait for the first view of the members.

    Raises:
        TicketError, RelayError, NetworkError
    """

    ticket: str
    wait_seconds: float = Field(default=10, ge=0, le=120)
    allow_private: bool = False
    """A person knows what is at an address of this machine that the ticket names."""


class NetworksView(View):
    """Every network that we are a member of."""

    networks: tuple[NetworkView, ...]


class NetworksRequest(Request[NetworksView], operation="networks"):
    """The networks that we are a member of, and the state of their relays."""


class LeaveRequest(Request[NetworkView], operation="leave"):
    """Leave a network: withdraw our entry, forget the secret and the agents that are known only by it.

    Raises:
        NetworkNotFoundError
    """

    network: str


class RotateView(View):
    """The network as it is now, and to how many members, and which, the new secret is on its way."""

    network: NetworkView
    told: int
    stay: tuple[AgentRef, ...] = ()
    left_out: tuple[AgentRef, ...] = ()
    warnings: tuple[PeerText, ...] = ()


class RotateRequest(Request[RotateView], operation="rotate"):
    """A new secret for a network of ours, handed sealed to all members but these (names or dids).

    Raises:
        NetworkNotFoundError, NetworkError, PeerNotFoundError
    """

    network: str
    without: tuple[str, ...] = ()
    check_only: bool = False
    """Only say who stays, or why it cannot be done; nothing is changed."""
