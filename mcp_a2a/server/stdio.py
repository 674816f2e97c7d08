"""The stdio server: from the first byte to a clean end, with the network behind the first answer."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from mcp.server import MCPServer

from mcp_a2a.server.eras import serve_streams
from mcp_a2a.server.pipes import open_stdio
from mcp_a2a.server.sdk import LifespanT
from mcp_a2a.server.signals import stop_on_signal

HEAD_START_SECONDS = 0.1
"""From the first answer until the network starts: a client lists the tools right after `initialize`, and should not
have to wait for that."""


async def serve_stdio(server: MCPServer[LifespanT], start: Callable[[], None] | None = None) -> None:
    """Serve one client on stdin and stdout until it closes them, or until SIGTERM, SIGINT or SIGHUP.

    `start` is called once, after the first request was answered and never before. In all these cases this returns
    normally, so that its caller can clean up and exit with 0.
    """
    answered = anyio.Event()
    async with anyio.create_task_group() as group:
        await group.start(stop_on_signal, group.cancel_scope.cancel)
        if start is not None:
            group.start_soon(_start_behind, answered, start)
        async with open_stdio(group.cancel_scope.cancel) as (read, write):
            await serve_streams(server, read, write, answered.set)
        group.cancel_scope.cancel()


async def _start_behind(answered: anyio.Event, start: Callable[[], None]) -> None:
    await answered.wait()
    await anyio.sleep(HEAD_START_SECONDS)
    start()
