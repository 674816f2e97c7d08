"""The seams around relays: what a node needs of those it uses. What a relay needs of its disk is in `mailbox_ports`.

| port | implemented by |
|---|---|
| `Relays` | `mcp_a2a_transports.relay.client`, which is a `ports.Transport` too |
| `RelayHandler` | `node` |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.network import Network


class RelayHandler(Protocol):
    """The node's side of its relays, beside `LinkHandler`. Called on the event loop, in wire order; must not block."""

    def relay_opened(self, url: str) -> None:
        """A session with this relay is up: its networks are being watched, and mail for us comes in."""

    def relay_closed(self, url: str, reason: str) -> None:
        """The session ended, or an attempt to open one failed. It is tried again, with growing pauses."""

    def listed(self, url: str, listing: Listing) -> None:
        """A member's entry, new or changed, as the relay gives it: nothing is proven before it is opened."""

    def synced(self, url: str, network: PeerId, epoch: int, revision: int) -> None:
        """Everything up to this revision has been told. Watch from there the next time."""

    def presence(self, url: str, network: PeerId, online: Sequence[PeerId], offline: Sequence[PeerId]) -> None:
        """Report the members of a network that came to the relay, and those that left it."""

    def doubled(self, url: str) -> None:
        """This relay says that our key is also connected from another machine, or another data folder."""


@dataclass(frozen=True)
class Watched:
    """A network to prove membership of and to watch at a relay, and what is known of it already."""

    network: Network
    epoch: int = 0
    revision: int = 0


@dataclass(frozen=True)
class RelayState:
    """The state of the session with one relay."""

    url: str
    connected: bool
    detail: str
    """"on", or why not."""
    rtt_seconds: float | None = None


class Relays(Protocol):
    """The relays that this node keeps a session with. URLs are written as `protocol.relay_url` writes them."""

    def hear(self, handler: RelayHandler) -> None:
        """Whom to tell what happens. Before the transport is opened."""

    def keep(self, url: str, watched: Callable[[], Sequence[Watched]]) -> None:
        """Keep a session with this relay, from now on or from the opening of the transport.

        `watched` is asked at the start of every session. Called again, a running session starts anew with it.
        """

    def drop(self, url: str) -> None:
        """End the session with this relay."""

    def probe(self, seconds: float) -> None:
        """End sessions with relays that give no sign of life within so long."""

    def states(self) -> tuple[RelayState, ...]:
        """Every relay that is kept."""

    async def publish(self, url: str, listing: Listing) -> None:
        """Put our entry into a network's directory, and return when the relay has it on disk.

        Raises:
            RelayError: no session within a few seconds, or the relay refuses (the reason says why).
        """

    async def offer(self, url: str, network: PeerId, invitation: bytes, sealed: bytes, uses: int, expires: int) -> None:
        """Leave a sealed invitation with a relay.

        Raises:
            RelayError: as `publish`.
        """

    async def claim(self, url: str, invitation: bytes) -> bytes:
        """Fetch the sealed invitation of a ticket, over a session of its own if none is kept.

        Raises:
            TicketError: expired, used, or not known there.
            RelayError: as `publish`.
        """

    async def find(self, url: str, peer: PeerId) -> KeyBundle | None:
        """The bundle of a key that has a mailbox there; None when it has none.

        Raises:
            RelayError: as `publish`.
        """

    async def admit(self, url: str, network: Network, secret: bytes | None) -> None:
        """Have a closed relay serve a network of ours: with its admission secret, or because we have shown it before.

        Raises:
            NotAdmittedError: the relay does not accept the secret, or wants one.
            RelayError: as `publish`.
        """

    async def try_out(self, url: str) -> float:
        """Dial a relay, and check that it proves the key it is known by.

        Returns:
            The round trip in seconds.

        Raises:
            RelayError: the relay does not answer, or with another key; says why.
        """
