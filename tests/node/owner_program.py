"""Holds the node of an identity until it is killed. Started by tests: `owner_program.py HOME`."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from mcp_a2a.app import open_node
from mcp_a2a.config import Settings


async def main(home: Path) -> None:
    async with open_node(Settings(home=home, mdns=False, link_host="127.0.0.1")) as node:
        sys.stdout.write(f"{'owner' if node.owner else 'guest'}\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


anyio.run(main, Path(sys.argv[1]))
