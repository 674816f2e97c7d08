"""Only who knows a network's secret can prove, vouch, seal and open; and each proof serves once and for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import LocalProtocolError, SealBrokenError
from mcp_a2a.protocol.control import MembershipProof
from mcp_a2a.protocol.network import (
    Network,
    invitation_id,
    open_invitation_untrusted,
    proof_is_valid,
    seal_invitation,
)
from tests.protocol.people import ALICE, BOB, CAROL

SHOP, HOME = Network(b"s" * 32), Network(b"h" * 32)
NONCE, TOKEN = b"n" * 32, b"t" * 16


def test_every_key_of_a_network_is_another() -> None:
    keys = {SHOP.id.key, SHOP.directory_key, SHOP.room_key("a"), SHOP.room_key("b"), SHOP.secret, HOME.directory_key}
    assert len(keys) == 6


def test_the_same_secret_is_the_same_network() -> None:
    again = Network(b"s" * 32)
    assert (again.id, again.directory_key, again.room_key("a")) == (SHOP.id, SHOP.directory_key, SHOP.room_key("a"))


def test_a_secret_of_another_length_is_none() -> None:
    with pytest.raises(LocalProtocolError):
        Network(b"short")


def test_a_log_does_not_show_the_secret() -> None:
    assert "ssss" not in repr(SHOP)


def test_a_proof_is_for_one_relay_one_member_and_one_moment() -> None:
    proof = SHOP.prove(ALICE.peer_id, BOB.peer_id, NONCE)
    assert proof_is_valid(proof, ALICE.peer_id, BOB.peer_id, NONCE)
    assert not proof_is_valid(proof, CAROL.peer_id, BOB.peer_id, NONCE), "made for another relay"
    assert not proof_is_valid(proof, ALICE.peer_id, CAROL.peer_id, NONCE), "made by another member"
    assert not proof_is_valid(proof, ALICE.peer_id, BOB.peer_id, b"m" * 32), "made for another handshake"
    assert not proof_is_valid(MembershipProof(HOME.id, proof.signature), ALICE.peer_id, BOB.peer_id, NONCE)


def test_a_voucher_means_something_to_one_member_only() -> None:
    voucher = SHOP.vouch(ALICE.peer_id, BOB.peer_id)
    assert SHOP.is_vouched(ALICE.peer_id, BOB.peer_id, voucher)
    assert not SHOP.is_vouched(ALICE.peer_id, CAROL.peer_id, voucher)
    assert not SHOP.is_vouched(CAROL.peer_id, BOB.peer_id, voucher)
    assert not SHOP.is_vouched(BOB.peer_id, ALICE.peer_id, voucher), "sent back"
    assert not HOME.is_vouched(ALICE.peer_id, BOB.peer_id, voucher)
    assert not SHOP.is_vouched(ALICE.peer_id, BOB.peer_id, b"")


def test_an_invitation_opens_with_its_token_only() -> None:
    sealed = seal_invitation(SHOP, TOKEN, b"x" * 24)
    assert open_invitation_untrusted(TOKEN, sealed).id == SHOP.id
    with pytest.raises(SealBrokenError):
        open_invitation_untrusted(b"u" * 16, sealed)


def test_what_a_relay_knows_of_an_invitation_opens_nothing() -> None:
    sealed = seal_invitation(SHOP, TOKEN, b"x" * 24)
    assert invitation_id(TOKEN) != TOKEN
    assert SHOP.secret not in sealed
    with pytest.raises(SealBrokenError):
        open_invitation_untrusted(invitation_id(TOKEN), sealed)


@given(st.binary(max_size=120))
def test_a_changed_invitation_is_refused(sealed: bytes) -> None:
    with pytest.raises(SealBrokenError):
        open_invitation_untrusted(TOKEN, sealed)
