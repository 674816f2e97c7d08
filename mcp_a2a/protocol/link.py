"""A node's end of a link: envelopes both ways.

Once the link is open (`session`), both ends may submit envelopes at any time, and owe one answer to each that they
receive. To a relay that we dialled we can also make requests (`request`); the relay's own end is another kind
(`relay_session`), because it keeps the mail of others.

Beside the verbs of every session: `submit`, `answer`, `request`, `announce` and `probe`; `events_received`
(`link_events`). Envelopes are carried unopened; receipts are neither made nor checked here.

Invariants
----------
* No envelope is lost with a link. The journal of the sender holds it until its recipient has signed, so a link may
  forget (the oldest of `MAX_IN_FLIGHT`), break, or close: the envelope is sent again, and known again by its id.
* Memory is bounded without the help of the peer. Beyond `MAX_UNANSWERED` debts, or with a full queue towards a peer
  that does not read, nothing more is read. Both are needed: a peer that writes and never reads would otherwise make
  our answers pile up.
* An answer counts once, and for an envelope that was submitted here. A relay is the exception: it answers `stored`
  first and brings the recipient's answer later, perhaps for an envelope of a link that has ended.
* A repetition is no breach of the protocol, because each end may have missed the other's last frames. It earns
  nothing either, so it is charged to an allowance (`heartbeat`) that a flood uses up.
* A frame gets its MAC where it is queued, and the MAC counts frames (`link_keys`): nothing may overtake in the queue.

What was tried
--------------
* Version 1 proved the keys in the handshake and left the frames behind it bare. A party on a plain ws:// path could
  speak for both ends, and empty a mailbox with a receipt of zeros. So the nonces are ephemeral keys now, and each
  frame has a counted MAC.
* Pings at fixed times alone: a line that died without a word kept a message for 43 s although a relay could have
  taken it. `probe` asks for a sign of life as soon as a caller waits.
* A task that writes to the wire: each frame waited for a round of the event loop. The driver offers a frame to the
  wire where it is queued, and the session keeps the frames that the wire does not take.
* A dialler that gave up behind its hello said goodbye without a MAC, which the listener took for a breach. A handshake
  is given up without a word.
"""

from __future__ import annotations

from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    BYE_SENTENCES,
    Answer,
    BundleFrame,
    ByeCode,
    ListingFrame,
    News,
    Reply,
    Request,
    Role,
    envelopes_of,
)
from mcp_a2a.protocol.envelope import Envelope, id_of
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import ANY_PEER, Established, Handshake, Side, Target
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
from mcp_a2a.protocol.session import Phase, Session

MAX_UNANSWERED = 128
"""Envelopes received and not yet answered, beyond which nothing more is read."""
MAX_IN_FLIGHT = 4096
"""Envelopes of ours whose answers are awaited; the oldest are forgotten, and will be sent again."""
MAX_QUEUED_FRAMES = 256
MAX_QUEUED_BYTES = 1024 * 1024
"""Bytes that wait for the wire, beyond which nothing more is submitted or read.

More frames than a send queue needs, because a whole window and its answers are queued in one go.
"""

_OPEN = Phase.OPEN  # asked for with every envelope, and an enumeration is slow to look up


class LinkSession(Session):
    """One end of a link. `secret` is 32 fresh random bytes; `target` is what a dialler wants to find.

    After every call take `frames_to_send` and `events_received`; call `handle_timeout` at `next_timeout`.
    """

    def __init__(
        self, side: Side, identity: Identity, bundle: KeyBundle, secret: bytes, now: float, target: Target = ANY_PEER
    ) -> None:
        super().__init__(Handshake(side, identity, bundle, secret, target), now)
        self._to_relay = target.role is Role.RELAY
        self._our_bundle = bundle
        self._events: list[Event] = []
        # Ids of the envelopes that await an answer: ours, in the order in which they were sent, and the peer's.
        self._ours: dict[bytes, None] = {}
        self._theirs: set[bytes] = set()

    @property
    def rtt_seconds(self) -> float | None:
        """Newest round trip of a ping."""
        return self.heartbeat.rtt_seconds

    def events_received(self) -> list[Event]:
        """The events since the last call, in order."""
        events, self._events = self._events, []
        return events

    @property
    @override
    def wants_frames(self) -> bool:
        """True if the driver is to read on: not while too much waits for an answer of ours, or for the wire."""
        return len(self._theirs) <= MAX_UNANSWERED and not (self._outgoing and self._is_full)

    @property
    def _is_full(self) -> bool:
        return len(self._outgoing) >= MAX_QUEUED_FRAMES or self._outgoing_bytes >= MAX_QUEUED_BYTES

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
        self.send(envelope)

    def request(self, frame: Request | ListingFrame) -> None:
        """Ask a relay, or publish there.

        Raises:
            LinkError: the link is not open, or the relay does not read.
        """
        self._check_room()
        self.send(frame.listing.to_bytes() if isinstance(frame, ListingFrame) else encode(frame))

    def _check_room(self) -> None:
        if self.phase is not _OPEN:
            raise LinkError("The link is closed.")
        if self._outgoing and self._is_full:
            end = "relay" if self._to_relay else "peer"
            raise LinkError(f"The link is full: the {end} reads more slowly than we send.")

    def answer(self, answer: Answer) -> None:
        """Say what became of an envelope that came in. Ignored on a closed link."""
        self._theirs.difference_update(envelopes_of(answer))
        if self.is_open:
            self.send(encode(answer))

    def announce(self, bundle: KeyBundle) -> None:
        """Tell the peer our newer key bundle; nothing happens when it knows it."""
        if self.is_open and bundle.supersedes(self._our_bundle):
            self._our_bundle = bundle
            self.send(encode(BundleFrame(bundle)))

    def probe(self, now: float, seconds: float) -> None:
        """Close the link if the peer sends no frame within `seconds`; for a caller that waits for an answer."""
        if self.is_open and self.wants_frames and self.heartbeat.suspect(now, seconds):
            self._ping(now)

    # --- the law ----------------------------------------------------------------------------------

    @override
    def _opened(self, established: Established, now: float) -> None:
        self._events.append(Opened(established.peer, established.bundle))
        self._ping(now)

    @override
    def _receive(self, body: bytes, now: float) -> None:
        frame = decode_untrusted(body)
        if isinstance(frame, Envelope):
            self._receive_envelope(frame, now)
        elif isinstance(frame, Answer):
            self._receive_answer(frame, now)
        elif isinstance(frame, Reply | News) and self._to_relay:
            self._events.append(RelayHeard(frame))
        else:
            self._receive_small_talk(frame, now)

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

    @override
    def _bundle_changed(self, bundle: KeyBundle) -> None:
        self._events.append(BundleChanged(bundle))

    @override
    def _receive_bye(self, code: ByeCode, now: float) -> None:
        if self.is_open and code is ByeCode.LEAVING:
            self._events.append(PeerLeft(BYE_SENTENCES[code]))
        super()._receive_bye(code, now)

    @override
    def _ended(self, phase: Phase, code: ByeCode | None, now: float, reason: str) -> None:
        self._events.append(Closed(reason, code))
