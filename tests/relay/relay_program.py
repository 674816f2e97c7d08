"""A relay as a process: prints its port, serves until it is killed. Settings as JSON in the first argument."""

from __future__ import annotations

import json
import sys

import anyio

from mcp_a2a.config import RelaySettings
from mcp_a2a.loop import run
from mcp_a2a.relaying import serve_relay


async def main() -> None:
    async with serve_relay(RelaySettings.model_validate(json.loads(sys.argv[1]))) as relay:
        sys.stdout.write(f"{relay.port}\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


run(main)
