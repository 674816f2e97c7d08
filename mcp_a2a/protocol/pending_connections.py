"""Watches the connections that have proven no key yet, or made no request yet.

A flood may come from the address of a peer that we want to hear (all agents of this machine share one), so a full
list closes an old connection and not the newest: an honest one needs milliseconds to prove its key. The one that
is closed is the oldest of the host that has most of them.
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from typing import Generic, TypeVar

from mcp_a2a.protocol.paths import ip_of, ip_text

MAX_WAITING = 64
MAX_WAITING_PER_HOST = 16
WAIT_SECONDS = 5.0

Connection = TypeVar("Connection")

_UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")
"""Private addresses of IPv6 (RFC 4193)."""


class PendingConnections(Generic[Connection]):
    """The waiting room. Decides who has to go; sending them away is the caller's job."""

    def __init__(
        self,
        max_waiting: int = MAX_WAITING,
        max_per_host: int = MAX_WAITING_PER_HOST,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._max_waiting, self._max_per_host, self._wait_seconds = max_waiting, max_per_host, wait_seconds
        self._waiting: dict[Connection, tuple[str, float]] = {}  # in the order they came

    def __len__(self) -> int:
        return len(self._waiting)

    def arrived(self, connection: Connection, address: str, now: float) -> Connection | None:
        """A connection came in; the one that has to make room for it, if any."""
        host = host_of(address)
        of_host = [other for other, (where, _) in self._waiting.items() if where == host]
        leaves: Connection | None = None
        if len(of_host) >= self._max_per_host:
            leaves = of_host[0]
        elif len(self._waiting) >= self._max_waiting:
            leaves = self._oldest_of_the_largest()
        if leaves is not None:
            del self._waiting[leaves]
        self._waiting[connection] = (host, now)
        return leaves

    def _oldest_of_the_largest(self) -> Connection:
        counts = Counter(host for host, _ in self._waiting.values())
        most = max(counts.values())
        return next(connection for connection, (host, _) in self._waiting.items() if counts[host] == most)

    def left(self, connection: Connection) -> None:
        """Forget a connection that has proven its key, or is gone."""
        self._waiting.pop(connection, None)

    def overdue(self, now: float) -> list[Connection]:
        """Those who waited too long; they count as gone."""
        late = [connection for connection, (_, since) in self._waiting.items() if now - since >= self._wait_seconds]
        for connection in late:
            del self._waiting[connection]
        return late

    def next_timeout(self) -> float:
        """The time at which the next connection is overdue."""
        return min((since + self._wait_seconds for _, since in self._waiting.values()), default=math.inf)


def host_of(address: str) -> str:
    """One party's addresses: one in IPv4, a whole /64 in IPv6.

    All of a home or an office is in one private /64. There the last 8 bits tell parties apart: so there are as many as
    in an IPv4 network of the usual size, and a machine that takes many addresses gets as much as it would there.
    """
    ip = ip_of(address)
    if ip is None:
        return address
    if isinstance(ip, ipaddress.IPv4Address) or ip.ipv4_mapped or ip.is_loopback:
        return ip_text(ip)
    network = ipaddress.IPv6Network((int(ip), 64), strict=False)
    is_of_a_link = ip.is_link_local or ip in _UNIQUE_LOCAL
    return f"{network} {int(ip) & 0xFF:02x}" if is_of_a_link else str(network)


def host_in(address: str) -> str:
    """The host of a link's address: HOST:PORT, [HOST]:PORT, or whatever else a transport writes."""
    host, colon, _ = address.rpartition(":")
    return host_of(host.strip("[]") if colon else address)


def is_here(address: str) -> bool:
    """True if an address is this machine's own."""
    ip = ip_of(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return ip is not None and (mapped or ip).is_loopback
