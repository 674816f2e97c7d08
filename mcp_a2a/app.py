"""The node of an identity: run by this process, or reached at the process that runs it.

Importing this is cheap. What a node needs (aiohttp, cryptography, zeroconf) is imported when the node starts, in a
thread, so that an MCP server has answered `initialize` long before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import anyio.to_thread

from mcp_a2a.config import Settings
from mcp_a2a.node.ipc.caller import Caller
from mcp_a2a.node.ipc.owner import Lock, SharedNode, share
from mcp_a2a.node.worker.process_tree import hop_of_ancestors

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi
    from mcp_a2a.protocol.model import AgentCard

OwnNode = Callable[[Settings, "AgentCard | None"], AbstractAsyncContextManager["NodeApi"]]


@asynccontextmanager
async def open_node(
    settings: Settings, card: AgentCard | None = None, *, eager: bool = True, lock: Lock | None = None
) -> AsyncIterator[SharedNode]:
    """The node of this identity, while the context lasts.

    Args:
        settings: the identity, its data folder, its addresses and networks.
        card: the card of the agent; by default that of an assistant.
        eager: True to have the node ready when the context begins; False to start it with the first call.
        lock: that of the data folder, if this process has it already.

    Yields:
        The node, run by this process, or by the process that has the folder.

    Raises:
        ConfigurationError: with `eager`, when the node cannot run here.
    """

    @asynccontextmanager
    async def open_owner() -> AsyncIterator[NodeApi]:
        own_node = await anyio.to_thread.run_sync(_own_node)
        async with own_node(settings, card) as api:
            yield api

    caller = Caller(
        allow_strangers=settings.allow_strangers,
        hop=max(settings.hop, hop_of_ancestors()),
        file_roots=tuple(map(str, settings.file_roots)),
        downloads=str(settings.downloads) if settings.downloads is not None else None,
    )
    shared = SharedNode(settings.folder, open_owner, caller, lock=lock)
    async with share(shared) as node:
        if eager:
            await node.ready()
        yield node


async def announce_a2a(settings: Settings, address: str, url: str) -> None:
    """Announce an A2A server on the LAN while this runs, if others there reach it.

    `address` is where it was asked to listen, `url` where it listens.
    """
    from mcp_a2a.composition import announce_server  # noqa: PLC0415  as below

    if settings.mdns:
        host = address.rpartition(":")[0]
        await announce_server(host.strip("[]"), url)


def _own_node() -> OwnNode:
    from mcp_a2a.composition import own_node  # noqa: PLC0415  see above: half a second that no client should wait for

    return own_node
