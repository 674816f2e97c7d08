"""Multicast DNS on every interface of this machine, each for itself (RFC 6762).

    Surroundings  ->  Multicast: one `Wire` (a responder and a cache) per interface, opened, moved and closed with it
    Guest         ->  on each wire a record with the addresses of that interface, and a `Browser` for those of others

What is heard on one link is never mixed with what is heard on another, so that no record can name an address of a link
that it does not come from, and no answer carries an address that the asking link cannot reach (RFC 6762, 6.2).

A host that vanished leaves its records behind. They live two minutes, are asked for again when they expire, and what
they named is lost when no answer comes.
"""

from __future__ import annotations

import logging
import random
import socket
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import anyio
import anyio.abc
from typing_extensions import override
from zeroconf import (  # type: ignore[attr-defined]  # the first three are offered, only not listed
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSQuestionType,
    DNSRecord,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    Zeroconf,
)
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mcp_a2a_transports._tasks import background_tasks
from mcp_a2a_transports.surroundings import Interface, Surroundings

logger = logging.getLogger(__name__)
logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # it would quote what strangers sent

RECORD_SECONDS = 120
"""Life of our records."""

ANSWER_SECONDS = 3.0
MAX_QUESTIONS = 8
"""Names asked about at the same time. A record that came alone is a reason to ask, and a flood."""

FIRST_QUERY_SECONDS = (0.02, 0.12)
LONGEST_PAUSE_SECONDS = 3_600.0
"""All are asked for at the start, then after 1, 2, 4 ... seconds (RFC 6762, 5.2)."""

RETRY_SECONDS = 15.0
"""Pause before an interface is tried again that did not take part: an IPv6 address is not usable at once."""

AGAIN_SECONDS = 1.2
"""A second announcement comes more than a second after the first (RFC 6762, 8.3): what is younger than that in the
caches of others is not yet taken out by it."""

FLUSH_SECONDS = 1.5

LEAVE_SECONDS = 1.0

MAX_WIRES = 32
"""Interfaces that take part, at three sockets each."""

_TYPE_PTR, _CLASS_IN = 12, 1
_QUERY, _ANSWER = 0, 0x8400
_FAILURES = (OSError, RuntimeError, ZeroconfError)

_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29
"""Of linux/in.h and linux/in6.h."""


class Guest(Protocol):
    """A type of service: our record of it, and what is done with those of others."""

    @property
    def service_type(self) -> str:
        """For example "_a2a._tcp.local."."""
        ...

    @property
    def max_names(self) -> int:
        """Names that are followed on one interface; 0 of a guest that only announces."""
        ...

    def record(self, interface: Interface) -> AsyncServiceInfo | None:
        """What is announced on an interface, if anything."""
        ...

    def is_followed(self, name: str) -> bool:
        """Whether a name may be one of a service that is looked for."""
        ...

    def found(self, interface: Interface, record: AsyncServiceInfo) -> bool:
        """A record was heard on an interface, whole, and perhaps again; whether it is believed."""
        ...

    def lost(self, interface: Interface, name: str) -> None:
        """A name that was believed is no longer there, on that interface."""
        ...


