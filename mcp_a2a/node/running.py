"""Runs a node, with the keys and the clocks that its database remembers; or reads what it knows while none runs."""

from __future__ import annotations

import itertools
import logging
import math
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from mcp_a2a.errors.protocol import ProtocolError
from mcp_a2a.node.housekeeping import KEEP_SECONDS, MARK, RING, turn
from mcp_a2a.node.node import Node
from mcp_a2a.node.runtime.clocks import Clocks
from mcp_a2a.node.runtime.context import Changes, Context, first_number
from mcp_a2a.node.runtime.parts import NodeParts
from mcp_a2a.node.tasks.receive import FORGOTTEN
from mcp_a2a.protocol.aging import Mark
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.payload import MAX_TIME
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS, Forgotten
from mcp_a2a.store.journal import all_peers, get_meta, set_meta

logger = logging.getLogger(__name__)

HIGHEST = "clock"
"""Fact of the database: what the numbers of the newest start began with."""


def _load_ring(parts: NodeParts) -> KeyRing:
    kept = parts.database.read(lambda connection: get_meta(connection, RING))
    try:
        return KeyRing.load(parts.identity, kept) if kept else KeyRing(parts.identity)
    except (ProtocolError, ValueError) as error:
        logger.error("THE ENCRYPTION KEYS ARE DAMAGED, so new ones are made; peers are told, and seal anew. %s", error)  # noqa: TRY400  one line is enough
        return KeyRing(parts.identity)


async def _start_clocks(parts: NodeParts) -> tuple[Clocks, float]:
    """The clocks, and a number of seconds that is higher than at any start before."""
    wall = parts.wall_clock()

    def start(connection: sqlite3.Connection) -> tuple[Mark | None, float]:
        highest, mark = _highest(get_meta(connection, HIGHEST)), Mark.parse(get_meta(connection, MARK))
        if mark is None and get_meta(connection, FORGOTTEN) is None:
            # Of a version that noted nothing: what was here long before may be forgotten.
            over = min(highest, wall) - KEEP_SECONDS
            set_meta(connection, FORGOTTEN, Forgotten([(0.0, max(0.0, over + MAX_LIFETIME_SECONDS))]).dump())
        started = max(wall, highest + 1.0)
        set_meta(connection, HIGHEST, str(started))
        return mark, started

    mark, started = await parts.database.write(start)
    return Clocks(parts.wall_clock, parts.uptime, mark, parts.boot), started


def _highest(kept: str | None) -> float:
    try:
        highest = float(kept or 0.0)
    except ValueError:
        highest = math.nan
    return highest if 0 <= highest <= MAX_TIME else 0.0


@asynccontextmanager
async def run_node(parts: NodeParts) -> AsyncIterator[Node]:
    """Run a peer until the context ends; then it says goodbye, and what is journalled waits for the next start."""
    async with anyio.create_task_group() as tasks:
        clocks, started = await _start_clocks(parts)
        context = _context(parts, clocks, started, tasks, itertools.count(first_number(started)))
        ring = _load_ring(parts)
        # A key that was not stored must never be published: what is sealed to it could not be opened after a crash.
        if turn(ring, context):
            kept = ring.dump()
            await parts.database.write(lambda connection: set_meta(connection, RING, kept))
        node = Node(parts, context, ring)
        node.directory.load(parts.database.read(all_peers), clocks.aged())
        try:
            async with node.online():
                yield node
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def rest_node(parts: NodeParts) -> AsyncIterator[Node]:
    """A peer that remembers and does nothing: for looking at what it knows while no process runs it."""
    mark = Mark.parse(parts.database.read(lambda connection: get_meta(connection, MARK)))
    clocks = Clocks(parts.wall_clock, parts.uptime, mark, parts.boot)
    async with anyio.create_task_group() as tasks:
        context = _context(parts, clocks, parts.wall_clock(), tasks, itertools.count())
        node = Node(parts, context, _load_ring(parts))
        node.directory.load(parts.database.read(all_peers), clocks.aged())
        node.networks.load()
        node.web.load()
        try:
            yield node
        finally:
            tasks.cancel_scope.cancel()


def _context(parts: NodeParts, clocks: Clocks, started: float, tasks: TaskGroup, numbers: Iterator[int]) -> Context:
    return Context(
        parts.identity, parts.database, clocks.now, clocks, started, parts.randomness, tasks, numbers, Changes()
    )
