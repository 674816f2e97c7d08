from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.crypto import FIELD_PRIME, LOW_ORDER_KEYS
from mcp_a2a.protocol.did import DID_LENGTH, PeerId
from tests.protocol.people import ALICE, BOB

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

# The did:key of the method's own specification, and its key.
KNOWN = "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH"


def spelled(raw: bytes) -> str:
    """Base58btc by the textbook, written a second time so that the two can be compared."""
    number = int.from_bytes(raw)
    letters = ""
    while number:
        number, digit = divmod(number, 58)
        letters = ALPHABET[digit] + letters
    return "did:key:z" + "1" * (len(raw) - len(raw.lstrip(b"\0"))) + letters


@st.composite
def keys(draw: st.DrawFn) -> bytes:
    raw = draw(st.binary(min_size=32, max_size=32))
    canonical = int.from_bytes(raw, "little") % 2**255 < FIELD_PRIME
    return raw if canonical and raw not in LOW_ORDER_KEYS else ALICE.peer_id.key


def test_the_example_of_the_did_key_specification_is_read_and_written() -> None:
    peer = PeerId.parse_untrusted(KNOWN)

    assert str(peer) == KNOWN
    assert peer.key.hex() == "94966b7c08e405775f8de6cc1c4508f6eb227403e1025b2c8ad2d7477398c5b2"


@given(keys())
def test_every_peer_survives_being_written_and_read(key: bytes) -> None:
    peer = PeerId(key)

    assert len(str(peer)) == DID_LENGTH
    assert str(peer) == spelled(b"\xed\x01" + key)
    assert PeerId.parse_untrusted(str(peer)) == peer


@given(st.text())
def test_no_text_raises_anything_but_a_protocol_error(text: str) -> None:
    for candidate in (text, "did:key:z" + text, "did:key:z6Mk" + text):
        with pytest.raises(RemoteProtocolError):
            PeerId.parse_untrusted(candidate)


@given(st.text(alphabet=ALPHABET, min_size=44, max_size=44))
def test_whatever_is_accepted_is_spelled_canonically(letters: str) -> None:
    text = "did:key:z6Mk" + letters
    try:
        peer = PeerId.parse_untrusted(text)
    except RemoteProtocolError:
        return

    assert str(peer) == text


@pytest.mark.parametrize("key", sorted(LOW_ORDER_KEYS), ids=bytes.hex)
def test_a_key_of_low_order_is_nobody(key: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="low order"):
        PeerId(key)
    with pytest.raises(RemoteProtocolError, match="low order"):
        PeerId.parse_untrusted(spelled(b"\xed\x01" + key))


@pytest.mark.parametrize("excess", range(2, 19))
@pytest.mark.parametrize("sign", [0, 1])
def test_a_second_spelling_of_a_key_is_refused(excess: int, sign: int) -> None:
    key = (FIELD_PRIME + excess | sign << 255).to_bytes(32, "little")

    with pytest.raises(RemoteProtocolError, match="canonical"):
        PeerId(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "did:key:",
        "did:key:z",
        "did:key:z6Mk",
        "did:web:example.org",
        KNOWN[:-1],
        KNOWN + "1",
        KNOWN + " ",
        " " + KNOWN,
        KNOWN + "\n",
        KNOWN.upper(),
        KNOWN.lower(),
        KNOWN.replace("did:key:z", "did:key:f"),
        KNOWN.replace("did:key:z", "did:key:z1"),
        KNOWN[:-1] + "0",
        KNOWN[:-1] + "l",
        KNOWN[:-1] + "é",
        KNOWN + "#" + KNOWN[8:],
        "did:key:z" + "z" * 47,
        "did:key:z" + "1" * 47,
        spelled(b"\xed\x01" + bytes(31)),
        spelled(b"\xed\x01" + b"\x07" * 33),
        spelled(b"\xec\x01" + b"\x07" * 32),  # X25519
        spelled(b"\xe7\x01" + b"\x07" * 33),  # secp256k1
        spelled(b"\x12\x05" + b"\x07" * 32),
        "did:key:z" + "6" * 1_000_000,
    ],
    ids=lambda text: text[:40] or "empty",
)
def test_anything_but_an_ed25519_did_key_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        PeerId.parse_untrusted(text)


def test_two_hundred_malformed_ones_are_refused() -> None:
    changed = [KNOWN[:place] + letter + KNOWN[place + 1 :] for place in range(9, DID_LENGTH) for letter in "0OIl +/-_"]

    assert len(changed) > 200
    for text in changed:
        with pytest.raises(RemoteProtocolError):
            PeerId.parse_untrusted(text)


def test_peers_are_ordered_by_key_and_can_be_dictionary_keys() -> None:
    assert sorted([BOB.peer_id, ALICE.peer_id]) == sorted([ALICE.peer_id, BOB.peer_id], key=lambda peer: peer.key)
    assert {PeerId(ALICE.peer_id.key): 1}[ALICE.peer_id] == 1


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="32 bytes"):
        PeerId(bytes(size))
