"""What both ends of a link keep alike, a node's and a relay's: each rule is tried at the listening end of either."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from typing_extensions import override

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.control import BundleFrame, Bye, ByeCode, Frame, Ping, Pong, Role, Welcome
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Handshake, Side, Target, Waiting
from mcp_a2a.protocol.heartbeat import DEAD_SECONDS, MAX_CONTROL_FRAMES, PING_SECONDS
from mcp_a2a.protocol.session import HANDSHAKE_SECONDS, Phase
from tests.protocol.clear import ClearLink, ClearRelaySession
from tests.protocol.people import ALICE, BOB, CAROL, Dice, ring_of
from tests.protocol.test_relay_session import Notebook

End: TypeAlias = ClearLink | ClearRelaySession


class Leaving(Notebook):
    """A handler that counts the sessions that have left."""

    @property
    def left_count(self) -> int:
        return self.noted.count(("left",))

    @override
    def bundle_changed(self, *_: object) -> None:
        return


def node() -> End:
    return ClearLink(Side.LISTENER, ALICE, ring_of(ALICE).current, b"l" * 32, 0.0)


def relay() -> End:
    handshake = Handshake(Side.LISTENER, ALICE, ring_of(ALICE).current, b"l" * 32, Target(role=Role.RELAY))
    return ClearRelaySession(Leaving(), handshake, 0.0)


def said(end: End) -> list[Frame]:
    return [decode_untrusted(frame) for frame in (end.frames_to_send() if isinstance(end, ClearLink) else end.heard())]


def shake_hands(end: End) -> None:
    role = Role.NODE if isinstance(end, ClearLink) else Role.RELAY
    dialler = Handshake(Side.DIALLER, BOB, ring_of(BOB).current, Dice(b"nonce")(32), Target(ALICE.peer_id, role))
    step = dialler.receive_untrusted(said(end)[0])
    assert isinstance(step, Waiting)
    end.receive_frame_untrusted(encode(step.reply), 0.0)
    said(end)
    assert end.is_open


@pytest.fixture(params=[node, relay])
def start(request: pytest.FixtureRequest) -> Callable[[], End]:
    made: Callable[[], End] = request.param
    return made


@pytest.fixture
def end(start: Callable[[], End]) -> End:
    end = start()
    shake_hands(end)
    return end


def test_a_handshake_takes_five_seconds_at_most(start: Callable[[], End]) -> None:
    end = start()
    said(end)
    end.handle_timeout(HANDSHAKE_SECONDS - 0.1)
    assert not end.is_closed
    end.handle_timeout(HANDSHAKE_SECONDS)
    assert (said(end), end.phase) == ([Bye(ByeCode.TIMEOUT)], Phase.CLOSED)


@pytest.mark.parametrize("early", [encode(Ping(1)), encode(Welcome(bytes(64), "")), b"A2E\x01" + bytes(2000)])
def test_nothing_but_a_hello_opens_it(start: Callable[[], End], early: str | bytes) -> None:
    end = start()
    said(end)
    try:
        end.receive_frame_untrusted(early, 0.0)
    except RemoteProtocolError:
        assert isinstance(early, bytes)
    assert said(end) == [Bye(ByeCode.PROTOCOL)]
    assert end.is_closed


def test_a_ping_is_answered(end: End) -> None:
    end.receive_frame_untrusted(encode(Ping(7)), 1.0)
    assert said(end) == [Pong(7)]


def test_silence_is_asked_about_and_then_believed(end: End) -> None:
    end.handle_timeout(PING_SECONDS - 0.1)
    assert said(end) == []
    end.handle_timeout(PING_SECONDS)
    assert [type(frame) for frame in said(end)] == [Ping]
    end.handle_timeout(DEAD_SECONDS)
    assert said(end) == [Bye(ByeCode.TIMEOUT)]


def test_a_frame_with_a_wrong_mac_is_no_sign_of_life_and_ends_the_link(end: End) -> None:
    with pytest.raises(RemoteProtocolError):
        super(type(end), end).receive_frame_untrusted(b'{"t":"ping","n":1}' + bytes(16), 30.0)
    assert said(end) == [Bye(ByeCode.PROTOCOL)]
    assert end.heartbeat.heard_at == 0.0


def test_a_flood_of_frames_that_carry_nothing_breaks_the_protocol(end: End) -> None:
    for _ in range(MAX_CONTROL_FRAMES):
        end.receive_frame_untrusted('{"t":"weather"}', 1.0)
    with pytest.raises(RemoteProtocolError, match="control frames"):
        end.receive_frame_untrusted('{"t":"weather"}', 1.0)
    assert said(end) == [Bye(ByeCode.PROTOCOL)]


def test_a_key_bundle_of_another_peer_breaks_the_protocol_and_an_older_one_changes_nothing(end: End) -> None:
    newer = ring_of(BOB, 1_790_100_000.0).current
    for bundle in (newer, ring_of(BOB).current):
        end.receive_frame_untrusted(encode(BundleFrame(bundle)), 1.0)
    assert end.bundle_seq == newer.seq
    with pytest.raises(RemoteProtocolError):
        end.receive_frame_untrusted(encode(BundleFrame(ring_of(CAROL).current)), 1.0)


@pytest.mark.parametrize("last", [encode(Bye(ByeCode.LEAVING)), None])
def test_it_ends_once_and_after_the_end_nothing_is_said_and_nothing_heard(end: End, last: str | None) -> None:
    if last is None:
        end.receive_eof(1.0)
    else:
        end.receive_frame_untrusted(last, 1.0)
    end.receive_frame_untrusted("garbage", 2.0)
    end.send("late")
    end.handle_timeout(1_000.0)
    end.close(ByeCode.CLOSED, 1_000.0)
    end.receive_eof(1_001.0)
    assert said(end) == []
    assert end.next_timeout() == float("inf")
    if isinstance(end, ClearRelaySession):
        assert isinstance(end._handler, Leaving)
        assert end._handler.left_count == 1
