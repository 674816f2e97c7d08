from __future__ import annotations

import hashlib
from typing import cast

import nacl.bindings
import nacl.exceptions
import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError, SealBrokenError
from mcp_a2a.protocol.crypto import (
    LOW_ORDER_KEYS,
    PUBLIC_KEY_SIZES,
    SEAL_OVERHEADS,
    SUITE_MLKEM768_X25519,
    SUITE_X25519,
    KemSecret,
    SigningKey,
    best_suite,
    seal,
    signature_is_valid,
)
from tests.protocol.people import bit_flips
from tests.protocol.vectors import read_vectors

SUITES = [SUITE_X25519, SUITE_MLKEM768_X25519]
SECRETS = {suite: KemSecret(suite, bytes([suite]) * 32) for suite in SUITES}


# --- signatures -----------------------------------------------------------------------------------


def test_rfc_8032_test_3_gives_its_key_and_signature() -> None:
    key = SigningKey(bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"))

    assert key.public.hex() == "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    assert key.sign(b"\xaf\x82").hex() == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )


def libsodium_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.signing.VerifyKey(key).verify(message, signature)
    except (nacl.exceptions.BadSignatureError, ValueError):
        return False
    return True


def test_the_914_edge_case_signatures_are_decided_as_libsodium_decides() -> None:
    cases = cast("list[dict[str, str]]", read_vectors("cctv_ed25519vectors.json"))
    triples = [(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"])) for case in cases]

    ours = [triple for triple in triples if signature_is_valid(*triple)]

    assert len(triples) == 914
    assert ours == [triple for triple in triples if libsodium_accepts(*triple)]
    assert len(ours) == 43
    assert not any(key in LOW_ORDER_KEYS for key, _, _ in ours)


def test_every_ed25519_vector_of_wycheproof_is_decided_as_it_says() -> None:
    content = cast("dict[str, list[dict[str, object]]]", read_vectors("wycheproof_ed25519_test.json"))
    decided = 0
    for group in content["testGroups"]:
        public = bytes.fromhex(cast("dict[str, str]", group["publicKey"])["pk"])
        for case in cast("list[dict[str, str]]", group["tests"]):
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            valid = signature_is_valid(public, message, signature)
            assert valid == (case["result"] == "valid"), case["comment"]
            decided += 1

    assert decided == 151


def test_the_low_order_keys_are_all_fourteen_encodings_of_eight_points() -> None:
    # Libsodium has its own list; a canonical point of it, times eight, is the neutral element.
    neutral = (1).to_bytes(32, "little")

    assert len(LOW_ORDER_KEYS) == 14
    assert neutral in LOW_ORDER_KEYS
    assert not any(nacl.bindings.crypto_core_ed25519_is_valid_point(key) for key in LOW_ORDER_KEYS)
    for key in LOW_ORDER_KEYS:
        assert not signature_is_valid(key, b"any message", key + bytes(32))
        assert not signature_is_valid(key, b"any message", neutral + bytes(32))


def test_the_border_between_signature_and_message_cannot_be_moved() -> None:
    key = SigningKey(b"k" * 32)
    both = key.sign(b"message") + b"message"

    accepted = [
        border for border in range(len(both) + 1) if signature_is_valid(key.public, both[border:], both[:border])
    ]

    assert accepted == [64]


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_verifying_never_raises(public: bytes, message: bytes, signature: bytes) -> None:
    assert not signature_is_valid(public, message, signature)


# --- sealing --------------------------------------------------------------------------------------


def test_the_working_group_vector_of_our_suite_opens() -> None:
    vector = cast("list[dict[str, object]]", read_vectors("hpke_pq_0x647a.json"))[0]
    fields = {name: value for name, value in vector.items() if isinstance(value, str)}
    secret = KemSecret(SUITE_MLKEM768_X25519, bytes.fromhex(fields["skRm"]))
    encapsulated, info = bytes.fromhex(fields["enc"]), bytes.fromhex(fields["info"])
    # The one-shot interface has no associated data, which the vector's own ciphertexts use; so the
    # first message is encrypted again without, under the key and nonce that the vector derives.
    first = cast("list[dict[str, str]]", vector["encryptions"])[0]
    plaintext, nonce = bytes.fromhex(first["pt"]), bytes.fromhex(fields["base_nonce"])
    ciphertext = ChaCha20Poly1305(bytes.fromhex(fields["key"])).encrypt(nonce, plaintext, None)

    assert (vector["kem_id"], vector["kdf_id"], vector["aead_id"]) == (0x647A, 1, 3)
    assert secret.public_key.hex() == fields["pkRm"]
    assert first["nonce"] == fields["base_nonce"]
    assert secret.open(encapsulated + ciphertext, info) == plaintext


def test_the_vector_of_another_kdf_does_not_open() -> None:
    vector = cast("list[dict[str, str]]", read_vectors("hpke_pq_0x647a.json"))[1]
    secret = KemSecret(SUITE_MLKEM768_X25519, bytes.fromhex(vector["skRm"]))
    key, nonce = bytes.fromhex(vector["key"]), bytes.fromhex(vector["base_nonce"])
    ciphertext = ChaCha20Poly1305(key).encrypt(nonce, b"text", None)

    with pytest.raises(SealBrokenError):
        secret.open(bytes.fromhex(vector["enc"]) + ciphertext, bytes.fromhex(vector["info"]))


def test_rfc_9180_gives_the_x25519_keys_of_appendix_a_2() -> None:
    secret = KemSecret(
        SUITE_X25519,
        bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"),
    )

    assert secret.public_key.hex() == ("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")


def test_the_x25519_of_this_build_computes_as_wycheproof_says() -> None:
    shared = 0
    for case in x25519_cases():
        private = x25519.X25519PrivateKey.from_private_bytes(bytes.fromhex(case["private"]))
        public = x25519.X25519PublicKey.from_public_bytes(bytes.fromhex(case["public"]))
        if int(case["shared"], 16):
            assert private.exchange(public).hex() == case["shared"], case["comment"]
            shared += 1

    assert shared == 487


def test_an_x25519_key_that_makes_every_secret_zero_is_refused_and_every_other_sealed_to() -> None:
    cases = x25519_cases()
    for case in cases:
        public = bytes.fromhex(case["public"])
        if int(case["shared"], 16):
            assert seal(SUITE_X25519, public, b"", b"")
        else:
            with pytest.raises(RemoteProtocolError):
                seal(SUITE_X25519, public, b"", b"")


def x25519_cases() -> list[dict[str, str]]:
    content = cast("dict[str, list[dict[str, object]]]", read_vectors("wycheproof_x25519_test.json"))
    return cast("list[dict[str, str]]", content["testGroups"][0]["tests"])


@pytest.mark.parametrize("suite", SUITES)
@given(plaintext=st.binary(max_size=3000), info=st.binary(max_size=100))
def test_what_is_sealed_opens(suite: int, plaintext: bytes, info: bytes) -> None:
    secret = SECRETS[suite]

    sealed = seal(suite, secret.public_key, plaintext, info)

    assert len(sealed) == len(plaintext) + SEAL_OVERHEADS[suite]
    assert secret.open(sealed, info) == plaintext


@pytest.mark.parametrize("suite", SUITES)
def test_another_info_or_key_does_not_open(suite: int) -> None:
    secret, other = SECRETS[suite], KemSecret(suite, b"o" * 32)
    sealed = seal(suite, secret.public_key, b"text", b"info")

    with pytest.raises(SealBrokenError):
        secret.open(sealed, b"inf")
    with pytest.raises(SealBrokenError):
        other.open(sealed, b"info")


@pytest.mark.parametrize("suite", SUITES)
@given(sealed=st.binary(max_size=1300))
def test_opening_anything_raises_only_seal_broken(suite: int, sealed: bytes) -> None:
    with pytest.raises(SealBrokenError):
        SECRETS[suite].open(sealed, b"info")


def test_every_changed_bit_of_a_sealed_text_breaks_it() -> None:
    secret = SECRETS[SUITE_X25519]
    sealed = seal(SUITE_X25519, secret.public_key, b"text", b"info")

    for changed in bit_flips(sealed):
        # X25519 ignores the top bit of the encapsulated key's last byte, and HPKE binds it anyway.
        with pytest.raises(SealBrokenError):
            secret.open(changed, b"info")


@pytest.mark.parametrize(
    ("suite", "public_key"),
    [
        (0, bytes(32)),
        (3, bytes(32)),
        (SUITE_X25519, bytes(32)),
        (SUITE_X25519, b"k" * 31),
        (SUITE_X25519, b"k" * 33),
        (SUITE_MLKEM768_X25519, b"k" * 32),
        (SUITE_MLKEM768_X25519, b"\xff" * PUBLIC_KEY_SIZES[SUITE_MLKEM768_X25519]),
        (SUITE_MLKEM768_X25519, SECRETS[2].public_key[:-32] + bytes(32)),
    ],
)
def test_a_public_key_that_cannot_be_sealed_to_is_the_peers_fault(suite: int, public_key: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="cannot be sealed to"):
        seal(suite, public_key, b"text", b"info")


@pytest.mark.parametrize(("suite", "size"), [(0, 32), (3, 32), (1, 31), (2, 64)])
def test_a_secret_of_an_unknown_suite_or_size_is_our_bug(suite: int, size: int) -> None:
    with pytest.raises(LocalProtocolError):
        KemSecret(suite, bytes(size))


def test_this_build_seals_against_quantum_computers() -> None:
    assert best_suite() == SUITE_MLKEM768_X25519


def test_a_kem_secret_is_its_seed_expanded_as_x_wing_says() -> None:
    seed = hashlib.sha256(b"seed").digest()

    assert KemSecret(SUITE_MLKEM768_X25519, seed).seed == seed
    assert seed.hex() not in repr(KemSecret(SUITE_MLKEM768_X25519, seed))
