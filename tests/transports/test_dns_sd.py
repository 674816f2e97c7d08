"""A2A agents on the LAN: which announcements are believed, and which of ours are made."""

from __future__ import annotations

import random
from ipaddress import ip_interface

import anyio
import pytest
from zeroconf.asyncio import AsyncServiceInfo

from mcp_a2a.web_ports import WebSighting
from mcp_a2a_transports.dns_sd import SERVICE_TYPE, A2AWatch, _Agents, _ours, announced, read_untrusted
from mcp_a2a_transports.surroundings import Interface
from tests.transports.test_mdns import LOOPBACK, multicast_at, why_no_multicast

HOSTS = ("192.168.1.5",)


def test_an_announcement_names_a_card_at_the_address_that_it_came_with() -> None:
    told = read_untrusted("x", HOSTS, 8000, {b"card": b"/agents/card.json", b"tls": b"1", b"proto": b"a2a"})
    assert told is not None
    assert told.card_url == "https://192.168.1.5:8000/agents/card.json"
    plain = read_untrusted("x", HOSTS, 8000, {})
    assert plain is not None
    assert plain.card_url == "http://192.168.1.5:8000/.well-known/agent-card.json"


def test_an_announcement_is_told_with_one_address_of_each_kind_and_anew_when_one_is_gone() -> None:
    wifi = Interface("v0", 2, tuple(map(ip_interface, ("192.168.1.5/24", "fd12::5/64", "fe80::5/64"))))
    told: list[WebSighting] = []
    lost: list[str] = []
    agents = _Agents(told.append, lost.append)

    def hear(*addresses: str) -> None:
        record = AsyncServiceInfo(SERVICE_TYPE, f"x.{SERVICE_TYPE}", 8000, parsed_addresses=list(addresses))
        assert agents.found(wifi, record)

    hear("192.168.1.9", "192.168.1.8", "fe80::9")
    assert [(one.host, one.others) for one in told] == [("192.168.1.9", ("fe80::9%v0",))]
    hear("192.168.1.9", "192.168.1.8", "fe80::9", "fd12::9")
    assert (len(told), lost) == (1, [])
    hear("192.168.1.66", "fe80::9", "fd12::9")
    assert [(one.host, one.others) for one in told[1:]] == [("192.168.1.66", ("fd12::9", "fe80::9%v0"))]
    hear("192.168.1.66", "fe80::9")
    assert [one.others for one in told[2:]] == [("fe80::9%v0",)]
    assert len(lost) == 2


@pytest.mark.parametrize(
    ("port", "card"),
    [(22, b"/"), (None, b"/"), (0, b"/"), (8000, b"//evil.example/x"), (8000, b"http://evil.example/"),
     (8000, b"/a\r\nHost: x"), (8000, b"/" + b"a" * 300), (8000, b"/\xff"), (8000, b"@evil.example/")],
)  # fmt: skip
def test_an_announcement_that_leads_elsewhere_is_not_believed(port: int | None, card: bytes) -> None:
    assert read_untrusted("x", HOSTS, port, {b"card": card}) is None
    assert read_untrusted("x", (), 8000, {}) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_server_that_only_this_machine_reaches_is_not_announced(host: str) -> None:
    async with announced(host, 3000, tls=False) as is_announced:
        assert not is_announced


@pytest.mark.lan
async def test_who_watches_sees_announcements_come_and_go() -> None:
    if reason := why_no_multicast():
        pytest.skip(reason)
    seen: list[WebSighting] = []
    changed = anyio.Event()
    gone: list[str] = []
    port = random.randrange(20_000, 60_000)

    def sighted(sighting: WebSighting) -> None:
        if sighting.port == port:  # others may be talking on this machine too
            seen.append(sighting)
            changed.set()

    def lost(name: str) -> None:
        if name in {one.name for one in seen}:
            gone.append(name)
            changed.set()

    async with multicast_at(*LOOPBACK) as opened, A2AWatch(opened).open(sighted, lost):
        async with announced("127.0.0.1", port, tls=False, interfaces=LOOPBACK) as is_announced:
            assert is_announced
            _ours.clear()  # the watch is to think that another process said it
            with anyio.fail_after(30):
                await changed.wait()
            changed = anyio.Event()
        with anyio.fail_after(30):
            await changed.wait()
    assert [(one.host, one.port, one.tls) for one in seen] == [("127.0.0.1", port, False)]
    assert gone == [seen[0].name]
