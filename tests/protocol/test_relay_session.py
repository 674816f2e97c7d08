"""A relay's side of a link: what reaches the handler, and in which spelling it leaves again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol import relay_session
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    NONCE_SIZE,
    BundleFrame,
    Bye,
    ByeCode,
    Claim,
    Delivered,
    Find,
    Held,
    MembershipProof,
    Ping,
    Pong,
    Refused,
    Request,
    Role,
    Stored,
)
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Handshake, Side, Target, Waiting
from mcp_a2a.protocol.heartbeat import CONTROL_WINDOW_SECONDS, DEAD_SECONDS, PING_SECONDS
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.receipt import envelope_id_of
from mcp_a2a.protocol.relay_session import RelaySession
from mcp_a2a.protocol.session import Phase
from mcp_a2a.protocol.session_handler import SessionHandler
from tests.protocol.clear import ClearRelaySession
from tests.protocol.people import ALICE, BOB, CAROL, Dice, ring_of

MARKS = st.lists(st.binary(min_size=48, max_size=48), min_size=1, max_size=4).map(tuple)


class Notebook(SessionHandler):
    """A handler that writes down what it is asked."""

    def __init__(self, objection: ByeCode | None = None) -> None:
        self.objection = objection
        self.noted: list[tuple[object, ...]] = []
        self.knows = True

    @override
    def admit(self, session: RelaySession, proofs: Sequence[MembershipProof], now: float) -> ByeCode | None:
        return self.objection

    @override
    def left(self, session: RelaySession, now: float) -> None:
        self.noted.append(("left",))

    @override
    def deposit(self, session: RelaySession, envelope: bytes, now: float) -> None:
        self.noted.append(("deposit", envelope))

    @override
    def answered(self, session: RelaySession, envelopes: Sequence[bytes], frame: str) -> bool:
        self.noted.append(("answered", tuple(envelopes), frame))
        return self.knows

    @override
    def put_off(self, session: RelaySession, envelope: bytes, retry_after: float | None, now: float) -> bool:
        self.noted.append(("put off", envelope, retry_after))
        return self.knows

    @override
    def postponed(self, session: RelaySession, refusal: Refused, now: float) -> bool:
        self.noted.append(("postponed", refusal.envelope, refusal.code))
        return self.knows

    @override
    def bundle_changed(self, session: RelaySession, bundle: KeyBundle) -> None:
        self.noted.append(("bundle", bundle.seq))

    @override
    def requested(self, session: RelaySession, request: Request, now: float) -> None:
        self.noted.append(("requested", request))

    @override
    def published(self, session: RelaySession, listing: Listing, now: float) -> None:
        self.noted.append(("published", listing))


def meet(handler: SessionHandler, who: Identity = ALICE) -> ClearRelaySession:
    """A session that has shaken hands."""
    relay = Handshake(Side.LISTENER, CAROL, ring_of(CAROL).current, bytes(NONCE_SIZE), Target(role=Role.RELAY))
    session = ClearRelaySession(handler, relay, 0.0)
    dialler = Handshake(
        Side.DIALLER, who, ring_of(who).current, Dice(b"nonce")(NONCE_SIZE), Target(CAROL.peer_id, Role.RELAY)
    )
    step = dialler.receive_untrusted(decode_untrusted(session.heard()[0]))
    assert isinstance(step, Waiting)
    session.receive_frame_untrusted(encode(step.reply), 0.0)
    return session


def said(session: ClearRelaySession) -> list[object]:
    return [decode_untrusted(frame) for frame in session.heard()]


@pytest.fixture
def handler() -> Notebook:
    return Notebook()


@pytest.fixture
def session(handler: Notebook) -> ClearRelaySession:
    session = meet(handler)
    session.heard()
    handler.noted.clear()
    return session


@given(MARKS, st.binary(min_size=64, max_size=64))
def test_a_receipt_as_we_write_it_is_passed_on_letter_by_letter(marks: tuple[bytes, ...], signature: bytes) -> None:
    handler = Notebook()
    session = meet(handler)
    frame = encode(Delivered(marks, signature))
    session.receive_frame_untrusted(frame, 1.0)
    assert handler.noted[-1] == ("answered", tuple(map(envelope_id_of, marks)), frame)


SINGLE = encode(Delivered((b"i" * 48,), b"s" * 64))


@given(st.integers(0, len(SINGLE) - 1), st.sampled_from([*'0aAfFgx"],{}: \u00e9', "\\"]))
def test_a_single_receipt_with_another_letter_is_no_receipt_or_one_as_we_write_it(place: int, letter: str) -> None:
    """The quick look at a frame and the slow one decide alike: nothing is passed on that another node refuses."""
    handler = Notebook()
    session = meet(handler)
    before = len(handler.noted)
    changed = SINGLE[:place] + letter + SINGLE[place + 1 :]
    with suppress(RemoteProtocolError):
        session.receive_frame_untrusted(changed, 1.0)
    for what, *_, frame in [entry for entry in handler.noted[before:] if len(entry) > 1]:
        assert what != "answered" or encode(decode_untrusted(frame)) == frame


@pytest.mark.parametrize(
    "moved",
    [
        '{"t":"livr","mrks":["' + "0" * 230 + '"],"sig":""}',
        SINGLE[:26] + '"' + SINGLE[27:40] + SINGLE[41:],
        SINGLE[:40] + SINGLE[41:-2] + '0"}',
        SINGLE[:-2] + '"}'[::-1],
    ],
    ids=range(4),
)
def test_the_digits_of_a_receipt_have_their_places(handler: Notebook, session: ClearRelaySession, moved: str) -> None:
    with suppress(RemoteProtocolError):
        session.receive_frame_untrusted(moved[: len(SINGLE)].ljust(len(SINGLE), "0"), 1.0)
    assert not any(what == "answered" for what, *_ in handler.noted)


@pytest.mark.parametrize("answer", [Delivered((b"i" * 48,), b"s" * 64), Held(b"i" * 16, b"s" * 64),
                                    Refused(b"i" * 16, "blocked", None, None, b"s" * 64)])  # fmt: skip
def test_an_answer_in_any_other_spelling_is_passed_on_in_ours_and_brings_nothing_else_along(
    handler: Notebook, session: ClearRelaySession, answer: Delivered | Held | Refused
) -> None:
    spelled = encode(answer).replace('"t"', '"smuggled":"' + "x" * 1000 + '", "t"', 1)
    session.receive_frame_untrusted(spelled, 1.0)
    assert handler.noted == [("answered", (b"i" * 16,), encode(answer))]


def test_busy_is_for_the_relay_alone(handler: Notebook, session: ClearRelaySession) -> None:
    session.receive_frame_untrusted(encode(Refused(b"i" * 16, "busy", 5.0)), 1.0)
    assert handler.noted == [("put off", b"i" * 16, 5.0)]


def test_a_receipt_for_more_than_one_signature_covers_is_refused(session: ClearRelaySession) -> None:
    with pytest.raises(RemoteProtocolError):
        session.receive_frame_untrusted(encode(Delivered((bytes(48),) * 257, bytes(64))), 1.0)
    assert said(session) == [Bye(ByeCode.PROTOCOL)]


def test_only_a_newer_bundle_of_its_own_is_news(handler: Notebook, session: ClearRelaySession) -> None:
    newer = ring_of(ALICE, 1_790_100_000.0).current
    for bundle in (ring_of(ALICE).current, newer, newer):
        session.receive_frame_untrusted(encode(BundleFrame(bundle)), 1.0)
    assert handler.noted == [("bundle", newer.seq)]
    with pytest.raises(RemoteProtocolError):
        session.receive_frame_untrusted(encode(BundleFrame(ring_of(BOB).current)), 1.0)


def test_what_only_a_relay_says_has_no_place_here(session: ClearRelaySession) -> None:
    with pytest.raises(RemoteProtocolError):
        session.receive_frame_untrusted(encode(Stored(bytes(16))), 1.0)


def test_silence_is_asked_about_and_then_believed(handler: Notebook, session: ClearRelaySession) -> None:
    session.handle_timeout(PING_SECONDS - 0.1)
    assert said(session) == []
    session.handle_timeout(PING_SECONDS)
    assert said(session) == [Ping(1)]
    session.receive_frame_untrusted(encode(Pong(1)), PING_SECONDS + 1)
    session.handle_timeout(DEAD_SECONDS)
    assert not session.is_closed
    session.handle_timeout(PING_SECONDS + 1 + DEAD_SECONDS)
    assert said(session) == [Ping(2), Bye(ByeCode.TIMEOUT)]
    assert handler.noted == [("left",)]


def test_whoever_is_not_admitted_may_claim_and_nothing_else_and_not_for_long() -> None:
    handler = Notebook(ByeCode.NOT_ADMITTED)
    session = meet(handler)
    session.heard()
    session.receive_frame_untrusted(encode(Claim(1, bytes(16))), 1.0)
    session.receive_frame_untrusted(encode(Ping(1)), 1.0)
    assert (handler.noted, said(session)) == ([("requested", Claim(1, bytes(16)))], [Pong(1)])
    session.handle_timeout(relay_session.CLAIM_SECONDS)
    assert said(session) == [Bye(ByeCode.NOT_ADMITTED)]
    hasty = meet(handler)
    hasty.frames_to_send()
    hasty.receive_frame_untrusted(encode(Find(1, BOB.peer_id)), 1.0)
    assert said(hasty) == [Bye(ByeCode.NOT_ADMITTED)]
    assert handler.noted == [("requested", Claim(1, bytes(16)))], "it neither asked nor left"


def test_whoever_is_revoked_hears_it_and_was_never_there() -> None:
    handler = Notebook(ByeCode.REVOKED)
    session = meet(handler)
    assert said(session)[-1] == Bye(ByeCode.REVOKED)
    assert session.phase is Phase.CLOSED
    assert handler.noted == []


def test_whoever_is_refused_on_and_on_is_read_more_slowly(session: ClearRelaySession) -> None:
    for _ in range(relay_session.MAX_EXCESS_FRAMES):
        session.spend_excess(10.0)
    assert session.read_at == 0.0
    session.spend_excess(10.0)
    assert session.read_at == 10.0 + relay_session.PENALTY_SECONDS
    session.spend_excess(10.0 + CONTROL_WINDOW_SECONDS)
    assert session.read_at == 10.0 + relay_session.PENALTY_SECONDS


def test_after_the_end_nothing_is_said_and_nothing_is_heard(handler: Notebook, session: ClearRelaySession) -> None:
    session.close(ByeCode.LEAVING, 1.0)
    session.send("late")
    session.receive_frame_untrusted(encode(Ping(1)), 2.0)
    session.receive_eof(3.0)
    assert said(session) == [Bye(ByeCode.LEAVING)]
    assert handler.noted == [("left",)]


@pytest.mark.parametrize(
    ("code", "becomes"),
    [("stale", "postponed"), ("stale_ahead_90000", "postponed"), ("stale_behind_5", "postponed"),
     ("unknown_task", "postponed"), ("unknown_key", "postponed"), ("busy", "put off"), ("blocked", "answered"),
     ("rejected", "answered"), ("stale_x", "answered")],
)  # fmt: skip
def test_a_refusal_that_is_not_for_good_ends_nothing(
    handler: Notebook, session: ClearRelaySession, code: str, becomes: str
) -> None:
    session.receive_frame_untrusted(encode(Refused(bytes(16), code, None, None, bytes(64))), 1.0)
    assert handler.noted[-1][0] == becomes
