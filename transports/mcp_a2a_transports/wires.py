"""Multicast DNS on every interface of this machine, each for itself (RFC 6762).

    Surroundings  ->  Multicast: one `Wire` (a responder and a cache) per interface, opened, moved and closed with it
    LanService    ->  on each wire a record with the addresses of that interface, and a `Browser` for those of others

What is heard on one link is never mixed with what is heard on another, so that no record can name an address of a link
that it does not come from, and no answer carries an address that the asking link cannot reach (RFC 6762, 6.2).
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc
from zeroconf import (  # type: ignore[attr-defined]  # the first three are offered, only not listed
    DNSOutgoing,
    IPVersion,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mcp_a2a_transports._browser import FAILURES, Browser
from mcp_a2a_transports._lan_service import LanService
from mcp_a2a_transports._tasks import background_tasks
from mcp_a2a_transports.surroundings import Interface, Surroundings

logger = logging.getLogger(__name__)
logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # it would quote what strangers sent

RETRY_SECONDS = 15.0
"""Pause before an interface is tried again that did not take part: an IPv6 address is not usable at once."""

AGAIN_SECONDS = 1.2
"""A second announcement comes more than a second after the first (RFC 6762, 8.3): what is younger than that in the
caches of others is not yet taken out by it."""

LEAVE_SECONDS = 1.0

MAX_WIRES = 32
"""Interfaces that take part, at three sockets each."""

_ANSWER = 0x8400

_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29
"""Of linux/in.h and linux/in6.h."""


# Work-around (zeroconf), look again 2027-06: https://github.com/python-zeroconf/python-zeroconf/issues/806
class Multicast:
    """The wires of this machine, as long as it is open. They are made when the first service joins."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._wires: dict[tuple[str, int], Wire] = {}
        self._services: list[LanService] = []
        self._turn = anyio.Lock()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._follows = False
        self._failure: BaseException | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Follow the interfaces until the context ends."""
        async with background_tasks() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = None
                with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                    async with anyio.create_task_group() as closing:
                        for wire in self._wires.values():
                            closing.start_soon(wire.close)
                self._wires.clear()

    @asynccontextmanager
    async def joined(self, service: LanService) -> AsyncIterator[None]:
        """Announce and look for a service on every interface, until the context ends with a goodbye.

        Where no interface takes part, it is tried again: an address is not usable at once when the network comes up.

        Raises:
            OSError: this machine does not allow multicast.
        """
        tasks = self._running
        async with self._turn:
            self._services.append(service)
            for wire in self._wires.values():
                await wire.admit(service, tasks)
        try:
            await self._adjust()
            if self.is_deaf and isinstance(self._failure, PermissionError):
                raise OSError(f"this machine does not allow multicast ({self._failure})")
            if not self._follows:
                self._follows = True
                tasks.start_soon(self._follow)
            yield
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                async with self._turn, anyio.create_task_group() as leaving:
                    self._services.remove(service)
                    for wire in self._wires.values():
                        leaving.start_soon(wire.dismiss, service)

    def ask_anew(self) -> None:
        """Ask on every interface who is there."""
        for wire in self._wires.values():
            wire.ask_anew()

    @property
    def is_deaf(self) -> bool:
        """True if this machine is on a network, and takes no part in multicast there at the moment."""
        return bool(self._surroundings.now) and not self._wires

    @property
    def families(self) -> tuple[str, ...]:
        """By which families others are heard at the moment."""
        spoken = {family for wire in self._wires.values() for family in wire.families}
        return tuple(sorted(spoken))

    @property
    def _running(self) -> anyio.abc.TaskGroup:
        if self._tasks is None:
            raise OSError("multicast is not open")
        return self._tasks

    async def _follow(self) -> None:
        while True:
            changed = self._surroundings.changed
            whole = await self._adjust()
            with anyio.move_on_after(None if whole else RETRY_SECONDS):
                await changed.wait()

    async def _adjust(self) -> bool:
        """Make, move and close wires, so that each interface has one; whether all of them take part fully."""
        async with self._turn:
            here = {interface.key: interface for interface in self._surroundings.now[:MAX_WIRES]}
            for key in self._wires.keys() - here.keys():
                await self._wires.pop(key).close()
            for key, interface in here.items():
                wire = self._wires.get(key)
                if wire is None:
                    await self._connect(interface)
                elif wire.interface != interface or not wire.is_whole:
                    await wire.move(interface, self._running)
            return all(key in self._wires and self._wires[key].is_whole for key in here)

    async def _connect(self, interface: Interface) -> None:
        try:
            wire = await open_wire(interface)
        except FAILURES as error:
            self._failure = error
            logger.debug("no multicast on %s: %s", interface.name, error)
            return
        self._wires[interface.key] = wire
        for service in self._services:
            await wire.admit(service, self._running)


class Wire:
    """Multicast DNS on one interface. Make it with `open_wire`."""

    def __init__(self, interface: Interface, zeroconf: AsyncZeroconf) -> None:
        self.interface = interface
        self._zeroconf = zeroconf
        self._services: list[LanService] = []
        self._records: dict[LanService, AsyncServiceInfo] = {}
        self._browsers: dict[LanService, Browser] = {}

    @property
    def zeroconf(self) -> Zeroconf:
        """The responder and cache of the wire."""
        return self._zeroconf.zeroconf

    @property
    def is_whole(self) -> bool:
        """True if it speaks in every family that the interface has."""
        return len(self.zeroconf.engine.senders) == len(_choice(self.interface))

    @property
    def families(self) -> frozenset[str]:
        """In which it speaks."""
        return frozenset("IPv6" if sender.is_ipv6 else "IPv4" for sender in self.zeroconf.engine.senders)

    async def admit(self, service: LanService, tasks: anyio.abc.TaskGroup) -> None:
        """Announce the service's record here, and look for those of others."""
        self._services.append(service)
        with suppress(*FAILURES):
            await self._announce(service, tasks, again=False)
        if service.max_names:
            browser = self._browsers[service] = Browser(self, service)
            tasks.start_soon(browser.run)

    async def dismiss(self, service: LanService) -> None:
        """Say goodbye for the service's record, which removes it from the lists of others at once, and stop looking."""
        self._services.remove(service)
        browser = self._browsers.pop(service, None)
        if browser is not None:
            browser.stop()
        record = self._records.pop(service, None)
        if record is None:
            return
        with suppress(*FAILURES):
            await (await self._zeroconf.async_unregister_service(record))
            # An answer that was already on its way may have brought it back to life, and the library ignores a goodbye
            # that it has just heard word for word; so the last one is shorter.
            farewell = DNSOutgoing(_ANSWER)
            farewell.add_answer_at_time(record.dns_pointer(override_ttl=0), 0)
            self.zeroconf.async_send(farewell)

    def ask_anew(self) -> None:
        """Ask all again who are there, soon."""
        for browser in self._browsers.values():
            browser.ask_anew()

    async def move(self, interface: Interface, tasks: anyio.abc.TaskGroup) -> None:
        """The interface has other addresses than before, its cable is in again, or it takes part in another family."""
        before, spoke = self.interface, self.families
        self.interface = interface
        with suppress(*FAILURES):
            await self._zeroconf.async_update_interfaces(_choice(interface))
            _confine(self.zeroconf, interface)
        if interface == before and self.families == spoke:
            return  # it still takes no part in one of its families
        came = (interface.has_carrier and not before.has_carrier) or self.families != spoke
        for service in tuple(self._services):
            with suppress(*FAILURES):
                await self._announce(service, tasks, again=came)
        for browser in self._browsers.values():
            browser.begin_anew()

    async def close(self) -> None:
        """Say goodbye and close; all that was heard here is lost."""
        for browser in self._browsers.values():
            browser.lose_all()
        async with anyio.create_task_group() as leaving:
            for service in tuple(self._services):
                leaving.start_soon(self.dismiss, service)
        with suppress(*FAILURES):
            await self._zeroconf.async_close()

    async def _announce(self, service: LanService, tasks: anyio.abc.TaskGroup, *, again: bool) -> None:
        before, record = self._records.get(service), service.record(self.interface)
        if record is None:
            if before is not None:
                del self._records[service]
                tasks.start_soon(_finish, await self._zeroconf.async_unregister_service(before))
            return
        self._records[service] = record
        if before is None:
            # The name is made of a key, or of chance: no other machine has it, and asking first would take a second.
            said = await self._zeroconf.async_register_service(record, cooperating_responders=True)
        elif again or before.addresses_by_version(IPVersion.All) != record.addresses_by_version(IPVersion.All):
            said = await self._zeroconf.async_update_service(record)
        else:
            return
        tasks.start_soon(_finish, said)
        tasks.start_soon(self._announce_again, service, record)

    async def _announce_again(self, service: LanService, record: AsyncServiceInfo) -> None:
        await anyio.sleep(AGAIN_SECONDS)
        if self._records.get(service) is record:
            with suppress(*FAILURES):
                self.zeroconf.async_send(self.zeroconf.generate_service_broadcast(record, None))


