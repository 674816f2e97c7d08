"""Finds the peers of a LAN by multicast DNS, and lets them find us.

The record says a protocol version, a key and a port, under a name that is made of the key: nothing
about who or what is behind it (requirement S39). What others say is a hint. It is taken only if it
points to the LAN that we are on, so that no record can make us knock elsewhere (S40), and a flood
fills a table of fixed size.

A host that vanished leaves its records behind. They live two minutes, are asked for again when they
expire, and the peer is lost when nobody answers.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self, TypeAlias

import anyio
import anyio.abc
import ifaddr
from typing_extensions import override
from zeroconf import Error as ZeroconfError
from zeroconf import InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.ports import AddressLookup, Announcement, LookupHandler
from mcp_a2a.protocol.did import DID_LENGTH, PeerId
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports._sightings import FINGERPRINT_LENGTH, MAX_SIGHTINGS, Sightings, fingerprint
from mcp_a2a_transports._tasks import background_tasks

logger = logging.getLogger(__name__)
logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # it would quote what strangers sent

NAME = "mdns"
SERVICE_TYPE = "_mcp-a2a._tcp.local."
VERSION = b"1"
RECORD_SECONDS = 120
"""Life of our records."""

CHECK_SECONDS = 15.0
"""How often expired records and this machine's interfaces are looked at; both cost microseconds."""

ANSWER_SECONDS = 3.0
MAX_QUESTIONS = 8
"""Names asked about at the same time. A record that came alone is a reason to ask, and a flood."""

MIN_PORT = 1024
MAX_PORT = 65_535
MAX_ADDRESSES = 8
LEAVE_SECONDS = 1.0

_INSTANCE = re.compile(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}\.{re.escape(SERVICE_TYPE)}")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_txt_untrusted(properties: Mapping[bytes, bytes | None]) -> tuple[PeerId, int]:
    """The key and port that a TXT record names."""
    if properties.get(b"v") != VERSION:
        raise RemoteProtocolError("This record is of another version.")
    did, port = properties.get(b"did") or b"", properties.get(b"port") or b""
    if len(did) != DID_LENGTH or not did.isascii():
        raise RemoteProtocolError("This record names no key.")
    if not port.isdigit() or len(port) > len(str(MAX_PORT)):
        raise RemoteProtocolError("This record names no port.")
    if not MIN_PORT <= int(port) <= MAX_PORT:
        raise RemoteProtocolError("This record names a port that no agent of a user listens on.")
    return PeerId.parse_untrusted(did.decode()), int(port)


