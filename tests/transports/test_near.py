"""Which of the addresses that others name are worth dialling, and which of ours we name to them."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from mcp_a2a.protocol.advert import MAX_ADDRESSES
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports import direct
from mcp_a2a_transports.direct import is_near, own_addresses
from mcp_a2a_transports.surroundings import Interface


def interface(name: str, *ips: str) -> Interface:
    return Interface(name, 2, tuple(map(ip_interface, ips)))


HERE = (
    interface("v0", "192.168.1.20/24", "fe80::20/64", "fd12::20/64"),
    interface("v1", "10.0.5.2/16", "fe80::20/64"),
    interface("lo", "127.0.0.1/8", "::1/128"),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine in two private networks; counts how often it was asked where it is."""
    asked: list[int] = []

    def here() -> tuple[Interface, ...]:
        asked.append(1)
        return HERE

    monkeypatch.setattr(direct, "interfaces_here", here)
    direct._interfaces.cache_clear()
    return asked


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("192.168.1.7", True),
        ("192.168.2.7", False),
        ("10.0.200.1", True),
        ("10.1.0.1", False),
        ("172.16.0.1", False),
        ("169.254.1.1", False),
        ("100.64.0.1", False),
        ("8.8.8.8", True),
        ("fd12::5", True),
        ("fd13::5", False),
        ("fe80::5", False),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:192.168.1.7", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::808:808", False),
        ("2002:7f00:1::1", False),
        ("2002:a9fe:a9fe::", False),
        ("::ffff:0:7f00:1", False),
        ("::7f00:1", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("100.100.100.200", False),
        ("0.0.0.0", False),  # noqa: S104  only read
        ("::", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("ff02::1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("printer.local", False),
        ("relay.example", False),
        ("127.1", False),
        ("0x7f000001", False),
        ("", False),
    ],
)
def test_what_is_public_or_on_a_network_of_ours_is_worth_dialling(asked: list[int], host: str, *, near: bool) -> None:
    assert is_near(DirectAddr(host, 7301)) is near


@pytest.mark.parametrize(("port", "near"), [(22, False), (443, False), (1023, False), (1024, True), (65_535, True)])
def test_nobody_can_have_us_knock_at_what_is_no_agent(asked: list[int], port: int, *, near: bool) -> None:
    assert is_near(DirectAddr("192.168.1.7", port)) is near
    assert is_near(DirectAddr("8.8.8.8", port)) is near


def test_the_system_is_not_asked_again_for_each_of_thousands(asked: list[int]) -> None:
    for number in range(3000):
        is_near(DirectAddr(f"192.168.{number % 250}.7", 7301))
    assert 1 <= len(asked) <= 3


def test_it_is_noticed_that_this_machine_has_moved(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(direct.time, "monotonic", lambda: now[0])
    direct._interfaces.cache_clear()
    assert not is_near(DirectAddr("172.16.0.1", 7301))
    monkeypatch.setattr(direct, "interfaces_here", lambda: (interface("v0", "172.16.0.9/24"),))
    assert not is_near(DirectAddr("172.16.0.1", 7301))
    now[0] += direct.PLACE_SECONDS
    assert is_near(DirectAddr("172.16.0.1", 7301))


def test_others_are_told_every_address_of_this_machine_but_those_that_are_only_here(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = ["192.168.1.20", "fd12::20", "10.0.5.2", "fe80::20%v0", "fe80::20%v1"]
    assert [address.host for address in own_addresses(7301)] == hosts
    assert [address.host for address in own_addresses(7301, "0.0.0.0")] == ["192.168.1.20", "10.0.5.2"]  # noqa: S104
    monkeypatch.setattr(direct, "interfaces_here", lambda: (interface("lo", "127.0.0.1/8", "::1/128"),))
    assert own_addresses(7301) == ()


def test_what_we_tell_others_is_near_for_whoever_is_on_the_same_network(asked: list[int]) -> None:
    assert all(is_near(address) for address in own_addresses(7301) if not address.is_zoned)
    assert len(own_addresses(7301)) <= MAX_ADDRESSES


def test_this_machine_can_be_asked_as_it_is() -> None:
    direct._interfaces.cache_clear()
    assert all(address.port == 7301 for address in own_addresses(7301))
    assert is_near(DirectAddr("8.8.8.8", 7301))
    assert not is_near(DirectAddr("127.0.0.1", 7301))