async def open_wire(interface: Interface) -> Wire:
    """A wire on an interface.

    Raises:
        OSError, RuntimeError, ZeroconfError: it does not take part in multicast.
    """
    choice = _choice(interface)
    version = IPVersion.All if socket.has_ipv6 else IPVersion.V4Only
    try:
        made = AsyncZeroconf(interfaces=choice, ip_version=version)
    except OSError:
        if version is IPVersion.V4Only or interface.first_ipv4 is None:
            raise
        made = AsyncZeroconf(interfaces=[interface.first_ipv4], ip_version=IPVersion.V4Only)  # IPv6 is switched off
    await made.zeroconf.async_wait_for_start()
    if not made.zeroconf.engine.senders:
        await made.async_close()
        raise OSError("the interface takes no part")
    _confine(made.zeroconf, interface)
    return Wire(interface, made)


def _choice(interface: Interface) -> list[str | int]:
    """The name of an interface for the library: an address in IPv4, its index in IPv6."""
    choice: list[str | int] = [] if interface.first_ipv4 is None else [interface.first_ipv4]
    return [*choice, interface.index] if interface.has_ipv6 and socket.has_ipv6 else choice


def _confine(zeroconf: Zeroconf, interface: Interface) -> None:
    """Have its sockets hear what comes in on the interface, and nothing of others.

    On Linux a socket hears every group that any program of the machine has joined, on whichever interface. Elsewhere
    it hears its own.
    """
    if sys.platform != "linux":
        return
    for reader in zeroconf.engine.readers:
        hearing = reader.sock
        with suppress(OSError):  # before Linux 5.7 it takes a privilege
            hearing.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.name.encode())
        with suppress(OSError):
            hearing.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        if hearing.family == socket.AF_INET6:
            with suppress(OSError):
                hearing.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


async def _finish(said: Awaitable[None]) -> None:
    with suppress(*FAILURES):
        await said
