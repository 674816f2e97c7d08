from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.protocol.identity import Identity, verify, verify_jws
from tests.protocol.people import ALICE, BOB, bit_flips

LABEL = b"mcp-a2a/v1/test\0"


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=2000))
def test_what_an_identity_signs_is_its_own(seed: bytes, message: bytes) -> None:
    identity = Identity(seed)

    signature = identity.sign(LABEL, message)

    assert verify(identity.peer_id, LABEL, message, signature)
    assert not verify(identity.peer_id, LABEL, message + b"\0", signature)
    assert not verify(ALICE.peer_id, LABEL, message, signature)


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    signature = ALICE.sign(LABEL, b"text")

    assert not verify(ALICE.peer_id, b"mcp-a2a/v1/other\0", b"text", signature)


def test_every_changed_bit_of_a_signature_breaks_it() -> None:
    signature = ALICE.sign(LABEL, b"text")

    assert not any(verify(ALICE.peer_id, LABEL, b"text", bad) for bad in bit_flips(signature))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_signature_of_any_length_raises(message: bytes, signature: bytes) -> None:
    assert not verify(BOB.peer_id, LABEL, message, signature)


def test_a_signature_cannot_be_split_from_its_message_elsewhere() -> None:
    # libsodium reads signature and message as one string: only the length keeps them apart.
    signature = ALICE.sign(LABEL, b"text")

    assert not verify(ALICE.peer_id, LABEL, b"text", signature + LABEL)
    assert not verify(ALICE.peer_id, LABEL, b"", signature + LABEL + b"text")


@pytest.mark.parametrize("label", [b"", b"\0", b"no end", b"two\0ends\0", b"early\0end"])
def test_a_label_without_one_zero_at_its_end_is_our_bug(label: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        ALICE.sign(label, b"text")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_our_bug(size: int) -> None:
    with pytest.raises(LocalProtocolError):
        Identity(bytes(size))


def test_nothing_that_is_printed_holds_the_secret() -> None:
    seed = bytes(range(32))

    shown = repr(Identity(seed)) + str(Identity(seed))

    assert seed.hex() not in shown
    assert str(Identity(seed).peer_id) in shown


def test_a_jws_is_that_of_rfc_8037() -> None:
    """Appendix A.1 and A.4."""
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    payload = b"Example of Ed25519 signing"
    written = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    identity = Identity(seed)
    assert identity.sign_jws(b'{"alg":"EdDSA"}', payload) == ("eyJhbGciOiJFZERTQSJ9", written)
    raw = base64.urlsafe_b64decode(written + "==")
    assert verify_jws(identity.peer_id, "eyJhbGciOiJFZERTQSJ9", payload, raw)
    assert not verify_jws(identity.peer_id, "eyJhbGciOiJFZERTQSJ9", payload + b".", raw)
    assert not verify_jws(identity.peer_id, "\N{EURO SIGN}", payload, raw)
