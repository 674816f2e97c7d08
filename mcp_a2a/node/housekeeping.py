"""The work of a node once a minute: it rotates its keys, notes the time, and forgets old records."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio

from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.runtime.clocks import Clocks
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.contact_requests import HELD_SECONDS
from mcp_a2a.node.tasks.receive import FORGOTTEN
from mcp_a2a.protocol.aging import Mark
from mcp_a2a.protocol.bundle import KEEP_SECRET_SECONDS, KeyRing
from mcp_a2a.protocol.replay import MAX_CLOCK_SKEW_SECONDS, MAX_LIFETIME_SECONDS, Forgotten
from mcp_a2a.store.forgetting import forget_finished
from mcp_a2a.store.journal import expire_held, forget_held, get_meta, set_meta
from mcp_a2a.store.networks import forget_members
from mcp_a2a.store.pending_write import log_failure
from mcp_a2a.store.records import note_finished
from mcp_a2a.store.schema import drop_copies
from mcp_a2a.store.task_events import trim
from mcp_a2a.store.web import drop_orphaned_push

logger = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 60.0

KEEP_SECONDS = 30 * 86_400.0
"""Finished tasks are kept so long: for people, and well beyond the 7 days in which a message of theirs could be
replayed, because it is their rows that make a replay harmless."""

RING, MARK = "ring", "sound"
"""Facts of the database: our keys, and the sound time at the last look."""


@dataclass(eq=False)
class Housekeeping:
    """Keeps the keys and the database of one node in order."""

    context: Context
    ring: KeyRing
    directory: Directory
    own_advert: OwnAdvert
    networks: Networks
    publishing: Publishing
    files: Files

    async def run(self) -> None:
        """Rotate keys, remember how late it is, forget what is long over."""
        saved = True
        while True:
            if turn(self.ring, self.context):
                saved = False
            if not saved:
                saved = await self._store_keys()
            self._keep_books()
            self.networks.forget_lapsed()
            self.publishing.again()
            self.files.tidy()
            drop_copies(self.context.database.path, self.context.clocks.aged() - KEEP_SECRET_SECONDS)
            await anyio.sleep(HOUSEKEEPING_SECONDS)

    def _keep_books(self) -> None:
        """Note how late it is, and forget some of what is long over; then some more, until nothing of it is left."""

        def kept(outcome: object) -> None:
            if outcome is True:
                self._keep_books()
            else:
                log_failure(outcome)

        self.context.database.enqueue_lazily(bookkeeping(self.context.clocks), kept)

    def turn_keys(self) -> bool:
        """Rotate and drop our keys where that is due; True if all others are told of it."""
        if not turn(self.ring, self.context):
            return False
        self.context.tasks.start_soon(self._store_keys)
        return True

    async def _store_keys(self) -> bool:
        """Store our keys and publish the newest one.

        Returns:
            False if the disk does not take them now.
        """
        kept = self.ring.dump()
        try:
            await self.context.database.write(lambda connection: set_meta(connection, RING, kept))
        except McpA2AError as error:
            # What is sealed to a key that a crash takes is sealed again by its sender: nothing is lost by going on.
            logger.warning("our new keys could not be stored: %s", error)
            return False
        self.own_advert.greet_all(self.directory)
        self.publishing.everywhere()
        return True


def turn(ring: KeyRing, context: Context) -> bool:
    """Rotate and drop our keys where that is due; True if they must be stored."""
    clocks = context.clocks
    return ring.handle_timeout(context.clock(), context.randomness, stamp=clocks.stamp(), aged=clocks.aged())


def bookkeeping(clocks: Clocks) -> Callable[[sqlite3.Connection], bool]:
    """The operation that notes the clocks and forgets old records; it returns True if there is more to forget."""
    return partial(_keep_books, mark=clocks.mark(), stamp=clocks.stamp(), aged=clocks.aged(), now=clocks.now())


def _keep_books(connection: sqlite3.Connection, mark: Mark, stamp: float, aged: float, now: float) -> bool:
    before = Mark.parse(get_meta(connection, MARK))
    set_meta(connection, MARK, mark.to_text())
    note_finished(connection, before.sound if before else 0.0, stamp)
    dropped = forget_finished(connection, aged, KEEP_SECONDS)
    drop_orphaned_push(connection)
    trim(connection, now)
    forget_members(connection, aged)
    expire_held(connection, aged - HELD_SECONDS)
    dates = dropped.dates + forget_held(connection, aged - MAX_LIFETIME_SECONDS - MAX_CLOCK_SKEW_SECONDS)
    if dates:
        forgotten = Forgotten.load(get_meta(connection, FORGOTTEN))
        forgotten.add(dates)
        set_meta(connection, FORGOTTEN, forgotten.dump())
    return dropped.is_more_left
