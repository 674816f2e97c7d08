from __future__ import annotations

import re
from itertools import combinations

import pytest

from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.names import WORDS, fingerprint_words, memorable_name
from tests.protocol.people import ALICE, BOB

PEERS = [Identity(bytes([number]) * 32).peer_id for number in range(64)]


def one_letter_apart(first: str, second: str) -> bool:
    """Whether replacing, adding or dropping one letter turns one into the other."""
    short, long = sorted((first, second), key=len)
    if len(long) - len(short) > 1:
        return False
    same = next((i for i, letter in enumerate(short) if letter != long[i]), len(short))
    return short[same + (len(short) == len(long)) :] == long[same + 1 :]


def test_there_are_256_words_and_no_two_are_one_letter_apart() -> None:
    close = [pair for pair in combinations(WORDS, 2) if one_letter_apart(*pair)]

    assert len(set(WORDS)) == len(WORDS) == 256
    assert all(re.fullmatch(r"[a-z]{3,8}", word) for word in WORDS)
    assert close == []


def test_a_key_has_eight_words_for_ever() -> None:
    # If this changes, two versions show different words for one key.
    assert fingerprint_words(ALICE.peer_id) == "clover-koala-canoe-moon-forest-banana-candle-bacon"
    assert memorable_name(ALICE.peer_id) == "balmy-ocelot"


@pytest.mark.parametrize("peer", PEERS[:8], ids=str)
def test_the_words_come_from_the_list(peer: PeerId) -> None:
    words = fingerprint_words(peer).split("-")

    assert len(words) == 8
    assert set(words) <= set(WORDS)


def test_different_keys_have_different_words() -> None:
    assert len({fingerprint_words(peer) for peer in PEERS}) == len(PEERS)
    assert fingerprint_words(ALICE.peer_id) != fingerprint_words(BOB.peer_id)


def test_a_memorable_name_is_an_adjective_and_an_animal() -> None:
    assert all(re.fullmatch(r"[a-z]+-[a-z]+", memorable_name(peer)) for peer in PEERS)
    assert len({memorable_name(peer) for peer in PEERS}) > len(PEERS) * 0.9
