"""A node's way to its relays: a session with each, kept as long as the node runs, and links to the mailboxes there."""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import anyio
import anyio.abc
from typing_extensions import override

from mcp_a2a.errors import LinkError, NotAdmittedError, RelayError
from mcp_a2a.ports import Credentials, Link, LinkHandler, Transport
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import ByeCode
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.paths import RelayAddr, TransportAddr
from mcp_a2a.protocol.relay_url import RelayUrl, parse_relay_url
from mcp_a2a.relay_ports import RelayHandler, Relays, RelayState, Watched
from mcp_a2a_transports._dialling import connect, open_client
from mcp_a2a_transports._links import DIAL_SECONDS, LEAVE_SECONDS, answered_in_time
from mcp_a2a_transports._tasks import background_tasks
from mcp_a2a_transports.relay.backoff import Backoff
from mcp_a2a_transports.relay.session import RelaySession

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Kept:
    """A relay that a session is kept with."""

    url: RelayUrl
    watched: Callable[[], Sequence[Watched]]
    backoff: Backoff
    detail: str = "connecting"
    session: RelaySession | None = None
    """The one that is open, or about to be."""
    again: bool = False
    """Whether the next session is wanted at once."""
    dropped: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def open(self) -> RelaySession | None:
        """The session, when it can be used."""
        session = self.session
        return session if session is not None and session.opened.is_set() and not session.ended.is_set() else None

    @property
    def wanted_now(self) -> bool:
        """Whether there is no pause to make: for another session, or none."""
        return self.again or self.dropped

    def change(self) -> None:
        """Wake whoever waits for anything here."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()


@dataclass(frozen=True)
class _World:
    """What is there while the transport is open."""

    credentials: Credentials
    handler: LinkHandler
    client: aiohttp.ClientSession
    tasks: anyio.abc.TaskGroup


class RelayTransport(Transport, Relays):
    """Sessions with relays. Certificates are checked by `tls`, or else by the system's authorities."""

    def __init__(self, tls: ssl.SSLContext | None = None, chance: Callable[[], float] = random.random) -> None:
        self._tls = tls
        self._chance = chance
        self._relays: RelayHandler | None = None
        self._kept: dict[str, _Kept] = {}
        self._world: _World | None = None

    # --- Transport -------------------------------------------------------------------------------

    @override
    @asynccontextmanager
    async def open(self, credentials: Credentials, handler: LinkHandler) -> AsyncIterator[tuple[TransportAddr, ...]]:
        async with open_client() as client, background_tasks() as tasks:
            self._world = _World(credentials, handler, client, tasks)
            for kept in self._kept.values():
                kept.session, kept.detail = None, "connecting"
                tasks.start_soon(self._keep_session, kept)
            try:
                yield ()
            finally:
                self._world = None
                await self._leave()

    async def _leave(self) -> None:
        sessions = [kept.session for kept in self._kept.values() if kept.session is not None]
        for session in sessions:
            session.close("we are leaving", ByeCode.LEAVING)
        with anyio.move_on_after(LEAVE_SECONDS, shield=True):
            for session in sessions:
                await session.ended.wait()

    @override
    def reaches(self, address: TransportAddr) -> bool:
        return isinstance(address, RelayAddr)

    @override
    async def dial(self, peer: PeerId | None, address: TransportAddr, route: str) -> Link:
        if peer is None:
            raise LinkError("a relay has many mailboxes, and none was named")
        kept = self._kept.get(str(address))
        if kept is None or self._world is None:
            raise LinkError("it is not a relay of ours")
        session = await self._session(kept)
        return await session.link_to(peer)

    # --- Relays ----------------------------------------------------------------------------------

    @override
    def hear(self, handler: RelayHandler) -> None:
        self._relays = handler

    @override
    def keep(self, url: str, watched: Callable[[], Sequence[Watched]]) -> None:
        kept = self._kept.get(url)
        if kept is not None:
            kept.watched, kept.again = watched, True
            ended, kept.session = kept.session, None  # nobody shall ask the one that ends
            if ended is not None:
                ended.close("our networks have changed")
            kept.change()
            return
        kept = self._kept[url] = _Kept(parse_relay_url(url), watched, Backoff(self._chance))
        if self._world is not None:
            self._world.tasks.start_soon(self._keep_session, kept)

    @override
    def drop(self, url: str) -> None:
        kept = self._kept.pop(url, None)
        if kept is not None:
            kept.dropped = True
            if kept.session is not None:
                kept.session.close("we left its networks", ByeCode.LEAVING)
            kept.change()

    @override
    def states(self) -> tuple[RelayState, ...]:
        return tuple(_state(url, kept) for url, kept in self._kept.items())

    @override
    async def publish(self, url: str, listing: Listing) -> None:
        await (await self._asked(url)).publish(listing)

    @override
    async def offer(self, url: str, network: PeerId, invitation: bytes, sealed: bytes, uses: int, expires: int) -> None:
        await (await self._asked(url)).offer(network, invitation, sealed, uses, expires)

    @override
    async def find(self, url: str, peer: PeerId) -> KeyBundle | None:
        return await (await self._asked(url)).find(peer)

    @override
    async def claim(self, url: str, invitation: bytes) -> bytes:
        kept = self._kept.get(url)
        if kept is not None and kept.open is not None:
            return await kept.open.claim(invitation)
        async with self._visit(url) as session:
            return await session.claim(invitation)

    @override
    async def try_out(self, url: str) -> float:
        started = anyio.current_time()
        async with self._visit(url):
            return anyio.current_time() - started

    # --- sessions --------------------------------------------------------------------------------

    async def _session(self, kept: _Kept) -> RelaySession:
        """The open session; waits a few seconds for it.

        Raises:
            LinkError: there is none, and why.
        """
        with anyio.move_on_after(DIAL_SECONDS):
            while (session := kept.open) is None and not kept.dropped:
                await kept.changed.wait()
            if session is not None:
                return session
        raise LinkError(kept.detail)

    async def _asked(self, url: str) -> RelaySession:
        kept = self._kept.get(url)
        if kept is None:
            raise RelayError(url, "it is not a relay of ours", "mcp-a2a networks shows which are.")
        try:
            return await self._session(kept)
        except LinkError as error:
            if kept.session is not None:
                raise kept.session.failure(error.message) from error
            raise RelayError(url, error.message) from error

    @asynccontextmanager
    async def _visit(self, url: str) -> AsyncIterator[RelaySession]:
        """A session for one question."""
        world = self._world
        if world is None:
            raise RelayError(url, "we are not on the network ourselves")
        session = RelaySession(world.credentials, world.handler, None, parse_relay_url(url), ())
        async with background_tasks() as tasks:
            tasks.start_soon(self._carry, world, session)
            with anyio.move_on_after(DIAL_SECONDS):
                await session.settled()
            if not session.opened.is_set():
                session.close("it took too long")
                raise session.failure(f"no answer within {DIAL_SECONDS:.0f} s")
            try:
                yield session
            finally:
                session.close("that was all")

    async def _carry(self, world: _World, session: RelaySession) -> None:
        """Connect, and run a session to its end; why it ended is with the session."""
        try:
            with answered_in_time():
                channel = await connect(world.client, session.url.endpoint, "a relay", self._tls)
        except LinkError as error:
            session.fail(error.message)
            return
        await session.run(channel)

    async def _keep_session(self, kept: _Kept) -> None:
        while not kept.dropped and self._world is not None:
            kept.again = False
            world = self._world
            session = kept.session = RelaySession(
                world.credentials, world.handler, self._relays, kept.url, kept.watched()
            )
            started = anyio.current_time()
            async with background_tasks() as tasks:
                tasks.start_soon(self._carry, world, session)
                await session.settled()
                kept.change()
                await session.ended.wait()
            lasted = anyio.current_time() - started if session.opened.is_set() else 0.0
            await self._pause(kept, session, lasted)

    async def _pause(self, kept: _Kept, session: RelaySession, lasted: float) -> None:
        """Tell that there is no session, and wait for the time of the next."""
        kept.detail = session.reason or "the connection was lost"
        hopeless = isinstance(session.failure(""), NotAdmittedError)
        kept.change()
        if kept.wanted_now:
            return
        if self._relays is not None:
            self._relays.relay_closed(str(kept.url), kept.detail)
        with anyio.move_on_after(kept.backoff.pause(lasted, hopeless=hopeless)):
            while not kept.wanted_now:
                await kept.changed.wait()


def _state(url: str, kept: _Kept) -> RelayState:
    session = kept.open
    if session is None:
        return RelayState(url, connected=False, detail=kept.detail)
    return RelayState(url, connected=True, detail="on", rtt_seconds=session.rtt_seconds)
