"""A link, both sides without a wire: who is let in, what may be said, and when it ends."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError
from mcp_a2a.protocol import handshake
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import (
    Answer,
    BundleFrame,
    Bye,
    ByeCode,
    Challenge,
    Control,
    Delivered,
    Held,
    Hello,
    Ping,
    Pong,
    Refused,
    Role,
    Stored,
    Welcome,
)
from mcp_a2a.protocol.crypto import ExchangeKey
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import MAX_ENVELOPE, WIRE_SIZES, Envelope
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Established, Handshake, Side, Target, Waiting
from mcp_a2a.protocol.heartbeat import MAX_CONTROL_FRAMES
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link import MAX_IN_FLIGHT, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, MAX_UNANSWERED, LinkSession
from mcp_a2a.protocol.link_events import (
    Answered,
    BundleChanged,
    Closed,
    EnvelopeReceived,
    Event,
    Opened,
    PeerLeft,
)
from mcp_a2a.protocol.network import Network, proof_is_valid
from tests.protocol.clear import ClearLink
from tests.protocol.people import ALICE, BOB, CAROL, NOW, Dice, flip, mark, ring_of

SIGNATURE = bytes(64)
RINGS = {identity.peer_id: ring_of(identity) for identity in (ALICE, BOB, CAROL)}


def envelope(number: int, to: Identity = BOB, size: int = min(WIRE_SIZES)) -> bytes:
    """Something with a header that can be read; links never look further."""
    header = struct.pack(">4s32s8s16sI", b"A2E\x01", to.peer_id.key, bytes(8), number.to_bytes(16), 3600)
    return header.ljust(size, b"\0")


def received(number: int, size: int = min(WIRE_SIZES)) -> EnvelopeReceived:
    return EnvelopeReceived(Envelope.parse_untrusted(envelope(number, size=size)))


def name_of(number: int) -> bytes:
    """The id of that envelope."""
    return number.to_bytes(16)


def session(side: Side, identity: Identity, *, secret: bytes, expected: PeerId | None = None) -> ClearLink:
    return ClearLink(side, identity, RINGS[identity.peer_id].current, secret, 0.0, Target(expected))


@dataclass
class Pair:
    """Bob dials Alice. Frames travel when `settle` is called."""

    listener: ClearLink = field(default_factory=lambda: session(Side.LISTENER, ALICE, secret=b"l" * 32))
    dialler: ClearLink = field(default_factory=lambda: session(Side.DIALLER, BOB, secret=b"d" * 32))

    def settle(self, now: float = 0.0) -> None:
        while (down := self.listener.frames_to_send()) + (up := self.dialler.frames_to_send()):
            for frame in down:
                self.dialler.receive_frame_untrusted(frame, now)
            for frame in up:
                self.listener.receive_frame_untrusted(frame, now)

    @classmethod
    def opened(cls) -> Pair:
        pair = cls()
        pair.settle()
        assert [type(event) for event in pair.events()] == [Opened, Opened]
        return pair

    def events(self) -> list[Event]:
        return self.listener.events_received() + self.dialler.events_received()


def only(session: ClearLink) -> Control:
    """The one control frame that a session has to send."""
    (frame,) = session.frames_to_send()
    control = decode_untrusted(frame)
    assert not isinstance(frame, bytes)
    return control  # type: ignore[return-value]  # a text frame of ours


def last_words(session: ClearLink) -> tuple[str, ByeCode | None]:
    """Why a session closed, and what it tells the other side."""
    *_, closed = session.events_received()
    assert isinstance(closed, Closed)
    said = [decode_untrusted(frame) for frame in session.frames_to_send()]
    assert session.is_closed
    return closed.reason, said[-1].code if said and isinstance(said[-1], Bye) else None


# --- the handshake --------------------------------------------------------------------------------


def test_both_sides_learn_who_the_other_is_and_which_key_to_seal_to() -> None:
    pair = Pair()
    pair.settle()
    assert pair.listener.events_received() == [Opened(BOB.peer_id, RINGS[BOB.peer_id].current)]
    assert pair.dialler.events_received() == [Opened(ALICE.peer_id, RINGS[ALICE.peer_id].current)]


def test_the_listener_speaks_first_and_names_its_key_its_role_and_its_limits() -> None:
    challenge = only(Pair().listener)
    assert challenge == Challenge(2, ExchangeKey(b"l" * 32).public, ALICE.peer_id, Role.NODE, MAX_ENVELOPE)


def test_a_dialler_that_expects_somebody_is_content_with_them() -> None:
    pair = Pair(dialler=session(Side.DIALLER, BOB, secret=b"d" * 32, expected=ALICE.peer_id))
    pair.settle()
    assert pair.dialler.is_open


@pytest.mark.parametrize("is_welcomed", [False, True])
def test_a_dialler_that_gives_up_behind_its_hello_says_nothing_that_its_listener_has_to_complain_about(
    *, is_welcomed: bool
) -> None:
    listener = LinkSession(Side.LISTENER, ALICE, RINGS[ALICE.peer_id].current, b"l" * 32, 0.0)
    dialler = LinkSession(Side.DIALLER, BOB, RINGS[BOB.peer_id].current, b"d" * 32, 0.0)
    dialler.receive_frame_untrusted(listener.frames_to_send()[0], 0.0)
    if is_welcomed:
        listener.receive_frame_untrusted(dialler.frames_to_send()[0], 0.0)
        assert listener.is_open
    dialler.close(ByeCode.LEAVING, 0.0, "the attempt was given up")
    for frame in dialler.frames_to_send():
        listener.receive_frame_untrusted(frame, 0.0)
    listener.receive_eof(0.0)
    assert listener.events_received()[-1] == Closed("the connection was lost", None)


def test_another_key_than_the_expected_one_is_refused_and_told_so() -> None:
    pair = Pair(dialler=session(Side.DIALLER, BOB, secret=b"d" * 32, expected=CAROL.peer_id))
    pair.settle()
    reason, _ = last_words(pair.dialler)
    assert str(ALICE.peer_id) in reason
    assert last_words(pair.listener) == ("it expected another key than ours", None)


@pytest.mark.parametrize(
    ("found", "wanted", "says"),
    [
        (Role.RELAY, Role.NODE, "a relay answers there, not an agent"),
        (Role.NODE, Role.RELAY, "an agent answers there, not a relay"),
    ],
)
def test_an_agent_is_not_taken_for_a_relay_nor_a_relay_for_an_agent(found: Role, wanted: Role, says: str) -> None:
    listener = ClearLink(Side.LISTENER, ALICE, RINGS[ALICE.peer_id].current, b"l" * 32, 0.0, Target(role=found))
    dialler = ClearLink(
        Side.DIALLER, BOB, RINGS[BOB.peer_id].current, b"d" * 32, 0.0, Target(ALICE.peer_id, role=wanted)
    )
    (challenge,) = listener.frames_to_send()
    dialler.receive_frame_untrusted(challenge, 0.0)
    reason, code = last_words(dialler)
    assert says in reason
    assert code is ByeCode.ROLE


def test_memberships_are_proven_to_the_relay_that_asks_and_for_its_nonce_only() -> None:
    network = Network(b"s" * 32)
    relay = Handshake(Side.LISTENER, ALICE, RINGS[ALICE.peer_id].current, b"l" * 32, Target(role=Role.RELAY))
    wanted = Target(ALICE.peer_id, Role.RELAY, lambda peer, nonce: (network.prove(peer, BOB.peer_id, nonce),))
    dialler = Handshake(Side.DIALLER, BOB, RINGS[BOB.peer_id].current, b"d" * 32, wanted)
    asked = dialler.receive_untrusted(relay.challenge)
    assert isinstance(asked, Waiting)
    opened = relay.receive_untrusted(asked.reply)
    assert isinstance(opened, Established)
    (proof,) = opened.memberships
    nonce = relay.challenge.nonce
    assert proof_is_valid(proof, ALICE.peer_id, BOB.peer_id, nonce)
    assert not proof_is_valid(proof, CAROL.peer_id, BOB.peer_id, nonce)
    assert not proof_is_valid(proof, ALICE.peer_id, BOB.peer_id, ExchangeKey(b"m" * 32).public)


def test_a_proof_that_was_made_for_another_listener_is_refused() -> None:
    # Mallory (Carol's key) lets Bob log in at her own listener and hands his proof on to Alice.
    alice, mallory = session(Side.LISTENER, ALICE, secret=b"a" * 32), CAROL.peer_id
    bob = session(Side.DIALLER, BOB, secret=b"b" * 32)
    challenge = only(alice)
    assert isinstance(challenge, Challenge)
    bob.receive_frame_untrusted(encode(Challenge(2, challenge.nonce, mallory, Role.NODE, MAX_ENVELOPE)), 0.0)
    alice.receive_frame_untrusted(encode(only(bob)), 0.0)
    assert last_words(alice) == ("its proof of its key is wrong", ByeCode.PROOF)


def test_a_hello_that_was_heard_before_is_refused() -> None:
    pair = Pair()
    pair.dialler.receive_frame_untrusted(pair.listener.frames_to_send()[0], 0.0)
    (hello,) = pair.dialler.frames_to_send()
    another = session(Side.LISTENER, ALICE, secret=b"m" * 32)
    another.frames_to_send()
    another.receive_frame_untrusted(hello, 0.0)
    assert last_words(another) == ("its proof of its key is wrong", ByeCode.PROOF)


def test_a_welcome_that_was_heard_before_is_refused() -> None:
    first, second = Pair(), session(Side.DIALLER, BOB, secret=b"e" * 32)
    (challenge,) = first.listener.frames_to_send()
    first.dialler.receive_frame_untrusted(challenge, 0.0)
    first.listener.receive_frame_untrusted(first.dialler.frames_to_send()[0], 0.0)
    welcome = first.listener.frames_to_send()[0]
    second.receive_frame_untrusted(challenge, 0.0)
    second.frames_to_send()
    second.receive_frame_untrusted(welcome, 0.0)
    assert last_words(second) == ("its proof of its key is wrong", None)


def test_a_proof_by_another_key_than_the_named_one_is_refused() -> None:
    pair = Pair()
    pair.listener.frames_to_send()
    hello = Hello(2, CAROL.peer_id, b"d" * 32, BOB.sign(b"x\0", b""), RINGS[CAROL.peer_id].current.to_text())
    pair.listener.receive_frame_untrusted(encode(hello), 0.0)
    assert last_words(pair.listener)[1] is ByeCode.PROOF


def test_a_key_bundle_of_somebody_else_is_refused() -> None:
    dialler = ClearLink(Side.DIALLER, BOB, RINGS[CAROL.peer_id].current, b"d" * 32, 0.0)
    pair = Pair(dialler=dialler)
    pair.settle()
    assert last_words(pair.listener)[0] == "its key bundle is another peer's"


def test_a_damaged_key_bundle_is_refused() -> None:
    pair = Pair()
    pair.dialler.receive_frame_untrusted(pair.listener.frames_to_send()[0], 0.0)
    hello = only(pair.dialler)
    assert isinstance(hello, Hello)
    damaged = replace(hello, bundle=hello.bundle.replace('"seq":1', '"seq":2'))
    challenge = Challenge(2, ExchangeKey(b"l" * 32).public, ALICE.peer_id, Role.NODE, MAX_ENVELOPE)
    damaged = replace(damaged, signature=BOB.sign(handshake._HELLO_LABEL, handshake._transcript(challenge, damaged)))
    pair.listener.receive_frame_untrusted(encode(damaged), 0.0)
    reason, code = last_words(pair.listener)
    assert reason.startswith("its key bundle is not acceptable")
    assert code is ByeCode.PROTOCOL


@pytest.mark.parametrize(("version", "age", "where"), [(1, "an older", "there"), (3, "a newer", "here")])
def test_another_version_is_refused_and_each_side_says_what_to_update(version: int, age: str, where: str) -> None:
    pair = Pair()
    pair.listener.frames_to_send()
    challenge = Challenge(version, bytes(32), ALICE.peer_id, Role.NODE, 1)
    pair.dialler.receive_frame_untrusted(encode(challenge), 0.0)
    said = f"it runs {age} mcp-a2a (version {version} of the link protocol, ours is 2): update mcp-a2a {where}"
    assert last_words(pair.dialler) == (said, ByeCode.VERSION)
    hello = Hello(version, BOB.peer_id, bytes(32), SIGNATURE, RINGS[BOB.peer_id].current.to_text())
    pair.listener.receive_frame_untrusted(encode(hello), 0.0)
    assert last_words(pair.listener) == (said, ByeCode.VERSION)


def test_a_peer_that_does_not_like_our_version_has_said_what_to_do() -> None:
    pair = Pair()
    pair.listener.receive_frame_untrusted(encode(Bye(ByeCode.VERSION)), 0.0)
    reason, _ = last_words(pair.listener)
    assert "update the older of the two" in reason


def test_we_do_not_link_with_ourselves() -> None:
    pair = Pair(dialler=session(Side.DIALLER, ALICE, secret=b"d" * 32))
    pair.settle()
    assert last_words(pair.dialler)[0] == "it has our own key"


@pytest.mark.parametrize(
    "early", [envelope(1), encode(Ping(1)), encode(Held(name_of(1), bytes(64))), '{"t":"weather"}']
)
def test_nothing_but_the_handshake_comes_before_it(early: str | bytes) -> None:
    pair = Pair()
    pair.listener.receive_frame_untrusted(early, 0.0)
    assert last_words(pair.listener) == ("it does not follow the handshake", ByeCode.PROTOCOL)


def test_a_handshake_takes_five_seconds_at_most() -> None:
    listener = Pair().listener
    assert listener.next_timeout() == 5.0
    listener.handle_timeout(4.999)
    assert not listener.is_closed
    listener.handle_timeout(5.0)
    assert last_words(listener) == ("no handshake within 5 s", ByeCode.TIMEOUT)


def test_the_listener_is_asked_for_no_second_handshake() -> None:
    pair = Pair.opened()
    with pytest.raises(RemoteProtocolError):
        pair.listener.receive_frame_untrusted(encode(Welcome(SIGNATURE, "")), 0.0)
    assert last_words(pair.listener)[1] is ByeCode.PROTOCOL


def test_a_secret_has_32_bytes() -> None:
    with pytest.raises(LocalProtocolError):
        session(Side.DIALLER, BOB, secret=b"short")


# --- envelopes and answers ------------------------------------------------------------------------


@pytest.mark.parametrize("size", sorted(WIRE_SIZES))
def test_an_envelope_of_any_size_arrives_as_it_was_sent(size: int) -> None:
    pair = Pair.opened()
    pair.dialler.submit(envelope(1, size=size))
    pair.settle()
    assert pair.listener.events_received() == [received(1, size)]


def test_both_sides_submit_on_one_link() -> None:
    pair = Pair.opened()
    pair.dialler.submit(envelope(1))
    pair.listener.submit(envelope(2))
    pair.settle()
    assert pair.events() == [received(1), received(2)]


@pytest.mark.parametrize(
    "answer",
    [
        Delivered((mark(name_of(1)),), SIGNATURE),
        Stored(name_of(1)),
        Held(name_of(1), bytes(64)),
        Refused(name_of(1), "busy", retry_after=5.0),
        Refused(name_of(1), "unknown_key", bundle=RINGS[BOB.peer_id].current),
    ],
)
def test_an_answer_comes_back_to_whoever_submitted(answer: Answer) -> None:
    pair = Pair.opened()
    pair.dialler.submit(envelope(1))
    pair.settle()
    pair.events()
    pair.listener.answer(answer)
    pair.settle()
    assert pair.dialler.events_received() == [Answered(answer)]


def test_an_answer_to_nothing_is_not_passed_on() -> None:
    pair = Pair.opened()
    pair.listener.answer(Held(name_of(9), bytes(64)))
    pair.settle()
    assert pair.events() == []


def test_the_same_envelope_again_is_passed_on_once_until_it_is_answered() -> None:
    pair = Pair.opened()
    for _ in range(3):
        pair.listener.receive_frame_untrusted(envelope(1), 0.0)
    pair.listener.answer(Held(name_of(1), bytes(64)))
    pair.listener.receive_frame_untrusted(envelope(1), 0.0)
    assert pair.listener.events_received() == [received(1)] * 2


def test_reading_stops_while_too_many_envelopes_await_an_answer() -> None:
    listener = Pair.opened().listener
    for number in range(MAX_UNANSWERED + 1):
        assert listener.wants_frames
        listener.receive_frame_untrusted(envelope(number), 0.0)
    assert not listener.wants_frames
    listener.answer(Delivered((mark(name_of(0)), mark(name_of(1))), SIGNATURE))
    assert listener.wants_frames


@pytest.mark.parametrize(("count", "size"), [(MAX_QUEUED_FRAMES, min(WIRE_SIZES)), (1, MAX_ENVELOPE)])
def test_what_the_wire_does_not_take_is_not_piled_up(count: int, size: int) -> None:
    dialler = Pair.opened().dialler
    for number in range(count):
        dialler.submit(envelope(number, size=size))
    with pytest.raises(LinkError, match="slowly"):
        dialler.submit(envelope(count))
    assert not dialler.wants_frames
    assert sum(map(len, dialler.frames_to_send())) < MAX_QUEUED_BYTES + MAX_ENVELOPE
    dialler.submit(envelope(count))
    assert dialler.wants_frames


def test_answers_that_never_come_take_no_memory() -> None:
    pair = Pair.opened()
    for number in range(MAX_IN_FLIGHT + 1):
        pair.dialler.submit(envelope(number))
        pair.dialler.frames_to_send()
    pair.dialler.receive_frame_untrusted(encode(Held(name_of(0), bytes(64))), 0.0)
    pair.dialler.receive_frame_untrusted(encode(Held(name_of(1), bytes(64))), 0.0)
    assert pair.dialler.events_received() == [Answered(Held(name_of(1), bytes(64)))]


# --- key bundles ----------------------------------------------------------------------------------


def rotated(identity: Identity) -> KeyRing:
    ring = KeyRing.load(identity, RINGS[identity.peer_id].dump())
    assert ring.handle_timeout(NOW + 86_400, Dice(b"later"))
    return ring


def test_a_newer_key_bundle_is_announced_once() -> None:
    pair, ring = Pair.opened(), rotated(BOB)
    pair.dialler.announce(ring.current)
    pair.dialler.announce(ring.current)
    assert len(pair.dialler.frames_to_send()) == 1


def test_a_newer_key_bundle_reaches_the_peer() -> None:
    pair, ring = Pair.opened(), rotated(BOB)
    pair.dialler.announce(ring.current)
    pair.settle()
    assert pair.listener.events_received() == [BundleChanged(ring.current)]


def test_a_roll_back_to_an_older_key_bundle_changes_nothing() -> None:
    pair, ring = Pair.opened(), rotated(BOB)
    pair.listener.receive_frame_untrusted(encode(BundleFrame(ring.current)), 0.0)
    pair.listener.receive_frame_untrusted(encode(BundleFrame(RINGS[BOB.peer_id].current)), 0.0)
    assert pair.listener.events_received() == [BundleChanged(ring.current)]


def test_a_key_bundle_of_another_peer_breaks_the_protocol() -> None:
    pair = Pair.opened()
    with pytest.raises(RemoteProtocolError):
        pair.listener.receive_frame_untrusted(encode(BundleFrame(rotated(CAROL).current)), 0.0)


# --- heartbeat ------------------------------------------------------------------------------------


def test_the_round_trip_is_known_right_after_opening() -> None:
    pair = Pair()
    pair.settle()
    assert pair.dialler.rtt_seconds == 0.0
    assert pair.listener.rtt_seconds == 0.0


def test_a_ping_goes_out_after_20_seconds_of_silence_and_is_answered() -> None:
    pair = Pair.opened()
    assert pair.dialler.next_timeout() == 20.0
    pair.dialler.handle_timeout(20.0)
    ping = only(pair.dialler)
    pair.listener.receive_frame_untrusted(encode(ping), 20.1)
    assert isinstance(ping, Ping)
    assert only(pair.listener) == Pong(ping.number)
    pair.dialler.receive_frame_untrusted(encode(Pong(ping.number)), 20.25)
    assert pair.dialler.rtt_seconds == pytest.approx(0.25)


def test_a_pong_to_no_ping_measures_nothing() -> None:
    pair = Pair.opened()
    pair.dialler.receive_frame_untrusted(encode(Pong(99)), 7.0)
    assert pair.dialler.rtt_seconds == 0.0


def test_a_peer_is_dead_after_45_seconds_of_silence() -> None:
    dialler = Pair.opened().dialler
    timeouts = []
    while not dialler.is_closed:
        timeouts.append(dialler.next_timeout())
        dialler.handle_timeout(timeouts[-1])
    assert timeouts == [20.0, 40.0, 45.0]
    assert last_words(dialler) == ("no sign of life for 45 s", ByeCode.TIMEOUT)


def test_silence_counts_for_nothing_while_we_do_not_read() -> None:
    listener = Pair.opened().listener
    for number in range(MAX_UNANSWERED + 1):
        listener.receive_frame_untrusted(envelope(number), 0.0)
    listener.handle_timeout(44.0)
    listener.handle_timeout(88.0)
    assert listener.is_open


def test_nothing_is_due_before_its_time_and_nothing_after_the_end() -> None:
    dialler = Pair.opened().dialler
    dialler.handle_timeout(19.9)
    assert not dialler.has_frames
    dialler.receive_eof(0.0)
    assert dialler.next_timeout() == math.inf


@pytest.mark.parametrize(
    "frame", [encode(Ping(1)), encode(Pong(1)), '{"t":"weather"}', encode(Held(name_of(1), bytes(64)))]
)
def test_a_flood_of_frames_that_carry_nothing_breaks_the_protocol(frame: str) -> None:
    listener = Pair.opened().listener
    for second in range(MAX_CONTROL_FRAMES * 2):  # so many in a row are fine when they come slowly
        listener.receive_frame_untrusted(frame, float(second))
        listener.frames_to_send()
    for _ in range(MAX_CONTROL_FRAMES):
        listener.receive_frame_untrusted(frame, 1_000.0)
    with pytest.raises(RemoteProtocolError, match="control frames"):
        listener.receive_frame_untrusted(frame, 1_000.0)


# --- the end --------------------------------------------------------------------------------------


def test_whoever_leaves_says_goodbye() -> None:
    pair = Pair.opened()
    pair.dialler.close(ByeCode.LEAVING, 0.0, "we stop")
    pair.settle()
    assert pair.dialler.events_received() == [Closed("we stop", ByeCode.LEAVING)]
    assert pair.listener.events_received() == [
        PeerLeft("it said goodbye"),
        Closed("it said goodbye", ByeCode.LEAVING),
    ]


@pytest.mark.parametrize("code", [code for code in ByeCode if code is not ByeCode.LEAVING])
def test_a_link_that_is_closed_for_another_reason_does_not_mean_that_the_peer_left(code: ByeCode) -> None:
    pair = Pair.opened()
    pair.dialler.close(code, 0.0)
    pair.settle()
    (closed,) = pair.listener.events_received()
    assert isinstance(closed, Closed)
    assert closed.reason


def test_a_lost_wire_closes_without_a_word() -> None:
    pair = Pair.opened()
    pair.dialler.receive_eof(0.0)
    assert last_words(pair.dialler) == ("the connection was lost", None)


def test_after_the_end_nothing_comes_in_and_nothing_goes_out() -> None:
    pair = Pair.opened()
    pair.dialler.close(ByeCode.LEAVING, 0.0, "enough")
    pair.dialler.frames_to_send()
    pair.dialler.events_received()
    pair.dialler.receive_frame_untrusted("garbage", 1.0)
    pair.dialler.answer(Held(name_of(1), bytes(64)))
    pair.dialler.announce(rotated(BOB).current)
    pair.dialler.handle_timeout(1_000.0)
    pair.dialler.close(ByeCode.LEAVING, 0.0, "again")
    with pytest.raises(LinkError, match="closed"):
        pair.dialler.submit(envelope(1))
    assert (pair.dialler.frames_to_send(), pair.dialler.events_received()) == ([], [])


def test_nothing_is_submitted_before_the_handshake() -> None:
    with pytest.raises(LinkError):
        Pair().dialler.submit(envelope(1))


def test_frames_and_events_are_taken_once() -> None:
    pair = Pair.opened()
    pair.dialler.submit(envelope(1))
    assert pair.dialler.frames_to_send() == [envelope(1)]
    assert pair.dialler.frames_to_send() == []


# --- whatever they send ---------------------------------------------------------------------------

HONEST_FRAMES: tuple[str | bytes, ...] = (
    encode(Challenge(2, ExchangeKey(b"l" * 32).public, ALICE.peer_id, Role.NODE, MAX_ENVELOPE)),
    encode(Hello(2, BOB.peer_id, b"d" * 32, SIGNATURE, RINGS[BOB.peer_id].current.to_text())),
    encode(Welcome(SIGNATURE, RINGS[ALICE.peer_id].current.to_text())),
    encode(Delivered((mark(name_of(1)), mark(name_of(2))), SIGNATURE)),
    encode(Refused(name_of(1), "unknown_key", bundle=RINGS[ALICE.peer_id].current)),
    encode(BundleFrame(RINGS[ALICE.peer_id].current)),
    encode(Ping(1)),
    encode(Bye(ByeCode.LEAVING)),
    envelope(1),
)


@st.composite
def hostile_frames(draw: st.DrawFn) -> str | bytes:
    """An honest frame, a damaged one, or garbage."""
    honest = draw(st.sampled_from(HONEST_FRAMES))
    raw = honest if isinstance(honest, bytes) else honest.encode()
    raw = draw(
        st.one_of(
            st.just(raw),
            st.binary(max_size=200),
            st.integers(0, len(raw)).map(lambda end: raw[:end]),
            st.integers(0, len(raw) * 8 - 1).map(lambda bit: flip(raw, bit)),
        )
    )
    return raw if draw(st.booleans()) else raw.decode(errors="replace")


@given(st.sampled_from(["listener", "dialler", "opened"]), st.lists(hostile_frames(), max_size=6))
def test_whatever_comes_in_a_session_raises_nothing_but_a_protocol_error_and_ends_once(
    start: str, frames: list[str | bytes]
) -> None:
    pair = Pair.opened() if start == "opened" else Pair()
    victim = pair.listener if start != "dialler" else pair.dialler
    events: list[Event] = []
    for frame in frames:
        with suppress(RemoteProtocolError):
            victim.receive_frame_untrusted(frame, 1.0)
        events += victim.events_received()
        for reply in victim.frames_to_send():
            decode_untrusted(reply)
    assert sum(isinstance(event, Closed) for event in events) == victim.is_closed
    assert not any(isinstance(event, Opened) for event in events)
