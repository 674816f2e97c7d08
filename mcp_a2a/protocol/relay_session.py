"""A relay's end of a link: serves the key at the other end.

A key that is proven and not admitted may claim for 3 s: fetch an invitation, or have a network admitted, and nothing
else. Requests and mail go to the `SessionHandler`, which answers with `send`. A relay has thousands of sessions, so
they keep little. Mail and receipts are the busy part; they are told apart without reading JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from typing_extensions import override

from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    Admit,
    Answer,
    Bye,
    ByeCode,
    Claim,
    Frame,
    Refused,
    Request,
    SmallTalk,
    Stored,
    envelopes_of,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE
from mcp_a2a.protocol.frames import decode_control_untrusted, decode_untrusted, encode, postmarks_of_receipt
from mcp_a2a.protocol.handshake import Established, Handshake
from mcp_a2a.protocol.heartbeat import CONTROL_WINDOW_SECONDS
from mcp_a2a.protocol.listing import Listing, is_listing
from mcp_a2a.protocol.receipt import POSTMARK_SIZE, is_for_now
from mcp_a2a.protocol.session import Phase, Session
from mcp_a2a.protocol.session_handler import SessionHandler

CLAIM_SECONDS = 3.0

MAY_CLAIM = frozenset({ByeCode.NOT_ADMITTED, ByeCode.CROWDED})
"""Objections that an invitation or an admission may settle."""

REST_SECONDS = 10.0
"""Silence after which a session keeps no more than its keys."""

MAX_EXCESS_FRAMES = 1000
"""Frames beyond its rates that are answered in a minute: an outbox that does not know of rates yet may hold as many."""
PENALTY_SECONDS = 1.0

_OPEN = Phase.OPEN  # asked for with every frame, and an enumeration is slow to look up


class RelaySession(Session):
    """One connection. Take `frames_to_send` when `wake` is called; call `handle_timeout` every second or so."""

    __slots__ = (
        "_excess",
        "_excess_at",
        "_handler",
        "account",
        "host",
        "is_congested",
        "is_excused",
        "key",
        "networks",
        "nonce",
        "objection",
        "read_at",
    )

    def __init__(
        self,
        handler: SessionHandler,
        handshake: Handshake,
        now: float,
        wake: Callable[[RelaySession], None] | None = None,
    ) -> None:
        self._handler = handler
        self._excess, self._excess_at = 0, now
        self.nonce = handshake.challenge.nonce
        """The nonce that its proofs of membership sign."""
        self.is_excused = False
        """True if it ended without a key as an honest node does that is of another version, or seeks another relay."""
        self.key = b""
        """Of the peer, as bytes; empty until it is proven."""
        self.networks: tuple[PeerId, ...] = ()
        """Those whose secret it has proven to know."""
        self.host = ""
        """The host of the connection (`pending_connections.host_of`)."""
        self.account = b""
        """The account of its mail, once it is served (`relay_limits`)."""
        self.objection = ByeCode.NOT_ADMITTED
        """Why it may only claim."""
        self.read_at = 0.0
        """Before that time nothing more is read from it."""
        self.is_congested = False
        """True if what was sent is not being read; kept by the driver."""
        super().__init__(handshake, now, cast("Callable[[Session], None] | None", wake))

    def spend_excess(self, now: float) -> None:
        """Count a deposit that was refused for its rate; a session with too many of them is read more slowly."""
        if now - self._excess_at >= CONTROL_WINDOW_SECONDS:
            self._excess, self._excess_at = 0, now
        self._excess += 1
        if self._excess > MAX_EXCESS_FRAMES:
            self.read_at = now + PENALTY_SECONDS

    @override
    def handle_timeout(self, now: float) -> None:
        if self.phase is Phase.CLAIMING and now >= self.since + CLAIM_SECONDS:
            self.close(self.objection, now)
        if self._keys is not None and self.heartbeat.silence(now) >= REST_SECONDS:
            self._keys.rest()
        super().handle_timeout(now)

    # --- input ------------------------------------------------------------------------------------

    @override
    def _receive(self, body: bytes, now: float) -> None:
        if self.phase is not _OPEN:
            self._receive_of_outsider(decode_untrusted(body), now)
        elif not body.startswith(b"{"):
            if is_listing(body):
                self._handler.published(self, Listing.parse_untrusted(body), now)
            else:
                self._handler.deposit(self, body, now)
        elif (postmarks := postmarks_of_receipt(body)) is not None:
            envelopes = [postmarks[at : at + ENVELOPE_ID_SIZE] for at in range(0, len(postmarks), POSTMARK_SIZE)]
            if not self._handler.answered(self, envelopes, body.decode()):
                self._allowance.spend_untrusted(now)
        else:
            self._receive_control(decode_control_untrusted(body), now)

    def _receive_control(self, frame: Frame, now: float) -> None:
        if isinstance(frame, Answer) and not isinstance(frame, Stored):
            self._receive_answer(frame, now)
        elif isinstance(frame, Request):
            self._handler.requested(self, frame, now)
        else:
            self._receive_small_talk(frame, now)

    def _receive_answer(self, answer: Answer, now: float) -> None:
        match answer:
            case Refused(envelope, "busy", retry_after):
                known = self._handler.put_off(self, envelope, retry_after, now)
            case Refused(_, code) if is_for_now(code):
                known = self._handler.postponed(self, answer, now)
            case _:
                known = self._handler.answered(self, envelopes_of(answer), encode(answer))
        if not known:
            self._allowance.spend_untrusted(now)

    def _receive_of_outsider(self, frame: Frame, now: float) -> None:
        """Take a frame of a key that is not admitted."""
        if isinstance(frame, Claim | Admit):
            self._allowance.spend_untrusted(now)
            self._handler.requested(self, frame, now)
        elif isinstance(frame, Bye | SmallTalk):
            self._receive_small_talk(frame, now)
        else:
            self.close(self.objection, now)

    @override
    def _bundle_changed(self, bundle: KeyBundle) -> None:
        self._handler.bundle_changed(self, bundle)

    # --- the beginning and the end ----------------------------------------------------------------

    @override
    def _opened(self, established: Established, now: float) -> None:
        self.key = established.peer.key
        objection = self._handler.admit(self, established.memberships, now)
        if objection is None:
            self._handler.bundle_changed(self, established.bundle)
        elif objection in MAY_CLAIM:
            self.phase = Phase.CLAIMING
        else:
            self.phase = Phase.OPENING  # it never was open, so it does not leave
            self.close(objection, now)

    @override
    def _receive_bye(self, code: ByeCode, now: float) -> None:
        self.is_excused = self.peer is None
        super()._receive_bye(code, now)

    @override
    def _ended(self, phase: Phase, code: ByeCode | None, now: float, reason: str) -> None:
        self.is_excused = self.is_excused or code is ByeCode.VERSION
        if phase is _OPEN:
            self._handler.left(self, now)
