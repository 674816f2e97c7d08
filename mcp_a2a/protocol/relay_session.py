"""A relay's side of one link: who is there, whether it is alive, and what it wants.

    opening    the handshake (`handshake`)
    claiming   proven, but not served: may fetch an invitation within 3 s, or have a network admitted; nothing else
    open       everything
    closed

The counterpart of `link.LinkSession`, and leaner: a relay has thousands of these. What is wanted goes to the `Desk`,
which answers with `send`. Mail and its answers are the busy part; they are told apart without reading any JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.control import (
    Admit,
    Answer,
    BundleFrame,
    Bye,
    ByeCode,
    Check,
    Claim,
    Delivered,
    Find,
    Frame,
    Held,
    Hello,
    Offer,
    Ping,
    Pong,
    Refused,
    SmallTalk,
    UnknownFrame,
    Watch,
    envelopes_of,
    name_of,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE
from mcp_a2a.protocol.frames import decode_control_untrusted, decode_untrusted, encode, is_control, postmarks_of_receipt
from mcp_a2a.protocol.handshake import Established, Failed, Handshake, Waiting
from mcp_a2a.protocol.heartbeat import CONTROL_WINDOW_SECONDS, DEAD_SECONDS, MAX_CONTROL_FRAMES, PING_SECONDS
from mcp_a2a.protocol.link_keys import LinkKeys
from mcp_a2a.protocol.listing import Listing, is_listing
from mcp_a2a.protocol.receipt import POSTMARK_SIZE, is_for_now
from mcp_a2a.protocol.relay_desk import Desk

CLAIM_SECONDS = 3.0

MAY_CLAIM = frozenset({ByeCode.NOT_ADMITTED, ByeCode.CROWDED})
"""Objections that an invitation or an admission may settle."""

REST_SECONDS = 10.0
"""Silence after which a session keeps no more than its keys."""

MAX_EXCESS_FRAMES = 1000
"""Frames beyond its rates that are answered in a minute: an outbox that does not know of rates yet may hold as many."""
PENALTY_SECONDS = 1.0


class Phase(Enum):
    """Where a session is in its life."""

    OPENING = auto()
    CLAIMING = auto()
    OPEN = auto()
    CLOSED = auto()


_OPEN = Phase.OPEN  # asked for with every frame, and an enumeration is slow to look up


class RelaySession:
    """One connection. Take `frames_to_send` when the desk hears of output; call `handle_timeout` every second or so."""

    __slots__ = (
        "__weakref__",
        "_allowance",
        "_allowance_at",
        "_desk",
        "_excess",
        "_excess_at",
        "_handshake",
        "_keys",
        "_open_frame",
        "_outgoing",
        "_pings",
        "_tag_of",
        "account",
        "bundle_seq",
        "heard_at",
        "host",
        "is_closed",
        "is_congested",
        "is_excused",
        "key",
        "name",
        "networks",
        "objection",
        "opened_at",
        "peer",
        "phase",
        "pinged_at",
        "read_at",
    )

    def __init__(self, desk: Desk, handshake: Handshake, now: float) -> None:
        self._desk = desk
        self._handshake: Handshake | None = handshake
        self._keys: LinkKeys | None = None
        self._open_frame: Callable[[str | bytes], bytes] | None = None
        self._tag_of: Callable[[bytes], bytes] | None = None
        self._outgoing: list[tuple[str | bytes, bytes]] = []
        self._allowance, self._allowance_at = MAX_CONTROL_FRAMES, now
        self._excess, self._excess_at = 0, now
        self._pings = 0
        self.heard_at = self.pinged_at = self.opened_at = now
        self.phase = Phase.OPENING
        self.is_closed = False
        """True if nothing more is said: its phase says the same, and takes longer to ask for."""
        self.is_excused = False
        """True if it ended without a key as an honest node does that is of another version, or seeks another relay."""
        self.peer: PeerId | None = None
        """Proven; none before."""
        self.key = b""
        self.name = b""
        """What this connection is called towards others of its key."""
        self.networks: tuple[PeerId, ...] = ()
        """Those whose secret it has proven to know."""
        self.host = ""
        """Where it comes from (`pending_connections.host_of`)."""
        self.account = b""
        """What its mail is charged to, once it is served (`relay_limits`)."""
        self.bundle_seq = 0
        self.objection = ByeCode.NOT_ADMITTED
        """Why it may only claim."""
        self.read_at = 0.0
        """Before that time nothing more is read from it."""
        self.is_congested = False
        """True if what was sent is not being read; kept by the driver."""
        self.send(encode(handshake.challenge))

    # --- output -----------------------------------------------------------------------------------

    def send(self, frame: str | bytes) -> None:
        """Queue a frame. After the end nothing more is said."""
        if self.is_closed:
            return
        outgoing = self._outgoing
        if self._tag_of is None:
            outgoing.append((frame, b""))
        else:
            body = frame.encode() if isinstance(frame, str) else frame
            outgoing.append((body, self._tag_of(body)))
        if len(outgoing) == 1:
            self._desk.has_output(self)

    def frames_to_send(self) -> list[tuple[str | bytes, bytes]]:
        """Frames for the wire, in order, once, each with what follows it there: its MAC, but in the handshake."""
        frames, self._outgoing = self._outgoing, []
        return frames

    @property
    def has_output(self) -> bool:
        """True if there is something to send."""
        return bool(self._outgoing)

    # --- the end ----------------------------------------------------------------------------------

    def close(self, code: ByeCode, now: float) -> None:
        """Say goodbye."""
        self.send(encode(Bye(code)))
        self.receive_eof(now)

    def receive_eof(self, now: float) -> None:
        """The wire is gone."""
        phase, self.phase, self.is_closed = self.phase, Phase.CLOSED, True
        if phase is Phase.OPEN:
            self._desk.left(self, now)

    def spend_excess(self, now: float) -> None:
        """Count a deposit that was refused for its rate; a session with too many of them is read more slowly."""
        if now - self._excess_at >= CONTROL_WINDOW_SECONDS:
            self._excess, self._excess_at = 0, now
        self._excess += 1
        if self._excess > MAX_EXCESS_FRAMES:
            self.read_at = now + PENALTY_SECONDS

    # --- time -------------------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> None:
        """Ping a silent session, and close one that is dead."""
        match self.phase:
            case Phase.OPEN:
                if now - self.heard_at >= REST_SECONDS and self._keys is not None:
                    self._keys.rest()
                if now - self.heard_at >= DEAD_SECONDS:
                    self.close(ByeCode.TIMEOUT, now)
                elif now - max(self.heard_at, self.pinged_at) >= PING_SECONDS:
                    self.pinged_at = now
                    self._pings += 1
                    self.send(encode(Ping(self._pings)))
            case Phase.CLAIMING if now - self.opened_at >= CLAIM_SECONDS:
                self.close(self.objection, now)
            case _:
                return

    # --- input ------------------------------------------------------------------------------------

    def receive_frame_untrusted(self, frame: str | bytes, now: float) -> None:
        """A frame came in.

        Raises:
            RemoteProtocolError: it broke the protocol; the session is closed, with a bye to send.
        """
        try:
            if self._open_frame is None:
                self.heard_at = now
                if self.phase is Phase.OPENING:
                    self._shake_hands(decode_untrusted(frame), now)
                return
            body = self._open_frame(frame)
            self.heard_at = now
            if self.phase is _OPEN:
                self._receive(body, now)
            elif self.phase is Phase.CLAIMING:
                self._receive_of_outsider(decode_untrusted(body), now)
        except RemoteProtocolError:
            self.close(ByeCode.PROTOCOL, now)
            raise

    def _receive(self, frame: bytes, now: float) -> None:
        if not is_control(frame):
            if is_listing(frame):
                self._desk.published(self, Listing.parse_untrusted(frame), now)
            else:
                self._desk.deposit(self, frame, now)
        elif (postmarks := postmarks_of_receipt(frame)) is not None:
            envelopes = [postmarks[at : at + ENVELOPE_ID_SIZE] for at in range(0, len(postmarks), POSTMARK_SIZE)]
            if not self._desk.answered(self, envelopes, frame.decode()):
                self._spend_untrusted(now)
        else:
            self._receive_control(decode_control_untrusted(frame), now)

    def _receive_control(self, frame: Frame, now: float) -> None:
        match frame:
            case Delivered() | Held() | Refused():
                self._receive_answer(frame, now)
            case Watch() | Find() | Check() | Offer() | Claim() | Admit():
                self._desk.requested(self, frame, now)
            case Bye():
                self.receive_eof(now)
            case Ping() | Pong() | BundleFrame() | UnknownFrame():
                self._spend_untrusted(now)
                self._receive_small_talk(frame)
            case _:
                raise RemoteProtocolError("a frame that has no place here")

    def _receive_answer(self, answer: Answer, now: float) -> None:
        match answer:
            case Refused(envelope, "busy", retry_after):
                known = self._desk.put_off(self, envelope, retry_after, now)
            case Refused(_, code) if is_for_now(code):
                known = self._desk.postponed(self, answer, now)
            case _:
                known = self._desk.answered(self, envelopes_of(answer), encode(answer))
        if not known:
            self._spend_untrusted(now)

    def _receive_small_talk(self, frame: SmallTalk) -> None:
        match frame:
            case Ping(number):
                self.send(encode(Pong(number)))
            case BundleFrame(bundle):
                if bundle.peer != self.peer:
                    raise RemoteProtocolError("a key bundle of another peer")
                if bundle.seq > self.bundle_seq:
                    self.bundle_seq = bundle.seq
                    self._desk.bundle_changed(self, bundle)
            case _:
                return

    def _receive_of_outsider(self, frame: Frame, now: float) -> None:
        """What a key may say that is not admitted."""
        match frame:
            case Claim() | Admit():
                self._spend_untrusted(now)
                self._desk.requested(self, frame, now)
            case Bye():
                self.receive_eof(now)
            case Ping() | Pong() | BundleFrame() | UnknownFrame():
                self._spend_untrusted(now)
                self._receive_small_talk(frame)
            case _:
                self.close(self.objection, now)

    def _shake_hands(self, frame: Frame, now: float) -> None:
        if isinstance(frame, Bye) or self._handshake is None:
            self.is_excused = self._handshake is not None
            self.receive_eof(now)
            return
        if isinstance(frame, Hello):
            self.name = name_of(frame.nonce)
        match self._handshake.receive_untrusted(frame):
            case Established() as established:
                self._establish(established, now)
            case Failed(code, _):
                self.is_excused = code is ByeCode.VERSION
                self.close(code, now)
            case Waiting():
                raise RemoteProtocolError("a frame that has no place here")

    def _establish(self, established: Established, now: float) -> None:
        self._handshake = None  # thousands of sessions need none
        self.peer, self.key = established.peer, established.peer.key
        self.bundle_seq = established.bundle.seq
        if established.reply is not None:
            self.send(encode(established.reply))
        self._keys = keys = established.keys  # for everything behind the welcome
        self._open_frame, self._tag_of = keys.receiving.open_untrusted, keys.sending.tag
        self.opened_at = now
        self.phase = Phase.OPEN
        objection = self._desk.admit(self, established.memberships, now)
        if objection is None:
            self._desk.bundle_changed(self, established.bundle)
        elif objection in MAY_CLAIM:
            self.phase = Phase.CLAIMING
        else:
            self.phase = Phase.OPENING  # it never was open, so it does not leave
            self.close(objection, now)

    def _spend_untrusted(self, now: float) -> None:
        """One more frame that was for nothing."""
        if now - self._allowance_at >= CONTROL_WINDOW_SECONDS:
            self._allowance, self._allowance_at = MAX_CONTROL_FRAMES, now
        self._allowance -= 1
        if self._allowance < 0:
            raise RemoteProtocolError(f"more than {MAX_CONTROL_FRAMES} control frames in a minute")
