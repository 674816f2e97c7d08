"""Opens links: every known way to a peer, staggered, first one wins, and one flight per peer at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from mcp_a2a.errors import LinkError, NoRouteError
from mcp_a2a.node.context import Context, wait_until
from mcp_a2a.node.directory import Directory, Peer
from mcp_a2a.ports import Link, Sighting, Transport
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.paths import Attempt, parse_address, plan_paths

RETRY_BASE_SECONDS = 1.0
RETRY_CAP_SECONDS = 30.0
"""Full jitter between 0 and the doubled base, at most the cap (security requirements R9)."""

COURTESY_SECONDS = 0.05
"""Two peers see each other at the same moment; the one with the larger key lets the other dial first."""

EAGER_ATTEMPTS = 6
"""A sighted peer that refuses so often is no longer worth waiting for; it is tried on while a lookup sees it."""

STEADY_SECONDS = 5.0
"""A link that ends sooner was as good as none: whoever blocks us closes it at once."""

MAX_DOUBLINGS = 16


def backoff(failures: int) -> float:
    """How long to wait after so many failures in a row: full jitter, so that a crowd spreads out."""
    ceiling = min(RETRY_CAP_SECONDS, RETRY_BASE_SECONDS * 2 ** min(failures, MAX_DOUBLINGS))
    return random.uniform(0, ceiling)  # noqa: S311  spreads load; nothing secret depends on it


@dataclass
class _Flight:
    """An attempt to reach a peer that several callers may wait for."""

    landed: anyio.Event = field(default_factory=anyio.Event)
    link: Link | None = None
    failures: list[str] = field(default_factory=list)


class Dialer:
    """Reaches peers over whatever transports there are."""

    def __init__(self, context: Context, directory: Directory, transports: Sequence[Transport]) -> None:
        self._context = context
        self._directory = directory
        self._transports = transports
        self._flights: dict[PeerId, _Flight] = {}
        self._courting: set[PeerId] = set()
        self._hopeful: set[PeerId] = set()
        """Of these, those who may well answer in a moment."""

    @property
    def busy(self) -> bool:
        """Whether somebody who was just seen is being dialled."""
        return bool(self._hopeful)

    async def connect(self, peer: Peer) -> Link:
        """An open link to the peer, the existing one if there is one.

        Raises:
            NoRouteError: every attempt with its reason.
        """
        if peer.link is not None:
            return peer.link
        flight = self._flights.get(peer.peer_id)
        if flight is None:
            flight = self._flights[peer.peer_id] = _Flight()
            self._context.tasks.start_soon(self._fly, peer, flight)
        await flight.landed.wait()
        if flight.link is None:
            raise NoRouteError(peer.name, flight.failures)
        return flight.link

    async def dial_address(self, address: str) -> Link:
        """Reach whoever answers at HOST:PORT.

        Raises:
            NoRouteError: nobody does, or not with our protocol.
        """
        target = parse_address(address)
        transport = next(transport for transport in self._transports if transport.reaches(target))
        try:
            return await transport.dial(None, target, "direct")
        except LinkError as error:
            raise NoRouteError(address, [error.message]) from error

    def court(self, peer: Peer) -> None:
        """Get acquainted with a sighted peer, in the background, again and again while it stays sighted."""
        if peer.peer_id not in self._courting and not peer.links:
            self._courting.add(peer.peer_id)
            self._hopeful.add(peer.peer_id)
            self._context.tasks.start_soon(self._court, peer)

    async def _court(self, peer: Peer) -> None:
        try:
            if self._context.me > peer.peer_id:
                await anyio.sleep(COURTESY_SECONDS)
            await self._try_on(peer)
        finally:
            self._courting.discard(peer.peer_id)
            self._hopeful.discard(peer.peer_id)
            self._directory.changes.notify()

    async def _try_on(self, peer: Peer) -> None:
        failures = 0
        while not peer.links and peer.sightings and peer.row.trust != "blocked":
            seen = dict(peer.sightings)
            if await self._acquainted(peer):
                return
            failures += 1
            if failures == EAGER_ATTEMPTS:
                self._lose_hope(peer)
            if await self._sighted_anew(peer, seen, backoff(failures)):
                failures = 0

    async def _acquainted(self, peer: Peer) -> bool:
        """Open a link; whether it lasts."""
        try:
            await self.connect(peer)
        except NoRouteError:
            return False
        self._lose_hope(peer)
        with anyio.move_on_after(STEADY_SECONDS):
            while peer.links:
                await self._directory.changes.event().wait()
        return bool(peer.links)

    def _lose_hope(self, peer: Peer) -> None:
        """Nobody needs to wait for this one any more, whether it answered or not."""
        self._hopeful.discard(peer.peer_id)
        self._directory.changes.notify()

    async def _sighted_anew(self, peer: Peer, before: dict[str, Sighting], seconds: float) -> bool:
        """Wait, but not longer than until the peer is seen somewhere else (it restarted)."""
        with anyio.move_on_after(seconds):
            while peer.sightings == before and not peer.links:
                await self._directory.changes.event().wait()
            return True
        return False

    async def _fly(self, peer: Peer, flight: _Flight) -> None:
        try:
            attempts = plan_paths(self._sightings(peer))
            async with anyio.create_task_group() as race:
                for attempt in attempts:
                    race.start_soon(self._attempt, peer, attempt, flight, race.cancel_scope)
        finally:
            del self._flights[peer.peer_id]
            # The peer may have dialled us in the meantime, which is as good.
            flight.link = flight.link or peer.link
            flight.landed.set()

    async def _attempt(self, peer: Peer, attempt: Attempt, flight: _Flight, race: anyio.CancelScope) -> None:
        if attempt.start_after_seconds and await wait_until(flight.landed, attempt.start_after_seconds):
            return
        for transport in self._transports:
            if not transport.reaches(attempt.address):
                continue
            try:
                flight.link = await transport.dial(peer.peer_id, attempt.address, attempt.route)
            except LinkError as error:
                flight.failures.append(f"{attempt.route} {attempt.address}: {error.message}")
            else:
                race.cancel()
            return
        flight.failures.append(f"{attempt.route} {attempt.address}: no transport for it")

    def _sightings(self, peer: Peer) -> tuple[Sighting, ...]:
        typed = tuple(parse_address(text) for text in peer.row.addresses)
        static = (Sighting(peer.peer_id, typed, "static"),) if typed else ()
        return (*peer.sightings.values(), *static)
