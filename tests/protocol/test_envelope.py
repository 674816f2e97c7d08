from __future__ import annotations

import random
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.delivery import TooLargeError
from mcp_a2a.errors.protocol import (
    LocalProtocolError,
    NotForUsError,
    RemoteProtocolError,
    SealBrokenError,
    StaleError,
    UnknownKeyError,
)
from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.envelope import (
    BUCKETS,
    HEADER_SIZE,
    MAX_ENVELOPE,
    MAX_PAYLOAD,
    WIRE_SIZES,
    Envelope,
    Header,
    seal,
)
from mcp_a2a.protocol.payload import Payload
from mcp_a2a.protocol.replay import check_freshness
from tests.protocol.people import (
    ALICE,
    BOB,
    CAROL,
    ENVELOPE_ID,
    EXPIRES,
    NOW,
    Dice,
    bit_flips,
    flip,
    forge,
    header_for,
    inner_of,
    ring_of,
    ring_with_suite,
    task,
)

RINGS = {suite: ring_with_suite(BOB, suite) for suite in (1, 2)}
RING = RINGS[1]  # the smaller one: the tests that try everything are quicker with it


def sealed(payload: Payload | None = None, ring: KeyRing = RING) -> bytes:
    message = task() if payload is None else payload
    return seal(ALICE, message.to_bytes(), ring.current, ENVELOPE_ID, message.expires)


def opens(envelope: bytes, ring: KeyRing = RING) -> bool:
    """Whether it is accepted; anything but a protocol error fails the test."""
    try:
        Envelope.parse_untrusted(envelope).open_untrusted(ring, BOB.peer_id)
    except RemoteProtocolError:
        return False
    return True


# --- what is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [1, 2])
@given(text=st.text(max_size=5000))
def test_what_alice_seals_to_bob_is_what_bob_opens(suite: int, text: str) -> None:
    payload = task(text)

    opened = Envelope.parse_untrusted(sealed(payload, RINGS[suite])).open_untrusted(RINGS[suite], BOB.peer_id)

    assert opened.payload == payload
    assert opened.envelope_id == ENVELOPE_ID


def test_the_header_says_to_whom_with_which_key_and_until_when_and_nothing_else() -> None:
    envelope = sealed()

    header = Header.parse_untrusted(envelope)

    assert header == Header(BOB.peer_id, RING.current.kid, ENVELOPE_ID, header.expires)
    assert header.to_bytes() == envelope[:HEADER_SIZE]
    assert len(header.to_bytes()) == 64
    assert EXPIRES <= header.expires < EXPIRES + 3600
    assert header.expires % 3600 == 0


def test_no_word_of_the_message_can_be_read_on_the_wire() -> None:
    envelope = sealed(task("canary-in-the-text"))

    for word in (b"canary", b"count_words", b"task-1", b"p-1", b"m-1", ALICE.peer_id.key):
        assert word not in envelope
    assert str(ALICE.peer_id).encode() not in envelope


def test_sizes_on_the_wire_come_from_twelve_buckets_whatever_the_payload() -> None:
    dice = random.Random(2000)
    bundle = RING.current
    payloads = [bytes(int(2 ** dice.uniform(0, 17))) for _ in range(2000)]
    payloads += [bytes(bucket - 68 + step) for bucket in BUCKETS[:-1] for step in (0, 1)]

    sizes = {len(seal(ALICE, payload, bundle, ENVELOPE_ID, EXPIRES)) for payload in payloads}

    assert len(BUCKETS) == 12
    assert sizes <= {HEADER_SIZE + crypto.SEAL_OVERHEADS[1] + bucket for bucket in BUCKETS}
    assert sizes <= WIRE_SIZES
    assert len(sizes) >= 9


def test_a_small_task_takes_1712_bytes_of_the_post_quantum_suite() -> None:
    assert len(sealed(ring=RINGS[2])) == 64 + 1136 + 512 == 1712
    assert len(sealed(ring=RINGS[1])) == 64 + 48 + 512 == 624


def test_the_largest_payload_fits_and_one_byte_more_is_told_so() -> None:
    payload = task().to_bytes()
    largest = payload + b" " * (MAX_PAYLOAD - len(payload))

    envelope = seal(ALICE, largest, RINGS[2].current, ENVELOPE_ID, EXPIRES)

    assert len(envelope) == MAX_ENVELOPE == 64 + 1136 + 1024 * 1024
    assert Envelope.parse_untrusted(envelope).open_untrusted(RINGS[2], BOB.peer_id).payload == task()
    with pytest.raises(TooLargeError) as refused:
        seal(ALICE, largest + b" ", RINGS[2].current, ENVELOPE_ID, EXPIRES)
    assert "1,048,508" in str(refused.value)


