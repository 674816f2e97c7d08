"""A ticket admits as it was written, or says why it does not."""

from __future__ import annotations

import base64
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.networks import TicketError
from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.protocol.crypto import sha256
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.ticket import PREFIX, Ticket
from tests.protocol.people import ALICE, BOB

RELAY = f"ws://203.0.113.10:6060/#{ALICE.peer_id}"
OPEN = Ticket("shop", ALICE.peer_id, BOB.peer_id, (RELAY,), ("192.168.1.5:7301",), secret=bytes(range(32)))
LIMITED = Ticket("shop", ALICE.peer_id, BOB.peer_id, (RELAY,), (), token=bytes(range(16)), expires=1_800_000_000)

places = st.lists(st.text(string.ascii_letters + string.digits + ":/.#", min_size=1, max_size=100), max_size=8)
tickets = st.builds(
    lambda name, relays, addresses, key, expires: Ticket(
        name, ALICE.peer_id, BOB.peer_id, tuple(relays), tuple(addresses),
        key if len(key) == 32 else None, key if len(key) == 16 else None, expires,
    ),
    st.text(min_size=1, max_size=64).map(lambda text: preview(text, 64)).filter(bool),
    places,
    places,
    st.binary(min_size=32, max_size=32) | st.binary(min_size=16, max_size=16),
    st.none() | st.integers(0, 2**63),
)  # fmt: skip


@given(tickets)
def test_a_ticket_is_read_as_it_was_written(ticket: Ticket) -> None:
    assert Ticket.parse_untrusted(ticket.to_text()) == ticket


@pytest.mark.parametrize("ticket", [OPEN, LIMITED])
def test_it_is_one_lowercase_word_that_a_double_click_takes_whole(ticket: Ticket) -> None:
    text = ticket.to_text()
    assert text.startswith(PREFIX)
    assert set(text) <= set(string.ascii_lowercase + string.digits)


def test_its_secret_is_not_in_what_a_log_would_show() -> None:
    assert "secret" not in repr(OPEN)
    assert "token" not in repr(LIMITED)


def test_what_a_chat_program_makes_of_it_is_read_all_the_same() -> None:
    text = OPEN.to_text()
    wrapped = "\n".join(text[start : start + 40] for start in range(0, len(text), 40))
    assert Ticket.parse_untrusted(f"  {wrapped.upper()}\r\n") == OPEN


@pytest.mark.parametrize("ticket", [OPEN, LIMITED], ids=["open", "limited"])
def test_every_letter_that_changes_is_noticed(ticket: Ticket) -> None:
    text = ticket.to_text()
    for place, letter in enumerate(text):
        for other in set(string.ascii_lowercase + string.digits + "-") - {letter}:
            with pytest.raises(TicketError, match="wrong or missing" if place >= len(PREFIX) else None):
                Ticket.parse_untrusted(text[:place] + other + text[place + 1 :])


def test_two_letters_that_changed_places_are_noticed() -> None:
    text = OPEN.to_text()
    for place in range(len(PREFIX), len(text) - 1):
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        if swapped != text:
            with pytest.raises(TicketError, match="wrong or missing"):
                Ticket.parse_untrusted(swapped)


def test_every_end_that_is_missing_is_noticed() -> None:
    text = OPEN.to_text()
    for length in range(len(text)):
        with pytest.raises(TicketError):
            Ticket.parse_untrusted(text[:length])


def test_a_letter_more_is_noticed() -> None:
    with pytest.raises(TicketError, match="wrong or missing"):
        Ticket.parse_untrusted(OPEN.to_text() + "a")


@given(st.text(max_size=200))
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(TicketError):
        Ticket.parse_untrusted(text)
    with pytest.raises(TicketError):
        Ticket.parse_untrusted(PREFIX + text)


@pytest.mark.parametrize("prefix", ["a2a2", "A2A9"])
def test_a_ticket_of_a_later_version_says_so(prefix: str) -> None:
    with pytest.raises(TicketError, match="newer version"):
        Ticket.parse_untrusted(prefix + OPEN.to_text()[4:])


@given(st.binary(max_size=400), st.sampled_from((0, 5)))
def test_bytes_that_nobody_wrote_as_a_ticket_are_refused(body: bytes, checksum: int) -> None:
    """Also with a checksum that fits: it keeps out mistakes, not forgers."""
    body += sha256(b"mcp-a2a/v1/ticket\0" + body)[:checksum]
    text = PREFIX + base64.b32encode(body).decode().rstrip("=").lower()
    with suppress(TicketError):
        assert Ticket.parse_untrusted(text).to_text() == text


def body_of(ticket: Ticket) -> bytes:
    letters = ticket.to_text().removeprefix(PREFIX).upper()
    return base64.b32decode(letters + "=" * (-len(letters) % 8))[:-5]


@given(st.integers(0, len(body_of(OPEN)) - 1), st.integers(1, 255))
def test_a_forged_ticket_means_what_it_says_or_is_refused(place: int, change: int) -> None:
    body = bytearray(body_of(OPEN))
    body[place] ^= change
    raw = bytes(body) + sha256(b"mcp-a2a/v1/ticket\0" + bytes(body))[:5]
    text = PREFIX + base64.b32encode(raw).decode().rstrip("=").lower()
    with suppress(TicketError):
        assert Ticket.parse_untrusted(text) != OPEN


def test_it_expires_when_it_says() -> None:
    LIMITED.check_expiry(1_799_999_999.9)
    with pytest.raises(TicketError, match=r"expired on 2027-01-15 08:00 UTC; .* says 2027-01-15 09:00 UTC"):
        LIMITED.check_expiry(1_800_003_600)
    with pytest.raises(TicketError):
        LIMITED.check_expiry(1_800_000_000)
    OPEN.check_expiry(1e12)


@pytest.mark.parametrize(
    "ticket",
    [
        Ticket("", ALICE.peer_id, BOB.peer_id, secret=bytes(32)),
        Ticket("shop\n", ALICE.peer_id, BOB.peer_id, secret=bytes(32)),
        Ticket("x" * 65, ALICE.peer_id, BOB.peer_id, secret=bytes(32)),
        Ticket("shop", ALICE.peer_id, BOB.peer_id, secret=bytes(31)),
        Ticket("shop", ALICE.peer_id, BOB.peer_id),
        Ticket("shop", ALICE.peer_id, BOB.peer_id, secret=bytes(32), token=bytes(16)),
        Ticket("shop", ALICE.peer_id, BOB.peer_id, ("ws://a",) * 9, secret=bytes(32)),
        Ticket("shop", ALICE.peer_id, BOB.peer_id, ("w" * 513,), secret=bytes(32)),
    ],
)
def test_none_is_written_that_would_not_be_read(ticket: Ticket) -> None:
    with pytest.raises(LocalProtocolError):
        ticket.to_text()
