"""An HTTP server in a process of its own: prints its URL, and says on stderr when it has cleaned up."""

from __future__ import annotations

import sys

import anyio

from mcp_a2a.server.address import Listen
from mcp_a2a.server.http import serve_http
from mcp_a2a.server.surface import build_server
from tests.server.standin import StandIn


async def main() -> None:
    server = build_server(StandIn())
    async with anyio.create_task_group() as group:
        url = await group.start(serve_http, server, Listen("127.0.0.1", 0))
        sys.stdout.write(f"{url}/mcp\n")
        sys.stdout.flush()
    sys.stderr.write("cleaned up\n")


if __name__ == "__main__":
    anyio.run(main)
