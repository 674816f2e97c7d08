"""Finds the peers of a LAN by multicast DNS, and lets them find us.

The record says a protocol version, a key and a port, under a name that is made of the key: nothing
about who or what is behind it. What others say is a hint. It is taken only if it
points to the link that it was heard on, so that no record can make us knock elsewhere, and a
flood fills a table of fixed size.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain, zip_longest

from typing_extensions import override
from zeroconf.asyncio import AsyncServiceInfo

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.ports import AddressLookup, Announcement, LookupHandler, Sighting
from mcp_a2a.protocol.did import DID_LENGTH, PeerId
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports._lan_service import Announced, Finder
from mcp_a2a_transports._sightings import FINGERPRINT_LENGTH, MAX_SIGHTINGS, Sightings, fingerprint
from mcp_a2a_transports.surroundings import MAX_ADDRESSES, MIN_PORT, Interface
from mcp_a2a_transports.wires import Multicast

logger = logging.getLogger(__name__)

NAME = "mdns"
SERVICE_TYPE = "_mcp-a2a._tcp.local."
VERSION = "1"
MAX_PORT = 65_535

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


class _Peers(Finder[Sighting]):
    """One run of the lookup: our record, and which peer is seen on which interfaces."""

    max_names = MAX_SIGHTINGS

    def __init__(self, announcement: Announcement, sightings: Sightings, bound_to: str) -> None:
        peer, port = announcement.peer, announcement.port
        txt = {"v": VERSION, "did": str(peer), "port": str(port)}
        super().__init__(SERVICE_TYPE, Announced(SERVICE_TYPE, fingerprint(peer), port, txt, bound_to))
        self._sightings = sightings

    @override
    def is_followed(self, name: str) -> bool:
        return super().is_followed(name) and _INSTANCE.fullmatch(name) is not None

    @override
    def read_untrusted(self, interface: Interface, record: AsyncServiceInfo) -> Sighting | None:
        try:
            peer, port = parse_txt_untrusted(record.properties)
        except RemoteProtocolError as error:
            logger.debug("ignored an mDNS record: %s", error)
            return None
        hosts = interface.reachable(record.parsed_scoped_addresses())
        if not hosts or instance_of(peer) != record.name:
            return None
        return Sighting(peer, tuple(DirectAddr(host, port) for host in hosts), NAME)

    @override
    def tell(self, name: str, about: Sighting, now: Sequence[Sighting]) -> None:
        # Of several interfaces each has its turn: a liar on one of them cannot take the places of another.
        turns = chain.from_iterable(zip_longest(*(one.addresses for one in now)))
        addresses = tuple(dict.fromkeys(address for address in turns if address is not None))
        if addresses:
            self._sightings.see(about.peer, addresses[:MAX_ADDRESSES])
        else:
            self._sightings.lose(about.peer)


def instance_of(peer: PeerId) -> str:
    """The name of a peer's record."""
    return f"{fingerprint(peer)}.{SERVICE_TYPE}"


def parse_txt_untrusted(properties: Mapping[bytes, bytes | None]) -> tuple[PeerId, int]:
    """The key and port that the TXT record of a stranger names.

    Raises:
        RemoteProtocolError: it names no acceptable ones.
    """
    if properties.get(b"v") != VERSION.encode():
        raise RemoteProtocolError("This record is of another version.")
    did, port = properties.get(b"did") or b"", properties.get(b"port") or b""
    if len(did) != DID_LENGTH or not did.isascii():
        raise RemoteProtocolError("This record names no key.")
    if not port.isdigit() or len(port) > len(str(MAX_PORT)):
        raise RemoteProtocolError("This record names no port.")
    if not MIN_PORT <= int(port) <= MAX_PORT:
        raise RemoteProtocolError("This record names a port that no agent of a user listens on.")
    return PeerId.parse_untrusted(did.decode()), int(port)
