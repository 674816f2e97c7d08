"""One end of a link, of a node and of a relay alike: who is there, whether it is alive, and how the link ends.

    opening    the handshake (`handshake`), within 5 s
    claiming   at a relay: proven, but not served (`relay_session`)
    open       everything
    closed     nothing more is said or heard, except what is still to send

A frame of an open link has a MAC (`link_keys`). Pings keep silence from looking like death (`heartbeat`), a newer key
bundle may be announced, and the end that closes the link says bye. What else is said is up to the kind of the end: a
node's carries envelopes both ways (`link`), a relay's serves mailboxes (`relay_session`).

The verbs: `receive_frame_untrusted` and `receive_eof`; `send` and `close`; `handle_timeout` with `next_timeout`;
`frames_to_send`. Times are seconds of any clock that only rises.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum, auto

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    BYE_SENTENCES,
    BundleFrame,
    Bye,
    ByeCode,
    Frame,
    Hello,
    Ping,
    Pong,
    SmallTalk,
    UnknownFrame,
    name_of,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Established, Failed, Handshake, Side, Waiting
from mcp_a2a.protocol.heartbeat import Allowance, Heartbeat
from mcp_a2a.protocol.link_keys import LinkKeys

HANDSHAKE_SECONDS = 5.0


class Phase(Enum):
    """The phase of a session."""

    OPENING = auto()
    CLAIMING = auto()
    OPEN = auto()
    CLOSED = auto()


_OPEN = Phase.OPEN  # asked for with every frame, and an enumeration is slow to look up


class Session(ABC):
    """The part that all ends share. After each call take `frames_to_send`.

    `wake` is called when there is something to send, where there was nothing before.
    """

    __slots__ = (
        "__weakref__",
        "_allowance",
        "_handshake",
        "_keys",
        "_outgoing",
        "_outgoing_bytes",
        "_wake",
        "bundle_seq",
        "heartbeat",
        "is_closed",
        "name",
        "peer",
        "phase",
        "since",
    )

    def __init__(self, handshake: Handshake, now: float, wake: Callable[[Session], None] | None = None) -> None:
        self._handshake: Handshake | None = handshake
        self._keys: LinkKeys | None = None
        self._wake = wake
        self._outgoing: list[str | bytes] = []
        self._outgoing_bytes = 0
        self._allowance = Allowance(now)
        self.heartbeat = Heartbeat(now)
        self.phase = Phase.OPENING
        self.since = now
        """Time at which the handshake began; later the time at which it was complete."""
        self.is_closed = False
        """True if nothing more is said: its phase says the same, and takes longer to ask for."""
        self.peer: PeerId | None = None
        """The other end; None until its key is proven."""
        self.bundle_seq = 0
        """Number of the newest key bundle of the other end."""
        self.name = handshake.name
        """The name of this connection at a relay, towards others of its key."""
        if handshake.side is Side.LISTENER:
            self.send(encode(handshake.challenge))

    @property
    def is_open(self) -> bool:
        """True if the handshake is complete and the link not closed since."""
        return self.phase is _OPEN

    @property
    def has_frames(self) -> bool:
        """True if there is something to send."""
        return bool(self._outgoing)

    @property
    def wants_frames(self) -> bool:
        """True if the driver is to read on."""
        return True

    # --- output -----------------------------------------------------------------------------------

    def send(self, frame: str | bytes) -> None:
        """Queue a frame; on a closed link nothing happens.

        What is queued first must be sent first: its MAC says so.
        """
        if self.is_closed:
            return
        outgoing = self._outgoing
        if self._keys is not None:
            frame = self._keys.tagged(frame.encode() if isinstance(frame, str) else frame)
        outgoing.append(frame)
        self._outgoing_bytes += len(frame)
        if self._wake is not None and len(outgoing) == 1:
            self._wake(self)

    def frames_to_send(self) -> list[str | bytes]:
        """Frames for the wire, in order, once."""
        frames, self._outgoing = self._outgoing, []
        self._outgoing_bytes = 0
        return frames

    # --- input ------------------------------------------------------------------------------------

    def receive_frame_untrusted(self, frame: str | bytes, now: float) -> None:
        """A frame came in. On a closed link it is ignored.

        Raises:
            RemoteProtocolError: it broke the protocol; the session is closed, with a bye to send.
        """
        if self.is_closed:
            return
        keys, handshake = self._keys, self._handshake
        try:
            if keys is not None:
                body = keys.open_untrusted(frame)
                self.heartbeat.heard(now)
                self._receive(body, now)
            elif handshake is not None:
                self.heartbeat.heard(now)
                self._shake_hands(handshake, decode_untrusted(frame), now)
        except RemoteProtocolError as error:
            self.close(ByeCode.PROTOCOL, now, f"it broke the protocol: {error}")
            raise

    def receive_eof(self, now: float) -> None:
        """The wire is gone."""
        self._end(None, now, "the connection was lost")

    @abstractmethod
    def _receive(self, body: bytes, now: float) -> None:
        """A frame of the other end, whose key is proven."""

    def _receive_small_talk(self, frame: Frame, now: float) -> None:
        """Take a frame that either end may send of itself or the link.

        Raises:
            RemoteProtocolError: it is something else.
        """
        if isinstance(frame, Bye):
            self._receive_bye(frame.code, now)
            return
        if not isinstance(frame, SmallTalk):
            raise RemoteProtocolError("a frame that has no place here")
        self._allowance.spend_untrusted(now)
        match frame:
            case Ping(number):
                self.send(encode(Pong(number)))
            case Pong(number):
                self.heartbeat.receive_pong(number, now)
            case BundleFrame(bundle):
                self._receive_bundle(bundle)
            case UnknownFrame():
                return

    def _receive_bundle(self, bundle: KeyBundle) -> None:
        if bundle.peer != self.peer:
            raise RemoteProtocolError("a key bundle of another peer")
        # An older one is a race or a roll-back; either way it changes nothing.
        if bundle.seq > self.bundle_seq:
            self.bundle_seq = bundle.seq
            self._bundle_changed(bundle)

    @abstractmethod
    def _bundle_changed(self, bundle: KeyBundle) -> None:
        """The other end has a newer key to seal to."""

    def _receive_bye(self, code: ByeCode, now: float) -> None:
        self._end(code, now, BYE_SENTENCES[code])

    # --- the handshake ----------------------------------------------------------------------------

    def _shake_hands(self, handshake: Handshake, frame: Frame, now: float) -> None:
        if isinstance(frame, Bye):
            self._receive_bye(frame.code, now)
            return
        if isinstance(frame, Hello):
            self.name = name_of(frame.nonce)
        match handshake.receive_untrusted(frame):
            case Waiting(reply):
                self.send(encode(reply))
            case Established() as established:
                self._establish(established, now)
            case Failed(code, reason):
                self.close(code, now, reason)

    def _establish(self, established: Established, now: float) -> None:
        self._handshake = None  # thousands of sessions need none
        self.peer, self.bundle_seq = established.peer, established.bundle.seq
        if established.reply is not None:
            self.send(encode(established.reply))
        self._keys = established.keys  # for everything behind the welcome
        self.since, self.phase = now, _OPEN
        self._opened(established, now)

    @abstractmethod
    def _opened(self, established: Established, now: float) -> None:
        """The handshake is complete."""

    # --- time -------------------------------------------------------------------------------------

    def next_timeout(self) -> float:
        """The time of the next call of `handle_timeout`; infinity if there is none."""
        if self.is_closed:
            return math.inf
        return self.heartbeat.next_timeout() if self.is_open else self.since + HANDSHAKE_SECONDS

    def handle_timeout(self, now: float) -> None:
        """Do what is due by now: ping, or give the other end up."""
        if self.phase is Phase.OPENING and now >= self.since + HANDSHAKE_SECONDS:
            self.close(ByeCode.TIMEOUT, now, f"no handshake within {HANDSHAKE_SECONDS:.0f} s")
        if self.phase is not _OPEN:
            return
        if not self.wants_frames:
            self.heartbeat.heard(now)  # silence of our own making: we are not listening
        if self.heartbeat.is_dead(now):
            self.close(ByeCode.TIMEOUT, now, f"no sign of life for {self.heartbeat.silence(now):.0f} s")
        elif self.heartbeat.wants_ping(now):
            self._ping(now)

    def _ping(self, now: float) -> None:
        self.send(encode(Ping(self.heartbeat.ping(now))))

    # --- the end ----------------------------------------------------------------------------------

    def close(self, code: ByeCode, now: float, reason: str = "") -> None:
        """End the link; the other end hears the code, we know the reason."""
        if self._handshake is None or not self._handshake.awaits_welcome:
            self.send(encode(Bye(code)))  # without the keys a listener that has welcomed us could not tell whose it is
        self._end(code, now, reason)

    def _end(self, code: ByeCode | None, now: float, reason: str) -> None:
        if not self.is_closed:
            ended, self.phase, self.is_closed = self.phase, Phase.CLOSED, True
            self._ended(ended, code, now, reason)

    @abstractmethod
    def _ended(self, phase: Phase, code: ByeCode | None, now: float, reason: str) -> None:
        """The link has ended in this phase, by what a side said; None where the wire was lost."""
