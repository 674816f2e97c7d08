"""Sends one file to the agent "digester", prints what came of it as JSON, and how much memory that took."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import quick  # beside this program

from mcp_a2a.api.agents import AddPeerRequest, DiscoverRequest
from mcp_a2a.api.files import FileArg
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import load_settings


def peak() -> int:
    """The most memory that this process has ever used."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


async def main(path: str, address: str) -> None:
    async with open_node(load_settings({})) as node:
        if address != "relay":
            await node.call(AddPeerRequest(address=address))
        while not (await node.call(DiscoverRequest(query="digester"))).agents:  # noqa: ASYNC110  asked from outside
            await anyio.sleep(0.1)
        request = SendTaskRequest(agent="digester", message="read", files=(FileArg(path=path),), wait_seconds=90)
        request = request.model_copy(update={"idempotency_key": "the one"})  # started again, it is the same task
        view = await node.call(request)
    answer = {"state": view.state, "text": view.text, "route": view.route, "tried": view.tried, "peak_kib": peak()}
    sys.stdout.write(json.dumps(answer) + "\n")


quick.reconnect()
anyio.run(main, sys.argv[1], sys.argv[2])