@dataclass(frozen=True)
class Place:
    """Where this machine is: its own addresses, and the networks they are on."""

    addresses: tuple[str, ...]
    networks: tuple[Network, ...]

    @classmethod
    def here(cls, interfaces: Sequence[str] | None) -> Self:
        """Everything but loopback; loopback too, where there is nothing else or it is named."""
        every = [
            ipaddress.ip_interface(f"{ip.ip if ip.is_IPv4 else ip.ip[0]}/{ip.network_prefix}")
            for adapter in ifaddr.get_adapters()
            for ip in adapter.ips
        ]
        if interfaces is None:
            chosen = [one for one in every if not one.ip.is_loopback] or every
        else:
            chosen = [one for one in every if str(one.ip) in interfaces]
        # Our listener speaks IPv4; that others may be reached by IPv6 does not depend on it.
        ours = tuple(str(one.ip) for one in chosen if one.version == 4)
        return cls(ours, tuple(one.network for one in chosen))

    def reachable(self, addresses: Iterable[str]) -> tuple[str, ...]:
        """Those that are private and on a network of ours (S40); other machines' first."""
        near = [address for address in addresses if self._is_near(ipaddress.ip_address(address))]
        return tuple(sorted(near, key=self.addresses.__contains__)[:MAX_ADDRESSES])

    def _is_near(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return (ip.is_private or ip.is_link_local) and any(ip in net for net in self.networks)


class MdnsLookup(AddressLookup):
    """Sees the peers that announce themselves by multicast.

    `interfaces` are addresses of this machine's interfaces; all of them unless some are named.
    """

    def __init__(self, interfaces: Sequence[str] | None = None) -> None:
        self._interfaces = interfaces

    @property
    @override
    def name(self) -> str:
        return NAME

    @override
    @asynccontextmanager
    async def open(self, announcement: Announcement, handler: LookupHandler) -> AsyncIterator[None]:
        try:
            zeroconf = AsyncZeroconf(
                interfaces=list(self._interfaces) if self._interfaces else InterfaceChoice.All,
                ip_version=IPVersion.V4Only,
            )
        except (OSError, RuntimeError, ZeroconfError) as error:
            raise OSError(f"this machine does not allow multicast ({error})") from error
        watch = _Watch(zeroconf, announcement, Sightings(NAME, handler), self._interfaces)
        try:
            async with background_tasks() as tasks:
                await watch.start(tasks)
                yield
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                await watch.stop()


class _Watch:
    """One run of the lookup: our record, and what is known of others."""

    def __init__(
        self,
        zeroconf: AsyncZeroconf,
        announcement: Announcement,
        sightings: Sightings,
        interfaces: Sequence[str] | None,
    ) -> None:
        self._zeroconf = zeroconf
        self._announcement = announcement
        self._sightings = sightings
        self._interfaces = interfaces
        self._place = Place.here(interfaces)
        self._our_name = instance_of(announcement.peer)
        self._peers: dict[str, PeerId] = {}
        self._unclear: set[str] = set()
        self._something_unclear = anyio.Event()
        self._browser: AsyncServiceBrowser | None = None

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Announce and browse."""
        zeroconf = self._zeroconf
        # The name is made of the key, so nobody else has it, and asking around first would take
        # a second.
        said = await zeroconf.async_register_service(self._record(), cooperating_responders=True)
        if not zeroconf.zeroconf.engine.senders:
            raise OSError("this machine does not allow multicast (no interface takes part)")
        tasks.start_soon(_finish, said)
        self._browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, [self._changed])
        tasks.start_soon(self._ask)
        tasks.start_soon(self._check)

    async def stop(self) -> None:
        """Say goodbye to everybody, which removes us from their lists at once."""
        if self._browser is not None:
            await self._browser.async_cancel()
        await self._zeroconf.async_close()

    def _record(self) -> AsyncServiceInfo:
        peer, port = self._announcement.peer, self._announcement.port
        return AsyncServiceInfo(
            SERVICE_TYPE,
            self._our_name,
            port=port,
            server=f"{fingerprint(peer)}.local.",
            parsed_addresses=list(self._place.addresses),
            properties={"v": VERSION, "did": str(peer), "port": str(port)},
            host_ttl=RECORD_SECONDS,
            other_ttl=RECORD_SECONDS,
        )

    # --- what others say --------------------------------------------------------------------------

    def _changed(
        self,
        zeroconf: Zeroconf,
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        if name == self._our_name or not _INSTANCE.fullmatch(name):
            return
        if state_change is ServiceStateChange.Removed:
            self._lose(name)
        elif name in self._peers or len(self._peers) < MAX_SIGHTINGS:
            self._consider(name)

    def _consider(self, name: str) -> None:
        """Take what the records at hand say, or ask for those that are missing or expired."""
        record = AsyncServiceInfo(SERVICE_TYPE, name)
        if record.load_from_cache(self._zeroconf.zeroconf):
            self._take_untrusted(name, record)
        elif len(self._unclear) < MAX_SIGHTINGS:
            self._unclear.add(name)
            self._something_unclear.set()

    def _take_untrusted(self, name: str, record: AsyncServiceInfo) -> None:
        try:
            peer, port = parse_txt_untrusted(record.properties)
        except RemoteProtocolError as error:
            logger.debug("ignored an mDNS record: %s", error)
            return
        hosts = self._place.reachable(record.parsed_scoped_addresses())
        if not hosts or instance_of(peer) != name:
            self._lose(name)
            return
        self._sightings.see(peer, tuple(DirectAddr(host, port) for host in hosts))
        self._peers[name] = peer

    def _lose(self, name: str) -> None:
        peer = self._peers.pop(name, None)
        if peer is not None:
            self._sightings.lose(peer)

    # --- tasks ------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Ask for records that we lack, a few names at a time."""
        while True:
            await self._something_unclear.wait()
            self._something_unclear = anyio.Event()
            while self._unclear:
                async with anyio.create_task_group() as tasks:
                    for _ in range(min(MAX_QUESTIONS, len(self._unclear))):
                        tasks.start_soon(self._ask_for, self._unclear.pop())

    async def _ask_for(self, name: str) -> None:
        record = AsyncServiceInfo(SERVICE_TYPE, name)
        answered = False
        with suppress(OSError, ZeroconfError):
            answered = await record.async_request(self._zeroconf.zeroconf, ANSWER_SECONDS * 1000)
        if answered:
            self._take_untrusted(name, record)
        else:
            self._lose(name)

    async def _check(self) -> None:
        """Notice what no packet tells: expired records, and our own change of place."""
        while True:
            await anyio.sleep(CHECK_SECONDS)
            await self._follow_interfaces()
            for name in tuple(self._peers):
                self._consider(name)

    async def _follow_interfaces(self) -> None:
        with suppress(OSError, ZeroconfError):
            place = Place.here(self._interfaces)
            if place == self._place:
                return
            self._place = place
            await self._zeroconf.async_update_interfaces()
            await _finish(await self._zeroconf.async_update_service(self._record()))


def instance_of(peer: PeerId) -> str:
    """The name of a peer's record."""
    return f"{fingerprint(peer)}.{SERVICE_TYPE}"


async def _finish(said: Awaitable[None]) -> None:
    with suppress(OSError, ZeroconfError):
        await said