class Multicast:
    """The wires of this machine, as long as it is open. They are made when the first guest joins."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._wires: dict[tuple[str, int], Wire] = {}
        self._guests: list[Guest] = []
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
    async def joined(self, guest: Guest) -> AsyncIterator[None]:
        """Announce and look for a service on every interface, until the context ends with a goodbye.

        Raises:
            OSError: no interface of this machine takes part in multicast.
        """
        tasks = self._running
        async with self._turn:
            self._guests.append(guest)
            for wire in self._wires.values():
                await wire.admit(guest, tasks)
        try:
            await self._adjust()
            if self._surroundings.now and not self._wires:
                raise OSError(f"this machine does not allow multicast ({self._failure or 'no interface takes part'})")
            if not self._follows:
                self._follows = True
                tasks.start_soon(self._follow)
            yield
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                async with self._turn, anyio.create_task_group() as leaving:
                    self._guests.remove(guest)
                    for wire in self._wires.values():
                        leaving.start_soon(wire.dismiss, guest)

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
        except _FAILURES as error:
            self._failure = error
            logger.debug("no multicast on %s: %s", interface.name, error)
            return
        self._wires[interface.key] = wire
        for guest in self._guests:
            await wire.admit(guest, self._running)


class Wire:
    """Multicast DNS on one interface. Make it with `open_wire`."""

    def __init__(self, interface: Interface, zeroconf: AsyncZeroconf) -> None:
        self.interface = interface
        self._zeroconf = zeroconf
        self._guests: list[Guest] = []
        self._records: dict[Guest, AsyncServiceInfo] = {}
        self._browsers: dict[Guest, Browser] = {}

    @property
    def zeroconf(self) -> Zeroconf:
        """Its responder and cache."""
        return self._zeroconf.zeroconf

    @property
    def is_whole(self) -> bool:
        """Whether it speaks in every family that the interface has."""
        return len(self.zeroconf.engine.senders) == len(_choice(self.interface))

    @property
    def families(self) -> frozenset[str]:
        """In which it speaks."""
        return frozenset("IPv6" if sender.is_ipv6 else "IPv4" for sender in self.zeroconf.engine.senders)

    async def admit(self, guest: Guest, tasks: anyio.abc.TaskGroup) -> None:
        """Announce the guest's record here, and look for those of others."""
        self._guests.append(guest)
        with suppress(*_FAILURES):
            await self._announce(guest, tasks, again=False)
        if guest.max_names:
            browser = self._browsers[guest] = Browser(self, guest)
            tasks.start_soon(browser.run)

    async def dismiss(self, guest: Guest) -> None:
        """Say goodbye for the guest's record, which removes it from the lists of others at once, and stop looking."""
        self._guests.remove(guest)
        browser = self._browsers.pop(guest, None)
        if browser is not None:
            browser.stop()
        record = self._records.pop(guest, None)
        if record is None:
            return
        with suppress(*_FAILURES):
            await (await self._zeroconf.async_unregister_service(record))
            # An answer that was already on its way may have brought it back to life, and the library ignores a goodbye
            # that it has just heard word for word; so the last one is shorter.
            farewell = DNSOutgoing(_ANSWER)
            farewell.add_answer_at_time(record.dns_pointer(override_ttl=0), 0)
            self.zeroconf.async_send(farewell)

    async def move(self, interface: Interface, tasks: anyio.abc.TaskGroup) -> None:
        """The interface has other addresses than before, its cable is in again, or it takes part in another family."""
        before, spoke = self.interface, self.families
        self.interface = interface
        with suppress(*_FAILURES):
            await self._zeroconf.async_update_interfaces(_choice(interface))
            _confine(self.zeroconf, interface)
        if interface == before and self.families == spoke:
            return  # it still takes no part in one of its families
        came = (interface.has_carrier and not before.has_carrier) or self.families != spoke
        for guest in tuple(self._guests):
            with suppress(*_FAILURES):
                await self._announce(guest, tasks, again=came)
        for browser in self._browsers.values():
            browser.begin_anew()

    async def close(self) -> None:
        """Say goodbye and close; all that was heard here is lost."""
        for browser in self._browsers.values():
            browser.lose_all()
        async with anyio.create_task_group() as leaving:
            for guest in tuple(self._guests):
                leaving.start_soon(self.dismiss, guest)
        with suppress(*_FAILURES):
            await self._zeroconf.async_close()

    async def _announce(self, guest: Guest, tasks: anyio.abc.TaskGroup, *, again: bool) -> None:
        before, record = self._records.get(guest), guest.record(self.interface)
        if record is None:
            if before is not None:
                del self._records[guest]
                tasks.start_soon(_finish, await self._zeroconf.async_unregister_service(before))
            return
        self._records[guest] = record
        if before is None:
            # The name is made of a key, or of chance: no other machine has it, and asking first would take a second.
            said = await self._zeroconf.async_register_service(record, cooperating_responders=True)
        elif again or before.addresses_by_version(IPVersion.All) != record.addresses_by_version(IPVersion.All):
            said = await self._zeroconf.async_update_service(record)
        else:
            return
        tasks.start_soon(_finish, said)
        tasks.start_soon(self._announce_again, guest, record)

    async def _announce_again(self, guest: Guest, record: AsyncServiceInfo) -> None:
        await anyio.sleep(AGAIN_SECONDS)
        if self._records.get(guest) is record:
            with suppress(*_FAILURES):
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


