"""The interfaces of this machine and their addresses, as they are now.

    kernel notice, or every few seconds  ->  look  ->  `now`  ->  `changed` wakes those who follow

A zone is this machine's own name of an interface: it is added to the link-local addresses that were heard of there, and
never travels.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import anyio
import ifaddr

from mcp_a2a.protocol.forbidden_addresses import embedded, is_metadata
from mcp_a2a.protocol.paths import Ip, ip_of, ip_text
from mcp_a2a_transports._kernel_notices import kernel_notices, read_all
from mcp_a2a_transports._tasks import background_tasks

logger = logging.getLogger(__name__)

IpInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface

LOOK_SECONDS = 3.0
"""Seconds between looks at the interfaces if the kernel reports nothing; a look takes half a millisecond."""

TOLD_LOOK_SECONDS = 60.0
"""And where it does."""

SETTLE_SECONDS = 0.1
"""Changes come in bursts."""

MAX_ADDRESSES = 8
"""Addresses that one record may name, and one peer may have."""

MIN_PORT = 1024
"""No agent of a user listens on a port below."""

EVERYWHERE = frozenset({"*", "::"})
"""Hosts of a listener that is reached in both families."""

_DEVICES = Path("/sys/class/net")


@dataclass(frozen=True)
class Interface:
    """One network interface: its addresses with their networks, and whether its cable is in."""

    name: str
    index: int
    ips: tuple[IpInterface, ...]
    has_carrier: bool = True

    @property
    def key(self) -> tuple[str, int]:
        """The part that stays the same while its addresses change."""
        return self.name, self.index

    @property
    def addresses(self) -> tuple[str, ...]:
        """As this machine writes them, with zones; those first that most others can use."""
        return tuple(self._text(one.ip) for one in sorted(self.ips, key=_rank))

    @property
    def announced(self) -> tuple[str, ...]:
        """The addresses in a record on this interface: all of its own, and none of another's (RFC 6762, 6.2)."""
        return tuple(ip_text(one.ip) for one in sorted(self.ips, key=_rank))[:MAX_ADDRESSES]

    def served_by(self, host: str) -> Interface:
        """The same with those of its addresses at which others reach a listener on `host`; "*" is all of them."""
        if host in EVERYWHERE:
            return self
        if host == "0.0.0.0":  # noqa: S104  compared
            return replace(self, ips=tuple(one for one in self.ips if one.version == 4))
        return replace(self, ips=tuple(one for one in self.ips if self._text(one.ip) == host))

    @property
    def first_ipv4(self) -> str | None:
        """The address that stands for the interface in IPv4."""
        return next((str(one.ip) for one in self.ips if one.version == 4), None)

    @property
    def is_loopback(self) -> bool:
        """True if it leads to this machine alone."""
        return all(one.ip.is_loopback for one in self.ips)

    @property
    def has_ipv6(self) -> bool:
        """True if it takes part in IPv6."""
        return any(one.version == 6 for one in self.ips)

    def reachable(self, addresses: Iterable[str]) -> tuple[str, ...]:
        """Of the addresses that a record heard here names, those that are on this link.

        They are private or link-local, on a network of this interface, and written with its zone where they need one.
        Other machines' come first.
        """
        near = dict.fromkeys(ip for text in addresses if (ip := _ip_untrusted(text)) is not None and self._is_on(ip))
        ours = {one.ip for one in self.ips}
        return tuple(self._text(ip) for ip in sorted(near, key=lambda ip: (ip in ours, _rank_of(ip))))[:MAX_ADDRESSES]

    def _is_on(self, ip: Ip) -> bool:
        if not (ip.is_private or ip.is_link_local) or ip.is_unspecified or ip.is_multicast or is_metadata(str(ip)):
            return False
        if isinstance(ip, ipaddress.IPv6Address) and embedded(ip) is not None:
            return False  # an IPv4 address in disguise; no interface has it
        return any(ip.version == one.version and ip in one.network for one in self.ips)

    def _text(self, ip: Ip) -> str:
        is_zoned = ip.version == 6 and ip.is_link_local
        return f"{ip_text(ip)}%{self.name}" if is_zoned else ip_text(ip)


def interfaces_here(named: Sequence[str] | None = None) -> tuple[Interface, ...]:
    """Every interface with an address but loopback; loopback too, where there is nothing else.

    With `named`, addresses of this machine, these only.
    """
    return _chosen(_all_interfaces(), named)


def text_of_end(end: object) -> str | None:
    """The address in a socket's name, as this machine writes it: with the zone that a link-local one needs."""
    match end:
        case (str(host), int(_), int(_), int(scope)) if scope and "%" not in host:
            return f"{host}%{zone_of(scope)}"
        case (str(host), int(_), *_):
            ip = _ip_untrusted(host)
            return host if ip is None or "%" in host else ip_text(ip)
        case _:
            return None


def zone_of(index: int) -> str:
    """The zone of an interface in an address, as this system writes it (RFC 4007, 11)."""
    if sys.platform == "win32":
        return str(index)
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


