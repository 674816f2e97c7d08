"""Finding peers by multicast: what is announced, what is believed, and what a flood costs."""

from __future__ import annotations

import getpass
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_interface
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import DNSOutgoing, IPVersion  # type: ignore[attr-defined]  # the first is offered, only not listed
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.ports import Announcement, Sighting
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports import _browser, wires
from mcp_a2a_transports._sightings import MAX_SIGHTINGS, fingerprint
from mcp_a2a_transports.mdns import SERVICE_TYPE, MdnsLookup, instance_of, parse_txt_untrusted
from mcp_a2a_transports.surroundings import MAX_ADDRESSES, Interface, Surroundings, interfaces_here
from mcp_a2a_transports.wires import Multicast
from tests.protocol.people import flip
from tests.transports.people import Spotter, identity, until

Test = TypeVar("Test", bound=Callable[..., object])

LOOPBACK = ["127.0.0.1"]
ANSWER = 0x8400
"""Flags of a response."""

ANN, BEN, CAT = (identity(name).peer_id for name in ("ann", "ben", "cat"))
TXT: Mapping[bytes, bytes | None] = {b"v": b"1", b"did": str(BEN).encode(), b"port": b"7301"}


def why_no_multicast() -> str | None:
    """Why packets to the group do not come back on loopback, or None."""
    group, port = "224.0.0.251", 0
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ears,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth,
        ):
            ears.bind(("", port))
            membership = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
            ears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            ears.settimeout(1.0)
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            mouth.sendto(b"anybody here?", (group, ears.getsockname()[1]))
            ears.recv(64)
    except OSError as error:
        return f"multicast does not work here: {error}"
    return None


@pytest.fixture(scope="module")
def multicast() -> None:
    reason = why_no_multicast()
    if reason:
        pytest.skip(reason)


def on_loopback(test: Test) -> Test:
    """A test that sends to the multicast group on loopback, where others may be talking too."""
    return pytest.mark.lan(pytest.mark.usefixtures("multicast")(test))


@asynccontextmanager
async def multicast_at(*addresses: str) -> AsyncIterator[Multicast]:
    """The interfaces of this machine that have one of these addresses."""
    surroundings = Surroundings(addresses)
    opened = Multicast(surroundings)
    async with surroundings.open(), opened.open():
        yield opened


@asynccontextmanager
async def looking(name: str, port: int = 7301) -> AsyncIterator[Spotter]:
    """That peer announces itself and looks."""
    spotter = Spotter()
    async with (
        multicast_at(*LOOPBACK) as opened,
        MdnsLookup(opened).open(Announcement(identity(name).peer_id, port), spotter),
    ):
        yield spotter


def record(name: str, **changes: object) -> AsyncServiceInfo:
    """What that peer would announce, or nearly."""
    peer = identity(name).peer_id
    properties = {"v": "1", "did": str(peer), "port": "7301"} | changes.pop("properties", {})  # type: ignore[operator]
    fields = {"port": 7301, "parsed_addresses": LOOPBACK, "host_ttl": 120, "other_ttl": 120} | changes
    return AsyncServiceInfo(
        SERVICE_TYPE, instance_of(peer), server=f"{fingerprint(peer)}.local.", properties=properties, **fields
    )


@asynccontextmanager
async def announced(*records: AsyncServiceInfo) -> AsyncIterator[AsyncZeroconf]:
    """Somebody on the LAN who says whatever the test wants."""
    mouth = AsyncZeroconf(interfaces=LOOPBACK, ip_version=IPVersion.V4Only)
    try:
        for one in records:
            await mouth.async_register_service(one, cooperating_responders=True)
        yield mouth
    finally:
        await mouth.async_close()


# --- on the wire ----------------------------------------------------------------------------------


@on_loopback
async def test_two_peers_see_each_other_wherever_they_listen() -> None:
    async with looking("ann", 7001) as of_ann, looking("ben", 7002) as of_ben:
        await until(lambda: BEN in of_ann.seen, of_ann)
        await until(lambda: ANN in of_ben.seen, of_ben)
        assert of_ann.seen[BEN] == Sighting(BEN, (DirectAddr("127.0.0.1", 7002),), "mdns")
        assert of_ben.seen[ANN] == Sighting(ANN, (DirectAddr("127.0.0.1", 7001),), "mdns")


