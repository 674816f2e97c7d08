"""A stdio server in a process of its own, that says on stderr what happens to it."""

from __future__ import annotations

import os
import sys

import anyio

from mcp_a2a.server.stdio import serve_stdio
from mcp_a2a.server.surface import build_server
from tests.server.standin import StandIn


def say(what: str) -> None:
    os.write(2, f"{what}\n".encode())


def start() -> None:
    say("started")
    print("noise on stdout")  # noqa: T201  what a library might do
    os.write(1, b"more noise on descriptor 1\n")
    print("unflushed noise", end="")  # noqa: T201


async def main() -> None:
    node = StandIn()
    if "hang" in sys.argv:
        node.hold = anyio.Event()
    try:
        await serve_stdio(build_server(node), start)
    finally:
        await anyio.lowlevel.checkpoint()
        say("cleaned up")


if __name__ == "__main__":
    heavy = {"aiohttp", "zeroconf", "nacl", "typer", "mcp_a2a.ports", "mcp_a2a.node", "mcp_a2a.store"}
    say(f"imported too early: {sorted(heavy & set(sys.modules))}")
    anyio.run(main, backend_options={"use_uvloop": "uvloop" in sys.argv})
