"""Links over a session with a relay: one per peer whose mailbox is there, and one for what comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.ports import Link
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import Answer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.heartbeat import PROBE_SECONDS

ROUTE = "relay"


class Post(Protocol):
    """What the links need of their session."""

    @property
    def address(self) -> str:
        """The relay's URL."""
        ...

    @property
    def relay(self) -> PeerId:
        """Its key."""
        ...

    @property
    def relay_bundle(self) -> KeyBundle:
        """Its key bundle."""
        ...

    @property
    def rtt_seconds(self) -> float | None:
        """Round trip to the relay itself."""
        ...

    def submit(self, link: RelayedLink, envelope: bytes) -> None:
        """Hand an envelope to the relay."""
        ...

    def check(self, link: RelayedLink, envelope_ids: Sequence[bytes]) -> None:
        """Ask about envelopes."""
        ...

    def answer(self, answer: Answer) -> None:
        """Answer something that came in."""
        ...

    def probe(self, seconds: float) -> None:
        """End the session if the relay gives no sign of life within so long."""
        ...

    def leave(self, link: RelayedLink, reason: str) -> None:
        """A link is closed by us."""
        ...


class _OverRelay(Link):
    """What both kinds have in common."""

    def __init__(self, post: Post) -> None:
        self._post = post

    @property
    @override
    def address(self) -> str:
        return self._post.address

    @property
    @override
    def route(self) -> str:
        return ROUTE

    @property
    @override
    def is_relayed(self) -> bool:
        return True

    @override
    def answer(self, answer: Answer) -> None:
        self._post.answer(answer)


class RelayedLink(_OverRelay):
    """A peer's mailbox at the relay, whether or not the peer is there."""

    def __init__(self, post: Post, peer: PeerId, bundle: KeyBundle) -> None:
        super().__init__(post)
        self._peer = peer
        self._bundle = bundle
        self.newest_rtt: float | None = None
        """From the newest envelope to its receipt."""
        self.is_open = True

    @property
    @override
    def peer(self) -> PeerId:
        return self._peer

    @property
    @override
    def bundle(self) -> KeyBundle:
        return self._bundle

    @property
    @override
    def rtt_seconds(self) -> float | None:
        return self.newest_rtt

    def learn(self, bundle: KeyBundle) -> None:
        """The recipient has a newer key."""
        if bundle.supersedes(self._bundle):
            self._bundle = bundle

    @override
    def submit(self, envelope: bytes) -> None:
        if not self.is_open:
            raise LinkError("The link is closed.")
        self._post.submit(self, envelope)

    @override
    def check(self, envelope_ids: Sequence[bytes]) -> None:
        if not self.is_open:
            raise LinkError("The link is closed.")
        self._post.check(self, envelope_ids)

    @override
    def probe(self, seconds: float = PROBE_SECONDS) -> None:
        self._post.probe(seconds)

    @override
    def close(self, reason: str) -> None:
        self._post.leave(self, reason)


class InboundLink(_OverRelay):
    """Where mail for us comes from. It can be answered, and nothing else."""

    @property
    @override
    def peer(self) -> PeerId:
        return self._post.relay

    @property
    @override
    def bundle(self) -> KeyBundle:
        return self._post.relay_bundle

    @property
    @override
    def rtt_seconds(self) -> float | None:
        return self._post.rtt_seconds

    @override
    def submit(self, envelope: bytes) -> None:
        raise LinkError("This link only brings mail.")

    @override
    def check(self, envelope_ids: Sequence[bytes]) -> None:
        raise LinkError("This link only brings mail.")

    @override
    def close(self, reason: str) -> None:
        return
