"""What whoever is on the path of a link can do to its frames: delay them and cut it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol import crypto
from mcp_a2a.protocol import handshake as handshake_module
from mcp_a2a.protocol.control import Bye, ByeCode, Challenge, Hello, Ping, Role, Stored, Welcome
from mcp_a2a.protocol.crypto import ExchangeKey
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.handshake import Established, Failed, Handshake, Side, Target, Waiting
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link import LinkSession
from mcp_a2a.protocol.link_events import Answered, Closed, EnvelopeReceived, Opened, PeerLeft
from mcp_a2a.protocol.link_keys import TAG_SIZE, LinkKeys
from mcp_a2a.protocol.network import Network
from tests.protocol.people import ALICE, BOB, CAROL, bit_flips, ring_of
from tests.protocol.test_link import envelope, name_of

RINGS = {identity.peer_id: ring_of(identity) for identity in (ALICE, BOB, CAROL)}
SHARED = bytes(range(32))


def keys(transcript: bytes = b"said") -> tuple[LinkKeys, LinkKeys]:
    """Those of the dialler, and those of the listener."""
    return (
        LinkKeys.derive(SHARED, transcript, is_dialler=True),
        LinkKeys.derive(SHARED, transcript, is_dialler=False),
    )


# --- the MACs -------------------------------------------------------------------------------------


def test_both_ends_come_to_the_same_keys_one_for_each_direction() -> None:
    dialler, listener = keys()
    for number in range(3):
        assert listener.open_untrusted(dialler.tagged(b"down %d" % number)) == b"down %d" % number
        assert dialler.open_untrusted(listener.tagged(b"up %d" % number)) == b"up %d" % number


def test_the_tags_are_the_known_ones() -> None:
    dialler, listener = keys()
    told = [dialler.tagged(b""), dialler.tagged(b"frame")[-TAG_SIZE:], listener.tagged(b"frame")[-TAG_SIZE:]]
    assert [tag.hex() for tag in told] == KNOWN_TAGS


KNOWN_TAGS = [
    "5756e92045ec32e691943caf9e5f58ca",
    "3b58d7c38f22341c8b76cedee4d80e51",
    "0b4d275b6ed8404d1d54568b82d34cae",
]
"""Of what the dialler says first and second, and of what the listener says first."""


def test_no_changed_bit_of_a_frame_or_its_tag_is_accepted() -> None:
    frame = keys()[0].tagged(b'{"t":"ping","n":7}')
    for changed in bit_flips(frame):
        with pytest.raises(RemoteProtocolError):
            keys()[1].open_untrusted(changed)


@pytest.mark.parametrize("length", range(TAG_SIZE + 18))
def test_no_frame_that_was_cut_is_accepted(length: int) -> None:
    frame = keys()[0].tagged(b'{"t":"ping","n":7}')
    with pytest.raises(RemoteProtocolError):
        keys()[1].open_untrusted(frame[:length])


Misdeed = Callable[[list[bytes]], list[bytes]]

MISDEEDS: dict[str, Misdeed] = {
    "replayed": lambda frames: [frames[0], frames[0]],
    "reordered": lambda frames: [frames[1], frames[0]],
    "one left out": lambda frames: [frames[1]],
    "one left out in the middle": lambda frames: [frames[0], frames[2]],
    "a tag of another frame": lambda frames: [frames[0][:-TAG_SIZE] + frames[1][-TAG_SIZE:]],
    "two in one": lambda frames: [frames[0] + frames[1]],
    "one more": lambda frames: [*frames, b"made up" + bytes(TAG_SIZE)],
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_frames_out_of_their_place_are_refused(misdeed: str) -> None:
    dialler, listener = keys()
    frames = [dialler.tagged(b"frame %d" % number) for number in range(3)]
    heard = []
    with pytest.raises(RemoteProtocolError):
        for frame in MISDEEDS[misdeed](frames):
            heard.append(listener.open_untrusted(frame))  # noqa: PERF401  up to the first that is refused
    assert heard == [b"frame 0", b"frame 1", b"frame 2"][: len(heard)]


def test_a_frame_that_is_sent_back_or_comes_from_another_link_is_refused() -> None:
    dialler, listener = keys()
    with pytest.raises(RemoteProtocolError):
        dialler.open_untrusted(dialler.tagged(b"frame"))
    with pytest.raises(RemoteProtocolError):
        listener.open_untrusted(keys(b"said elsewhere")[0].tagged(b"frame"))


def test_a_text_frame_is_refused_whatever_it_says() -> None:
    with pytest.raises(RemoteProtocolError):
        keys()[1].open_untrusted(encode(Ping(1)))


def test_a_rest_forgets_nothing() -> None:
    dialler, listener = keys()
    listener.open_untrusted(dialler.tagged(b"one"))
    dialler.rest()
    listener.rest()
    assert listener.open_untrusted(dialler.tagged(b"two")) == b"two"


# --- agreeing -------------------------------------------------------------------------------------

LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (crypto.FIELD_PRIME - 1).to_bytes(32, "little"),
    crypto.FIELD_PRIME.to_bytes(32, "little"),
    (crypto.FIELD_PRIME + 1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]
"""The points of small order of Curve25519, and other spellings of them."""


@pytest.mark.parametrize("point", LOW_ORDER, ids=range(len(LOW_ORDER)))
def test_an_ephemeral_key_of_low_order_agrees_on_nothing(point: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        ExchangeKey(b"x" * 32).agree(point)


def shaken(listener: Handshake, dialler: Handshake) -> tuple[Established, Established]:
    """What both ends come to when nobody interferes."""
    hello = dialler.receive_untrusted(listener.challenge)
    assert isinstance(hello, Waiting)
    there = listener.receive_untrusted(hello.reply)
    assert isinstance(there, Established)
    assert there.reply is not None
    here = dialler.receive_untrusted(there.reply)
    assert isinstance(here, Established)
    return there, here


def handshake(side: Side, who: Identity, secret: bytes, target: Target | None = None) -> Handshake:
    return Handshake(side, who, RINGS[who.peer_id].current, secret, target or Target())


def test_each_handshake_comes_to_other_keys() -> None:
    frame = shaken(handshake(Side.LISTENER, ALICE, b"l" * 32), handshake(Side.DIALLER, BOB, b"d" * 32))[1].keys.tagged(
        b"frame"
    )
    for secret, who in ((b"D" * 32, BOB), (b"d" * 32, CAROL)):
        other = shaken(handshake(Side.LISTENER, ALICE, b"l" * 32), handshake(Side.DIALLER, who, secret))[0]
        with pytest.raises(RemoteProtocolError):
            other.keys.open_untrusted(frame)


def test_a_listener_whose_ephemeral_key_agrees_on_nothing_gets_no_link() -> None:
    dialler = handshake(Side.DIALLER, BOB, b"d" * 32)
    challenge = Challenge(2, bytes(32), ALICE.peer_id, Role.NODE, 1)
    waiting = dialler.receive_untrusted(challenge)
    assert isinstance(waiting, Waiting)
    assert isinstance(waiting.reply, Hello)
    bundle = RINGS[ALICE.peer_id].current.to_text()
    signed = handshake_module._answered(handshake_module._transcript(challenge, waiting.reply), bundle)
    failed = dialler.receive_untrusted(Welcome(ALICE.sign(handshake_module._WELCOME_LABEL, signed), bundle))
    assert isinstance(failed, Failed)
    assert failed.code is ByeCode.PROTOCOL


def test_a_dialler_whose_ephemeral_key_agrees_on_nothing_gets_no_link() -> None:
    listener = handshake(Side.LISTENER, ALICE, b"l" * 32)
    hello = Hello(2, BOB.peer_id, bytes(32), b"", RINGS[BOB.peer_id].current.to_text())
    transcript = handshake_module._transcript(listener.challenge, hello)
    failed = listener.receive_untrusted(replace(hello, signature=BOB.sign(handshake_module._HELLO_LABEL, transcript)))
    assert isinstance(failed, Failed)
    assert failed.code is ByeCode.PROTOCOL


NET = Network(b"n" * 32)

CHANGES: dict[str, Callable[[Challenge | Hello | Welcome], Challenge | Hello | Welcome]] = {
    "the listener's ephemeral key": lambda frame: replace(frame, nonce=ExchangeKey(b"m" * 32).public),
    "its limits": lambda frame: replace(frame, max_envelope=1),
    "the dialler's ephemeral key": lambda frame: replace(frame, nonce=ExchangeKey(b"m" * 32).public),
    "the dialler's bundle": lambda frame: replace(frame, bundle=ring_of(BOB, 1_790_100_000.0).current.to_text()),
    "its memberships": lambda frame: replace(frame, memberships=()),
    "the listener's bundle": lambda frame: replace(frame, bundle=ring_of(ALICE, 1_790_100_000.0).current.to_text()),
}
"""What somebody on the path may change in a handshake: of the challenge, the hello or the welcome."""


@pytest.mark.parametrize("what", CHANGES)
def test_nothing_of_a_handshake_can_be_changed_on_the_way(what: str) -> None:
    change, place = CHANGES[what], list(CHANGES).index(what)
    listener = handshake(Side.LISTENER, ALICE, b"l" * 32, Target(role=Role.RELAY))
    member = Target(None, Role.RELAY, lambda peer, nonce: (NET.prove(peer, BOB.peer_id, nonce),))
    dialler = handshake(Side.DIALLER, BOB, b"d" * 32, member)
    challenge = change(listener.challenge) if place < 2 else listener.challenge
    asked = dialler.receive_untrusted(challenge)
    assert isinstance(asked, Waiting)
    there = listener.receive_untrusted(change(asked.reply) if 2 <= place < 5 else asked.reply)
    if place == 5:
        assert isinstance(there, Established)
        assert there.reply is not None
        there = dialler.receive_untrusted(change(there.reply))
    assert isinstance(there, Failed)
    assert there.code is ByeCode.PROOF


# --- links ----------------------------------------------------------------------------------------


def links(name: bytes = b"") -> tuple[LinkSession, LinkSession]:
    """A listener and a dialler whose link is open."""
    secrets = [(side + name).ljust(32, b".") for side in (b"listener", b"dialler")]
    listener = LinkSession(Side.LISTENER, ALICE, RINGS[ALICE.peer_id].current, secrets[0], 0.0)
    dialler = LinkSession(Side.DIALLER, BOB, RINGS[BOB.peer_id].current, secrets[1], 0.0)
    while (down := listener.frames_to_send()) + (up := dialler.frames_to_send()):
        for frame in down:
            dialler.receive_frame_untrusted(frame, 0.0)
        for frame in up:
            listener.receive_frame_untrusted(frame, 0.0)
    assert {type(event) for event in listener.events_received() + dialler.events_received()} == {Opened}
    return listener, dialler


@pytest.mark.parametrize(
    "forged",
    [
        encode(Bye(ByeCode.LEAVING)),
        encode(Bye(ByeCode.LEAVING)).encode(),
        encode(Stored(name_of(1))).encode() + bytes(TAG_SIZE),
        envelope(2),
        envelope(2) + bytes(TAG_SIZE),
    ],
    ids=["a bye as text", "a bye", "an answer", "an envelope", "an envelope with a made-up tag"],
)
def test_a_frame_that_the_other_end_did_not_make_ends_the_link_and_nothing_of_it_is_done(forged: str | bytes) -> None:
    listener, dialler = links()
    dialler.submit(envelope(1, to=ALICE))
    for end in (listener, dialler):
        with pytest.raises(RemoteProtocolError, match="MAC"):
            end.receive_frame_untrusted(forged, 1.0)
        events = end.events_received()
        assert not any(isinstance(event, EnvelopeReceived | Answered | PeerLeft) for event in events)
        assert any(isinstance(event, Closed) for event in events)


def test_the_goodbye_of_a_link_that_was_tampered_with_has_a_mac_too() -> None:
    listener, dialler = links()
    with pytest.raises(RemoteProtocolError):
        listener.receive_frame_untrusted(b"forged", 1.0)
    for frame in listener.frames_to_send():
        dialler.receive_frame_untrusted(frame, 1.0)
    (closed,) = dialler.events_received()
    assert closed == Closed("it says that we broke the protocol", ByeCode.PROTOCOL)


def test_only_frames_of_the_other_end_are_a_sign_of_life() -> None:
    _, dialler = links()
    before = dialler.next_timeout()
    with pytest.raises(RemoteProtocolError):
        dialler.receive_frame_untrusted(b"forged", 10.0)
    assert before == 20.0
    assert dialler.is_closed


class Path:
    """Whoever is on the path of a link: holds every frame of both directions, and gives what it likes to either end."""

    def __init__(self, name: bytes) -> None:
        self.listener, self.dialler = links(name)
        self.sent: dict[bool, list[bytes]] = {True: [], False: []}
        self.made: dict[bool, list[bytes]] = {True: [], False: []}
        """What each end really submitted, in order: True for the dialler."""
        self.heard: dict[bool, list[bytes]] = {True: [], False: []}
        """What each end took for a submission of the other."""

    def submit(self, number: int, *, by_dialler: bool) -> None:
        end = self.dialler if by_dialler else self.listener
        if end.is_closed:
            return
        made = envelope(number, to=ALICE if by_dialler else BOB)
        end.submit(made)
        self.made[by_dialler].append(made)
        self.sent[by_dialler] += [frame for frame in end.frames_to_send() if isinstance(frame, bytes)]

    def give(self, frame: str | bytes, *, to_dialler: bool) -> None:
        end = self.dialler if to_dialler else self.listener
        try:
            end.receive_frame_untrusted(frame, 0.0)
        except RemoteProtocolError:
            assert end.is_closed
        for event in end.events_received():
            assert isinstance(event, EnvelopeReceived | Closed), event
            if isinstance(event, EnvelopeReceived):
                self.heard[to_dialler].append(event.envelope.data)


@settings(max_examples=150)
@given(st.data())
def test_whoever_holds_every_frame_can_only_let_a_beginning_through(data: st.DataObject) -> None:
    """Swapped, replayed, sent back, cut, glued, flipped, in any order: each end hears the first frames, or less."""
    path, other = Path(b"one"), Path(b"other")
    for number in range(data.draw(st.integers(1, 6))):
        path.submit(number, by_dialler=data.draw(st.booleans()))
        other.submit(number, by_dialler=data.draw(st.booleans()))
    held = [*path.sent[True], *path.sent[False], *other.sent[True], *other.sent[False]]
    for _ in range(data.draw(st.integers(0, 10))):
        frame = data.draw(st.sampled_from(held))
        deed = data.draw(st.sampled_from(["as it is"] * 6 + ["flipped", "cut", "glued", "retagged"]))
        if deed == "flipped":
            at = data.draw(st.integers(0, len(frame) - 1))
            frame = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        elif deed == "cut":
            frame = frame[: data.draw(st.integers(0, len(frame) - 1))]
        elif deed == "glued":
            frame += data.draw(st.sampled_from(held))
        elif deed == "retagged":
            frame = frame[:-TAG_SIZE] + data.draw(st.sampled_from(held))[-TAG_SIZE:]
        path.give(frame, to_dialler=data.draw(st.booleans()))
    for to_dialler in (True, False):
        heard, made = path.heard[to_dialler], path.made[not to_dialler]
        assert heard == made[: len(heard)], "only what the other end said, in its order, from its beginning"
