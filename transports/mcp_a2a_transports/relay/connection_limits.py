"""Limits of hosts for connections to a relay that have proven no key: who may connect, and how often.

This machine itself is not held to the limits of a host: its agents share one address, as do all clients of a proxy.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from mcp_a2a.protocol.pending_connections import WAIT_SECONDS, PendingConnections, host_of, is_here
from mcp_a2a.protocol.rates import Buckets
from mcp_a2a.protocol.relay_limits import RelayLimits
from mcp_a2a_transports.relay.server_http import may_be_proxy

MAX_HALF_OPEN_PER_HOST = 64


class ConnectionLimits:
    """Counts connections by host. A `host` is an IPv4 address or an IPv6 network of 64 bits."""

    def __init__(self, limits: RelayLimits, *, behind_proxy: bool) -> None:
        self._limits = limits
        self._behind_proxy = behind_proxy
        per_host = min(MAX_HALF_OPEN_PER_HOST, limits.max_half_open)
        self._pending: PendingConnections[web.RequestHandler] = PendingConnections(
            limits.max_half_open, per_host, WAIT_SECONDS
        )
        self._failures: Buckets[str] = Buckets(limits.failures)
        self._unproven: dict[web.RequestHandler, str] = {}
        self._links: dict[str, int] = {}
        self._linked: dict[web.RequestHandler, str] = {}

    # --- connections ------------------------------------------------------------------------------

    def lets_in(self, address: str, connections: int, now: float) -> bool:
        """True if a connection from there is accepted at all."""
        most = self._limits.max_connections + self._limits.max_half_open
        return connections <= most and not self.is_barred(host_of(address), now)

    def arrived(self, handler: web.RequestHandler, address: str, now: float) -> web.RequestHandler | None:
        """It was; the one that has to make room for it, if any."""
        host = host_of(address)
        self._unproven[handler] = host
        # All connections of a proxy come from one address.
        place = f"{host}/{id(handler)}" if self._is_proxy(host) else host
        return self._pending.arrived(handler, place, now)

    def settled(self, handler: web.RequestHandler) -> None:
        """It is no longer waited for, and no failure of its host, which may be the address of an office.

        It has proven a key, or wanted a page and got it; or it is turned away for want of room, is of another version,
        or seeks another relay.
        """
        self._pending.left(handler)
        self._unproven.pop(handler, None)

    def is_counted(self, handler: web.RequestHandler) -> bool:
        """True if its end without a proven key is a failure of its host."""
        return handler in self._unproven

    def left(self, handler: web.RequestHandler, now: float) -> None:
        """Forget a connection that is gone; without a proven key it is a failure of its host."""
        self._pending.left(handler)
        host = self._unproven.pop(handler, None)
        if host is not None and not self._is_proxy(host):
            self.failed(host, now)

    def overdue(self, now: float) -> Sequence[web.RequestHandler]:
        """Those that took too long; they count as gone."""
        return self._pending.overdue(now)

    # --- links ------------------------------------------------------------------------------------

    def linked(self, handler: web.RequestHandler, host: str) -> None:
        """A connection became a link. Behind a proxy only now it is known where it comes from."""
        self._linked[handler] = host
        self._links[host] = self._links.get(host, 0) + 1

    def unlinked(self, handler: web.RequestHandler) -> None:
        """It ended, or has proven an admitted network."""
        host = self._linked.pop(handler, None)
        if host is None:
            return
        self._links[host] -= 1
        if not self._links[host]:
            del self._links[host]

    def is_full(self, host: str, now: float) -> bool:
        """True if this host has too many, that one included. Those of admitted networks are not counted."""
        too_many = not is_here(host) and self._links.get(host, 0) > self._limits.host_connections
        return too_many or self.is_barred(host, now)

    # --- failures ---------------------------------------------------------------------------------

    def failed(self, host: str, now: float) -> None:
        """A connection of that host ended without a proven key."""
        if not is_here(host):
            self._failures.of(host, now).take(1, now)

    def is_barred(self, host: str, now: float) -> bool:
        """True if that happened too often lately."""
        return len(self._failures) > 0 and self._failures.of(host, now).wait_for(1, now) > 0

    def forget(self, now: float) -> None:
        """Hosts that may start anew."""
        self._failures.forget_full(now)

    def _is_proxy(self, host: str) -> bool:
        return self._behind_proxy and may_be_proxy(host)
