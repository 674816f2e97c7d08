"""An in-process network for tests and simulations, with faults that can be turned up.

Frames travel in order on a link, as on TCP, so a lost frame breaks its link. What may happen in any
order, twice or late happens between links. All chances come from one seed and all times from the
clock of the event loop, so a run is as repeatable as its loop, and a virtual clock makes it fast.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.machine import PortInUseError
from mcp_a2a.ports import Credentials, Link, LinkHandler, Transport
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.handshake import Side, Target
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr
from mcp_a2a_transports._channel import Channel
from mcp_a2a_transports._drive import DrivenLink
from mcp_a2a_transports._links import Links, answered_in_time, keep_links

DOMAIN = ".memory"
PORT = 7301
WINDOW = 64
"""Frames that a wire holds before its sender has to wait."""

Tap: TypeAlias = Callable[[str, str, str | bytes], None]


@dataclass
class Faults:
    """What goes wrong on a network. Probabilities are per frame, except `duplication` (per dial)."""

    loss: float = 0.0
    """A frame is lost, and its link with it."""
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    """Added to the delay, anew for each frame: frames of different links overtake each other."""
    duplication: float = 0.0
    """A dial opens a second link beside the first."""


@dataclass(frozen=True)
class _Due:
    """A frame on its way."""

    frame: str | bytes
    at: float


class _Wire:
    """One connection between two hosts: two ends that break together."""

    def __init__(self, network: MemoryNetwork, dialler: str, listener: str) -> None:
        self.hosts = frozenset((dialler, listener))
        self.swallowed = False
        """True if a silent cut took something, so that nothing after it may arrive."""
        there = anyio.create_memory_object_stream[_Due](WINDOW)
        back = anyio.create_memory_object_stream[_Due](WINDOW)
        self.ends = (
            _End(network, self, (dialler, listener), there[0], back[1]),
            _End(network, self, (listener, dialler), back[0], there[1]),
        )

    def snap(self) -> None:
        """Break, at once and without a word."""
        for end in self.ends:
            end.close()


class _End(Channel):
    """What one host holds of a wire."""

    def __init__(
        self,
        network: MemoryNetwork,
        wire: _Wire,
        way: tuple[str, str],
        outgoing: MemoryObjectSendStream[_Due],
        incoming: MemoryObjectReceiveStream[_Due],
    ) -> None:
        self._network = network
        self._wire = wire
        self._way = way
        self._outgoing = outgoing
        self._incoming = incoming

    @override
    def offer(self, frame: str | bytes) -> Awaitable[None] | None:
        at = self._network.transmit(self._wire, self._way, frame)
        if at is None:
            return None
        try:
            self._outgoing.send_nowait(_Due(frame, at))
        except anyio.WouldBlock:
            return self._outgoing.send(_Due(frame, at))
        return None

    @override
    async def receive(self) -> str | bytes:
        while True:
            due = await self._incoming.receive()
            await anyio.sleep_until(due.at)
            if not self._network.swallows(self._wire):
                return due.frame

    @override
    async def aclose(self) -> None:
        self._network.forget(self._wire)
        self.close()

    def close(self) -> None:
        """Close our half; the other side still reads what was sent before."""
        self._outgoing.close()
        self._incoming.close()


class MemoryNetwork:
    """A network of named hosts; `transport(name)` is one host's way onto it.

    `tap` sees every frame that is sent: from, to, frame.
    """

    def __init__(self, seed: int = 0, tap: Tap | None = None) -> None:
        self.faults = Faults()
        self._tap = tap
        self._chances = random.Random(seed)
        self._hosts: dict[str, Links] = {}
        self._wires: set[_Wire] = set()
        self._cuts: dict[frozenset[str], bool] = {}

    def transport(self, name: str) -> MemoryTransport:
        """The transport of the host with that name, which listens at `NAME.memory:7301`."""
        return MemoryTransport(self, name)

    def cut(self, one: str, other: str, *, silently: bool = False) -> None:
        """Part two hosts until `heal`. Silently: nothing breaks, and nothing arrives either."""
        self._cuts[frozenset((one, other))] = silently
        if not silently:
            self._snap(wire for wire in self._wires if wire.hosts == {one, other})

    def heal(self) -> None:
        """Let all hosts reach each other again. A link from which a cut took something is broken."""
        self._cuts.clear()
        self._snap(wire for wire in self._wires if wire.swallowed)

    def _snap(self, wires: Iterable[_Wire]) -> None:
        for wire in tuple(wires):
            wire.snap()

    # --- for hosts and wires ----------------------------------------------------------------------

    def join(self, name: str, links: Links) -> None:
        """A host starts to listen."""
        if name in self._hosts:
            raise PortInUseError(str(DirectAddr(name + DOMAIN, PORT)))
        self._hosts[name] = links

    def part(self, name: str) -> None:
        """A host no longer listens."""
        del self._hosts[name]

    async def connect(self, dialler: str, address: TransportAddr) -> tuple[Channel, Channel, Links]:
        """A new wire: the dialler's end, the listener's end, and the listener."""
        name = str(address).removesuffix(f"{DOMAIN}:{PORT}")
        await anyio.sleep(self._travel_seconds())
        silently = self._cuts.get(frozenset((dialler, name)))
        if silently:
            await anyio.sleep_forever()
        if silently is not None or name not in self._hosts:
            raise LinkError("no program listens there (connection refused)")
        wire = _Wire(self, dialler, name)
        self._wires.add(wire)
        return *wire.ends, self._hosts[name]

    def duplicates(self) -> bool:
        """True if this dial opens a second link."""
        return self._chances.random() < self.faults.duplication

    def transmit(self, wire: _Wire, way: tuple[str, str], frame: str | bytes) -> float | None:
        """When a frame that is sent now arrives, if it does."""
        if self._tap is not None:
            self._tap(*way, frame)
        if self.swallows(wire):
            return None
        if self._chances.random() < self.faults.loss:
            wire.snap()
        return anyio.current_time() + self._travel_seconds()

    def swallows(self, wire: _Wire) -> bool:
        """True if a silent cut takes what travels on this wire."""
        wire.swallowed = wire.swallowed or wire.hosts in self._cuts
        return wire.swallowed

    def forget(self, wire: _Wire) -> None:
        """Forget a wire that neither side holds any longer, or only one side, which will notice."""
        self._wires.discard(wire)

    def _travel_seconds(self) -> float:
        return self.faults.delay_seconds + self._chances.random() * self.faults.jitter_seconds


class MemoryTransport(Transport):
    """One host's way onto a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self._name = name
        self._links: Links | None = None

    @override
    @asynccontextmanager
    async def open(self, credentials: Credentials, handler: LinkHandler) -> AsyncIterator[tuple[TransportAddr, ...]]:
        async with keep_links(credentials, handler) as links:
            self._network.join(self._name, links)
            self._links = links
            try:
                yield (DirectAddr(self._name + DOMAIN, PORT),)
            finally:
                self._links = None
                self._network.part(self._name)

    @override
    def reaches(self, address: TransportAddr) -> bool:
        return isinstance(address, DirectAddr) and address.host.endswith(DOMAIN)

    @override
    async def dial(self, peer: PeerId | None, address: TransportAddr, route: str) -> Link:
        if self._links is None:
            raise LinkError("we are not on the network ourselves")
        with answered_in_time():
            link = await self._connect(self._links, peer, address, route)
            if self._network.duplicates():
                await self._connect(self._links, peer, address, route)
            await link.opened()
            return link

    async def _connect(self, links: Links, peer: PeerId | None, address: TransportAddr, route: str) -> DrivenLink:
        ours, theirs, listener = await self._network.connect(self._name, address)
        listener.start(Side.LISTENER, theirs, self._name + DOMAIN, route)
        return links.start(Side.DIALLER, ours, str(address), route, Target(peer))
