"""Links over WebSocket: listens on a port (`_reception`), and dials the listeners of others."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

import aiohttp
from typing_extensions import override

from mcp_a2a.errors import LinkError
from mcp_a2a.ports import Credentials, Link, LinkHandler, Transport
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.handshake import Side, Target
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr, route_of
from mcp_a2a.protocol.places import embedded, is_no_place, is_this_machine
from mcp_a2a_transports._dialling import connect, open_client
from mcp_a2a_transports._lan import MIN_PORT, Place
from mcp_a2a_transports._links import Links, answered_in_time, keep_links
from mcp_a2a_transports._reception import PATH, bind, open_reception

PLACE_SECONDS = 2.0
"""How long it may take until it is noticed that this machine has moved."""


class DirectTransport(Transport):
    """Listens on `host` and `port`; port 0 takes a free one."""

    def __init__(self, host: str = "0.0.0.0", port: int = 0) -> None:  # noqa: S104  reachable on the LAN is the purpose
        self._host = host
        self._port = port
        self._open: tuple[Links, aiohttp.ClientSession] | None = None

    @override
    @asynccontextmanager
    async def open(self, credentials: Credentials, handler: LinkHandler) -> AsyncIterator[tuple[TransportAddr, ...]]:
        with bind(self._host, self._port) as listener:
            port: int = listener.getsockname()[1]
            async with (
                open_client() as client,
                open_reception() as (reception, runner),
                keep_links(credentials, handler) as links,
                reception.admit_to(links, runner, listener),
            ):
                self._open = links, client
                try:
                    yield (DirectAddr(self._host, port),)
                finally:
                    self._open = None

    @override
    def reaches(self, address: TransportAddr) -> bool:
        return isinstance(address, DirectAddr)

    @override
    async def dial(self, peer: PeerId | None, address: TransportAddr, route: str) -> Link:
        if self._open is None or not isinstance(address, DirectAddr):
            raise LinkError("we are not on the network ourselves")
        links, client = self._open
        with answered_in_time():
            channel = await connect(client, f"ws://{address}{PATH}", "an mcp-a2a node")
            link = links.start(
                Side.DIALLER, channel, str(address), "local" if channel.stays_here else route, Target(peer)
            )
            await link.opened()
            return link


# --- what is worth dialling -----------------------------------------------------------------------


def own_addresses(port: int, bound_to: str = "0.0.0.0") -> tuple[DirectAddr, ...]:  # noqa: S104  see `DirectTransport`
    """Where others on the networks of this machine may dial a listener of ours. Loopback is not for others."""
    here = Place.here(None).addresses if bound_to in ("", "0.0.0.0", "::") else (bound_to,)  # noqa: S104  compared
    return tuple(DirectAddr(host, port) for host in here if route_of(DirectAddr(host, port), "static") != "local")


def is_near(address: DirectAddr) -> bool:
    """Whether an address that somebody named is worth dialling: public, or private on a network of ours.

    A private address of another network may belong to somebody else here. A name may resolve to anything, and below
    `MIN_PORT` is what no agent of a user listens on.
    """
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        return False
    if is_this_machine(address.host) or address.port < MIN_PORT:
        return False
    if is_no_place(address.host) and not (ip.version == 4 and ip.is_link_local):
        return (
            False  # where nothing of ours can be; the zone of a link-local address means something on one machine only
        )
    if ip.version == 6 and embedded(ip) is not None:
        return (
            False  # what a gateway makes of an IPv4 address, which may be one of the above: no agent says it has that
        )
    return ip.is_global or bool(_place(int(time.monotonic() / PLACE_SECONDS)).reachable([str(ip)]))


@lru_cache(maxsize=1)
def _place(_moment: int) -> Place:
    """Asking the system takes half a millisecond, and a relay may list thousands of members in one go."""
    return Place.here(None)
