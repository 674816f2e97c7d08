"""A clock that is set, and a machine that has slept: both are noticed, and what they hindered goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from mcp_a2a.node.address_change import Moves
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.housekeeping import Housekeeping
from mcp_a2a.node.networks.listings import Listings
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.lookups import Lookups
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.store.leases import shift_leases

logger = logging.getLogger(__name__)

CLOCK_SECONDS = 5.0
"""So often the wall clock is looked at: what was put off because of a clock goes on once it is set."""

SLEPT_SECONDS = 2.0
"""By which the uptime runs ahead of the timers: they stand still while this machine sleeps."""


@dataclass(eq=False)
class ClockWatch:
    """Looks at the clocks of this machine, and tells the services of a node what they show."""

    context: Context
    uptime: Callable[[], float]
    """Seconds since this machine started, also while it slept."""
    directory: Directory
    outbox: Outbox
    listings: Listings
    own_advert: OwnAdvert
    housekeeping: Housekeeping
    moves: Moves
    lookups: Lookups

    async def run(self) -> None:
        """Notice a wall clock that is set while nothing else reads it, and that this machine has slept."""
        ahead = self.uptime() - anyio.current_time()
        while True:
            self.context.clocks.now()
            before, ahead = ahead, self.uptime() - anyio.current_time()
            if ahead - before > SLEPT_SECONDS:
                self._wake_up()
            await anyio.sleep(CLOCK_SECONDS)

    def _wake_up(self) -> None:
        """Others have given up the links of a machine that slept, and have come and gone meanwhile."""
        logger.info("this machine has slept: links are tried, and others are looked for")
        self.moves.probe_links()
        self.lookups.look_now()

    def clock_heard(self, peer_id: PeerId) -> None:
        """A peer said what time it is."""
        self.outbox.clock_heard(peer_id)
        self.directory.changes.notify()

    def clock_set(self, seconds: float) -> None:
        """The wall clock jumped: what was refused because of it may be welcome now, and others should hear of it."""
        logger.warning("the clock of this machine was set by %.0f s", seconds)
        self.context.database.enqueue(lambda connection: shift_leases(connection, seconds), lambda _: None)
        if not self.housekeeping.turn_keys():
            self.own_advert.greet_all(self.directory)
        self.listings.clock_set()
        self.outbox.clock_set()
