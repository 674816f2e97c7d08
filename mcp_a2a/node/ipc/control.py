"""The control socket of a node: its operations, the leases of workers that ask there, and the sessions of fronts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue

from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.operations import OPERATIONS
from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.ipc.server import LocalServer, LocalService

if TYPE_CHECKING:
    from mcp_a2a.api.request import A, Call, Request
    from mcp_a2a.ports import NodeApi

logger = logging.getLogger(__name__)

Release: TypeAlias = Callable[[set[str]], Awaitable[None]]
"""Ends the leases of workers."""

Speak: TypeAlias = (
    "Callable[[NodeApi, SocketStream, BufferedByteReceiveStream, Mapping[str, JsonValue]], Awaitable[None]]"
)
"""Has the MCP session of a front: node, stream, what was read of the stream, and what the front says of itself."""


def control_server(api: NodeApi, release_workers: Release, speak: Speak | None = None) -> LocalServer:
    """The server that answers for a node on its control socket."""
    return LocalServer(
        LocalService(
            "node",
            "Restart your apps: they run another version of mcp-a2a.",
            OPERATIONS,
            lambda: _connection(api, release_workers),
            partial(speak, api) if speak is not None else None,
        )
    )


@asynccontextmanager
async def _connection(api: NodeApi, release_workers: Release) -> AsyncIterator[Call]:
    """The calls of one process. When it goes away, the leases end of the workers that it spoke for."""
    workers: set[str] = set()

    async def call(request: Request[A], /) -> A:
        if isinstance(request, CheckInboxRequest) and request.worker:
            workers.add(request.holder)
        return await api.call(request)

    try:
        yield call
    finally:
        if workers:
            await _release(release_workers, workers)


async def _release(release_workers: Release, workers: set[str]) -> None:
    try:
        with anyio.CancelScope(shield=True):
            await release_workers(workers)
    except McpA2AError as error:
        logger.warning("the leases of a process that went away last until they run out: %s", error)
