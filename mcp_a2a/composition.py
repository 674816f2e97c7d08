"""The composition root: the only module that names concrete transports, lookups and stores.

It imports everything a node needs, which takes a few hundred milliseconds; `app` does that behind the first answer.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue

from mcp_a2a.a2a.client import WebClient
from mcp_a2a.a2a.push import WebHooks
from mcp_a2a.accepting import raise_open_files
from mcp_a2a.config import Settings
from mcp_a2a.front.frames import Frame, Kind
from mcp_a2a.node.api import LocalApi
from mcp_a2a.node.ipc.control import control_server
from mcp_a2a.node.ipc.stand_in import StandIn
from mcp_a2a.node.node import Node
from mcp_a2a.node.peers.own_advert import keep_card, kept_card
from mcp_a2a.node.running import run_node
from mcp_a2a.node.runtime.parts import NodeParts
from mcp_a2a.ports import AddressLookup, NodeApi
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.names import memorable_name
from mcp_a2a.store.database import Database
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.journal import Manner, keep_manner, kept_manner
from mcp_a2a.store.keyfile import OwnDids, load_identity
from mcp_a2a.store.network_folder import NetworkFolder
from mcp_a2a.store.offline import DATABASE
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.short_places import socket_path
from mcp_a2a.store.waiting import anything_waits
from mcp_a2a.store.work_folder import sweep_rooms
from mcp_a2a.uptime import Uptime, boot
from mcp_a2a.version import __version__
from mcp_a2a.wall_clock import stamp_of_now, wall_clock
from mcp_a2a_transports.direct import DirectTransport, is_near, own_addresses
from mcp_a2a_transports.dns_sd import A2AWatch, announced
from mcp_a2a_transports.local import LocalLookup
from mcp_a2a_transports.mdns import MdnsLookup
from mcp_a2a_transports.relay.client import RelayTransport
from mcp_a2a_transports.surroundings import Surroundings
from mcp_a2a_transports.wires import Multicast

logger = logging.getLogger(__name__)

ALIVE_SECONDS = 1.0
"""Seconds between signs of life to a front, while the modules of its session are imported."""

OPEN_FILES = 16_384
"""A link is an open file at each of its ends, and some systems allow 256: fifty agents in one process need 3,000."""


@asynccontextmanager
async def own_node(settings: Settings, card: AgentCard | None) -> AsyncIterator[NodeApi]:
    """Run the node of this identity in this process, which holds the identity's lock.

    While it runs, this process may stand in for other identities of the data folder as well.

    Raises:
        ConfigurationError: it cannot run here, and why.
    """
    async with _node(settings, card) as node:
        await node.inbox.release(_is_alive)
        api = LocalApi(node)
        control = control_server(api, partial(_release, node), _speak).serve(socket_path(settings.folder))
        async with control, _standing_in(settings):
            yield api


@asynccontextmanager
async def _standing_in(settings: Settings) -> AsyncIterator[None]:
    """Stand in for the other identities of the data folder, unless this process was told to stay out of networks."""
    stand_in = StandIn(settings.home, settings.identity, DATABASE, partial(_node_of, settings))
    async with anyio.create_task_group() as tasks:
        if settings.networks:
            tasks.start_soon(stand_in.run)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def _node_of(settings: Settings, identity: str) -> AsyncIterator[Callable[[], bool]]:
    """The node of another identity, as its own process left it; yields whether something waits there.

    Of the settings of this process only what is true of the machine counts.
    """
    machine = {name: getattr(settings, name) for name in ("home", "mdns", "link_host", "downloads")}
    other = Settings.model_construct(**machine, identity=identity)
    async with _node(other, None, stands_in=True) as node:
        yield lambda: node.context.database.read(anything_waits)


def _own_folder(settings: Settings) -> tuple[Path, Identity]:
    """The folder of an identity, which is made where it is missing, and the identity."""
    raise_open_files(OPEN_FILES)
    open_folder(settings.home)
    sweep_rooms(settings.home)
    folder = open_folder(settings.folder)
    return folder, load_identity(folder, os.urandom(32))


@asynccontextmanager
async def _node(settings: Settings, card: AgentCard | None, *, stands_in: bool = False) -> AsyncIterator[Node]:
    folder, identity = _own_folder(settings)
    stamp = stamp_of_now()
    surroundings = Surroundings()
    multicast = Multicast(surroundings)
    async with (
        surroundings.open(),
        multicast.open(),
        open_database(folder / DATABASE, stamp) as database,
        WebClient() as web,
        WebHooks(near=settings.a2a_push_local) as hooks,
    ):
        settings, card = _shown(database, settings, card, identity.peer_id, stands_in=stands_in)
        relays = RelayTransport()
        parts = NodeParts(
            identity=identity,
            identity_name=settings.identity,
            database=database,
            home=settings.home,
            transports=(DirectTransport(settings.link_host, settings.link_port, surroundings), relays),
            lookups=_lookups(settings, multicast),
            card=card,
            given_name=settings.name,
            own_name=settings.own_name or memorable_name(identity.peer_id),
            accept=settings.accept,
            accept_rate=settings.accept_rate,
            wall_clock=wall_clock,
            uptime=Uptime(),
            boot=boot(),
            randomness=os.urandom,
            own_dids=OwnDids(settings.home),
            relays=relays,
            networks=NetworkFolder(settings.home if settings.networks else None),
            own_addresses=partial(own_addresses, bound_to=settings.link_host),
            near=is_near,
            moved=surroundings.moved,
            lease_seconds=settings.lease_seconds,
            downloads=settings.downloads,
            web=web,
            web_watch=A2AWatch(multicast) if settings.mdns and not stands_in else None,
            hooks=hooks if settings.pushes else None,
        )
        with _closing_what_is_gone(surroundings, web, hooks):
            async with run_node(parts) as node:
                yield node


def _shown(
    database: Database, settings: Settings, card: AgentCard | None, peer_id: PeerId, *, stands_in: bool
) -> tuple[Settings, AgentCard]:
    """The settings and the card that others see; a process that stands in for a node takes the kept ones."""
    if stands_in:
        card, settings = _still_called(kept_card(database), settings), _as_before(database, settings)
    else:
        keep_manner(database, Manner(settings.mdns, settings.networks, settings.link_host))
    card = card or _assistant_card(settings, peer_id)
    keep_card(database, card)
    return settings, card


@contextmanager
def _closing_what_is_gone(surroundings: Surroundings, *callers: WebClient | WebHooks) -> Iterator[None]:
    """Connections to agents and hooks at URLs end with the address that they run over; what waited asks anew."""

    def close() -> None:
        for caller in callers:
            caller.close_gone(surroundings.lacks)

    with surroundings.telling(close):
        yield


async def announce_server(host: str, url: str) -> None:
    """Announce an A2A server, until cancelled."""
    parts = urlsplit(url)
    try:
        async with announced(host, parts.port or 0, tls=parts.scheme == "https") as is_announced:
            if is_announced:
                await anyio.sleep_forever()
    except OSError as error:
        logger.warning("the A2A server is not announced on this network: %s", error)


def _lookups(settings: Settings, multicast: Multicast) -> Sequence[AddressLookup]:
    local = LocalLookup(settings.home / "announce")
    return (local, MdnsLookup(multicast, settings.link_host)) if settings.mdns else (local,)


def _assistant_card(settings: Settings, peer_id: PeerId) -> AgentCard:
    """The card of an assistant: it takes any work its user lets it do."""
    return AgentCard(
        name=settings.called or memorable_name(peer_id),
        description="An AI assistant. It answers when its user lets it look into its inbox.",
        version=__version__,
        default_input_modes=("text/plain", "*/*"),
    )


def _as_before(database: Database, settings: Settings) -> Settings:
    """The settings of a process that stands in, for an identity that is to be seen where its own process showed it."""
    kept = kept_manner(database)
    if kept is None:
        return settings
    seen = {"mdns": settings.mdns and kept.mdns, "networks": kept.networks, "link_host": kept.link_host}
    return settings.model_copy(update=seen)


def _still_called(card: AgentCard | None, settings: Settings) -> AgentCard | None:
    """The card that an identity showed last, by the name that was kept for it since."""
    return card.model_copy(update={"name": settings.called}) if card is not None and settings.called else card


async def _speak(
    api: NodeApi, stream: SocketStream, received: BufferedByteReceiveStream, said: Mapping[str, JsonValue]
) -> None:
    """Have the MCP session of another process's client. The SDK is imported when the first of them comes."""
    name = "mcp_a2a.server.piped"
    piped = sys.modules.get(name) or await _imported(name, stream)
    await piped.speak(api, stream, received, said)


async def _imported(name: str, stream: SocketStream) -> ModuleType:
    """A module that takes seconds to import; meanwhile the front is told that this process lives."""
    imported = anyio.Event()

    async def say_that_we_live() -> None:
        while not imported.is_set():
            await stream.send(Frame(Kind.ALIVE).encoded())
            with anyio.move_on_after(ALIVE_SECONDS):
                await imported.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(say_that_we_live)
        try:
            module = await anyio.to_thread.run_sync(importlib.import_module, name, abandon_on_cancel=True)
        finally:
            imported.set()
    return module


async def _release(node: Node, holders: set[str]) -> None:
    await node.inbox.release(lambda holder: holder not in holders)


def _is_alive(holder: str) -> bool:
    """True if the process that named itself `PID-…` still runs.

    Our own number, met before we leased anything, is that of an earlier process.
    """
    pid, _, _ = holder.partition("-")
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
