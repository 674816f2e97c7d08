"""Finds the peers of a LAN by multicast DNS, and lets them find us.

The record says a protocol version, a key and a port, under a name that is made of the key: nothing
about who or what is behind it. What others say is a hint. It is taken only if it
points to the link that it was heard on, so that no record can make us knock elsewhere, and a
flood fills a table of fixed size.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, zip_longest

from typing_extensions import override
from zeroconf.asyncio import AsyncServiceInfo

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.ports import AddressLookup, Announcement, LookupHandler
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports._browser import Guest
from mcp_a2a_transports._lan import VERSION, parse_txt_untrusted
from mcp_a2a_transports._sightings import FINGERPRINT_LENGTH, MAX_SIGHTINGS, Sightings, fingerprint
from mcp_a2a_transports.surroundings import MAX_ADDRESSES, Interface
from mcp_a2a_transports.wires import RECORD_SECONDS, Multicast

logger = logging.getLogger(__name__)

NAME = "mdns"
SERVICE_TYPE = "_mcp-a2a._tcp.local."

_INSTANCE = re.compile(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}\.{re.escape(SERVICE_TYPE)}")


class MdnsLookup(AddressLookup):
    """Sees the peers that announce themselves by multicast. Our listener is at `bound_to`, "*" for all addresses."""

    def __init__(self, multicast: Multicast, bound_to: str = "*") -> None:
        self._multicast = multicast
        self._bound_to = bound_to

    @property
    @override
    def name(self) -> str:
        return NAME

    @property
    @override
    def detail(self) -> str:
        if self.is_deaf:
            return "no interface that takes part in multicast at the moment"
        return " and ".join(self._multicast.families) or "no network at the moment"

    @property
    @override
    def is_deaf(self) -> bool:
        return self._multicast.is_deaf

    @override
    def look_now(self) -> None:
        self._multicast.ask_anew()

    @override
    @asynccontextmanager
    async def open(self, announcement: Announcement, handler: LookupHandler) -> AsyncIterator[None]:
        async with self._multicast.joined(_Peers(announcement, Sightings(NAME, handler), self._bound_to)):
            yield


class _Peers(Guest):
    """One run of the lookup: our record, and which peer is seen on which interfaces."""

    service_type = SERVICE_TYPE
    max_names = MAX_SIGHTINGS

    def __init__(self, announcement: Announcement, sightings: Sightings, bound_to: str) -> None:
        self._announcement, self._sightings, self._bound_to = announcement, sightings, bound_to
        self._our_name = instance_of(announcement.peer)
        self._seen: dict[str, tuple[PeerId, dict[tuple[str, int], tuple[DirectAddr, ...]]]] = {}

    @override
    def record(self, interface: Interface) -> AsyncServiceInfo | None:
        peer, port = self._announcement.peer, self._announcement.port
        addresses = interface.served_by(self._bound_to).announced
        if not addresses:
            return None
        return AsyncServiceInfo(
            SERVICE_TYPE,
            self._our_name,
            port=port,
            server=f"{fingerprint(peer)}.local.",
            parsed_addresses=list(addresses),
            properties={"v": VERSION, "did": str(peer), "port": str(port)},
            host_ttl=RECORD_SECONDS,
            other_ttl=RECORD_SECONDS,
        )

    @override
    def is_followed(self, name: str) -> bool:
        return name != self._our_name and _INSTANCE.fullmatch(name) is not None

    @override
    def found(self, interface: Interface, record: AsyncServiceInfo) -> bool:
        try:
            peer, port = parse_txt_untrusted(record.properties)
        except RemoteProtocolError as error:
            logger.debug("ignored an mDNS record: %s", error)
            return False
        hosts = interface.reachable(record.parsed_scoped_addresses())
        if not hosts or instance_of(peer) != record.name:
            return False
        _, seen_on = self._seen.setdefault(record.name, (peer, {}))
        seen_on[interface.key] = tuple(DirectAddr(host, port) for host in hosts)
        self._tell(record.name)
        return True

    @override
    def lost(self, interface: Interface, name: str) -> None:
        _, seen_on = self._seen[name]
        seen_on.pop(interface.key, None)
        self._tell(name)

    def _tell(self, name: str) -> None:
        """Of several interfaces each has its turn: a liar on one of them cannot take the places of another."""
        peer, seen_on = self._seen[name]
        if not seen_on:
            del self._seen[name]
            self._sightings.lose(peer)
            return
        turns = chain.from_iterable(zip_longest(*seen_on.values()))
        addresses = tuple(dict.fromkeys(address for address in turns if address is not None))
        self._sightings.see(peer, addresses[:MAX_ADDRESSES])


def instance_of(peer: PeerId) -> str:
    """The name of a peer's record."""
    return f"{fingerprint(peer)}.{SERVICE_TYPE}"
