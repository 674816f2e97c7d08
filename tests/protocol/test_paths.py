"""Where a peer may be: addresses as people write them, and the order in which they are tried."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.paths import (
    MAX_ATTEMPTS,
    Attempt,
    DirectAddr,
    RelayAddr,
    TransportAddr,
    ip_text,
    parse_address,
    plan_paths,
    route_of,
)


@dataclass(frozen=True)
class Seen:
    """What a lookup saw."""

    provenance: str
    addresses: tuple[TransportAddr, ...]


RELAY = RelayAddr("wss://relay.example/#did:key:z6Mk")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.168.1.20:7301", DirectAddr("192.168.1.20", 7301)),
        ("printer.local:7301", DirectAddr("printer.local", 7301)),
        ("host:1", DirectAddr("host", 1)),
        ("my_nas:65535", DirectAddr("my_nas", 65535)),
        ("[::1]:7301", DirectAddr("::1", 7301)),
        ("[fe80::0:1%eth0]:7301", DirectAddr("fe80::1%eth0", 7301)),
        ("[FD00:0:0::2]:7301", DirectAddr("fd00::2", 7301)),
        ("[::ffff:192.168.1.20]:7301", DirectAddr("192.168.1.20", 7301)),
        ("  host:7301\n", DirectAddr("host", 7301)),
    ],
)
def test_a_person_may_write_an_address_so(text: str, address: DirectAddr) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "HOST:PORT"),
        ("host", "HOST:PORT"),
        ("host:", "HOST:PORT"),
        (":7301", "HOST:PORT"),
        ("::1:7301", "HOST:PORT"),
        ("http://host:7301", "HOST:PORT"),
        ("host:7301/link", "HOST:PORT"),
        ("host:٧٣", "HOST:PORT"),
        ("host:0", "port"),
        ("host:65536", "port"),
        ("host:99999", "port"),
        ("a b:7301", "host"),
        ("-host:7301", "host"),
        ("host\0:7301", "host"),
        ("300.1.1.1:7301", "host"),
        ("1.2.3:7301", "host"),
        ("[host]:7301", "host"),
        ("[1.2.3.4]:7301", "host"),
        ("x" * 300 + ":7301", "host"),
    ],
)
def test_anything_else_is_refused_with_the_part_that_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_address(text)
    assert reason in refused.value.message
    assert "192.168.1.20:7301" in refused.value.hint


@given(st.text(max_size=80))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        address = parse_address(text)
    except ConfigurationError:
        return
    assert parse_address(str(address)) == address


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_is_read_as_it_is_written(ip: IPv4Address | IPv6Address, port: int) -> None:
    address = DirectAddr(ip_text(ip), port)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("address", "provenance", "route"),
    [
        (DirectAddr("127.0.0.1", 1), "static", "local"),
        (DirectAddr("::1", 1), "mdns", "local"),
        (DirectAddr("localhost", 1), "static", "local"),
        (DirectAddr("10.0.0.9", 1), "local", "local"),
        (DirectAddr("10.0.0.9", 1), "static", "lan"),
        (DirectAddr("fe80::1%2", 1), "mdns", "lan"),
        (DirectAddr("fd00::1", 1), "static", "lan"),
        (DirectAddr("printer.local.", 1), "static", "lan"),
        (DirectAddr("8.8.8.8", 1), "mdns", "lan"),
        (DirectAddr("8.8.8.8", 1), "static", "direct"),
        (DirectAddr("example.org", 1), "static", "direct"),
        (RELAY, "local", "relay"),
    ],
)
def test_a_route_is_told_from_the_address_and_who_saw_it(address: TransportAddr, provenance: str, route: str) -> None:
    assert route_of(address, provenance) == route


def test_the_nearest_route_is_tried_first_and_the_others_a_quarter_of_a_second_apart() -> None:
    seen = [
        Seen("relay", (RELAY,)),
        Seen("static", (DirectAddr("example.org", 7301),)),
        Seen("mdns", (DirectAddr("192.168.1.20", 7301),)),
        Seen("local", (DirectAddr("127.0.0.1", 7301),)),
    ]
    assert plan_paths(seen) == (
        Attempt(DirectAddr("127.0.0.1", 7301), "local", 0.0),
        Attempt(DirectAddr("192.168.1.20", 7301), "lan", 0.25),
        Attempt(DirectAddr("example.org", 7301), "direct", 0.5),
        Attempt(RELAY, "relay", 0.75),
    )


def test_an_address_that_two_lookups_saw_is_tried_once() -> None:
    address = DirectAddr("192.168.1.20", 7301)
    assert len(plan_paths([Seen("mdns", (address,)), Seen("static", (address, address))])) == 1


def test_nobody_who_was_not_seen_is_tried() -> None:
    assert plan_paths([]) == ()


def test_many_addresses_of_one_route_do_not_crowd_out_another() -> None:
    spoofed = tuple(DirectAddr(f"10.0.0.{number}", 7301) for number in range(200))
    planned = plan_paths([Seen("mdns", spoofed), Seen("relay", (RELAY,))])
    assert len(planned) == MAX_ATTEMPTS
    assert planned[-1] == Attempt(RELAY, "relay", 0.25 * (MAX_ATTEMPTS - 1))
