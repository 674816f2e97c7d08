"""The seams: what the shell is written against, and who implements each.

| port | implemented by |
|---|---|
| `NodeApi` | `node.api.LocalApi` (the owner), `node.ipc.owner.SharedNode` (any process), `node.offline` (none) |
| `Transport`, `Link` | `mcp_a2a_transports.direct`, `.relay.client` |
| `LinkHandler` | `node` |
| `AddressLookup` | `mcp_a2a_transports.local`, `.mdns` |

What concerns relays beyond that is in `relay_ports`.

The flow: a node opens its transports (they listen), then its lookups with an `Announcement` of where it listens. A
lookup reports `Sighting`s; the node dials, and gets a `Link` whose handshake is complete. From then on envelopes
and answers come in through the `LinkHandler`, synchronously and in order, and go out through `Link.submit` and
`Link.answer`, which only queue. Every envelope received gets exactly one answer, when the node is ready to give it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from mcp_a2a.api.request import A, Request
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import Answer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope
from mcp_a2a.protocol.heartbeat import PROBE_SECONDS
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link_places import Standing
from mcp_a2a.protocol.model import StreamResponse, TaskPushNotificationConfig
from mcp_a2a.protocol.paths import TransportAddr


class NodeApi(Protocol):
    """A running node, which answers every question of `mcp_a2a.api`.

    The class of a question says what is done and which errors are raised.
    """

    async def call(self, request: Request[A], /) -> A:
        """Answer a question.

        A wait that ends is not an error: the answer says that the task goes on and what to ask next.

        Args:
            request: one of `api.operations.OPERATIONS`.

        Returns:
            The answer that the class of the question names.

        Raises:
            McpA2AError: the question cannot be answered; no other error is raised.
        """


@dataclass(frozen=True)
class Credentials:
    """The identity that a transport proves, and the sources of time and chance that it may not touch by itself."""

    identity: Identity
    bundle: Callable[[], KeyBundle]
    """Our current key bundle."""
    clock: Callable[[], float]
    """Wall clock, seconds since the epoch."""
    randomness: Callable[[int], bytes]


class Link(Protocol):
    """An open, authenticated connection to one peer. Methods only queue; nothing here blocks."""

    @property
    def peer(self) -> PeerId:
        """The other end, proven by the handshake."""

    @property
    def bundle(self) -> KeyBundle:
        """The peer's newest key bundle, verified against `peer`."""

    @property
    def address(self) -> str:
        """The remote address, for people."""

    @property
    def route(self) -> str:
        """The route of the link: "local", "lan", "direct" or "relay"."""

    @property
    def rtt_seconds(self) -> float | None:
        """Newest heartbeat round trip; None before the first."""

    @property
    def is_relayed(self) -> bool:
        """True if a relay is in between. Then `address` is its URL and the peer need not be there.

        An envelope may then be answered with `Stored`, and by its recipient days later, on another link through the
        same relay.
        """

    def submit(self, envelope: bytes) -> None:
        """Queue an envelope; its answer comes to `LinkHandler.answer_received`.

        Raises:
            LinkError: the link is closed.
        """

    def check(self, envelope_ids: Sequence[bytes]) -> None:
        """Ask the relay about envelopes that it stored; each is answered as if it were submitted now.

        One that it no longer has is answered with `Refused`, code "unknown". Without a relay nothing happens.

        Raises:
            LinkError: the link is closed.
        """

    def answer(self, answer: Answer) -> None:
        """Queue an answer to an envelope that came in. Ignored on a closed link: the peer will send it again."""

    def probe(self, seconds: float = PROBE_SECONDS) -> None:
        """Close the link if its other end (a relay, where one carries it) stays silent for so many seconds."""
        return

    def close(self, reason: str) -> None:
        """Say goodbye and close. `LinkHandler.link_closed` follows."""


