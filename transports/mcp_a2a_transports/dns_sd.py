"""Finds the A2A agents that announce themselves on the LAN as `_a2a._tcp`, and announces ours.

As in draft-zhao-a2a-dns-sd: a TXT record with `card` (a path), `proto`, `v` and `tls`.

Discovered is not admitted: what is told here is where a card may be read, at an address of the link on which it was
announced. Nothing is called by this module. The name of an announcement of ours says nothing.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from typing_extensions import override
from zeroconf.asyncio import AsyncServiceInfo

from mcp_a2a.web_ports import WebSighting, WebWatch
from mcp_a2a_transports._lan_service import Announced, Finder, LanService
from mcp_a2a_transports.surroundings import EVERYWHERE, MIN_PORT, Interface, Surroundings
from mcp_a2a_transports.wires import Multicast

SERVICE_TYPE = "_a2a._tcp.local."
CARD_PATH = "/.well-known/agent-card.json"
MAX_ANNOUNCEMENTS = 64

_WEB_PORTS = frozenset({80, 443})
_PATH = re.compile(r"/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,255}")

_ours: set[str] = set()
"""Announcements of this process: it does not discover itself."""


class A2AWatch(WebWatch):
    """Reports the announcements of A2A agents."""

    def __init__(self, multicast: Multicast) -> None:
        self._multicast = multicast

    @override
    @asynccontextmanager
    async def open(self, sighted: Callable[[WebSighting], None], lost: Callable[[str], None]) -> AsyncIterator[None]:
        async with self._multicast.joined(_Agents(sighted, lost)):
            yield


@asynccontextmanager
async def announced(host: str, port: int, *, tls: bool, interfaces: Sequence[str] | None = None) -> AsyncIterator[bool]:
    """Announce an A2A server that listens there; whether it is: one that only this machine reaches is not.

    `interfaces` are addresses of this machine, where not all of them are meant.

    Raises:
        OSError: this machine does not allow multicast.
    """
    if not _is_open_to_the_lan(host, interfaces):
        yield False
        return
    txt = {"card": CARD_PATH, "proto": "a2a", "v": "1.0", "tls": "1" if tls else "0"}
    label = f"a2a-{secrets.token_hex(6)}"
    ours = Announced(SERVICE_TYPE, label, port, txt, bound_to=host, on_loopback=interfaces is not None)
    _ours.add(ours.name)
    try:
        surroundings = Surroundings(interfaces)
        multicast = Multicast(surroundings)
        async with surroundings.open(), multicast.open(), multicast.joined(LanService(SERVICE_TYPE, ours)):
            yield True
    finally:
        _ours.discard(ours.name)


def _is_open_to_the_lan(host: str, interfaces: Sequence[str] | None) -> bool:
    if host in EVERYWHERE:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False  # a name: "localhost", say
    return interfaces is not None or not address.is_loopback


class _Agents(Finder[WebSighting]):
    """The known agents: each announcement with its interfaces, and the sighting that was reported."""

    max_names = MAX_ANNOUNCEMENTS

    def __init__(self, sighted: Callable[[WebSighting], None], lost: Callable[[str], None]) -> None:
        super().__init__(SERVICE_TYPE)
        self._sighted, self._lost = sighted, lost
        self._told: dict[str, WebSighting] = {}

    @override
    def is_followed(self, name: str) -> bool:
        return name not in _ours

    @override
    def read_untrusted(self, interface: Interface, record: AsyncServiceInfo) -> WebSighting | None:
        if record.name not in self.seen and len(self.seen) >= MAX_ANNOUNCEMENTS:
            return None
        hosts = interface.reachable(record.parsed_scoped_addresses())
        return read_untrusted(record.name, hosts, record.port, record.properties)

    @override
    def tell(self, name: str, about: WebSighting, now: Sequence[WebSighting]) -> None:
        """The interface on which it was heard first counts, for as long as it is there."""
        sighting, before = next(iter(now), None), self._told.get(name)
        if before is not None:
            if sighting is not None and _still_holds(before, sighting):
                return
            del self._told[name]
            self._lost(name)
        if sighting is not None:
            self._told[name] = sighting
            self._sighted(sighting)


def read_untrusted(
    name: str, hosts: Sequence[str], port: int | None, properties: Mapping[bytes, bytes | None]
) -> WebSighting | None:
    """The sighting in an announcement; None if it is not believed."""
    path = (properties.get(b"card") or CARD_PATH.encode()).decode("ascii", "replace")
    if not hosts or port is None or not (port >= MIN_PORT or port in _WEB_PORTS) or not _PATH.fullmatch(path):
        return None
    tls = (properties.get(b"tls") or b"").lower() in (b"1", b"true", b"yes")
    first, *others = _one_of_each_kind(hosts)
    return WebSighting(name, first, port, path, tls, tuple(others))


def _one_of_each_kind(hosts: Sequence[str]) -> list[str]:
    """The first in IPv4, in IPv6, and in IPv6 on the link alone."""
    kinds: dict[tuple[bool, bool], str] = {}
    for host in hosts:
        kinds.setdefault((":" in host, "%" in host), host)
    return list(kinds.values())


def _still_holds(told: WebSighting, now: WebSighting) -> bool:
    """True if what was told of an announcement is still true: it may name more beside by now."""
    return set(told.others) <= set(now.others) and replace(told, others=now.others) == now
