"""Finds the peers of a LAN by multicast DNS, and lets them find us.

The record says a protocol version, a key and a port, under a name that is made of the key: nothing
about who or what is behind it (requirement S39). What others say is a hint. It is taken only if it
points to the LAN that we are on, so that no record can make us knock elsewhere (S40), and a flood
fills a table of fixed size.

A host that vanished leaves its records behind. They live two minutes, are asked for again when they
expire, and the peer is lost when nobody answers.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc
from typing_extensions import override
from zeroconf import (  # type: ignore[attr-defined]  # the first three are offered, only not listed
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    InterfaceChoice,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    Zeroconf,
)
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.ports import AddressLookup, Announcement, LookupHandler
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports._lan import VERSION, Place, parse_txt_untrusted
from mcp_a2a_transports._sightings import FINGERPRINT_LENGTH, MAX_SIGHTINGS, Sightings, fingerprint
from mcp_a2a_transports._tasks import background_tasks

logger = logging.getLogger(__name__)
logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # it would quote what strangers sent

NAME = "mdns"
SERVICE_TYPE = "_mcp-a2a._tcp.local."
RECORD_SECONDS = 120
"""Life of our records."""

CHECK_SECONDS = 15.0
"""How often expired records and this machine's interfaces are looked at; both cost microseconds."""

ANSWER_SECONDS = 3.0
MAX_QUESTIONS = 8
"""Names asked about at the same time. A record that came alone is a reason to ask, and a flood."""

FIRST_QUERY_SECONDS = (0.02, 0.12)
LONGEST_PAUSE_SECONDS = 3_600.0
"""Everybody is asked for at the start, then after 1, 2, 4 ... seconds (RFC 6762, 5.2)."""

_TYPE_PTR, _CLASS_IN = 12, 1
_QUERY, _ANSWER = 0, 0x8400

LEAVE_SECONDS = 1.0

_INSTANCE = re.compile(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}\.{re.escape(SERVICE_TYPE)}")


class MdnsLookup(AddressLookup):
    """Sees the peers that announce themselves by multicast.

    `interfaces` are addresses of this machine's interfaces; all of them unless some are named.
    """

    def __init__(self, interfaces: Sequence[str] | None = None) -> None:
        self._interfaces = interfaces

    @property
    @override
    def name(self) -> str:
        return NAME

    @override
    @asynccontextmanager
    async def open(self, announcement: Announcement, handler: LookupHandler) -> AsyncIterator[None]:
        try:
            zeroconf = AsyncZeroconf(
                interfaces=list(self._interfaces) if self._interfaces else InterfaceChoice.All,
                ip_version=IPVersion.V4Only,
            )
        except (OSError, RuntimeError, ZeroconfError) as error:
            raise OSError(f"this machine does not allow multicast ({error})") from error
        watch = _Watch(zeroconf, announcement, Sightings(NAME, handler), self._interfaces)
        try:
            async with background_tasks() as tasks:
                await watch.start(tasks)
                yield
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                await watch.stop()