class LinkHandler(Protocol):
    """The node's side of every link. Called on the event loop, in the order of the wire; must not block."""

    def link_opened(self, link: Link) -> None:
        """A peer dialled us, or we dialled it, and the handshake is complete."""

    def envelope_received(self, link: Link, envelope: Envelope) -> None:
        """A sealed envelope, unopened. Must end, now or later, in one `link.answer`.

        What a relay brings comes on a link that was never opened and only takes answers: its `peer` is the relay.
        """

    def answer_received(self, link: Link, answer: Answer) -> None:
        """The peer's answer to something we submitted on this link.

        Through a relay it may come days later, and be about something from before a restart. If no open link has
        submitted it, then `link` is the one that the relay's mail comes on (`envelope_received`).
        """

    def standing(self, peer: PeerId) -> Standing:
        """The standing of a peer, which decides who gets a place where there are more peers than places."""
        return Standing.MEMBER

    def link_closed(self, link: Link, reason: str, *, goodbye: bool) -> None:
        """The link is gone. `goodbye`: the peer said it leaves, so it is offline and not merely cut off."""


class Transport(Protocol):
    """A way to reach peers: it dials and it listens."""

    def open(
        self, credentials: Credentials, handler: LinkHandler
    ) -> AbstractAsyncContextManager[tuple[TransportAddr, ...]]:
        """Listen until the context ends; yields the addresses. Every link lives and dies inside this context.

        Raises:
            PortInUseError: a fixed port was asked for and is taken.
        """

    def reaches(self, address: TransportAddr) -> bool:
        """True if this transport can dial that kind of address."""

    async def dial(self, peer: PeerId | None, address: TransportAddr, route: str) -> Link:
        """Open a link and complete the handshake; `handler.link_opened` has been called when this returns.

        Args:
            peer: the expected peer; None accepts any (an address typed by a person).
            address: where to dial.
            route: the name of the path, for the link's own `route`.

        Raises:
            LinkError: refused, timed out, not the expected peer, or not speaking the protocol. The message says which.
        """


@dataclass(frozen=True)
class Announcement:
    """The announcement of a lookup: our key and port, nothing else."""

    peer: PeerId
    port: int


@dataclass(frozen=True)
class Sighting:
    """An address of a peer, as one lookup saw it. A hint: the handshake decides which peer is there."""

    peer: PeerId
    addresses: tuple[TransportAddr, ...]
    provenance: str
    """Name of the lookup."""


class LookupHandler(Protocol):
    """The node's side of a lookup. Called on the event loop; must not block."""

    def sighted(self, sighting: Sighting) -> None:
        """A peer was seen, or seen at other addresses than before."""

    def lost(self, peer: PeerId, provenance: str) -> None:
        """Report that a lookup no longer sees the peer."""


class Hooks(Protocol):
    """Posts to URLs that A2A clients named."""

    def tells_whole_tasks(self, config: TaskPushNotificationConfig) -> bool:
        """True if each event has to be the task as it is."""

    def check(self, url: str) -> None:
        """Refuse a URL that must not be called, as far as it can be told by how it is written.

        Raises:
            AddressNotAllowedError
        """

    async def post(self, config: TaskPushNotificationConfig, event: StreamResponse) -> None:
        """Post an event (A2A 4.3.3), in the words of its configuration.

        Raises:
            AddressNotAllowedError: it leads to somewhere that it must not reach.
            WebError: it was not taken; whether trying again makes sense is in `retryable`.
        """


class AddressLookup(Protocol):
    """A source of sightings, and a place to be seen at."""

    @property
    def name(self) -> str:
        """Provenance of its sightings, for example "mdns"."""

    @property
    def detail(self) -> str:
        """The present coverage in words for people: "IPv4 and IPv6", for example; empty if it never changes."""
        return ""

    @property
    def is_deaf(self) -> bool:
        """True if the lookup sees no agent at the moment, for a reason that may pass."""
        return False

    def open(self, announcement: Announcement, handler: LookupHandler) -> AbstractAsyncContextManager[None]:
        """Announce and watch until the context ends, which withdraws the announcement.

        Raises:
            OSError: this machine does not allow it (no multicast, say). The node goes on without it and shows why.
        """

    def look_now(self) -> None:
        """See at once what would be seen soon, because a caller asks. Nothing to do where the system tells of news."""
        return