class Surroundings:
    """Follows the interfaces of this machine while it is open. `named` are addresses: their interfaces only."""

    def __init__(self, named: Sequence[str] | None = None) -> None:
        self._named = named
        every = _all_interfaces()
        self.now = _chosen(every, named)
        self.addresses = _addresses_of(every)
        """Every address of this machine, also those where nothing is announced."""
        self._changed = anyio.Event()
        self._hearers: list[Callable[[], None]] = []
        self.is_told = False
        """True if the kernel tells of changes."""

    @property
    def changed(self) -> anyio.Event:
        """The event of the next change, or of a notice that may be about one."""
        return self._changed

    async def moved(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    @contextmanager
    def telling(self, hear: Callable[[], None]) -> Iterator[None]:
        """Call this with every change, while the context lasts."""
        self._hearers.append(hear)
        try:
            yield
        finally:
            self._hearers.remove(hear)

    def lacks(self, end: object) -> bool:
        """True if a connection, by the name of its socket, runs over an address that this machine no longer has."""
        host = text_of_end(end)
        if host is None or host in self.addresses or (ip := _ip_untrusted(host)) is None:
            return False
        return not (ip.is_loopback or ip.is_unspecified)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Follow the interfaces until the context ends."""
        async with background_tasks() as tasks:
            tasks.start_soon(self._follow)
            yield

    def look(self, *, told: bool = False) -> None:
        """See how it is now; `told` of a change that need not be one of addresses."""
        every, before = _all_interfaces(), (self.now, self.addresses)
        self.now, self.addresses = _chosen(every, self._named), _addresses_of(every)
        if told or (self.now, self.addresses) != before:
            self._changed.set()
            self._changed = anyio.Event()
            for hear in tuple(self._hearers):
                hear()

    async def _follow(self) -> None:
        with kernel_notices() as notices:
            self.is_told = notices is not None
            self.look()  # what has changed before the notices began
            while True:
                told = False
                with anyio.move_on_after(LOOK_SECONDS if notices is None else TOLD_LOOK_SECONDS):
                    if notices is None:
                        await anyio.sleep_forever()
                    else:
                        await anyio.wait_readable(notices)
                        told = True
                if told and notices is not None:
                    await anyio.sleep(SETTLE_SECONDS)
                    read_all(notices)
                self.look(told=told)


_said: list[Interface] = []
"""The last answer of the system."""


def _all_interfaces() -> list[Interface]:
    """The interfaces by the system's answer, or by its last one: asking takes an open file, and none may be left.

    Raises:
        OSError: it has said nothing yet.
    """
    try:
        _said[:] = [_interface(adapter) for adapter in ifaddr.get_adapters() if adapter.ips]
    except OSError as error:
        if not _said:
            raise
        logger.debug("the interfaces of this machine cannot be read: %s", error)
    return list(_said)


def _interface(adapter: ifaddr.Adapter) -> Interface:
    ips = tuple(
        ipaddress.ip_interface(f"{ip.ip if ip.is_IPv4 else ip.ip[0]}/{ip.network_prefix}") for ip in adapter.ips
    )
    index = adapter.index or 0
    name = zone_of(index) if index else str(adapter.name)
    return Interface(name, index, ips, _has_carrier(name))


def _chosen(every: Iterable[Interface], named: Sequence[str] | None) -> tuple[Interface, ...]:
    able = [interface for interface in every if not _is_port_of_a_bridge(interface.name)]
    if named is not None:
        restricted = [replace(one, ips=tuple(ip for ip in one.ips if str(ip.ip) in named)) for one in able]
        return tuple(one for one in restricted if one.ips)
    outward = [interface for interface in able if not interface.is_loopback]
    return tuple(sorted(outward or able, key=_precedence))


def _precedence(interface: Interface) -> tuple[bool, bool, int]:
    """Those first that lead somewhere: a machine may have more bridges without containers than take part here."""
    return not interface.has_carrier, interface.first_ipv4 is None, interface.index


def _addresses_of(every: Iterable[Interface]) -> frozenset[str]:
    return frozenset(address for interface in every for address in interface.addresses)


def _is_port_of_a_bridge(name: str) -> bool:
    """True if what arrives there is the bridge's: a machine with containers has hundreds of them."""
    return sys.platform == "linux" and (_DEVICES / name / "brport").exists()


def _has_carrier(name: str) -> bool:
    if sys.platform != "linux":
        return True
    try:
        return (_DEVICES / name / "carrier").read_text(encoding="ascii").strip() == "1"
    except (OSError, ValueError) as error:
        is_off = isinstance(error, OSError) and error.errno == errno.EINVAL  # netdev_show in net/core/net-sysfs.c
        return not is_off  # else the system does not say


def _ip_untrusted(text: str) -> Ip | None:
    """An address of a record. A zone in it is its sender's own, and means nothing here."""
    return ip_of(text.partition("%")[0])


def _rank(one: IpInterface) -> int:
    return _rank_of(one.ip)


def _rank_of(ip: Ip) -> int:
    """IPv4, then IPv6 that needs no zone, then link-local."""
    if ip.version == 4:
        return 1 if ip.is_link_local else 0
    return 4 if ip.is_link_local else 2 if ip.is_private else 3
