"""A node's way to its relays: a session with each, kept as long as the node runs, and links to the mailboxes there."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.abc
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.ports import Credentials, Link, LinkHandler, Transport
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.forbidden_addresses import is_no_place, is_this_machine
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.paths import RelayAddr, TransportAddr
from mcp_a2a.protocol.relay_url import parse_relay_url
from mcp_a2a.relay_ports import RelayHandler, Relays, RelayState, Watched
from mcp_a2a_transports._dialling import open_client
from mcp_a2a_transports._links import DIAL_SECONDS, LEAVE_SECONDS
from mcp_a2a_transports._tasks import background_tasks
from mcp_a2a_transports.relay.backoff import RelayBackoff
from mcp_a2a_transports.relay.kept import KeptRelay
from mcp_a2a_transports.relay.session import RelaySession
from mcp_a2a_transports.relay.shared_state import World


@dataclass(frozen=True)
class _Open:
    """The state of an open transport."""

    world: World
    tasks: anyio.abc.TaskGroup


class RelayTransport(Transport, Relays):
    """Sessions with relays. Certificates are checked by `tls`, or else by the system's authorities."""

    def __init__(self, tls: ssl.SSLContext | None = None, chance: Callable[[], float] = random.random) -> None:
        self._tls = tls
        self._chance = chance
        self._relays: RelayHandler | None = None
        self._kept: dict[str, KeptRelay] = {}
        self._open: _Open | None = None

    # --- Transport -------------------------------------------------------------------------------

    @override
    @asynccontextmanager
    async def open(self, credentials: Credentials, handler: LinkHandler) -> AsyncIterator[tuple[TransportAddr, ...]]:
        async with open_client(_is_refused) as client, background_tasks() as tasks:
            self._open = _Open(World(credentials, handler, client, self._tls), tasks)
            for kept in self._kept.values():
                self._start(kept)
            try:
                yield ()
            finally:
                self._open = None
                await self._leave()

    def _start(self, kept: KeptRelay) -> None:
        if self._open is not None:
            kept.start(self._open.tasks, self._open.world, self._relays)

    async def _leave(self) -> None:
        ending = [kept.end("we are leaving") for kept in self._kept.values()]
        with anyio.move_on_after(LEAVE_SECONDS, shield=True):
            for session in ending:
                if session is not None:
                    await session.ended.wait()

    @override
    def reaches(self, address: TransportAddr) -> bool:
        return isinstance(address, RelayAddr)

    @override
    async def dial(self, peer: PeerId | None, address: TransportAddr, route: str) -> Link:
        if peer is None:
            raise LinkError("a relay has many mailboxes, and none was named")
        kept = self._kept.get(str(address))
        if kept is None or self._open is None:
            raise LinkError("it is not a relay of ours")
        if peer == self._open.world.credentials.identity.peer_id:
            raise LinkError("it has our own key")
        session = await kept.opened()
        return await session.link_to(peer)

    # --- Relays ----------------------------------------------------------------------------------

    @override
    def hear(self, handler: RelayHandler) -> None:
        self._relays = handler

    @override
    def keep(self, url: str, watched: Callable[[], Sequence[Watched]]) -> None:
        kept = self._kept.get(url)
        if kept is not None:
            kept.renew(watched)
            return
        kept = self._kept[url] = KeptRelay(parse_relay_url(url), watched, RelayBackoff(self._chance))
        self._start(kept)

    @override
    def drop(self, url: str) -> None:
        kept = self._kept.pop(url, None)
        if kept is not None:
            kept.end("we left its networks")

    @override
    def probe(self, seconds: float) -> None:
        for kept in self._kept.values():
            if kept.session is not None:
                kept.session.to_relay.probe(seconds)

    @override
    def states(self) -> tuple[RelayState, ...]:
        return tuple(kept.state for kept in self._kept.values())

    @override
    async def publish(self, url: str, listing: Listing) -> None:
        await (await self._asked(url)).questions.publish(listing)

    @override
    async def offer(self, url: str, network: PeerId, invitation: bytes, sealed: bytes, uses: int, expires: int) -> None:
        await (await self._asked(url)).questions.offer(network, invitation, sealed, uses, expires)

    @override
    async def find(self, url: str, peer: PeerId) -> KeyBundle | None:
        return await (await self._asked(url)).questions.find(peer)

    @override
    async def claim(self, url: str, invitation: bytes) -> bytes:
        kept = self._kept.get(url)
        session = kept.session if kept is not None else None
        if session is not None:
            return await session.questions.claim(invitation)
        async with self._visit(url, ()) as session:
            return await session.questions.claim(invitation)

    @override
    async def admit(self, url: str, network: Network, secret: bytes | None) -> None:
        async with self._visit(url, (Watched(network),)) as session:
            await session.have_admitted(network.id, secret)

    @override
    async def try_out(self, url: str) -> float:
        kept = self._kept.get(url)
        async with self._visit(url, kept.watched() if kept is not None else ()) as session:
            started = anyio.current_time()
            await session.questions.knock(session.credentials.identity.peer_id)
            return anyio.current_time() - started

    async def _asked(self, url: str) -> RelaySession:
        kept = self._kept.get(url)
        if kept is None or self._open is None:
            raise RelayError(url, "it is not a relay of ours", Remedy("mcp-a2a networks shows which are."))
        return await kept.asked()

    @asynccontextmanager
    async def _visit(self, url: str, shown: Sequence[Watched]) -> AsyncIterator[RelaySession]:
        """A session for one question, with proofs of membership of these networks."""
        if self._open is None:
            raise RelayError(url, "we are not on the network ourselves")
        session = RelaySession(self._open.world, parse_relay_url(url), shown)
        async with background_tasks() as tasks:
            tasks.start_soon(session.run)
            with anyio.move_on_after(DIAL_SECONDS):
                await session.settled()
            if not session.opened.is_set():
                session.close(too_long := f"no answer within {DIAL_SECONDS:.0f} s")
                raise session.failure(too_long)
            try:
                yield session
            finally:
                session.close("that was all")


def _is_refused(address: str) -> bool:
    # The name of a relay may lead elsewhere by the time it is called.
    return is_no_place(address) and not is_this_machine(address)
