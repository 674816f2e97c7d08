"""What a node and a relay ask and tell each other is read as it was written, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol import control
from mcp_a2a.protocol.control import (
    Admit,
    Check,
    Claim,
    Claimed,
    Control,
    Done,
    Doubled,
    Failed,
    Find,
    Found,
    Hello,
    ListingFrame,
    MembershipProof,
    Offer,
    Presence,
    Watch,
)
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.listing import Listing
from tests.protocol.people import ALICE, BOB, ring_of

NET, ID = ALICE.peer_id, bytes(range(16))
EVERY_KIND: tuple[Control, ...] = (
    Watch(1, NET, 5, 2**53 - 1),
    Presence(NET, (ALICE.peer_id, BOB.peer_id), ()),
    Doubled((bytes(16), b"n" * 16)),
    Find(2, BOB.peer_id),
    Found(2, ring_of(BOB).current, online=True),
    Check((ID, bytes(16))),
    Offer(3, NET, ID, b"sealed", 5, 1_800_000_000),
    Claim(4, ID),
    Claimed(4, b"sealed"),
    Admit(5, NET, b"p" * 64),
    Admit(6, NET, b""),
    Done(5, 7, 9),
    Failed(6, "not_member"),
    Failed(6, "rate_limited", 2.5),
    Hello(1, BOB.peer_id, bytes(32), bytes(64), "{}", (MembershipProof(NET, bytes(64)),)),
)


@pytest.mark.parametrize("frame", EVERY_KIND, ids=lambda frame: type(frame).__name__)
def test_every_kind_is_read_as_it_was_written(frame: Control) -> None:
    assert decode_untrusted(encode(frame)) == frame


def test_a_listing_travels_as_a_binary_frame() -> None:
    listing = Listing.withdrawal(BOB, NET, 3, 4)
    assert decode_untrusted(listing.to_bytes()) == ListingFrame(listing)


@pytest.mark.parametrize("frame", EVERY_KIND, ids=lambda frame: type(frame).__name__)
def test_a_field_that_is_missing_or_of_another_kind_is_refused(frame: Control) -> None:
    fields = json.loads(encode(frame))
    optional = {"retry_after", "networks"}
    for name in fields.keys() - {"t"} - optional:
        with pytest.raises(RemoteProtocolError):
            decode_untrusted(json.dumps({key: value for key, value in fields.items() if key != name}))
    for name in fields.keys() - {"t"}:
        for wrong in ([[]], {"a": 1}, True if name != "online" else 1, -1, 1.5, "\x00", "z" * 70_000):
            if (name, wrong) in (("retry_after", 1.5), ("bundle", "\x00")):
                continue  # a time; and a text that the handshake reads later
            with pytest.raises(RemoteProtocolError):
                decode_untrusted(json.dumps({**fields, name: wrong}))


@given(st.sampled_from(EVERY_KIND), st.integers(0, 400), st.characters())
def test_a_changed_letter_is_refused_or_means_something_else(frame: Control, place: int, letter: str) -> None:
    text = encode(frame)
    place %= len(text)
    try:
        decode_untrusted(text[:place] + letter + text[place + 1 :])
    except RemoteProtocolError:
        return


@pytest.mark.parametrize(
    "frame",
    [
        Presence(NET, (BOB.peer_id,) * control.MAX_PRESENCE, ()),
        Offer(1, NET, ID, bytes(control.MAX_INVITATION), 1, 1),
        Check((ID,) * 256),
        Hello(1, BOB.peer_id, bytes(32), bytes(64), "{}", (MembershipProof(NET, bytes(64)),) * control.MAX_MEMBERSHIPS),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_a_list_may_be_so_long_and_no_longer(frame: Control) -> None:
    assert decode_untrusted(encode(frame)) == frame
    match frame:
        case Presence():
            longer: Control = replace(frame, online=(*frame.online, BOB.peer_id))
        case Offer():
            longer = replace(frame, sealed=frame.sealed + b"\0")
        case Check():
            longer = replace(frame, envelopes=(*frame.envelopes, ID))
        case Hello():
            longer = replace(frame, memberships=(*frame.memberships, frame.memberships[0]))
        case _:
            raise AssertionError
    with pytest.raises(RemoteProtocolError):
        decode_untrusted(encode(longer))
