"""For tests of the relay client: somebody at home who hears what a scripted relay tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from typing_extensions import override

from mcp_a2a.protocol.control import Bye, ByeCode
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.frames import decode_untrusted
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.paths import RelayAddr
from mcp_a2a.relay_ports import RelayHandler, Watched
from mcp_a2a_transports.relay.client import RelayTransport
from mcp_a2a_transports.relay.link import RelayedLink
from tests.relay.scripted import ScriptedRelay
from tests.transports.people import Witness, credentials, identity, until

SHOP, HOME = Network(b"shop".ljust(32, b".")), Network(b"home".ljust(32, b"."))


@dataclass(eq=False)
class Listener(Witness, RelayHandler):
    """Writes down what happens on links, and what relays tell."""

    listings: list[Listing] = field(default_factory=list)
    syncs: list[tuple[PeerId, int, int]] = field(default_factory=list)
    online: set[PeerId] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)

    @override
    def relay_opened(self, url: str) -> None:
        self._note("relay opened")

    @override
    def relay_closed(self, url: str, reason: str) -> None:
        self.lost.append(reason)
        self._note("relay closed")

    @override
    def listed(self, url: str, listing: Listing) -> None:
        self.listings.append(listing)
        self._note("listed")

    @override
    def synced(self, url: str, network: PeerId, epoch: int, revision: int) -> None:
        self.syncs.append((network, epoch, revision))
        self._note("synced")

    @override
    def presence(self, url: str, network: PeerId, online: Sequence[PeerId], offline: Sequence[PeerId]) -> None:
        self.online = self.online.union(online).difference(offline)
        self._note("presence")


@dataclass
class Home:
    """Somebody with a transport that is open."""

    transport: RelayTransport
    seen: Listener
    url: str

    async def dial(self, name: str) -> RelayedLink:
        link = await self.transport.dial(identity(name).peer_id, RelayAddr(self.url), "relay")
        assert isinstance(link, RelayedLink)
        return link

    async def connected(self) -> None:
        """Wait until the session is up."""
        await until(lambda: "relay opened" in self.seen.story, self.seen)

    @property
    def detail(self) -> str:
        (state,) = self.transport.states()
        return state.detail


@asynccontextmanager
async def at_home(
    name: str,
    url: str,
    *networks: Network,
    chance: Callable[[], float] = lambda: 0.01,
    seen: Listener | None = None,
    kept: bool = True,
) -> AsyncIterator[Home]:
    """Somebody who keeps a session with a relay. Pauses are as short as they may be."""
    transport, seen = RelayTransport(chance=chance), seen or Listener(name)
    transport.hear(seen)
    if kept:
        transport.keep(url, lambda: [Watched(network) for network in networks])
    async with transport.open(credentials(name), seen):
        yield Home(transport, seen, url)


class ConnectionLimits(ScriptedRelay):
    """Counts who comes, and lets nobody through before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = anyio.Event()
        self.came = 0
        self.arrived = anyio.Event()

    async def wait(self) -> None:
        self.came += 1
        self.arrived.set()
        await self.opened.wait()


def byes(relay: ScriptedRelay) -> list[ByeCode]:
    """With which words clients have left."""
    frames = [decode_untrusted(data) for data in relay.seen]
    return [frame.code for frame in frames if isinstance(frame, Bye)]