@on_loopback
async def test_who_says_goodbye_is_lost_at_once() -> None:
    async with looking("ann") as of_ann:
        async with looking("ben"):
            await until(lambda: BEN in of_ann.seen, of_ann)
        await until(lambda: BEN not in of_ann.seen, of_ann)


@on_loopback
async def test_who_comes_back_at_another_port_is_sighted_there() -> None:
    async with looking("ann") as of_ann:
        for port in (7002, 7003):
            async with looking("ben", port):
                await until(lambda: BEN in of_ann.seen, of_ann)
                assert of_ann.seen[BEN].addresses == (DirectAddr("127.0.0.1", port),)
            await until(lambda: BEN not in of_ann.seen, of_ann)


@on_loopback
async def test_nobody_sees_themselves() -> None:
    async with looking("ann") as of_ann, looking("ben"):
        await until(lambda: BEN in of_ann.seen, of_ann)
        assert ANN not in of_ann.seen


@on_loopback
async def test_the_wire_carries_a_key_and_a_port_and_nothing_about_whose_they_are() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ears:
        ears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ears.bind(("", 5353))
        ears.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
        )
        ears.settimeout(0)
        async with looking("ann") as of_ann, looking("ben"):
            await until(lambda: BEN in of_ann.seen, of_ann)
        packets = b""
        with suppress(BlockingIOError):
            while True:
                packets += ears.recv(9_000)
    assert str(BEN).encode() in packets
    for secret in {getpass.getuser(), socket.gethostname(), Path.cwd().name} - {"", "localhost"}:
        assert secret.lower().encode() not in packets.replace(b"mcp-a2a", b"").lower()


SPOOFED: dict[str, dict[str, object]] = {
    "an address on the internet": {"parsed_addresses": ["8.8.8.8"]},
    "an address in another network": {"parsed_addresses": ["10.98.76.54"]},
    "a port that needs root": {"properties": {"port": "22"}},
    "no port": {"properties": {"port": ""}},
    "a port that is none": {"properties": {"port": "99999"}},
    "another version": {"properties": {"v": "2"}},
    "no key": {"properties": {"did": "did:key:z6Mk"}},
    "somebody else's key": {"properties": {"did": str(CAT)}},
}


@on_loopback
async def test_a_record_that_cannot_be_true_is_not_believed() -> None:
    spoofed = [record(name, **changes) for name, changes in SPOOFED.items()]
    async with announced(*spoofed), looking("ann") as of_ann, looking("ben"):
        await until(lambda: BEN in of_ann.seen, of_ann)
        assert not {CAT, *(identity(name).peer_id for name in SPOOFED)} & of_ann.seen.keys()


@on_loopback
async def test_a_record_whose_address_is_no_longer_ours_to_reach_is_lost() -> None:
    async with looking("ann") as of_ann, announced(record("mallory")) as mouth:
        await until(lambda: identity("mallory").peer_id in of_ann.seen, of_ann)
        await mouth.async_update_service(record("mallory", properties={"port": "80"}))
        await mouth.async_unregister_all_services()
        await until(lambda: identity("mallory").peer_id not in of_ann.seen, of_ann)


