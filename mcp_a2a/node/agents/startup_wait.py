"""Waiting for agents that may be about to appear: a list right after a start would miss most of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.lookups import Lookups
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.clocks import Clocks
from mcp_a2a.node.runtime.context import wait_until

SETTLE_LOCAL_SECONDS = 0.3
SETTLE_LAN_SECONDS = 1.6
SETTLE_RELAY_SECONDS = 1.8
"""Time after the start of a node within which agents may still be unknown to it (an mDNS answer takes up to 1.2 s)."""

SETTLE_DIALLING_SECONDS = 3.0
"""The same, while a sighted agent is being dialled: on a busy machine a handshake takes its time. A node of any
age waits so long for an agent that came just now and has not sent its name yet."""

YOUNG_SECONDS = 3.0
GREETING_SECONDS = 0.5
"""So long after a start, and for so long, those who are there may not have said yet what their clock shows."""

LOOK_UP_SECONDS = 1.0
"""Seconds that a list of agents waits for those that it has to dial."""


@dataclass(eq=False)
class Patience:
    """The waits of a question for agents that are still unknown."""

    directory: Directory
    networks: Networks
    dialer: Dialer
    lookups: Lookups
    clocks: Clocks

    async def until(self, satisfied: Callable[[], object]) -> None:
        """Wait while the node is too young to know, or one that just came has no name, and nothing satisfies yet."""
        if satisfied():
            return
        self.lookups.look_now()
        # Others come and go as they like: that must not keep a caller waiting for longer.
        until = anyio.current_time() + SETTLE_DIALLING_SECONDS
        while not satisfied():
            remaining = min(max(self._youth(), self._newness()), until - anyio.current_time())
            if remaining <= 0:
                return
            await wait_until(self.directory.changes.event(), remaining)

    def _youth(self) -> float:
        """Seconds for which agents of the surroundings may still be unknown to this node."""
        settle = SETTLE_LAN_SECONDS if self.lookups.is_on("mdns") else SETTLE_LOCAL_SECONDS
        if not self.networks.settled:
            settle = SETTLE_RELAY_SECONDS
        if self.dialer.busy:
            settle = SETTLE_DIALLING_SECONDS
        return max(0.0, self.lookups.started + settle - anyio.current_time())

    def _newness(self) -> float:
        """Seconds that an agent that came just now has left to send its name."""
        came_at = max((peer.came_at for peer in self.directory if peer.is_unnamed), default=float("-inf"))
        return max(0.0, came_at + SETTLE_DIALLING_SECONDS - anyio.current_time())

    @property
    def is_dialling(self) -> bool:
        """True while an agent that was seen is being dialled."""
        return self.dialer.busy

    async def look_up(self, key: str | None = None) -> None:
        """Dial the agents that no lookup sees, all or this one: only that tells whether they are there."""
        peers = [peer for peer in self.directory if key in (None, peer.key)]
        await self.dialer.look_up(peers, LOOK_UP_SECONDS)

    async def await_link(self, peer: Peer) -> None:
        """Give an agent that may just be dialled, as after a start of this node, the time in which it is reached."""
        with anyio.move_on_after(LOOK_UP_SECONDS):
            await self.until(lambda: peer.online)

    async def clocks_are_heard(self) -> None:
        """Right after a start, wait a moment for the greetings of those who are there: they tell of wrong clocks."""
        with anyio.move_on_at(self.lookups.started + YOUNG_SECONDS), anyio.move_on_after(GREETING_SECONDS):
            while any(peer.has_direct_link and not self.clocks.is_heard(peer.peer_id) for peer in self.directory):
                await self.directory.changes.event().wait()
