"""One link between two peers, without the wire: the frames that are allowed in each phase, and their meaning.

After the handshake (`handshake`) both sides may submit envelopes at any time, and owe one answer to
each that they receive. Pings keep silence from looking like death, a newer key bundle may be
announced, and the side that ends the link sends a bye. To a relay that we dialled we can also make requests
(`request`); the relay's own side is another machine, because it keeps others' mail.

The five verbs: `receive_frame_untrusted`; `submit`, `answer`, `request`, `announce` and `say_goodbye`;
`handle_timeout` with `next_timeout`; `frames_to_send`; `events_received`. Times are seconds of any
clock that only rises. Envelopes are carried unopened; receipts are neither made nor checked here.
The frames are in `control`, the events in `link_events`, and the MAC that proves each frame in `link_keys`.
"""

from __future__ import annotations

import math
from enum import Enum, auto

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    BYE_SENTENCES,
    Answer,
    BundleFrame,
    Bye,
    ByeCode,
    Control,
    Frame,
    ListingFrame,
    News,
    Ping,
    Pong,
    Reply,
    Request,
    Role,
    SmallTalk,
    UnknownFrame,
    envelopes_of,
)
from mcp_a2a.protocol.envelope import Envelope, id_of
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import ANY_PEER, Established, Handshake, Side, Target, Waiting
from mcp_a2a.protocol.handshake import Failed as HandshakeFailed
from mcp_a2a.protocol.heartbeat import Allowance, Heartbeat
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link_events import (
    Answered,
    BundleChanged,
    Closed,
    EnvelopeReceived,
    Event,
    Opened,
    PeerLeft,
    RelayHeard,
)
from mcp_a2a.protocol.link_keys import LinkKeys

HANDSHAKE_SECONDS = 5.0
MAX_UNANSWERED = 128
"""Envelopes received and not yet answered, beyond which nothing more is read."""
MAX_IN_FLIGHT = 4096
"""Envelopes of ours whose answers are awaited; the oldest are forgotten, and will be sent again."""
MAX_QUEUED_FRAMES = 256
MAX_QUEUED_BYTES = 1024 * 1024
"""What the wire has not yet taken, beyond which nothing more is submitted or read.

More frames than a send queue needs, because a whole window and its answers are queued in one go.
"""


class State(Enum):
    """Where a link is in its life."""

    OPENING = auto()
    OPEN = auto()
    CLOSED = auto()


