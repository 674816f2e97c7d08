"""The rules for calling URLs that another party chose, without any I/O.

A URL is checked twice: as it is written, and by every address that its host turned out to have. Only the second says
where a connection goes; the first refuses what exists to be read differently by different programs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult

from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.protocol.forbidden_addresses import embedded, is_no_place
from mcp_a2a.protocol.paths import ip_of
from mcp_a2a.protocol.web_url import MAX_URL, WRITTEN, host_from_url, split_url, unreadable

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
"""A last label like that makes a host an IPv4 address for some programs, however it is written (WHATWG URL 3.5)."""

_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
"""Characters on which programs disagree about the host of a URL."""

_CREDENTIALS = Remedy(
    "Leave them out of the address. An agent is given a credential with --token-stdin (see mcp-a2a peers add --help)."
)

_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
            "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16",
            "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
        ),
    )
)  # fmt: skip
"""The registries of special addresses (RFC 6890), spelled out: what Python calls private differs by its version."""

_NEAR = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)
"""This machine and private networks: not link-local addresses, at which clouds keep secrets of their machines."""

_NOT_NEAR = (ipaddress.ip_network("fd00:ec2::/32"),)
"""Addresses within those at which a cloud has its own service."""

_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out."""


@dataclass(frozen=True)
class Policy:
    """The addresses to which requests may go."""

    plain: bool = False
    """Also without TLS."""
    near: bool = False
    """Also to this machine and to private networks."""
    far: bool = True
    """To public addresses."""
    typed: tuple[str, int] | None = None
    """A host and a port that a person named: the addresses may be any, and may be called without TLS.

    Another port of that host is another program, which no person named: on this machine, this node itself perhaps.
    """

    def allows_anything_at(self, host: str, port: int) -> bool:
        """True if a person has named this host and port."""
        return (_bare(host), port) == self.typed


PUBLIC_HTTPS = Policy()
"""For webhooks, and for agents that a model names."""

PUBLIC = Policy(plain=True)

NEAR_OR_HTTPS = Policy(near=True)
NEAR = Policy(plain=True, near=True, far=False)
"""For webhooks, where the person who runs the server has allowed those near: without TLS they are nowhere else."""


def as_typed(url: str) -> Policy:
    """The policy for a URL that a person has typed: whatever it leads to, but nothing else that is not public.

    Raises:
        AddressNotAllowedError: it is no URL.
    """
    parts = _split(url)
    return Policy(plain=True, typed=(_bare(_host(url, parts.hostname)), _port(url, parts)))


def check_url(url: str, policy: Policy) -> tuple[str, int]:
    """Refuse a URL by how it is written; its host and port, where an address must be checked yet.

    Raises:
        AddressNotAllowedError: with the reason.
    """
    parts = _split(url)
    host = _host(url, parts.hostname)
    if parts.scheme not in ("https", "http"):
        raise AddressNotAllowedError(url, "it is not an http address")
    if parts.username is not None or parts.password is not None:
        raise AddressNotAllowedError(url, "it has credentials in it", _CREDENTIALS)
    port = _port(url, parts)
    if parts.scheme == "http" and not policy.plain and not policy.allows_anything_at(host, port):
        raise AddressNotAllowedError(url, "it is not https")
    address = ip_of(host)
    if address is not None:
        check_addresses(url, (host, port), [str(address)], policy)
    elif "%" in host or ":" in host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise AddressNotAllowedError(url, "its host is a number that is not written as an address")
    return host, port


def check_addresses(url: str, place: tuple[str, int], addresses: Iterable[str], policy: Policy) -> None:
    """Refuse a host and port by what the host turned out to be: one address that is not public spoils the others.

    Raises:
        AddressNotAllowedError: with the reason.
    """
    if policy.allows_anything_at(*place):
        return
    for text in addresses:
        kind = None if policy.near and is_near(text) else _kind(text)
        if kind is None and not policy.far and not is_near(text):
            raise AddressNotAllowedError(url, f"it leads to {text}, and is not https")
        if kind is not None:
            named = policy.typed is not None and policy.typed[0] == _bare(place[0])
            why = f"; a person named port {policy.typed[1]} there, and no other" if named and policy.typed else ""
            raise AddressNotAllowedError(url, f"it leads to {text}, which is {kind}{why}")


def is_public(text: str) -> bool:
    """True if an address is one of the public Internet."""
    return _kind(text) is None


def is_near(text: str) -> bool:
    """True if an address is of this machine or of a private network."""
    address = ip_of(text)
    if address is None:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        address = address.ipv4_mapped or address

    def within(networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
        return any(address.version == network.version and address in network for network in networks)

    return within(_NEAR) and not within(_NOT_NEAR)


def _kind(text: str) -> str | None:
    """The kind of a special address; None for one of the public Internet."""
    address = ip_of(text)
    if address is None:
        return "no address"
    if isinstance(address, ipaddress.IPv6Address):
        inner = embedded(address)
        if inner is not None:
            return _kind(str(inner))
        if address.scope_id is not None or address not in _GLOBAL_V6:
            return "not a public address"
    special = any(address.version == network.version and address in network for network in _NOT_PUBLIC)
    special = special or is_no_place(text)
    return "not a public address" if special else None


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL or _CONTROL.search(url):
        raise unreadable(url)
    return split_url(url)


def _host(url: str, host: str | None) -> str:
    if not host:
        raise AddressNotAllowedError(url, "it names no host", WRITTEN)
    return host.lower()


def _port(url: str, parts: SplitResult) -> int:
    try:
        return parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:
        raise AddressNotAllowedError(url, "its port is none", WRITTEN) from None


def _bare(host: str) -> str:
    return host_from_url(host.lower().strip("[]").rstrip("."))
