"""The secret that admits networks to a relay: what proves it, and where it cannot be found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.admission_secret import (
    admission_is_proven,
    admission_key,
    prove_admission,
    secret_text,
    secret_untrusted,
)
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.relay_url import parse_relay_url
from tests.protocol.people import ALICE, BOB, CAROL

CODE = bytes(range(16))
TEXT = secret_text(CODE)
SHOP, HOME = Network(b"s" * 32).id, Network(b"h" * 32).id
ASKED = {"network": SHOP, "relay": BOB.peer_id, "asker": ALICE.peer_id, "nonce": b"n" * 32}
URL = f"wss://relay.example/#{BOB.peer_id}"


def test_a_proof_is_good_for_one_network_one_relay_one_key_and_one_connection() -> None:
    proof = prove_admission(CODE, **ASKED)
    key = admission_key(CODE)
    assert admission_is_proven(key, proof, **ASKED)
    for field, other in (("network", HOME), ("relay", CAROL.peer_id), ("asker", CAROL.peer_id), ("nonce", b"m" * 32)):
        assert not admission_is_proven(key, proof, **{**ASKED, field: other}), field
    assert not admission_is_proven(admission_key(bytes(16)), proof, **ASKED)
    assert not admission_is_proven(key, b"", **ASKED)


@given(st.binary(min_size=16, max_size=16))
def test_a_secret_is_read_as_it_was_written(code: bytes) -> None:
    assert secret_untrusted(secret_text(code)) == code


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 21, "A" * 23, "A" * 21 + "=", "A" * 21 + "B", "\u0661" * 22, "A" * 20 + "+/"]
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        secret_untrusted(text)


def test_a_url_holds_the_secret_until_it_is_written_again() -> None:
    url = parse_relay_url(parse_relay_url(URL).with_admission(CODE))
    assert url.admission == CODE
    assert (str(url), url.place, url.endpoint) == (URL, "wss://relay.example", "wss://relay.example/link")
    assert TEXT not in repr(url)
    assert url == parse_relay_url(URL)


@pytest.mark.parametrize(
    "wrong", [f"{URL}&admit=x{TEXT}", f"ws://127.0.0.1/#&admit={TEXT}", f"ftp://h/#x&admit={TEXT}"]
)
def test_a_url_that_cannot_be_used_is_quoted_without_its_secret(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_relay_url(wrong)
    assert TEXT not in str(refused.value)
