"""What a recipient signs, and what it stands for."""

from __future__ import annotations

import pytest

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.protocol.envelope import Envelope, seal
from mcp_a2a.protocol.receipt import (
    HELD_VERDICT,
    envelope_id_of,
    postmark_of,
    receipt_is_valid,
    sign_receipt,
    sign_verdict,
    verdict_is_valid,
)
from tests.protocol.people import ALICE, BOB, CAROL, ENVELOPE_ID, bit_flips, ring_of, task

RING = ring_of(BOB)
MARKS = [bytes([number]) * 48 for number in range(256)]


def sealed() -> bytes:
    message = task()
    return seal(ALICE, message.to_bytes(), RING.current, ENVELOPE_ID, message.expires)


# --- postmarks ------------------------------------------------------------------------------------


def test_both_ends_come_to_the_same_postmark() -> None:
    envelope = sealed()
    opened = Envelope.parse_untrusted(envelope).open_untrusted(RING, BOB.peer_id)
    mark = postmark_of(ALICE.peer_id, task().id, envelope)
    assert postmark_of(opened.payload.from_, opened.payload.id, envelope) == mark
    assert envelope_id_of(mark) == ENVELOPE_ID


def test_another_sender_message_or_envelope_under_the_same_id_has_another_postmark() -> None:
    one, again = sealed(), sealed()
    assert one[:64] == again[:64], "the headers are the same"
    marks = {
        postmark_of(ALICE.peer_id, "ab" * 16, one),
        postmark_of(ALICE.peer_id, "ab" * 16, again),
        postmark_of(ALICE.peer_id, "ac" * 16, one),
        postmark_of(CAROL.peer_id, "ab" * 16, one),
    }
    assert len(marks) == 4
    assert {envelope_id_of(mark) for mark in marks} == {ENVELOPE_ID}


def test_every_bit_of_the_envelope_counts() -> None:
    envelope = sealed()
    mark = postmark_of(ALICE.peer_id, "ab" * 16, envelope)
    for place in range(64, len(envelope), 97):
        changed = bytearray(envelope)
        changed[place] ^= 1
        assert postmark_of(ALICE.peer_id, "ab" * 16, bytes(changed)) != mark


# --- receipts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 256])
def test_a_receipt_names_exactly_these_messages_in_this_order(count: int) -> None:
    signature = sign_receipt(BOB, MARKS[:count])

    assert receipt_is_valid(BOB.peer_id, MARKS[:count], signature)
    assert not receipt_is_valid(ALICE.peer_id, MARKS[:count], signature)
    assert not receipt_is_valid(BOB.peer_id, MARKS[1 : count + 1], signature)
    assert not receipt_is_valid(BOB.peer_id, [*MARKS[:count], MARKS[0]], signature)
    assert not receipt_is_valid(BOB.peer_id, MARKS[: count - 1], signature)
    assert not receipt_is_valid(BOB.peer_id, MARKS[:count], signature[:-1])


def test_postmarks_cannot_be_cut_differently() -> None:
    joined = MARKS[1] + MARKS[2]
    signature = sign_receipt(BOB, [MARKS[1], MARKS[2]])

    assert not receipt_is_valid(BOB.peer_id, [joined[:40], joined[40:]], signature)
    assert not receipt_is_valid(BOB.peer_id, [joined], signature)


@pytest.mark.parametrize("marks", [[], [*MARKS, MARKS[0]], [bytes(47)], [bytes(48), bytes(49)], [bytes(16)]])
def test_a_receipt_for_nothing_or_too_much_is_our_bug_or_invalid(marks: list[bytes]) -> None:
    with pytest.raises(LocalProtocolError):
        sign_receipt(BOB, marks)
    assert not receipt_is_valid(BOB.peer_id, marks, bytes(64))


# --- verdicts -------------------------------------------------------------------------------------


def test_a_verdict_is_one_peers_about_one_message() -> None:
    signature = sign_verdict(BOB, MARKS[1], HELD_VERDICT)

    assert verdict_is_valid(BOB.peer_id, MARKS[1], HELD_VERDICT, signature)
    assert not verdict_is_valid(ALICE.peer_id, MARKS[1], HELD_VERDICT, signature)
    assert not verdict_is_valid(BOB.peer_id, MARKS[2], HELD_VERDICT, signature)
    assert not verdict_is_valid(BOB.peer_id, MARKS[1][:16] + MARKS[2][16:], HELD_VERDICT, signature)
    assert not verdict_is_valid(BOB.peer_id, MARKS[1], "blocked", signature)
    assert not verdict_is_valid(BOB.peer_id, MARKS[1], HELD_VERDICT, None)
    assert not verdict_is_valid(BOB.peer_id, MARKS[1], HELD_VERDICT, signature[:-1])
    assert not verdict_is_valid(BOB.peer_id, MARKS[1], HELD_VERDICT, b"")


def test_a_verdict_about_an_id_alone_is_our_bug_and_invalid() -> None:
    with pytest.raises(LocalProtocolError):
        sign_verdict(BOB, ENVELOPE_ID, "blocked")
    assert not verdict_is_valid(BOB.peer_id, ENVELOPE_ID, "blocked", BOB.sign(b"mcp-a2a/v2/verdict\0", ENVELOPE_ID))


def test_no_changed_bit_of_a_verdict_is_accepted() -> None:
    signature = sign_verdict(BOB, MARKS[1], "blocked")

    assert not any(verdict_is_valid(BOB.peer_id, MARKS[1], "blocked", changed) for changed in bit_flips(signature))


def test_a_receipt_is_no_verdict_and_a_verdict_no_receipt() -> None:
    assert not verdict_is_valid(BOB.peer_id, MARKS[1], "", sign_receipt(BOB, [MARKS[1]]))
    assert not receipt_is_valid(BOB.peer_id, [MARKS[1]], sign_verdict(BOB, MARKS[1], ""))
