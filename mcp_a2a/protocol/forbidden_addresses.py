"""Addresses at which no agent and no relay may be reached, whatever their source."""

from __future__ import annotations

import ipaddress

from mcp_a2a.protocol.paths import Ip, ip_of

_METADATA = frozenset(map(ipaddress.ip_address, (
    "169.254.169.254", "fe80::a9fe:a9fe", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
    "fd20:ce::254",
)))  # fmt: skip
"""Addresses at which clouds hand out the credentials of a machine."""

_EMBEDDING = (
    (ipaddress.ip_network("::/96"), 0),  # IPv4-compatible
    (ipaddress.ip_network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.ip_network("::ffff:0:0:0/96"), 0),  # IPv4-translated (RFC 2765)
    (ipaddress.ip_network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (ipaddress.ip_network("2002::/16"), 80),  # 6to4
)
"""IPv6 networks whose addresses lead to an IPv4 address, and how far from the right that is."""


_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""Of an interface identifier, in any network (RFC 5214 6.1): the rest of it is the IPv4 address behind the router."""


def is_no_place(text: str) -> bool:
    """True if nothing of ours is ever at this address: link-local, multicast, unspecified, or a cloud's own service."""
    ip = _plain(text)
    return ip is not None and (ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA)


def is_metadata(text: str) -> bool:
    """True if a cloud's own service is at this address, which hands out credentials to all that ask."""
    return _plain(text) in _METADATA


def is_this_machine(text: str) -> bool:
    """True if an address means the machine that it is read on."""
    ip = _plain(text)
    return ip is not None and (ip.is_loopback or ip.is_unspecified)


def embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to, if that is one of those."""
    for network, shift in _EMBEDDING:
        if address in network:
            return ipaddress.IPv4Address(int(address) >> shift & 0xFFFF_FFFF)
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _plain(text: str) -> Ip | None:
    ip = ip_of(text.partition("%")[0])
    if not isinstance(ip, ipaddress.IPv6Address) or ip.is_loopback or ip.is_unspecified:
        return ip
    return embedded(ip) or ip
