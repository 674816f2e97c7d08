"""Opens links: every known way to a peer, staggered, first one wins, and one flight per peer at a time.

A link through a relay that comes first is used, and the direct attempts beside it go on: the better one is used from
when it is there. What is reached through a relay only is dialled directly again from time to time.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from mcp_a2a.errors.delivery import LinkError, NoRouteError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context, pause_after, wait_until
from mcp_a2a.ports import Link, Sighting, Transport
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import Attempt, parse_address, plan_paths, route_word

logger = logging.getLogger(__name__)

RETRY = Backoff()

COURTESY_SECONDS = 0.05
"""Two peers see each other at the same moment; the one with the larger key lets the other dial first. So long for each
peer that is being dialled: in a crowd the other is busy too."""

MAX_COURTED = 6
"""Sighted peers that the nodes of one process dial at a time. Each handshake has a deadline, and with all of a crowd
under way at once none would meet it; what waits for its turn here has not begun."""

TURN_SECONDS = 1.0
"""A machine that does not answer costs no processor time, and must not keep others from being dialled."""

_turns: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("_turns")
"""The same for all nodes on one event loop, which share a processor."""

EAGER_ATTEMPTS = 6
"""A sighted peer that refuses so often is no longer worth waiting for; it is tried on while a lookup sees it."""

SEEK_PAUSE_SECONDS = 5.0
MAX_SOUGHT = 64
"""A peer that is asked about is dialled at most so often, and at most so many at a time."""

STEADY_SECONDS = 5.0
"""A link that ends within these seconds counts as none: an agent that blocks us closes it at once."""

UPGRADE_SECONDS = 300.0
"""Seconds between direct attempts for a peer that is reached through a relay, while messages go to it."""


def _all_turns() -> anyio.CapacityLimiter:
    """The turns on this event loop."""
    try:
        return _turns.get()
    except LookupError:
        turns = anyio.CapacityLimiter(MAX_COURTED)
        _turns.set(turns)
        return turns


@dataclass
class _Flight:
    """An attempt to reach a peer that several callers may wait for."""

    landed: anyio.Event = field(default_factory=anyio.Event)
    """There is a link, or there will be none."""
    over: anyio.Event = field(default_factory=anyio.Event)
    """Every attempt has ended."""
    link: Link | None = None
    failures: list[str] = field(default_factory=list)


class Dialer:
    """Reaches peers over whatever transports there are."""

    def __init__(self, context: Context, directory: Directory, transports: Sequence[Transport]) -> None:
        self._context = context
        self._directory = directory
        self._transports = transports
        self._flights: dict[PeerId, _Flight] = {}
        self._dialing: set[PeerId] = set()
        self._hopeful: set[PeerId] = set()
        """Of these, those who may well answer in a moment."""

    @property
    def busy(self) -> bool:
        """True if an agent that was just sighted is being dialled, or has not sent its name yet."""
        return bool(self._hopeful)

    async def connect(self, peer: Peer) -> Link:
        """An open link to the peer, the existing one if there is one.

        Raises:
            NoRouteError: every attempt with its reason.
        """
        link = peer.link
        if link is not None and not self._may_be_better(peer, link):
            return link
        flight = self._flights.get(peer.peer_id)
        if flight is None:
            flight = self._flights[peer.peer_id] = _Flight()
            self._context.tasks.start_soon(self._fly, peer, flight)
        if link is not None:
            return link  # good enough for now; the better one is used from when it is there
        await flight.landed.wait()
        if flight.link is None:
            raise NoRouteError(peer.name, flight.failures)
        return flight.link

    def _may_be_better(self, peer: Peer, link: Link) -> bool:
        """True if it is worth looking for a better way than this link."""
        if not link.is_relayed:
            return False
        if peer.attends and link.address not in peer.attends:
            return True  # its mailbox is there, but it is connected elsewhere
        return anyio.current_time() >= peer.upgrade_at

    async def dial_address(self, address: str) -> Link:
        """Dial the agent at HOST:PORT.

        Raises:
            NoRouteError: no agent answers there, or not with our protocol.
        """
        target = parse_address(address)
        transport = next(transport for transport in self._transports if transport.reaches(target))
        try:
            return await transport.dial(None, target, "direct")
        except LinkError as error:
            raise NoRouteError(
                address,
                [error.message],
                Remedy("Check the address: `mcp-a2a status` on that machine tells where it listens."),
            ) from error

    async def look_up(self, peers: Iterable[Peer], seconds: float) -> None:
        """Dial the agents among these that are away, for a caller that waits; give up after these seconds."""
        now = anyio.current_time()
        absent = [peer for peer in peers if self._may_be_there(peer) and now >= peer.sought_at + SEEK_PAUSE_SECONDS]
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                for peer in absent[:MAX_SOUGHT]:
                    peer.sought_at = now
                    tasks.start_soon(self._find_out, peer)

    def _may_be_there(self, peer: Peer) -> bool:
        """True if no lookup would report this agent, and a dialled connection may reach it."""
        return peer.link is None and peer.row.trust != "blocked" and bool(peer.row.addresses or peer.sightings)

    async def _find_out(self, peer: Peer) -> None:
        with suppress(NoRouteError):
            await self.connect(peer)

    def keep_dialing(self, peer: Peer) -> None:
        """Dial a sighted peer in the background, again and again while it stays sighted and has no direct link."""
        if peer.peer_id not in self._dialing and not peer.has_direct_link:
            self._dialing.add(peer.peer_id)
            self._hopeful.add(peer.peer_id)
            self._context.tasks.start_soon(self._dial_on, peer)

    async def _dial_on(self, peer: Peer) -> None:
        try:
            if self._context.me > peer.peer_id:
                await self._let_it_dial(peer)
            await self._try_on(peer)
        finally:
            self._dialing.discard(peer.peer_id)
            self._hopeful.discard(peer.peer_id)
            self._directory.changes.notify()

    async def _let_it_dial(self, peer: Peer) -> None:
        with anyio.move_on_after(COURTESY_SECONDS * len(self._hopeful)):
            while not peer.has_direct_link:
                await self._directory.change_of(peer).wait()

    async def _try_on(self, peer: Peer) -> None:
        failures = 0
        while not peer.has_direct_link and peer.is_near and peer.row.trust != "blocked":
            seen = dict(peer.sightings)
            if await self._acquainted(peer):
                return
            failures += 1
            if failures == EAGER_ATTEMPTS:
                self._lose_hope(peer)
            if await self._sighted_anew(peer, seen, pause_after(failures, RETRY)):
                failures = 0

    async def _acquainted(self, peer: Peer) -> bool:
        """Open a direct link; whether it lasts."""
        async with self._turn():
            if not peer.has_direct_link and not await self._dialled(peer):
                return False
        with anyio.move_on_after(STEADY_SECONDS):
            while peer.has_direct_link:
                if peer.advert is not None and peer.peer_id in self._hopeful:
                    self._lose_hope(peer)
                await self._directory.change_of(peer).wait()
        return peer.has_direct_link

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for a turn to dial a sighted peer. One that is still at it after `TURN_SECONDS` goes on without it."""
        turns, is_over = _all_turns(), anyio.Event()
        held = [object()]
        await turns.acquire_on_behalf_of(held[0])

        def give_back() -> None:
            while held:
                turns.release_on_behalf_of(held.pop())

        async def watch() -> None:
            await wait_until(is_over, TURN_SECONDS)
            give_back()

        self._context.tasks.start_soon(watch)
        try:
            yield
        finally:
            is_over.set()
            give_back()

    async def _dialled(self, peer: Peer) -> bool:
        """Dial every known way to it; whether it is reached without a relay."""
        peer.upgrade_at = 0.0
        try:
            await self.connect(peer)
        except NoRouteError:
            return False
        flight = self._flights.get(peer.peer_id)
        if flight is not None:
            await flight.over.wait()
        return peer.has_direct_link

    def _lose_hope(self, peer: Peer) -> None:
        """End the waits for this agent, after its answer or a failed attempt."""
        self._hopeful.discard(peer.peer_id)
        self._directory.changes.notify()

    async def _sighted_anew(self, peer: Peer, before: dict[str, Sighting], seconds: float) -> bool:
        """Wait, but not longer than until the peer is seen somewhere else (it restarted)."""
        with anyio.move_on_after(seconds):
            while peer.sightings == before and not peer.has_direct_link:
                await self._directory.change_of(peer).wait()
            return True
        return False

    async def _fly(self, peer: Peer, flight: _Flight) -> None:
        try:
            attempts = [attempt for attempt in plan_paths(self._sightings(peer)) if not self._is_there(peer, attempt)]
            async with anyio.create_task_group() as race:
                for attempt in attempts:
                    race.start_soon(self._attempt, peer, attempt, flight, race.cancel_scope)
        finally:
            del self._flights[peer.peer_id]
            peer.upgrade_at = anyio.current_time() + UPGRADE_SECONDS
            peer.tried = tuple(flight.failures)
            self._land(peer, flight)
            flight.over.set()

    def _is_there(self, peer: Peer, attempt: Attempt) -> bool:
        return any(link.is_relayed and link.address == str(attempt.address) for link in peer.links)

    def _land(self, peer: Peer, flight: _Flight) -> None:
        # The peer may have dialled us in the meantime, which is as good.
        flight.link = flight.link or peer.link
        flight.landed.set()

    async def _attempt(self, peer: Peer, attempt: Attempt, flight: _Flight, race: anyio.CancelScope) -> None:
        if attempt.start_after_seconds and await wait_until(flight.landed, attempt.start_after_seconds):
            return
        for transport in self._transports:
            if not transport.reaches(attempt.address):
                continue
            logger.info("trying %s via %s: %s", peer.name, route_word(attempt.route), attempt.address)
            began = anyio.current_time()
            try:
                link = await transport.dial(peer.peer_id, attempt.address, attempt.route)
            except LinkError as error:
                logger.info("%s via %s: %s", peer.name, route_word(attempt.route), error.message)
                flight.failures.append(f"{route_word(attempt.route)} {attempt.address}: {error.message}")
                return
            took = (anyio.current_time() - began) * 1000
            logger.info("reached %s via %s in %.0f ms: %s", peer.name, route_word(link.route), took, link.address)
            flight.link = flight.link or link
            self._land(peer, flight)
            if not link.is_relayed:
                race.cancel()
            return
        flight.failures.append(f"{route_word(attempt.route)} {attempt.address}: no transport for it")

    def _sightings(self, peer: Peer) -> tuple[Sighting, ...]:
        typed = tuple(parse_address(text) for text in peer.row.addresses)
        static = (Sighting(peer.peer_id, typed, "static"),) if typed else ()
        # Of several relays, those first that it is connected to.
        seen = sorted(peer.sightings.values(), key=lambda sighting: not _attends(peer, sighting))
        return (*seen, *static)


def _attends(peer: Peer, sighting: Sighting) -> bool:
    return any(str(address) in peer.attends for address in sighting.addresses)
