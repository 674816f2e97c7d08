"""IPv6 addresses in URLs: one spelling each, and zones that stay on the machine whose they are (RFC 6874)."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from mcp_a2a.a2a.addresses import as_typed, check_addresses, check_url
from mcp_a2a.a2a.client_card import mended
from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.protocol.forbidden_addresses import is_no_place
from mcp_a2a.protocol.link_places import MAX_STRANGERS_PER_HOST, Place, Standing, find_place
from mcp_a2a.protocol.pending_connections import host_in, host_of, is_here
from mcp_a2a.protocol.relay_url import parse_relay_url
from mcp_a2a.protocol.web_url import (
    agent_url,
    own_host_in_url,
    shown_url,
    spelled,
    with_plain_zone,
    with_written_zone,
    without_zone,
)

ZONED = "http://[fe80::1%25v0]:8000/"


@pytest.mark.parametrize(
    ("typed", "one"),
    [
        (ZONED, ZONED),
        ("http://[FE80:0::1%v0]:8000", ZONED),
        ("http://[fe80::1%25enP2p1s0]/", "http://[fe80::1%25enP2p1s0]/"),
        ("http://[FD00:0:0::2]:80/", "http://[fd00::2]/"),
        ("http://[::ffff:192.168.1.5]:8000/", "http://192.168.1.5:8000/"),
        ("http://[::0:1]:8000/x?q=%25", "http://[::1]:8000/x?q=%25"),
        ("http://192.168.1.5:8000/", "http://192.168.1.5:8000/"),
    ],
)
def test_an_address_in_a_url_has_one_spelling(typed: str, one: str) -> None:
    assert spelled(typed) == one
    assert spelled(one) == one
    assert agent_url(typed) == one


def test_a_url_with_a_zone_is_shown_as_it_may_be_typed_again() -> None:
    assert shown_url("http://[fe80::1%v0]:8000/") == ZONED
    assert spelled(shown_url(ZONED)) == ZONED


def test_a_url_is_handed_to_the_client_with_its_zone_as_it_is_and_taken_back_as_it_is_written() -> None:
    assert with_plain_zone(f"{ZONED}a%25b?x=]%25") == "http://[fe80::1%v0]:8000/a%25b?x=]%25"
    assert with_written_zone("http://[fe80::1%v0]:8000/a%25b") == f"{ZONED}a%25b"
    for other in ("http://[::1]:8000/a%25b", "http://agent.example/%25v0]"):
        assert with_plain_zone(other) == with_written_zone(other) == other


def test_what_others_are_told_has_no_zone() -> None:
    assert without_zone("[fe80::1%25v0]:8000") == without_zone("[fe80::1%v0]:8000") == "[fe80::1]:8000"
    assert without_zone("agent.example:8000") == "agent.example:8000"
    assert own_host_in_url("fe80::1%v0") == "[fe80::1]"
    assert own_host_in_url("::ffff:192.168.1.5") == "192.168.1.5"


@pytest.mark.parametrize(
    "said", ["http://[fe80::9]:8000/rpc", "http://[fe80::9%25eth7]:8000/rpc", "http://[::]:8000/rpc"]
)
def test_a_card_read_over_a_link_is_called_over_that_link(said: str) -> None:
    assert mended(said, "http://[fe80::9%25v0]:8000/card") == "http://[fe80::9%25v0]:8000/rpc"


def test_a_card_cannot_name_another_machine_of_the_link_by_the_zone_of_its_own() -> None:
    assert mended("http://[fe80::8]:8000/rpc", "http://[fe80::9%25v0]:8000/card") == "http://[fe80::8]:8000/rpc"


def test_a_link_local_address_is_called_only_where_a_person_named_it() -> None:
    policy = as_typed(ZONED)
    assert check_url(ZONED, policy)[1] == 8000
    check_addresses(ZONED, ("fe80::1%v0", 8000), ["fe80::1%v0"], policy)
    for other in ("http://[fe80::1%25v0]:8001/", "http://[fe80::1%25v1]:8000/", "http://[fe80::2%25v0]:8000/"):
        with pytest.raises(AddressNotAllowedError):
            check_url(other, policy)


def test_the_metadata_service_of_a_cloud_is_no_place_in_either_family() -> None:
    assert is_no_place("169.254.169.254")
    assert is_no_place("fe80::a9fe:a9fe%v0")


def test_a_relay_has_an_ipv6_address_in_brackets_and_never_a_zone() -> None:
    key = "did:key:z6MkiXd1quixMX9iohjZvsH791grBsnxFA7vVxRfVo2gVnK4"
    assert str(parse_relay_url("ws://[0::1]:6060")) == "ws://[::1]:6060/"
    assert str(parse_relay_url(f"ws://[FD00:0::2]:6060/#{key}")) == f"ws://[fd00::2]:6060/#{key}"
    for zoned in (f"ws://[fe80::1%25v0]:6060/#{key}", f"ws://[fe80::1%v0]:6060/#{key}"):
        with pytest.raises(Exception, match="neither a name nor an IP address"):
            parse_relay_url(zoned)


def test_a_network_of_the_internet_is_one_party_and_a_private_one_as_many_as_an_ipv4_network_has() -> None:
    assert host_of("2001:db8:1:2:3::4") == host_of("2001:db8:1:2::5") == "2001:db8:1:2::/64"
    for private in ("fe80::1:0", "fd77:1:2:3:4:5:6:0"):
        network = ip_network((int(ip_address(private)), 64), strict=False)
        parties = {host_of(str(ip_address(int(ip_address(private)) + number))) for number in range(10_000)}
        assert len(parties) == 256
        assert all(str(network) in party for party in parties)
    assert host_of("fe80::1%v0") == host_of("fe80::1%v1") == host_in("[fe80::1%v0]:7001") != host_of("fe80::2%v0")


@pytest.mark.parametrize("here", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_told_by_its_party_in_either_family(here: str) -> None:
    assert is_here(here)
    assert is_here(host_of(here))
    assert host_of("::ffff:10.0.0.1") == "10.0.0.1"
    many = [Place(Standing.STRANGER, host_of(here))] * MAX_STRANGERS_PER_HOST
    assert find_place(many, Place(Standing.STRANGER, host_of(here))).admitted