class Browser(RecordUpdateListener):
    """What is heard on one wire of one type of service.

    The library's own browser keeps a little of every name that it ever heard, which is how a flood would fill our
    memory; so the records are listened to here.
    """

    def __init__(self, wire: Wire, guest: Guest) -> None:
        super().__init__()
        self._wire, self._guest = wire, guest
        self._known: dict[str, str] = {}
        """The host of each name that is believed."""
        self._names_at: dict[str, set[str]] = {}
        self._heard: set[str] = set()
        self._unclear: set[str] = set()
        self._something_unclear = anyio.Event()
        self._something_changed = anyio.Event()
        self._anew = anyio.Event()
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Listen, and ask who is there, until stopped."""
        with self._scope:
            self._wire.zeroconf.async_add_listener(self, None)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._call_all)
                tasks.start_soon(self._ask)
                tasks.start_soon(self._look_again)

    def stop(self) -> None:
        """Hear nothing any more."""
        if self in self._wire.zeroconf.record_manager.listeners:
            self._wire.zeroconf.async_remove_listener(self)
        self._scope.cancel()

    def lose_all(self) -> None:
        """The interface is gone, and with it all that was believed because of it."""
        for name in tuple(self._known):
            self._lose(name)

    def begin_anew(self) -> None:
        """See what of the known is on this link now, and ask all again."""
        for name in tuple(self._known):
            self._consider(name)
        self._anew.set()

    # --- what others say --------------------------------------------------------------------------

    @override
    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        for update in records:
            record = update.new
            if isinstance(record, DNSPointer):
                if record.name == self._guest.service_type:
                    self._hear(record.alias, is_goodbye=not record.ttl)
            else:
                self._touch(record)

    @override
    def async_update_records_complete(self) -> None:
        # Only now does the library's cache hold all that came with the packet.
        heard, self._heard = self._heard, set()
        for name in heard:
            self._consider(name)

    def _hear(self, name: str, *, is_goodbye: bool) -> None:
        if is_goodbye:
            self._lose(name)
        elif name in self._known or (len(self._known) < self._guest.max_names and self._guest.is_followed(name)):
            self._heard.add(name)

    def _touch(self, record: DNSRecord) -> None:
        """A service's own record, or an address of its host, has come or expired."""
        if record.name in self._known:
            self._heard.add(record.name)
        self._heard |= self._names_at.get(record.key, set())
        if self._heard:
            self._something_changed.set()

    def _consider(self, name: str) -> None:
        """Take what the records at hand say, or ask for those that are missing or expired."""
        record = AsyncServiceInfo(self._guest.service_type, name)
        if record.load_from_cache(self._wire.zeroconf):
            self._take_untrusted(name, record)
        elif len(self._unclear) < self._guest.max_names:
            self._unclear.add(name)
            self._something_unclear.set()

    def _take_untrusted(self, name: str, record: AsyncServiceInfo) -> None:
        if not self._guest.found(self._wire.interface, record):
            self._lose(name)
            return
        host = record.server_key or ""
        if self._known.get(name) != host:
            self._forget(name)
            self._known[name] = host
            self._names_at.setdefault(host, set()).add(name)

    def _lose(self, name: str) -> None:
        if self._forget(name):
            self._guest.lost(self._wire.interface, name)

    def _forget(self, name: str) -> bool:
        host = self._known.pop(name, None)
        if host is None:
            return False
        self._names_at[host].discard(name)
        if not self._names_at[host]:
            del self._names_at[host]
        return True

    # --- tasks ------------------------------------------------------------------------------------

    async def _call_all(self) -> None:
        """Ask who is there, less and less often: who comes later says so."""
        await anyio.sleep(random.uniform(*FIRST_QUERY_SECONDS))  # noqa: S311  only spreads load
        pause = 1.0
        while True:
            self._query()
            self._anew = anyio.Event()
            with anyio.move_on_after(pause):
                await self._anew.wait()
                pause = 0.5
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _query(self) -> None:
        # Answers go to all: one to us alone might reach another program on our port.
        query = DNSOutgoing(_QUERY)
        query.add_question(DNSQuestion(self._guest.service_type, _TYPE_PTR, _CLASS_IN))
        with suppress(*_FAILURES):
            self._wire.zeroconf.async_send(query)

    async def _ask(self) -> None:
        """Ask for records that we lack, a few names at a time."""
        while True:
            await self._something_unclear.wait()
            self._something_unclear = anyio.Event()
            while self._unclear:
                async with anyio.create_task_group() as tasks:
                    for _ in range(min(MAX_QUESTIONS, len(self._unclear))):
                        tasks.start_soon(self._ask_for, self._unclear.pop())

    async def _look_again(self) -> None:
        """Once a record has come, those that it takes the place of live on for a second (RFC 6762, 10.2)."""
        while True:
            await self._something_changed.wait()
            await anyio.sleep(FLUSH_SECONDS)
            self._something_changed = anyio.Event()
            for name in tuple(self._known):
                self._consider(name)

    async def _ask_for(self, name: str) -> None:
        record = AsyncServiceInfo(self._guest.service_type, name)
        answered = False
        with suppress(*_FAILURES):
            answered = await record.async_request(self._wire.zeroconf, ANSWER_SECONDS * 1000, DNSQuestionType.QM)
        if answered:
            self._take_untrusted(name, record)
        else:
            self._lose(name)


def _choice(interface: Interface) -> list[str | int]:
    """How the library is told of an interface: by an address in IPv4, by its index in IPv6."""
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
    with suppress(*_FAILURES):
        await said
