"""A relay's URL names its key, has one spelling, and says what it means for privacy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.relay_url import parse_relay_url
from tests.protocol.people import ALICE

KEY = str(ALICE.peer_id)


@pytest.mark.parametrize(
    ("text", "canonical", "endpoint"),
    [
        (f"ws://h.example:6060/#{KEY}", f"ws://h.example:6060/#{KEY}", "ws://h.example:6060/link"),
        (f"ws://h.example:6060#{KEY}", f"ws://h.example:6060/#{KEY}", "ws://h.example:6060/link"),
        (f" WSS://H.Example/#{KEY}\n", f"wss://h.example/#{KEY}", "wss://h.example/link"),
        (f"wss://h.example:443/a/b/#{KEY}", f"wss://h.example/a/b/#{KEY}", "wss://h.example/a/b/link"),
        (f"ws://[2001:db8::1]:6060/#{KEY}", f"ws://[2001:db8::1]:6060/#{KEY}", "ws://[2001:db8::1]:6060/link"),
        (f"ws://[2001:DB8:0:0::1]/#{KEY}", f"ws://[2001:db8::1]/#{KEY}", "ws://[2001:db8::1]/link"),
        (f"ws://[::ffff:10.1.2.3]/#{KEY}", f"ws://10.1.2.3/#{KEY}", "ws://10.1.2.3/link"),
        (f"wss://relay.example./#{KEY}", f"wss://relay.example/#{KEY}", "wss://relay.example/link"),
        ("ws://127.0.0.1:6060/", "ws://127.0.0.1:6060/", "ws://127.0.0.1:6060/link"),
    ],
)
def test_it_has_one_spelling(text: str, canonical: str, endpoint: str) -> None:
    url = parse_relay_url(text)
    assert (str(url), url.endpoint) == (canonical, endpoint)
    assert parse_relay_url(canonical) == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"http://h.example/#{KEY}", "does not begin with ws"),
        ("h.example:6060", "does not begin with ws"),
        ("", "does not begin with ws"),
        ("ws://h.example:6060/", "does not end with the relay's key"),
        ("ws://h.example:6060/#did:key:z6Mk", "not the key of a relay"),
        (f"ws://user:pass@h.example/#{KEY}", "user or a query"),
        (f"ws://h.example/?key=1#{KEY}", "user or a query"),
        (f"ws:///#{KEY}", "names no host"),
        (f"ws://h.example:99999/#{KEY}", "not a URL"),
        (f"ws://h.example:0/#{KEY}", "a port is a number"),
        (f"ws://h example/#{KEY}", "neither a name nor an IP address"),
        (f"ws://127.1/#{KEY}", "neither a name nor an IP address"),
        (f"ws://2130706433/#{KEY}", "neither a name nor an IP address"),
        (f"ws://0x7f.0.0.0x1/#{KEY}", "neither a name nor an IP address"),
        (f"ws://0177.0.0.1/#{KEY}", "neither a name nor an IP address"),
        (f"ws://[fe80::1%eth0]/#{KEY}", "neither a name nor an IP address"),
        (f"ws://{'a' * 300}/#{KEY}", "neither a name nor an IP address"),
        (f"ws://-h/#{KEY}", "neither a name nor an IP address"),
        (f"ws://h.example/a b/#{KEY}", "path holds characters"),
        (f"ws://h.example//other/#{KEY}", "path holds characters"),
        (f"ws://h.example/%2e%2e/#{KEY}", "path holds characters"),
        (f"ws://h.example/a/../#{KEY}", "path holds characters"),
        (f"ws://h\x1b[31m.example/#{KEY}", "no URL has"),
        (f"ws://{'h' * 600}/#{KEY}", "too long"),
    ],
)
def test_what_is_wrong_with_another_one_is_said(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        parse_relay_url(text)


@given(st.text(max_size=80))
def test_nothing_else_is_ever_raised(text: str) -> None:
    for candidate in (text, f"ws://{text}", f"ws://{text}#{KEY}"):
        try:
            url = parse_relay_url(candidate)
        except ConfigurationError:
            continue
        assert parse_relay_url(str(url)) == url


@pytest.mark.parametrize(
    ("host", "loopback", "private"),
    [
        ("127.0.0.1", True, True),
        ("[::1]", True, True),
        ("localhost", True, True),
        ("relay.localhost", True, True),
        ("0.0.0.0", True, True),  # noqa: S104  only read
        ("[::]", True, True),
        ("[::ffff:127.0.0.1]", True, True),
        ("100.64.1.1", False, True),
        ("[fd00::1]", False, True),
        ("[fe80::1]", False, True),
        ("[2001:4860::1]", False, False),
        ("192.168.1.5", False, True),
        ("10.1.2.3", False, True),
        ("169.254.1.1", False, True),
        ("nas.local", False, True),
        ("nas", False, True),
        ("8.8.8.8", False, False),
        ("relay.example", False, False),
    ],
)
def test_it_knows_who_can_reach_it(host: str, *, loopback: bool, private: bool) -> None:
    url = parse_relay_url(f"ws://{host}:6060/#{KEY}")
    assert (url.is_loopback, url.is_private) == (loopback, private)


def test_a_plain_wire_is_warned_about_where_others_are_on_it() -> None:
    assert parse_relay_url(f"ws://relay.example/#{KEY}").warning is not None
    assert parse_relay_url(f"wss://relay.example/#{KEY}").warning is None
    assert parse_relay_url("ws://127.0.0.1:6060").warning is None