class LinkSession:
    """One side of a link. `secret` is 32 fresh random bytes; `target` is what a dialler wants to find.

    After every call take `frames_to_send` and `events_received`; call `handle_timeout` at `next_timeout`.
    """

    def __init__(
        self, side: Side, identity: Identity, bundle: KeyBundle, secret: bytes, now: float, target: Target = ANY_PEER
    ) -> None:
        self._state = State.OPENING
        self._handshake = Handshake(side, identity, bundle, secret, target)
        self._keys: LinkKeys | None = None
        self._to_relay = target.role is Role.RELAY
        self._our_bundle = bundle
        self._their_bundle: KeyBundle | None = None
        self._outgoing: list[str | bytes] = []
        self._outgoing_bytes = 0
        self._events: list[Event] = []
        # Ids of the envelopes that await an answer: ours, in the order in which they were sent, and the peer's.
        self._ours: dict[bytes, None] = {}
        self._theirs: set[bytes] = set()
        self._allowance = Allowance(now)
        self._heartbeat = Heartbeat(now)
        self._started_at = now
        if side is Side.LISTENER:
            self._send(self._handshake.challenge)

    @property
    def rtt_seconds(self) -> float | None:
        """Newest round trip of a ping."""
        return self._heartbeat.rtt_seconds

    @property
    def name(self) -> bytes:
        """What a relay that we dial calls this connection."""
        return self._handshake.name

    @property
    def has_frames(self) -> bool:
        """True if there is something to send."""
        return bool(self._outgoing)

    @property
    def is_open(self) -> bool:
        """True if the handshake is complete and the link not closed since."""
        return self._state is State.OPEN

    @property
    def is_closed(self) -> bool:
        """True if nothing more will be said, except what is still to send."""
        return self._state is State.CLOSED

    # --- what the driver takes --------------------------------------------------------------------

    def frames_to_send(self) -> list[str | bytes]:
        """Frames for the wire, in order, once."""
        frames, self._outgoing = self._outgoing, []
        self._outgoing_bytes = 0
        return frames

    def events_received(self) -> list[Event]:
        """What happened, in order, once."""
        events, self._events = self._events, []
        return events

    @property
    def wants_frames(self) -> bool:
        """True if to read on: not while too much waits for an answer of ours, or for the wire."""
        owes_much = len(self._theirs) > MAX_UNANSWERED
        return not owes_much and len(self._outgoing) < MAX_QUEUED_FRAMES and self._outgoing_bytes < MAX_QUEUED_BYTES

    # --- what the peer does -----------------------------------------------------------------------

    def receive_frame_untrusted(self, frame: str | bytes, now: float) -> None:
        """A frame came in. After `Closed` it is ignored.

        Raises:
            RemoteProtocolError: it broke the protocol; the session is closed, with a bye to send.
        """
        if self._state is State.CLOSED:
            return
        try:
            if self._keys is not None:
                frame = self._keys.open_untrusted(frame)
            self._heartbeat.heard(now)
            self._receive(decode_untrusted(frame), now)
        except RemoteProtocolError as error:
            self.say_goodbye(f"it broke the protocol: {error}", ByeCode.PROTOCOL)
            raise

    def receive_eof(self) -> None:
        """The wire is gone."""
        self._close("the connection was lost", None)

    # --- what we do -------------------------------------------------------------------------------

    def submit(self, envelope: bytes) -> None:
        """Send an envelope; the peer owes one answer.

        Raises:
            LinkError: the link is not open, or the peer does not read.
        """
        self._check_room()
        if not self._to_relay:
            self._ours[id_of(envelope)] = None
            if len(self._ours) > MAX_IN_FLIGHT:
                del self._ours[next(iter(self._ours))]
        self._put(envelope)

    def request(self, frame: Request | ListingFrame) -> None:
        """Ask a relay, or publish there.

        Raises:
            LinkError: the link is not open, or the relay does not read.
        """
        self._check_room()
        if isinstance(frame, ListingFrame):
            self._put(frame.listing.to_bytes())
        else:
            self._send(frame)

    def _check_room(self) -> None:
        if self._state is not State.OPEN:
            raise LinkError("The link is closed.")
        if len(self._outgoing) >= MAX_QUEUED_FRAMES or self._outgoing_bytes >= MAX_QUEUED_BYTES:
            end = "relay" if self._to_relay else "peer"
            raise LinkError(f"The link is full: the {end} reads more slowly than we send.")

    def answer(self, answer: Answer) -> None:
        """Say what became of an envelope that came in. Ignored on a closed link."""
        self._theirs.difference_update(envelopes_of(answer))
        if self._state is State.OPEN:
            self._send(answer)

    def announce(self, bundle: KeyBundle) -> None:
        """Tell the peer our newer key bundle; nothing happens when it knows it."""
        if self._state is State.OPEN and bundle.supersedes(self._our_bundle):
            self._our_bundle = bundle
            self._send(BundleFrame(bundle))

    def say_goodbye(self, reason: str, code: ByeCode = ByeCode.LEAVING) -> None:
        """Close the link; the peer hears the code."""
        if self._state is State.CLOSED:
            return
        self._close(reason, code)
        if self._keys is not None or not self._handshake.awaits_welcome:
            self._send(Bye(code))  # without the keys a listener that has welcomed us could not tell whose word it is

    def probe(self, now: float, seconds: float) -> None:
        """Close the link if the peer sends no frame within `seconds`; for a caller that waits for an answer."""
        if self._state is State.OPEN and self.wants_frames and self._heartbeat.suspect(now, seconds):
            self._send(Ping(self._heartbeat.ping(now)))

    def next_timeout(self) -> float:
        """When `handle_timeout` has something to do; infinity when never."""
        match self._state:
            case State.OPENING:
                return self._started_at + HANDSHAKE_SECONDS
            case State.OPEN:
                return self._heartbeat.next_timeout()
            case State.CLOSED:
                return math.inf

    def handle_timeout(self, now: float) -> None:
        """Do what is due by now: ping, or give the peer up."""
        if now < self.next_timeout():
            return
        if self._state is State.OPENING:
            self.say_goodbye(f"no handshake within {HANDSHAKE_SECONDS:.0f} s", ByeCode.TIMEOUT)
            return
        if not self.wants_frames:
            self._heartbeat.heard(now)  # silence of our own making: we are not listening
        if self._heartbeat.is_dead(now):
            self.say_goodbye(f"no sign of life for {self._heartbeat.silence(now):.0f} s", ByeCode.TIMEOUT)
        elif self._heartbeat.wants_ping(now):
            self._send(Ping(self._heartbeat.ping(now)))

    # --- the law ----------------------------------------------------------------------------------

    def _receive(self, frame: Frame, now: float) -> None:
        if isinstance(frame, Bye):
            if self._state is State.OPEN and frame.code is ByeCode.LEAVING:
                self._events.append(PeerLeft(BYE_SENTENCES[frame.code]))
            self._close(BYE_SENTENCES[frame.code], frame.code)
        elif self._state is State.OPENING:
            self._shake_hands(frame, now)
        elif isinstance(frame, Envelope):
            self._receive_envelope(frame, now)
        elif isinstance(frame, Answer):
            self._receive_answer(frame, now)
        elif isinstance(frame, Reply | News) and self._to_relay:
            self._events.append(RelayHeard(frame))
        elif isinstance(frame, SmallTalk):
            self._allowance.spend_untrusted(now)
            self._receive_small_talk(frame, now)
        else:
            raise RemoteProtocolError("a frame that has no place here")

    def _shake_hands(self, frame: Frame, now: float) -> None:
        match self._handshake.receive_untrusted(frame):
            case Waiting(reply):
                self._send(reply)
            case Established(peer, bundle, keys, _, welcome):
                self._state = State.OPEN
                self._their_bundle = bundle
                if welcome is not None:
                    self._send(welcome)
                self._keys = keys  # for everything behind the welcome
                self._events.append(Opened(peer, bundle))
                self._send(Ping(self._heartbeat.ping(now)))
            case HandshakeFailed(code, reason):
                self.say_goodbye(reason, code)

    def _receive_envelope(self, envelope: Envelope, now: float) -> None:
        if envelope.header.envelope_id in self._theirs:
            self._allowance.spend_untrusted(now)  # the same again is served by the same answer: harmless, unless many
        else:
            self._theirs.add(envelope.header.envelope_id)
            self._events.append(EnvelopeReceived(envelope))

    def _receive_answer(self, answer: Answer, now: float) -> None:
        known = [envelope for envelope in envelopes_of(answer) if self._ours.pop(envelope, self) is None]
        if self._to_relay or known:
            # A relay answers once more when the recipient has spoken, and for envelopes of links long closed.
            self._events.append(Answered(answer))
        else:
            self._allowance.spend_untrusted(now)  # answered before, or forgotten: likewise

    def _receive_small_talk(self, frame: SmallTalk, now: float) -> None:
        match frame:
            case Ping(number):
                self._send(Pong(number))
            case Pong(number):
                self._heartbeat.receive_pong(number, now)
            case BundleFrame(bundle):
                self._receive_bundle(bundle)
            case UnknownFrame():
                return

    def _receive_bundle(self, bundle: KeyBundle) -> None:
        if self._their_bundle is None or bundle.peer != self._their_bundle.peer:
            raise RemoteProtocolError("a key bundle of another peer")
        # An older one is a race or a roll-back; either way it changes nothing.
        if bundle.supersedes(self._their_bundle):
            self._their_bundle = bundle
            self._events.append(BundleChanged(bundle))

    # --- the end ----------------------------------------------------------------------------------

    def _close(self, reason: str, code: ByeCode | None) -> None:
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._events.append(Closed(reason, code))

    def _send(self, frame: Control) -> None:
        text = encode(frame)
        if self._keys is not None:
            self._put(text.encode())
            return
        self._outgoing.append(text)
        self._outgoing_bytes += len(text)

    def _put(self, frame: bytes) -> None:
        """Queue a frame of an open link. What is queued first must be sent first: its MAC says so."""
        if self._keys is None:
            raise LocalProtocolError("No frame of a link goes out before its keys are agreed.")
        self._outgoing.append(self._keys.tagged(frame))
        self._outgoing_bytes += len(frame)
