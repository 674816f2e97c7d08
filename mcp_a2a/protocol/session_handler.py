"""The handler of a relay's sessions: the services of the relay, as a session asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import ByeCode, MembershipProof, Refused, Request
from mcp_a2a.protocol.listing import Listing

if TYPE_CHECKING:
    from mcp_a2a.protocol.relay_session import RelaySession


class SessionHandler(Protocol):
    """Serves sessions; it answers with `RelaySession.send`."""

    def admit(self, session: RelaySession, proofs: Sequence[MembershipProof], now: float) -> ByeCode | None:
        """A key was proven, and these memberships are claimed. None: it is served from now on."""

    def left(self, session: RelaySession, now: float) -> None:
        """A session that was admitted has ended."""

    def deposit(self, session: RelaySession, envelope: bytes, now: float) -> None:
        """An envelope came in: it is read there, so that garbage is refused in one place."""

    def answered(self, session: RelaySession, envelopes: Sequence[bytes], frame: str) -> bool:
        """Final words about mail, to be passed on; False where it is about none."""

    def put_off(self, session: RelaySession, envelope: bytes, retry_after: float | None, now: float) -> bool:
        """Not now."""

    def postponed(self, session: RelaySession, refusal: Refused, now: float) -> bool:
        """Not now, for a reason that the depositor can do something about."""

    def bundle_changed(self, session: RelaySession, bundle: KeyBundle) -> None:
        """A newer key to seal to."""

    def requested(self, session: RelaySession, request: Request, now: float) -> None:
        """A question."""

    def published(self, session: RelaySession, listing: Listing, now: float) -> None:
        """An entry for a directory."""
