"""Browses the announcements on one link: heard, completed by questions, and lost when they are gone.

A host that vanished leaves its records behind. They live two minutes, are asked for again when they expire, and what
they named is lost when no answer comes.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from typing_extensions import override
from zeroconf import (  # type: ignore[attr-defined]  # the first three are offered, only not listed
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSQuestionType,
    DNSRecord,
    RecordUpdate,
    RecordUpdateListener,
    Zeroconf,
)
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceInfo

from mcp_a2a_transports._lan_service import LanService

if TYPE_CHECKING:
    from mcp_a2a_transports.wires import Wire

ANSWER_SECONDS = 3.0
MAX_QUESTIONS = 8
"""Names asked about at the same time. A record that came alone is a reason to ask, and a flood."""

FIRST_QUERY_SECONDS = (0.02, 0.12)
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 3_600.0
"""All are asked for at the start, then after 1, 2, 4 ... seconds (RFC 6762, 5.2). What is lost begins that anew, and so
does a caller that looks; but never are two questions closer than the shortest pause."""

FLUSH_SECONDS = 1.5

DOUBT_SECONDS = 600.0
"""Names that are believed are asked for so often at least, however long a life their record claims: a flood of records
that live for years would fill the table for as long."""

_TYPE_PTR, _CLASS_IN = 12, 1
_QUERY = 0
FAILURES = (OSError, RuntimeError, ZeroconfError)
"""Errors of the library about an interface that does not take part."""


class Browser(RecordUpdateListener):
    """The records of one service type on one wire.

    The library's own browser keeps a little of every name that it ever heard, which is how a flood would fill our
    memory; so the records are listened to here.
    """

    def __init__(self, wire: Wire, service: LanService) -> None:
        super().__init__()
        self._wire, self._service = wire, service
        self._known: dict[str, str] = {}
        """The host of each name that is believed."""
        self._machine_of: dict[str, str] = {}
        """The first of its addresses."""
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
                tasks.start_soon(self._doubt)

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
        self.ask_anew()

    def ask_anew(self) -> None:
        """Ask all again, soon."""
        self._anew.set()

    # --- what others say --------------------------------------------------------------------------

    @override
    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        for update in records:
            record = update.new
            if isinstance(record, DNSPointer):
                if record.name == self._service.service_type:
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
        elif name in self._known or (len(self._known) < self._service.max_names and self._service.is_followed(name)):
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
        record = AsyncServiceInfo(self._service.service_type, name)
        if record.load_from_cache(self._wire.zeroconf):
            self._take_untrusted(name, record)
        elif len(self._unclear) < self._service.max_names:
            self._unclear.add(name)
            self._something_unclear.set()

    def _take_untrusted(self, name: str, record: AsyncServiceInfo) -> None:
        machine = next(iter(self._wire.interface.reachable(record.parsed_scoped_addresses())), "")
        if self._has_its_share(name, machine):
            return
        if not self._service.found(self._wire.interface, record):
            self._lose(name)
            return
        host = record.server_key or ""
        if self._known.get(name) != host:
            self._forget(name)
            self._known[name] = host
            self._machine_of[name] = machine
            self._names_at.setdefault(host, set()).add(name)

    def _has_its_share(self, name: str, machine: str) -> bool:
        """True if a newcomer would give one machine more than half of the table: the rest is for others.

        A machine is an address here, since a record does not say who sent it.
        """
        if name in self._known:
            return False
        return list(self._machine_of.values()).count(machine) >= self._service.max_names // 2

    def _lose(self, name: str) -> None:
        """A name is gone, as far as this link says, and all are asked again.

        It may be there all the same: it has slept, has said goodbye on one of two interfaces that it has here, or
        another machine has said it. And one that was too much for the table has a place now.
        """
        if self._forget(name):
            self._service.lost(self._wire.interface, name)
            self.ask_anew()

    def _forget(self, name: str) -> bool:
        host = self._known.pop(name, None)
        if host is None:
            return False
        del self._machine_of[name]
        self._names_at[host].discard(name)
        if not self._names_at[host]:
            del self._names_at[host]
        return True

    # --- tasks ------------------------------------------------------------------------------------

    async def _call_all(self) -> None:
        """Ask who is there, less and less often: who comes later says so."""
        pause = 0.0
        while True:
            await anyio.sleep(random.uniform(*FIRST_QUERY_SECONDS))  # noqa: S311  only spreads load
            self._anew = anyio.Event()
            self._query()
            await anyio.sleep(SHORTEST_PAUSE_SECONDS)
            with anyio.move_on_after(pause):
                await self._anew.wait()
                pause = 0.0
                continue
            pause = min(pause * 2 + SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)

    def _query(self) -> None:
        # Answers go to all: one to us alone might reach another program on our port.
        query = DNSOutgoing(_QUERY)
        query.add_question(DNSQuestion(self._service.service_type, _TYPE_PTR, _CLASS_IN))
        with suppress(*FAILURES):
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

    async def _doubt(self) -> None:
        """From time to time, forget what records say of the known, and ask."""
        while True:
            await anyio.sleep(DOUBT_SECONDS)
            cache = self._wire.zeroconf.cache
            for name in tuple(self._known):
                cache.async_remove_records(cache.async_entries_with_name(name))
                self._consider(name)

    async def _ask_for(self, name: str) -> None:
        record = AsyncServiceInfo(self._service.service_type, name)
        answered = False
        with suppress(*FAILURES):
            answered = await record.async_request(self._wire.zeroconf, ANSWER_SECONDS * 1000, DNSQuestionType.QM)
        if answered:
            self._take_untrusted(name, record)
        else:
            self._lose(name)
