"""Addresses that are no place for an agent or a relay, whoever names them."""

from __future__ import annotations

import ipaddress

_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")))
"""Where clouds hand out the credentials of a machine, beside 169.254.0.0/16."""


def is_no_place(text: str) -> bool:
    """Whether nothing of ours is ever at this address: link-local, multicast, unspecified, or a cloud's own service."""
    ip = _plain(text)
    return ip is not None and (ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA)


def is_this_machine(text: str) -> bool:
    """Whether an address means the machine that it is read on."""
    ip = _plain(text)
    return ip is not None and (ip.is_loopback or ip.is_unspecified)


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None) or ip
