"""What an mDNS record of a stranger may make us believe: a key, and addresses on our own LAN."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import ifaddr

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.protocol.did import DID_LENGTH, PeerId

VERSION = b"1"
MIN_PORT = 1024
MAX_PORT = 65_535
MAX_ADDRESSES = 8

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
