"""Puts together what an identity remembers while no process runs it: a node without transports, over a still database.

It imports no transport, no HTTP client and no discovery: a command that only shows something needs none of them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp_a2a.config import Settings
from mcp_a2a.node.api import LocalApi
from mcp_a2a.node.offline import NoRelays, NothingYet, RestingApi
from mcp_a2a.node.running import rest_node
from mcp_a2a.node.runtime.parts import NodeParts
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.names import memorable_name
from mcp_a2a.store.keyfile import OwnDids, read_identity
from mcp_a2a.store.network_folder import NetworkFolder
from mcp_a2a.store.offline import DATABASE, NotStillError, still_database
from mcp_a2a.store.owner_file import LOCK
from mcp_a2a.uptime import Uptime, boot
from mcp_a2a.version import __version__
from mcp_a2a.wall_clock import wall_clock


@asynccontextmanager
async def resting_node(settings: Settings) -> AsyncIterator[RestingApi | NothingYet]:
    """The records of this identity, while no process runs its node; nothing is written.

    Raises:
        NotStillError: its node has to be asked, or started.
    """
    folder, networks = settings.folder, NetworkFolder(settings.home if settings.networks else None)
    with still_database(folder / DATABASE, folder / LOCK) as database:
        identity = read_identity(folder) if database is not None else None
        if database is None:
            yield NothingYet(networks)
            return
        if identity is None:
            raise NotStillError("a database without a key")
        name = settings.called or memorable_name(identity.peer_id)
        parts = NodeParts(
            identity=identity,
            identity_name=settings.identity,
            database=database,
            home=settings.home,
            transports=(),
            lookups=(),
            card=AgentCard(
                name=settings.called or memorable_name(identity.peer_id), description="", version=__version__
            ),
            given_name=settings.name,
            own_name=settings.own_name or name,
            accept=settings.accept,
            wall_clock=wall_clock,
            uptime=Uptime(),
            boot=boot(),
            randomness=os.urandom,
            own_dids=OwnDids(settings.home),
            relays=NoRelays(),
            networks=networks,
            own_addresses=lambda _: (),
            near=lambda _: False,
            downloads=settings.downloads,
        )
        async with rest_node(parts) as node:
            yield RestingApi(database, LocalApi(node))