class _Watch(RecordUpdateListener):
    """One run of the lookup: our record, and what is known of others.

    The library's own browser keeps a little of every name that it ever heard, which is how a flood
    would fill our memory; so the records are listened to here.
    """

    def __init__(
        self,
        zeroconf: AsyncZeroconf,
        announcement: Announcement,
        sightings: Sightings,
        interfaces: Sequence[str] | None,
    ) -> None:
        super().__init__()
        self._zeroconf = zeroconf
        self._announcement = announcement
        self._sightings = sightings
        self._interfaces = interfaces
        self._place = Place.here(interfaces)
        self._our_name = instance_of(announcement.peer)
        self._peers: dict[str, PeerId] = {}
        self._heard: set[str] = set()
        self._unclear: set[str] = set()
        self._something_unclear = anyio.Event()

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Announce and listen.

        Raises:
            OSError: no interface of this machine takes part in multicast.
        """
        zeroconf = self._zeroconf
        zeroconf.zeroconf.async_add_listener(self, None)
        # The name is made of the key, so nobody else has it, and asking around first would take
        # a second.
        said = await zeroconf.async_register_service(self._record(), cooperating_responders=True)
        if not zeroconf.zeroconf.engine.senders:
            raise OSError("this machine does not allow multicast (no interface takes part)")
        for task in (self._call_everybody, self._ask, self._check):
            tasks.start_soon(task)
        tasks.start_soon(_finish, said)

    async def stop(self) -> None:
        """Say goodbye to everybody, which removes us from their lists at once."""
        zeroconf = self._zeroconf.zeroconf
        zeroconf.async_remove_listener(self)
        await self._zeroconf.async_unregister_all_services()
        # An answer that was already on its way may have brought us back to life, and the library
        # ignores a goodbye that it has just heard word for word; so the last one is shorter.
        farewell = DNSOutgoing(_ANSWER)
        farewell.add_answer_at_time(self._record().dns_pointer(override_ttl=0), 0)
        zeroconf.async_send(farewell)
        await self._zeroconf.async_close()

    def _record(self) -> AsyncServiceInfo:
        peer, port = self._announcement.peer, self._announcement.port
        return AsyncServiceInfo(
            SERVICE_TYPE,
            self._our_name,
            port=port,
            server=f"{fingerprint(peer)}.local.",
            parsed_addresses=list(self._place.addresses),
            properties={"v": VERSION, "did": str(peer), "port": str(port)},
            host_ttl=RECORD_SECONDS,
            other_ttl=RECORD_SECONDS,
        )

    # --- what others say --------------------------------------------------------------------------

    @override
    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        for update in records:
            record = update.new
            if isinstance(record, DNSPointer) and record.name == SERVICE_TYPE:
                self._hear(record.alias, is_gone=record.is_expired(now))
            else:
                # A service's own record, or its address, whose name is made of the same key.
                name = record.name.removesuffix(SERVICE_TYPE).removesuffix("local.") + SERVICE_TYPE
                if name in self._peers:
                    self._heard.add(name)

    @override
    def async_update_records_complete(self) -> None:
        # Only now does the library's cache hold all that came with the packet.
        heard, self._heard = self._heard, set()
        for name in heard:
            self._consider(name)

    def _hear(self, name: str, *, is_gone: bool) -> None:
        if name == self._our_name or not _INSTANCE.fullmatch(name):
            return
        if is_gone:
            self._lose(name)
        elif name in self._peers or len(self._peers) < MAX_SIGHTINGS:
            self._heard.add(name)

    def _consider(self, name: str) -> None:
        """Take what the records at hand say, or ask for those that are missing or expired."""
        record = AsyncServiceInfo(SERVICE_TYPE, name)
        if record.load_from_cache(self._zeroconf.zeroconf):
            self._take_untrusted(name, record)
        elif len(self._unclear) < MAX_SIGHTINGS:
            self._unclear.add(name)
            self._something_unclear.set()

    def _take_untrusted(self, name: str, record: AsyncServiceInfo) -> None:
        try:
            peer, port = parse_txt_untrusted(record.properties)
        except RemoteProtocolError as error:
            logger.debug("ignored an mDNS record: %s", error)
            return
        hosts = self._place.reachable(record.parsed_scoped_addresses())
        if not hosts or instance_of(peer) != name:
            self._lose(name)
            return
        self._sightings.see(peer, tuple(DirectAddr(host, port) for host in hosts))
        self._peers[name] = peer

    def _lose(self, name: str) -> None:
        peer = self._peers.pop(name, None)
        if peer is not None:
            self._sightings.lose(peer)

    # --- tasks ------------------------------------------------------------------------------------

    async def _call_everybody(self) -> None:
        """Ask who is there, less and less often: who comes later says so."""
        await anyio.sleep(random.uniform(*FIRST_QUERY_SECONDS))  # noqa: S311  only spreads load
        pause = 1.0
        while True:
            self._query()
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _query(self) -> None:
        # Answers go to everybody: one to us alone might reach another program on our port.
        query = DNSOutgoing(_QUERY)
        query.add_question(DNSQuestion(SERVICE_TYPE, _TYPE_PTR, _CLASS_IN))
        with suppress(OSError, ZeroconfError):
            self._zeroconf.zeroconf.async_send(query)

    async def _ask(self) -> None:
        """Ask for records that we lack, a few names at a time."""
        while True:
            await self._something_unclear.wait()
            self._something_unclear = anyio.Event()
            while self._unclear:
                async with anyio.create_task_group() as tasks:
                    for _ in range(min(MAX_QUESTIONS, len(self._unclear))):
                        tasks.start_soon(self._ask_for, self._unclear.pop())

    async def _ask_for(self, name: str) -> None:
        record = AsyncServiceInfo(SERVICE_TYPE, name)
        answered = False
        with suppress(OSError, ZeroconfError):
            answered = await record.async_request(self._zeroconf.zeroconf, ANSWER_SECONDS * 1000)
        if answered:
            self._take_untrusted(name, record)
        else:
            self._lose(name)

    async def _check(self) -> None:
        """Notice what no packet tells: expired records, and our own change of place."""
        while True:
            await anyio.sleep(CHECK_SECONDS)
            await self._follow_interfaces()
            for name in tuple(self._peers):
                self._consider(name)

    async def _follow_interfaces(self) -> None:
        with suppress(OSError, ZeroconfError):
            place = Place.here(self._interfaces)
            if place == self._place:
                return
            self._place = place
            await self._zeroconf.async_update_interfaces()
            await _finish(await self._zeroconf.async_update_service(self._record()))
            self._query()


def instance_of(peer: PeerId) -> str:
    """The name of a peer's record."""
    return f"{fingerprint(peer)}.{SERVICE_TYPE}"


async def _finish(said: Awaitable[None]) -> None:
    with suppress(OSError, ZeroconfError):
        await said
