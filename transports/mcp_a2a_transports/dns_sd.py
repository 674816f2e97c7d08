"""Finds the A2A agents that announce themselves on the LAN as `_a2a._tcp`, and announces ours.

As in draft-zhao-a2a-dns-sd: a TXT record with `card` (a path), `proto`, `v` and `tls`.

Discovered is not admitted: what is told here is where a card may be read, at an address of a network
that we are on. Nothing is called by this module. The name of an announcement of ours says nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
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

from mcp_a2a.web_ports import WebSighting, WebWatch
from mcp_a2a_transports._lan import MIN_PORT, Place
from mcp_a2a_transports._tasks import background_tasks

logger = logging.getLogger(__name__)
logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # it would quote what strangers sent

SERVICE_TYPE = "_a2a._tcp.local."
CARD_PATH = "/.well-known/agent-card.json"
RECORD_SECONDS = 120
CHECK_SECONDS = 30.0
ANSWER_SECONDS = 3.0
LEAVE_SECONDS = 1.0
MAX_ANNOUNCEMENTS = 64
MAX_QUESTIONS = 4
LONGEST_PAUSE_SECONDS = 3_600.0

_WEB_PORTS = frozenset({80, 443})
_PATH = re.compile(r"/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,255}")
_TYPE_PTR, _CLASS_IN, _QUERY = 12, 1, 0

_ours: set[str] = set()
"""Announcements of this process: it does not discover itself."""


class A2AWatch(WebWatch):
    """Sees announcements. `interfaces` are addresses of this machine; all of them unless some are named."""

    def __init__(self, interfaces: Sequence[str] | None = None) -> None:
        self._interfaces = interfaces

    @override
    @asynccontextmanager
    async def open(self, sighted: Callable[[WebSighting], None], lost: Callable[[str], None]) -> AsyncIterator[None]:
        zeroconf = _open(self._interfaces)
        watch = _Watch(zeroconf, Place.here(self._interfaces), sighted, lost)
        try:
            async with background_tasks() as tasks:
                watch.start(tasks)
                yield
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                zeroconf.zeroconf.async_remove_listener(watch)
                await zeroconf.async_close()


@asynccontextmanager
async def announced(host: str, port: int, *, tls: bool, interfaces: Sequence[str] | None = None) -> AsyncIterator[bool]:
    """Announce an A2A server that listens there; whether it is: one that only this machine reaches is not.

    Raises:
        OSError: this machine does not allow multicast.
    """
    addresses = _open_to_the_lan(host, interfaces)
    if not addresses:
        yield False
        return
    zeroconf = _open(interfaces)
    label = f"a2a-{secrets.token_hex(6)}"
    name = f"{label}.{SERVICE_TYPE}"
    _ours.add(name)
    try:
        properties = {"card": CARD_PATH, "proto": "a2a", "v": "1.0", "tls": "1" if tls else "0"}
        said = await zeroconf.async_register_service(
            AsyncServiceInfo(
                SERVICE_TYPE,
                name,
                port=port,
                server=f"{label}.local.",
                parsed_addresses=list(addresses),
                properties=properties,
                host_ttl=RECORD_SECONDS,
                other_ttl=RECORD_SECONDS,
            ),
            cooperating_responders=True,
        )
        async with background_tasks() as tasks:
            tasks.start_soon(_finish, said)
            yield True
    finally:
        with anyio.move_on_after(LEAVE_SECONDS, shield=True):
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()
        _ours.discard(name)


def _open_to_the_lan(host: str, interfaces: Sequence[str] | None) -> tuple[str, ...]:
    """The addresses at which others reach a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ()  # a name: "localhost", say
    if address.is_unspecified:
        every = Place.here(interfaces).addresses
        return tuple(one for one in every if interfaces or not ipaddress.ip_address(one).is_loopback)
    return (str(address),) if interfaces or not address.is_loopback else ()


