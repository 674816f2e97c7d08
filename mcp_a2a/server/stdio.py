"""The stdio server: from the first byte to a clean end, with the network behind the first answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
from mcp.server import MCPServer

from mcp_a2a.server.closing import stop_on_signal
from mcp_a2a.server.pipes import open_stdio
from mcp_a2a.server.protocol_eras import Client, serve_streams
from mcp_a2a.server.sdk import LifespanT

if TYPE_CHECKING:
    from mcp_a2a.front.handover import Handover

HEAD_START_SECONDS = 0.1
"""From the first answer until the network starts: a client lists the tools right after `initialize`, and should not
have to wait for that."""


async def serve_stdio(
    server: MCPServer[LifespanT],
    start: Callable[[], None] | None = None,
    front: Handover[object] | None = None,
) -> None:
    """Serve one client on stdin and stdout until it closes them, or until SIGTERM, SIGINT or SIGHUP.

    `start` is called once, after the first request was answered and never before. In all these cases this returns
    normally, so that its caller can clean up and exit with 0. `front` has served the client until now.
    """
    answered = anyio.Event()
    client = Client() if front is None else Client(front.greeting.process, front.greeting.session)
    async with anyio.create_task_group() as group:
        await group.start(stop_on_signal, group.cancel_scope.cancel)
        if start is not None:
            group.start_soon(_start_behind, answered, start, HEAD_START_SECONDS if front is None else 0.0)
        if front is not None:
            answered.set()
        async with open_stdio(group.cancel_scope.cancel, front) as (read, write):
            await serve_streams(server, read, write, answered.set, client)
        group.cancel_scope.cancel()


async def _start_behind(answered: anyio.Event, start: Callable[[], None], head_start: float) -> None:
    await answered.wait()
    await anyio.sleep(head_start)
    start()
