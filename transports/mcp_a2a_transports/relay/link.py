"""Links over a session with a relay: one per peer whose mailbox is there, and one for what comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.ports import Link
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import Answer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.heartbeat import PROBE_SECONDS

if TYPE_CHECKING:
    from mcp_a2a_transports.relay.session import RelaySession

ROUTE = "relay"


class _OverRelay(Link):
    """The common part of both kinds."""

    def __init__(self, session: RelaySession) -> None:
        self._session = session

    @property
    @override
    def address(self) -> str:
        return self._session.address

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
        self._session.to_relay.answer(answer)


class RelayedLink(_OverRelay):
    """A peer's mailbox at the relay, whether or not the peer is there."""

    def __init__(self, session: RelaySession, peer: PeerId, bundle: KeyBundle) -> None:
        super().__init__(session)
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
        self._session.submit(self, envelope)

    @override
    def check(self, envelope_ids: Sequence[bytes]) -> None:
        if not self.is_open:
            raise LinkError("The link is closed.")
        self._session.check(self, envelope_ids)

    @override
    def probe(self, seconds: float = PROBE_SECONDS) -> None:
        self._session.to_relay.probe(seconds)

    @override
    def close(self, reason: str) -> None:
        self._session.leave(self, reason)


class InboundLink(_OverRelay):
    """The link on which mail for us comes. It can be answered, and nothing else."""

    @property
    @override
    def peer(self) -> PeerId:
        return self._session.to_relay.peer

    @property
    @override
    def bundle(self) -> KeyBundle:
        return self._session.to_relay.bundle

    @property
    @override
    def rtt_seconds(self) -> float | None:
        return self._session.to_relay.rtt_seconds

    @override
    def submit(self, envelope: bytes) -> None:
        raise LinkError("This link only brings mail.")

    @override
    def check(self, envelope_ids: Sequence[bytes]) -> None:
        raise LinkError("This link only brings mail.")

    @override
    def close(self, reason: str) -> None:
        return
