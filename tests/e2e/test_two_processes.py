"""Two identities in separate processes on one machine find each other and work through the official MCP client."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcp_a2a.api.agents import DiscoverRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.server.fence import unwrapped
from tests.e2e.command import MCP_A2A, agent, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REVERSE = ("--skill", "reverse=Reverses text", "--accept", "anyone", "--", "rev")


async def seconds_until_seen(home: Path, identity: str, name: str, limit: float) -> float:
    """How long until the running node of that identity shows the other agent with its skill."""
    started = time.monotonic()
    async with open_node(Settings(home=home, identity=identity)) as node:
        assert not node.owner
        while True:
            found = await node.call(DiscoverRequest(settle_seconds=0))
            seen = {agent.name: [skill.id for skill in agent.skills] for agent in found.agents if agent.online}
            waited = time.monotonic() - started
            if seen.get(name) == ["reverse"]:
                return waited
            assert waited < limit, f"{identity} saw only {seen} after {waited:.2f} s"
            await anyio.sleep(0.01)


async def test_by_local_lookup_alone_both_see_each_other_within_a_third_of_a_second(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        agent(home, "exec", "--name", "ann", "--no-mdns", *REVERSE),
        agent(home, "exec", "--name", "ben", "--no-mdns", *REVERSE),
    ):
        await seconds_until_seen(home, "ann", "ben", 0.3)
        await seconds_until_seen(home, "ben", "ann", 0.3)


@pytest.mark.lan
async def test_by_multicast_alone_both_see_each_other_within_two_seconds(tmp_path: Path) -> None:
    # Separate data folders: neither sees the other's announcement file.
    one, other = tmp_path / "one", tmp_path / "other"
    with agent(one, "exec", "--name", "ann", *REVERSE), agent(other, "exec", "--name", "ben", *REVERSE):
        await seconds_until_seen(one, "ann", "ben", 2)
        await seconds_until_seen(other, "ben", "ann", 2)


@asynccontextmanager
async def over_stdio(home: Path, mode: str) -> AsyncIterator[Client]:
    command = StdioServerParameters(command=MCP_A2A, args=["--no-mdns"], env=environment(home))
    async with Client(stdio_client(command), mode=mode) as client:
        yield client


@asynccontextmanager
async def over_http(home: Path, mode: str) -> AsyncIterator[Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(  # noqa: ASYNC220  started and stopped in no time
        [MCP_A2A, "--no-mdns", "--listen", f":{port}"],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                break
            except OSError:
                await anyio.sleep(0.05)
        async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
            yield client
    finally:
        server.terminate()
        server.wait(30)
        assert server.returncode == 0


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("surface", [over_stdio, over_http])
async def test_the_official_client_finds_an_agent_and_gets_its_answer(tmp_path: Path, surface, mode: str) -> None:
    home = tmp_path / "home"
    async with AsyncExitStack() as stack:
        stack.enter_context(agent(home, "exec", "--name", "ann", "--no-mdns", *REVERSE))
        client = await stack.enter_async_context(surface(home, mode))
        found = await client.call_tool("discover", {})
        assert found.structured_content is not None
        assert [seen["name"] for seen in found.structured_content["agents"]] == ["ann"]
        sent = await client.call_tool("send_task", {"agent": "ann", "message": "desserts"})
        assert sent.structured_content is not None
        assert (unwrapped(sent.structured_content["text"]), sent.structured_content["done"]) == ("stressed", True)
        assert "stressed" in "".join(part.text for part in sent.content)
        by_skill = await client.call_tool("send_task_by_skill", {"skill": "reverse", "message": "live"})
        assert by_skill.structured_content is not None
        assert unwrapped(by_skill.structured_content["text"]) == "evil"
        again = await client.call_tool("get_task_status", {"task_id": sent.structured_content["task_id"]})
        assert again.structured_content is not None
        assert unwrapped(again.structured_content["text"]) == "stressed"


def test_nothing_is_left_running(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with agent(home, "exec", "--name", "ann", "--no-mdns", *REVERSE) as ann:
        pass
    assert ann.process.returncode == 0
    assert not (home / "identities" / "ann" / "control.sock").exists()
    assert not list((home / "announce").glob("*.json"))
    with pytest.raises(ProcessLookupError):
        os.kill(ann.process.pid, 0)
