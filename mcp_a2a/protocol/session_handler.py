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
        """Serve a session whose key is proven, with these claims of membership; or return the code of a refusal."""

    def left(self, session: RelaySession, now: float) -> None:
        """Forget an admitted session that has ended."""

    def deposit(self, session: RelaySession, envelope: bytes, now: float) -> None:
        """Take or refuse an envelope. It is read here, so that garbage is refused in one place."""

    def answered(self, session: RelaySession, envelopes: Sequence[bytes], frame: str) -> bool:
        """Pass final answers about mail on to its depositors; return False if they are about none."""

    def put_off(self, session: RelaySession, envelope: bytes, retry_after: float | None, now: float) -> bool:
        """Offer a message again later, because its recipient is busy."""

    def postponed(self, session: RelaySession, refusal: Refused, now: float) -> bool:
        """Handle a refusal for now, for a reason that the depositor can do something about."""

    def bundle_changed(self, session: RelaySession, bundle: KeyBundle) -> None:
        """Note a newer key bundle of the session's key."""

    def requested(self, session: RelaySession, request: Request, now: float) -> None:
        """Answer a request."""

    def published(self, session: RelaySession, listing: Listing, now: float) -> None:
        """Take an entry for a directory."""