def test_the_same_message_sealed_twice_has_nothing_in_common_but_its_header() -> None:
    first, second = sealed(), sealed()

    assert first[:HEADER_SIZE] == second[:HEADER_SIZE]
    assert first[HEADER_SIZE:] != second[HEADER_SIZE:]
    assert Envelope.parse_untrusted(first).open_untrusted(RING, BOB.peer_id) == Envelope.parse_untrusted(
        second
    ).open_untrusted(RING, BOB.peer_id)


def test_a_message_sealed_before_a_rotation_opens_until_the_secret_is_dropped() -> None:
    ring = ring_of(BOB)
    envelope = sealed(ring=ring)
    ring.handle_timeout(NOW + 86_400, Dice(b"next"))

    assert opens(envelope, ring)

    ring.handle_timeout(NOW + 10 * 86_400, Dice(b"much later"))
    with pytest.raises(UnknownKeyError):
        Envelope.parse_untrusted(envelope).open_untrusted(ring, BOB.peer_id)


# --- what is changed on the way -------------------------------------------------------------------


@pytest.mark.parametrize("suite", [1, 2])
def test_no_changed_bit_of_the_header_is_accepted(suite: int) -> None:
    envelope = sealed(ring=RINGS[suite])
    header, rest = envelope[:HEADER_SIZE], envelope[HEADER_SIZE:]

    accepted = [bad for bad in bit_flips(header) if opens(bad + rest, RINGS[suite])]

    assert accepted == []
    assert opens(envelope, RINGS[suite])


@pytest.mark.parametrize("suite", [1, 2])
def test_no_changed_bit_among_a_thousand_of_the_body_is_accepted(suite: int) -> None:
    envelope = sealed(ring=RINGS[suite])
    bits = random.Random(1000).sample(range(HEADER_SIZE * 8, len(envelope) * 8), 1000)

    accepted = [bit for bit in bits if opens(flip(envelope, bit), RINGS[suite])]

    assert accepted == []


@pytest.mark.parametrize("suite", [1, 2])
def test_no_envelope_cut_at_any_length_is_accepted(suite: int) -> None:
    envelope = sealed(ring=RINGS[suite])

    assert not any(opens(envelope[:length], RINGS[suite]) for length in range(len(envelope)))


def test_an_envelope_cut_or_stretched_to_another_bucket_is_not_accepted() -> None:
    envelope = sealed()

    for size in WIRE_SIZES:
        assert opens(envelope[:size].ljust(size, b"\0")) == (size == len(envelope))


def test_a_header_copied_onto_another_body_does_not_open() -> None:
    first, second = sealed(task("one")), sealed(task("two").model_copy(update={"id": "p-2"}))
    other = replace(Header.parse_untrusted(second), envelope_id=bytes(16)).to_bytes()

    with pytest.raises(SealBrokenError):
        Envelope.parse_untrusted(other + first[HEADER_SIZE:]).open_untrusted(RING, BOB.peer_id)


def test_a_relay_cannot_lengthen_the_life_of_a_message() -> None:
    envelope = sealed()
    header = Header.parse_untrusted(envelope)
    longer = replace(header, expires=header.expires + 3600).to_bytes()

    with pytest.raises(SealBrokenError):
        Envelope.parse_untrusted(longer + envelope[HEADER_SIZE:]).open_untrusted(RING, BOB.peer_id)


def test_a_relay_cannot_move_a_message_to_another_mailbox() -> None:
    envelope = sealed()
    carol = ring_with_suite(CAROL, 1)
    header = Header.parse_untrusted(envelope)
    moved = replace(header, to=CAROL.peer_id)
    with_her_key = replace(moved, kid=carol.current.kid)

    with pytest.raises(UnknownKeyError):
        Envelope.parse_untrusted(moved.to_bytes() + envelope[HEADER_SIZE:]).open_untrusted(carol, CAROL.peer_id)
    with pytest.raises(SealBrokenError):
        Envelope.parse_untrusted(with_her_key.to_bytes() + envelope[HEADER_SIZE:]).open_untrusted(carol, CAROL.peer_id)


# --- what a hostile peer seals --------------------------------------------------------------------


def test_a_message_for_somebody_else_is_not_opened() -> None:
    with pytest.raises(NotForUsError, match="addressed to another"):
        Envelope.parse_untrusted(sealed()).open_untrusted(ring_with_suite(CAROL, 1), CAROL.peer_id)


def test_a_signed_message_sealed_again_to_a_third_peer_is_refused() -> None:
    # Bob received it from Alice and passes her signature on to Carol.
    carol = ring_with_suite(CAROL, 1)
    envelope = forge(inner_of(task(to=BOB).to_bytes(), signer=ALICE), carol.current)

    with pytest.raises(NotForUsError, match="inside"):
        Envelope.parse_untrusted(envelope).open_untrusted(carol, CAROL.peer_id)