def crowd(machine: str) -> list[AsyncServiceInfo]:
    """More peers than one machine may have in the table."""
    names = [f"peer {number} at {machine}" for number in range(MAX_SIGHTINGS // 2 + 25)]
    return [record(name, parsed_addresses=[machine]) for name in names]


@on_loopback
async def test_a_crowd_fills_the_table_and_no_more_and_that_of_one_machine_leaves_half_of_it() -> None:
    async with looking("ann") as of_ann, announced(*crowd("127.0.0.2")):
        await until(lambda: len(of_ann.seen) >= MAX_SIGHTINGS // 2, of_ann)
        async with looking("ben"):
            await until(lambda: BEN in of_ann.seen, of_ann)
            assert len(of_ann.seen) == MAX_SIGHTINGS // 2 + 1
        async with announced(*crowd("127.0.0.3")):
            await until(lambda: len(of_ann.seen) >= MAX_SIGHTINGS, of_ann)
            async with looking("ben") as of_ben:
                await until(lambda: len(of_ben.seen) >= MAX_SIGHTINGS, of_ben)
            assert len(of_ann.seen) == MAX_SIGHTINGS


@on_loopback
async def test_who_another_machine_said_goodbye_for_is_lost_for_a_moment_only() -> None:
    goodbye = DNSOutgoing(ANSWER)
    goodbye.add_answer_at_time(record("ben").dns_pointer(override_ttl=0), 0)
    async with looking("ann") as of_ann, announced(record("ben")), announced() as liar:
        await until(lambda: BEN in of_ann.seen, of_ann)
        await liar.zeroconf.async_wait_for_start()
        liar.zeroconf.async_send(goodbye)
        await until(lambda: of_ann.story == [("sighted", BEN), ("lost", BEN), ("sighted", BEN)], of_ann)


@on_loopback
async def test_a_caller_that_looks_has_all_asked_who_did_not_say_that_they_came() -> None:
    async with multicast_at(*LOOPBACK) as opened, announced() as silent:
        lookup, spotter = MdnsLookup(opened), Spotter()
        async with lookup.open(Announcement(ANN, 7301), spotter), looking("ben"):
            await until(lambda: BEN in spotter.seen, spotter)
            silent.zeroconf.registry.async_add(record("cat"))
            with anyio.fail_after(30):
                while CAT not in spotter.seen:
                    lookup.look_now()
                    await anyio.sleep(0.1)


@on_loopback
async def test_a_record_that_claims_to_live_for_years_is_doubted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_browser, "DOUBT_SECONDS", 0.3)
    monkeypatch.setattr(_browser, "ANSWER_SECONDS", 0.3)
    years = 2**31 - 1
    async with looking("ann") as of_ann, announced(record("ben", host_ttl=years, other_ttl=years)) as mouth:
        await until(lambda: BEN in of_ann.seen, of_ann)
        mouth.zeroconf.registry.async_remove(mouth.zeroconf.registry.async_get_service_infos())
        await until(lambda: BEN not in of_ann.seen, of_ann)


@on_loopback
@pytest.mark.slow
async def test_who_vanished_without_goodbye_is_lost_when_the_record_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeroconf._engine._CACHE_CLEANUP_INTERVAL", 0.1)
    monkeypatch.setattr(_browser, "ANSWER_SECONDS", 0.3)
    async with looking("ann") as of_ann, announced(record("ben", host_ttl=1)) as mouth:
        await until(lambda: BEN in of_ann.seen, of_ann)
        mouth.zeroconf.registry.async_remove(mouth.zeroconf.registry.async_get_service_infos())
        await until(lambda: BEN not in of_ann.seen, of_ann)


async def test_a_machine_that_forbids_multicast_is_an_os_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forbidden(_: Interface) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(wires, "open_wire", forbidden)
    async with multicast_at(*LOOPBACK) as opened:
        lookup = MdnsLookup(opened)
        with pytest.raises(OSError, match="does not allow multicast"):
            async with lookup.open(Announcement(ANN, 7301), Spotter()):
                pytest.fail("announced on an interface that takes no part")


@on_loopback
async def test_an_interface_that_takes_no_part_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Interface] = []
    open_wire = wires.open_wire

    async def tentative(interface: Interface) -> wires.Wire:
        tries.append(interface)
        if len(tries) == 1:
            raise OSError("the interface takes no part")
        return await open_wire(interface)

    monkeypatch.setattr(wires, "RETRY_SECONDS", 0.05)
    async with looking("ben"), multicast_at(*LOOPBACK) as opened:
        monkeypatch.setattr(wires, "open_wire", tentative)
        lookup, spotter = MdnsLookup(opened), Spotter()
        async with lookup.open(Announcement(ANN, 7301), spotter):
            assert (lookup.is_deaf, lookup.detail) == (True, "no interface that takes part in multicast at the moment")
            await until(lambda: BEN in spotter.seen, spotter)
            assert (lookup.is_deaf, lookup.detail) == (False, "IPv4")


async def test_a_machine_without_a_network_waits_for_one() -> None:
    async with multicast_at("192.0.2.1") as opened:
        lookup = MdnsLookup(opened)
        async with lookup.open(Announcement(ANN, 7301), Spotter()):
            assert lookup.detail == "no network at the moment"


# --- what is believed -----------------------------------------------------------------------------

HOME = Interface("v0", 2, tuple(map(ip_interface, ("192.168.1.5/24", "fe80::5/64", "fd12::5/64", "2001:db8::5/64"))))


def test_only_private_addresses_of_the_link_are_reachable() -> None:
    offered = ["192.168.1.9", "192.168.2.9", "127.0.0.1", "169.254.1.1", "fd12::9", "fd13::9", "2001:4860::8"]
    assert HOME.reachable(offered) == ("192.168.1.9", "fd12::9")


def test_a_link_local_address_gets_the_zone_of_the_interface_that_it_was_heard_on_whatever_its_sender_wrote() -> None:
    assert HOME.reachable(["fe80::9", "fe80::8%v1", "fe80::7%7"]) == ("fe80::9%v0", "fe80::8%v0", "fe80::7%v0")


@pytest.mark.parametrize(
    "liar",
    [
        "127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.251", "ff02::fb", "255.255.255.255", "::ffff:192.168.1.9",  # noqa: S104
        "::192.168.1.9", "64:ff9b::c0a8:109", "fe80:1::9", "192.168.1.9/24", "v0", "", "fe80::9::",
    ],
)  # fmt: skip
def test_an_address_that_no_machine_of_the_link_has_is_never_dialled(liar: str) -> None:
    assert HOME.reachable([liar, "192.168.1.9"]) == ("192.168.1.9",)


def test_another_machine_is_tried_before_an_address_that_we_have_ourselves() -> None:
    assert HOME.reachable(["192.168.1.5", "192.168.1.9"]) == ("192.168.1.9", "192.168.1.5")


def test_an_interface_announces_its_own_addresses_and_no_zone() -> None:
    assert HOME.announced == ("192.168.1.5", "fd12::5", "2001:db8::5", "fe80::5")
    assert HOME.addresses == ("192.168.1.5", "fd12::5", "2001:db8::5", "fe80::5%v0")


def test_a_listener_in_one_family_is_announced_in_that_one() -> None:
    assert HOME.served_by("0.0.0.0").announced == ("192.168.1.5",)  # noqa: S104  compared
    assert HOME.served_by("fe80::5%v0").announced == ("fe80::5",)
    assert HOME.served_by("10.0.0.1").announced == ()
    assert HOME.served_by("*") == HOME.served_by("::") == HOME


def test_loopback_counts_only_where_there_is_nothing_else_or_it_is_named() -> None:
    (named,) = interfaces_here(LOOPBACK)
    assert named.reachable(["127.0.0.1"]) == ("127.0.0.1",)
    everywhere = interfaces_here()
    assert len(everywhere) == 1 or not any(one.is_loopback for one in everywhere)


@given(st.lists(st.text() | st.ip_addresses().map(str), max_size=20))
def test_whatever_addresses_a_record_names_only_those_of_the_link_are_taken(named: list[str]) -> None:
    for address in HOME.reachable(named):
        bare, _, zone = address.partition("%")
        assert any(ip_interface(bare).ip in one.network for one in HOME.ips)
        assert zone == ("v0" if bare.startswith("fe80:") else "")


def test_a_record_of_many_addresses_is_cut() -> None:
    assert len(HOME.reachable([f"192.168.1.{number}" for number in range(1, 200)])) == MAX_ADDRESSES


def test_an_honest_record_names_key_and_port() -> None:
    assert parse_txt_untrusted(TXT) == (BEN, 7301)


def test_a_field_that_a_later_version_added_is_ignored() -> None:
    assert parse_txt_untrusted({**TXT, b"color": b"red", b"flag": None}) == (BEN, 7301)


@pytest.mark.parametrize(
    "changes",
    [
        {b"v": b"2"}, {b"v": None}, {b"v": b"01"},
        {b"did": None}, {b"did": b""}, {b"did": str(BEN).encode()[:-1]}, {b"did": b"\xff" * 56},
        {b"did": b"did:key:z" + b"1" * 47},
        {b"port": None}, {b"port": b""}, {b"port": b"-1"}, {b"port": b"1023"}, {b"port": b"65536"}, {b"port": b"7301 "},
        {b"port": "٧٣٠١".encode()}, {b"port": b"9" * 4_000},
    ],
)  # fmt: skip
def test_a_record_that_names_no_key_or_port_is_refused(changes: Mapping[bytes, bytes | None]) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_txt_untrusted({**TXT, **changes})


@given(
    st.dictionaries(
        st.sampled_from([b"v", b"did", b"port"]) | st.binary(max_size=8), st.none() | st.binary(max_size=64)
    ),
    st.integers(0, 56 * 8 - 1),
)
def test_whatever_a_record_holds_raises_nothing_but_a_protocol_error(
    properties: dict[bytes, bytes | None], bit: int
) -> None:
    for received in (properties, {**TXT, **properties}, {**TXT, b"did": flip(str(BEN).encode(), bit)}):
        with suppress(RemoteProtocolError):
            parse_txt_untrusted(received)
