"""Links over WebSocket: listens on a port (`_link_server`), and dials the listeners of others."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import lru_cache, partial

import aiohttp
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.ports import Credentials, Link, LinkHandler, Transport
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.forbidden_addresses import embedded, is_no_place, is_this_machine
from mcp_a2a.protocol.handshake import Side, Target
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr
from mcp_a2a_transports._dialling import connect, open_client
from mcp_a2a_transports._link_server import PATH, bind, open_node_server
from mcp_a2a_transports._links import Links, answered_in_time, keep_links
from mcp_a2a_transports.surroundings import MIN_PORT, Interface, Surroundings, interfaces_here, text_of_end

PLACE_SECONDS = 2.0
"""Seconds after which a move of this machine is noticed."""


class DirectTransport(Transport):
    """Listens on `host` and `port`; port 0 takes a free one, and "*" is every address in both families.

    With `surroundings`, links over an address that this machine no longer has are closed at once.
    """

    def __init__(self, host: str = "*", port: int = 0, surroundings: Surroundings | None = None) -> None:
        self._host = host
        self._port = port
        self._surroundings = surroundings
        self._open: tuple[Links, aiohttp.ClientSession] | None = None

    @override
    @asynccontextmanager
    async def open(self, credentials: Credentials, handler: LinkHandler) -> AsyncIterator[tuple[TransportAddr, ...]]:
        with ExitStack() as bound:
            listeners = [bound.enter_context(listener) for listener in bind(self._host, self._port)]
            ends = [listener.getsockname() for listener in listeners]
            async with (
                open_client() as client,
                open_node_server() as (server, runner),
                keep_links(credentials, handler) as links,
                server.admit_to(links, runner, listeners),
            ):
                self._open = links, client
                if self._surroundings is not None:
                    links.look_after(partial(_close_gone, links, self._surroundings))
                try:
                    yield tuple(DirectAddr(text_of_end(end) or self._host, end[1]) for end in ends)
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


async def _close_gone(links: Links, surroundings: Surroundings) -> None:
    while True:
        changed = surroundings.changed
        links.close_gone(surroundings.addresses)
        await changed.wait()


# --- what is worth dialling -----------------------------------------------------------------------


def own_addresses(port: int, bound_to: str = "*") -> tuple[DirectAddr, ...]:
    """The addresses at which others on the networks of this machine may dial a listener; loopback is none.

    Those with a zone come last: only this machine can write them so.
    """
    here = [interface.served_by(bound_to) for interface in interfaces_here() if not interface.is_loopback]
    found = dict.fromkeys(DirectAddr(host, port) for interface in here for host in interface.addresses)
    return tuple(sorted(found, key=lambda address: address.is_zoned))


def is_near(address: DirectAddr) -> bool:
    """True if an address that another machine named is worth dialling: public, or private on a network of ours.

    A private address of another network may belong to another machine here. A name may resolve to anything, and below
    `MIN_PORT` is what no agent of a user listens on.
    """
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        return False
    if is_this_machine(address.host) or address.port < MIN_PORT:
        return False
    if is_no_place(address.host) and not (ip.version == 4 and ip.is_link_local):
        return False  # where nothing of ours can be; a zone means something on the machine that wrote it only
    if ip.version == 6 and embedded(ip) is not None:
        return False  # a gateway's spelling of an IPv4 address, which may be one of the above; no agent has it
    here = _interfaces(int(time.monotonic() / PLACE_SECONDS))
    return ip.is_global or any(interface.reachable([str(ip)]) for interface in here)


@lru_cache(maxsize=1)
def _interfaces(_moment: int) -> tuple[Interface, ...]:
    """Asking the system takes half a millisecond, and a relay may list thousands of members in one go."""
    return interfaces_here()