def _open(interfaces: Sequence[str] | None) -> AsyncZeroconf:
    try:
        zeroconf = AsyncZeroconf(
            interfaces=list(interfaces) if interfaces else InterfaceChoice.All, ip_version=IPVersion.V4Only
        )
    except (OSError, RuntimeError, ZeroconfError) as error:
        raise OSError(f"this machine does not allow multicast ({error})") from error
    return zeroconf


async def _finish(said: Awaitable[None]) -> None:
    with suppress(OSError, ZeroconfError):
        await said


class _Watch(RecordUpdateListener):
    """What is known of others. Their records are listened to here, so that a flood fills no cache of a library."""

    def __init__(
        self,
        zeroconf: AsyncZeroconf,
        place: Place,
        sighted: Callable[[WebSighting], None],
        lost: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._zeroconf, self._place = zeroconf, place
        self._sighted, self._lost = sighted, lost
        self._known: dict[str, WebSighting] = {}
        self._unclear: set[str] = set()
        self._something_unclear = anyio.Event()

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Listen, and ask who is there."""
        self._zeroconf.zeroconf.async_add_listener(self, None)
        for task in (self._call_everybody, self._ask, self._check):
            tasks.start_soon(task)

    @override
    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        for update in records:
            record = update.new
            if not isinstance(record, DNSPointer) or record.name != SERVICE_TYPE or record.alias in _ours:
                continue
            if record.is_expired(now):
                self._lose(record.alias)
            elif record.alias in self._known or len(self._known) + len(self._unclear) < MAX_ANNOUNCEMENTS:
                self._unclear.add(record.alias)

    @override
    def async_update_records_complete(self) -> None:
        if self._unclear:
            self._something_unclear.set()

    def _lose(self, name: str) -> None:
        if self._known.pop(name, None) is not None:
            self._lost(name)

    async def _call_everybody(self) -> None:
        pause = 1.0
        while True:
            query = DNSOutgoing(_QUERY)
            query.add_question(DNSQuestion(SERVICE_TYPE, _TYPE_PTR, _CLASS_IN))
            with suppress(OSError, ZeroconfError):
                self._zeroconf.zeroconf.async_send(query)
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _ask(self) -> None:
        while True:
            await self._something_unclear.wait()
            self._something_unclear = anyio.Event()
            while self._unclear:
                async with anyio.create_task_group() as tasks:
                    for _ in range(min(MAX_QUESTIONS, len(self._unclear))):
                        tasks.start_soon(self._ask_for, self._unclear.pop())

    async def _ask_for(self, name: str) -> None:
        record = AsyncServiceInfo(SERVICE_TYPE, name)
        answered = record.load_from_cache(self._zeroconf.zeroconf)
        if not answered:
            with suppress(OSError, ZeroconfError):
                answered = await record.async_request(self._zeroconf.zeroconf, ANSWER_SECONDS * 1000)
        hosts = self._place.reachable(record.parsed_scoped_addresses()) if answered else ()
        sighting = read_untrusted(name, hosts, record.port, record.properties)
        if sighting is None:
            self._lose(name)
        elif self._known.get(name) != sighting:
            self._lose(name)  # it is elsewhere now
            self._known[name] = sighting
            self._sighted(sighting)

    async def _check(self) -> None:
        """Those whose records expired are asked for, and lost when nobody answers."""
        while True:
            await anyio.sleep(CHECK_SECONDS)
            self._unclear |= self._known.keys()
            self.async_update_records_complete()


def read_untrusted(
    name: str, hosts: Sequence[str], port: int | None, properties: Mapping[bytes, bytes | None]
) -> WebSighting | None:
    """What an announcement says, if it may be believed so far."""
    path = (properties.get(b"card") or CARD_PATH.encode()).decode("ascii", "replace")
    if not hosts or port is None or not (port >= MIN_PORT or port in _WEB_PORTS) or not _PATH.fullmatch(path):
        return None
    tls = (properties.get(b"tls") or b"").lower() in (b"1", b"true", b"yes")
    return WebSighting(name, hosts[0], port, path, tls)
