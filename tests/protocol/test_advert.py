from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.delivery import TooLargeError
from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError
from mcp_a2a.protocol.advert import MAX_ADVERT_BYTES, Advert
from mcp_a2a.protocol.model import AgentCard, AgentSkill
from mcp_a2a.protocol.strict_json import to_base64url
from tests.protocol.people import ALICE, BOB, EXPIRES, NOW, flip, ring_of

LABEL = b"mcp-a2a/v1/advert\0"
CARD = AgentCard(
    name="word-counter",
    description="Counts words — also in Köln.",
    skills=(AgentSkill(id="count_words", name="Count words", description="…", tags=("text",)),),
)


def advert_of(card: AgentCard = CARD, seq: int = 7) -> Advert:
    addresses = ["ws://192.168.1.7:40123"]
    bundle = ring_of(ALICE).current
    return Advert.sign(ALICE, card, bundle, addresses, seq=seq, expires=EXPIRES)


def signed(**fields: object) -> str:
    """An advert with other fields that Alice did sign."""
    content = json.dumps(json.loads(advert_of().content) | fields)
    return f"{content}.{to_base64url(ALICE.sign(LABEL, content.encode()))}"


SAMPLE = advert_of().to_text()


def test_an_advert_survives_being_written_and_read() -> None:
    advert = advert_of()

    again = Advert.parse_untrusted(advert.to_text())

    assert again == advert
    assert again.card == CARD
    assert again.peer == ALICE.peer_id
    assert again.bundle == ring_of(ALICE).current
    assert again.addresses == ("ws://192.168.1.7:40123",)
    assert again.to_text() == advert.to_text()


def test_it_is_fresh_until_it_expires_and_a_newer_one_of_the_same_peer_supersedes_it() -> None:
    advert = advert_of()

    assert advert.fresh(NOW)
    assert not advert.fresh(EXPIRES)
    assert advert_of(seq=8).supersedes(advert)
    assert not advert.supersedes(advert)
    assert not advert_of(seq=6).supersedes(advert)
    assert not replace(advert_of(seq=8), peer=BOB.peer_id).supersedes(advert)


def test_a_field_that_is_not_known_yet_travels_on_and_stays_signed() -> None:
    text = signed(later={"field": 1})

    advert = Advert.parse_untrusted(text)

    assert advert.to_text() == text
    assert Advert.parse_untrusted(advert.to_text()) == advert


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2},
        {"did": str(BOB.peer_id)},
        {"did": "alice"},
        {"bundle": ring_of(BOB).current.to_text()},
        {"bundle": "{}"},
        {"card": {}},
        {"card": {"name": "", "description": ""}},
        {"card": {"name": "x" * 129, "description": ""}},
        {"addresses": "ws://one"},
        {"addresses": [""]},
        {"addresses": ["x" * 257]},
        {"addresses": ["ws://one"] * 17},
        {"seq": -1},
        {"seq": True},
        {"expires": 2**40},
        {"expires": None},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_a_signed_advert_with_impossible_content_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError):
        Advert.parse_untrusted(signed(**fields))


def test_anybody_elses_signature_is_refused() -> None:
    content = advert_of().content
    for signature in (
        BOB.sign(LABEL, content.encode()),
        ALICE.sign(b"mcp-a2a/v1/bundle\0", content.encode()),
        bytes(64),
        b"",
    ):
        with pytest.raises(RemoteProtocolError):
            Advert.parse_untrusted(f"{content}.{to_base64url(signature)}")


def test_an_advert_is_limited_to_64_kib_on_both_sides() -> None:
    longest = MAX_ADVERT_BYTES - len(signed(pad="").encode())

    assert Advert.parse_untrusted(signed(pad="x" * longest)).card == CARD
    with pytest.raises(RemoteProtocolError, match="65,536"):
        Advert.parse_untrusted(signed(pad="x" * (longest + 1)))
    with pytest.raises(RemoteProtocolError, match="65,536"):
        Advert.parse_untrusted(signed(pad="x") + "é" * (MAX_ADVERT_BYTES // 2))
    skills = tuple(AgentSkill(id=f"s{number}", name="s", description="x" * 4096) for number in range(17))
    with pytest.raises(TooLargeError):
        advert_of(CARD.model_copy(update={"skills": skills}))


def test_another_peers_key_bundle_in_ours_is_our_bug() -> None:
    with pytest.raises(LocalProtocolError):
        Advert.sign(ALICE, CARD, ring_of(BOB).current, [], seq=1, expires=EXPIRES)


@given(st.text())
def test_no_text_raises_anything_but_a_protocol_error(text: str) -> None:
    for candidate in (text, f"{text}.{text}", "{}." + text, text + SAMPLE[-89:]):
        with pytest.raises(RemoteProtocolError):
            Advert.parse_untrusted(candidate)


@given(st.integers(0, len(SAMPLE.encode()) * 8 - 1))
def test_a_flipped_bit_is_refused(bit: int) -> None:
    with pytest.raises(RemoteProtocolError):
        Advert.parse_untrusted(flip(SAMPLE.encode(), bit).decode(errors="replace"))


def test_a_cut_advert_is_refused() -> None:
    for length in range(len(SAMPLE)):
        with pytest.raises(RemoteProtocolError):
            Advert.parse_untrusted(SAMPLE[:length])