def test_a_message_that_somebody_else_signed_is_refused() -> None:
    envelope = forge(inner_of(task().to_bytes(), signer=CAROL), RING.current)

    with pytest.raises(SealBrokenError, match="not signed by"):
        Envelope.parse_untrusted(envelope).open_untrusted(RING, BOB.peer_id)


def test_a_signature_given_for_another_purpose_is_refused() -> None:
    payload = task().to_bytes()
    receipt_like = struct.pack(">I64s", len(payload), ALICE.sign(b"mcp-a2a/v1/advert\0", payload))

    with pytest.raises(SealBrokenError):
        Envelope.parse_untrusted(forge((receipt_like + payload).ljust(1024, b"\0"), RING.current)).open_untrusted(
            RING, BOB.peer_id
        )


def test_the_outside_may_not_promise_another_life_than_the_inside() -> None:
    for expires in (EXPIRES - 7200, EXPIRES + 7200):
        envelope = seal(ALICE, task().to_bytes(), RING.current, ENVELOPE_ID, expires)
        with pytest.raises(SealBrokenError, match="expiry"):
            Envelope.parse_untrusted(envelope).open_untrusted(RING, BOB.peer_id)


def damaged_insides() -> dict[str, bytes]:
    good = inner_of(task().to_bytes())
    end = 68 + int.from_bytes(good[:4])
    return {
        "a padding byte that is not zero": good[:-1] + b"\1",
        "the first padding byte not zero": good[:end] + b"\1" + good[end + 1 :],
        "a length that hides the last byte": struct.pack(">I", end - 69) + good[4:],
        "a length into the padding": struct.pack(">I", end - 67) + good[4:],
        "a length beyond the end": struct.pack(">I", len(good) - 67) + good[4:],
        "the largest length": b"\xff" * 4 + good[4:],
        "length zero": bytes(4) + good[4:],
        "a larger bucket than needed": good + bytes(len(good)),
        "nothing but zeros": bytes(512),
        "nothing but ones": b"\xff" * 512,
    }


@pytest.mark.parametrize("name", damaged_insides())
def test_an_inside_that_is_not_laid_out_as_it_must_be_is_refused(name: str) -> None:
    assert not opens(forge(damaged_insides()[name], RING.current))


def test_a_payload_that_is_none_is_refused_though_it_is_signed() -> None:
    for payload in (b"", b"{}", b"null", b"\xff", task().to_bytes()[:-1]):
        with pytest.raises(RemoteProtocolError):
            Envelope.parse_untrusted(forge(inner_of(payload), RING.current)).open_untrusted(RING, BOB.peer_id)


def test_expired_and_future_messages_open_and_are_then_stale() -> None:
    expired = task().model_copy(update={"created": NOW - 7200, "expires": NOW - 1})
    future = task().model_copy(update={"created": NOW + 54_001})

    for payload in (expired, future):
        opened = Envelope.parse_untrusted(sealed(payload)).open_untrusted(RING, BOB.peer_id).payload
        with pytest.raises(StaleError):
            check_freshness(opened.created, opened.expires, NOW)


@given(st.binary(max_size=700))
def test_no_bytes_raise_anything_but_a_protocol_error(data: bytes) -> None:
    for size in (576, 1664, 1712):
        for start in (b"", sealed()[:HEADER_SIZE], header_for(RINGS[2].current)):
            candidate = (start + data)[:size]
            assert not opens(candidate)
            assert not opens(candidate.ljust(size, b"\x5a"))


@given(st.binary(max_size=900))
def test_no_sealed_bytes_raise_anything_but_a_protocol_error(inner: bytes) -> None:
    size = next(bucket for bucket in BUCKETS if bucket >= len(inner))

    assert not opens(forge(inner.ljust(size, b"\0"), RING.current))
    assert not opens(forge(inner_of(inner), RING.current))


@pytest.mark.parametrize(
    ("magic", "expires"),
    [(b"A2E\x02", 3600), (b"A2D\x01", 3600), (b"\0\0\0\0", 3600), (b"A2E\x01", 3601)],
)
def test_another_version_or_a_precise_expiry_is_no_envelope(magic: bytes, expires: int) -> None:
    key = BOB.peer_id.key
    header = magic + key + RING.current.kid + ENVELOPE_ID + expires.to_bytes(4)

    with pytest.raises(RemoteProtocolError):
        Header.parse_untrusted(header + bytes(512 + 48))


@pytest.mark.parametrize(("envelope_id", "expires"), [(bytes(15), EXPIRES), (bytes(17), EXPIRES), (bytes(16), 2**33)])
def test_an_impossible_id_or_expiry_is_our_bug(envelope_id: bytes, expires: float) -> None:
    with pytest.raises(LocalProtocolError):
        seal(ALICE, b"{}", RING.current, envelope_id, expires)
