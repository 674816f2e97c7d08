"""A member's entry is read by members, made by its member, and bound to where and when it belongs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import RemoteProtocolError, SealBrokenError
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.listing import LISTING_SIZES, MAX_LISTING, Listing, is_listing
from mcp_a2a.protocol.model import AgentCard, AgentSkill
from mcp_a2a.protocol.network import Network
from tests.protocol.people import ALICE, BOB

SHOP, HOME = Network(b"s" * 32), Network(b"h" * 32)
NOW = 1_760_000_000


def advert_of(who=ALICE, name: str = "alice", seq: int = 7) -> Advert:
    ring = KeyRing(who)
    ring.handle_timeout(NOW, lambda size: b"k" * size)
    return Advert.sign(
        who, AgentCard(name=name, description=""), ring.current, ("10.0.0.1:7301",), seq=seq, expires=NOW
    )


def listed(advert: Advert | None = None, network: Network = SHOP) -> Listing:
    return Listing.seal(network.id, network.directory_key, advert or advert_of(), b"x" * 24)


def test_a_listing_is_read_as_it_was_written() -> None:
    listing = replace(listed(), revision=12, online=True)
    read = Listing.parse_untrusted(listing.to_bytes())
    assert read == listing
    assert read.open_untrusted(SHOP.directory_key) == advert_of()
    assert is_listing(listing.to_bytes())


def test_nothing_of_the_card_can_be_read_without_the_secret() -> None:
    raw = listed(advert_of(name="canary-name")).to_bytes()
    assert b"canary-name" not in raw
    assert b"10.0.0.1" not in raw
    with pytest.raises(SealBrokenError):
        Listing.parse_untrusted(raw).open_untrusted(HOME.directory_key)


def test_what_the_relay_may_change_is_not_bound_and_the_rest_is() -> None:
    listing = listed()
    assert replace(listing, revision=99, online=True).open_untrusted(SHOP.directory_key)
    for changed in (
        replace(listing, seq=8),
        replace(listing, expires=NOW + 1),
        replace(listing, peer=BOB.peer_id),
        replace(listing, network=HOME.id),
    ):
        with pytest.raises(SealBrokenError):
            changed.open_untrusted(SHOP.directory_key)


def test_a_member_cannot_list_another_one() -> None:
    forged = Listing.seal(SHOP.id, SHOP.directory_key, replace(advert_of(), peer=BOB.peer_id), b"x" * 24)
    with pytest.raises(RemoteProtocolError):
        forged.open_untrusted(SHOP.directory_key)


def test_every_bit_of_the_body_counts() -> None:
    listing = listed()
    for place in range(0, len(listing.sealed), 7):
        sealed = bytearray(listing.sealed)
        sealed[place] ^= 1 << (place % 8)
        with pytest.raises(SealBrokenError):
            replace(listing, sealed=bytes(sealed)).open_untrusted(SHOP.directory_key)


@pytest.mark.parametrize("skills", [0, 1, 10, 100])
def test_sizes_come_from_a_list(skills: int) -> None:
    offered = tuple(AgentSkill(id=f"s{number}", name="s", description="d" * 500) for number in range(skills))
    card = AgentCard(name="alice", description="", skills=offered)
    ring = KeyRing(ALICE)
    ring.handle_timeout(NOW, lambda size: b"k" * size)
    advert = Advert.sign(ALICE, card, ring.current, (), seq=1, expires=NOW)
    assert len(listed(advert).to_bytes()) in LISTING_SIZES


def test_a_withdrawal_is_signed_by_the_member_that_it_is_about() -> None:
    gone = Listing.parse_untrusted(Listing.withdrawal(ALICE, SHOP.id, 8, NOW).to_bytes())
    assert gone.is_withdrawal
    assert gone.is_signed
    assert not listed().is_withdrawal
    for other in (
        replace(gone, peer=BOB.peer_id),
        replace(gone, network=HOME.id),
        replace(gone, seq=9),
        replace(gone, expires=NOW + 1),
        replace(gone, sealed=bytes(64)),
    ):
        assert other.is_withdrawal
        assert not other.is_signed
    assert replace(gone, revision=7, online=True).is_signed  # which are the relay's


@given(st.binary(max_size=300) | st.sampled_from(sorted(LISTING_SIZES)).map(bytes))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Listing.parse_untrusted(data)


def test_one_byte_more_than_the_largest_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        Listing.parse_untrusted(listed().to_bytes().ljust(MAX_LISTING + 1, b"\0"))
