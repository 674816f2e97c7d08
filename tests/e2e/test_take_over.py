"""Two assistants on one identity: one process owns the node, both are served, and its end is nobody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcp_a2a.server.fence import unwrapped
from tests.e2e.command import MCP_A2A, agent, answer, environment, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "first", "version": "1"}},
}


@contextmanager
def first_assistant(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A stdio server whose process we know, initialized, and owner of the node."""
    server = subprocess.Popen(
        [MCP_A2A, "--no-mdns"],
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(INITIALIZE) + "\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 1
        until(
            lambda: answer(home, "--no-mdns", "status").get("pid") == server.pid, 10, "the first server owns the node"
        )
        yield server
    finally:
        server.kill()
        server.wait()
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()


async def test_the_other_assistant_goes_on_when_the_owner_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    exec_slow = ("exec", "--name", "slow", "--no-mdns", "--concurrency", "8", "--skill", "nap", "--")
    command = StdioServerParameters(command=MCP_A2A, args=["--no-mdns"], env=environment(home))
    with agent(home, *exec_slow, "sh", "-c", "sleep 0.7; cat"), first_assistant(home) as owner:
        async with Client(stdio_client(command)) as client:
            sent = []
            for number in range(5):
                arguments = {"agent": "slow", "message": f"nap {number}", "wait_seconds": 0}
                view = (await client.call_tool("send_task", arguments)).structured_content
                assert view is not None
                sent.append(view["task_id"])
            status = (await client.call_tool("get_agent", {"agent": "self"})).structured_content
            assert status is not None
            assert status["node"]["pid"] == owner.pid  # asked through the owner

            os.kill(owner.pid, signal.SIGKILL)
            with anyio.fail_after(15):
                status = (await client.call_tool("get_agent", {"agent": "self"})).structured_content
            assert status is not None
            assert status["node"]["pid"] != owner.pid

            for number, task_id in enumerate(sent):
                result = await client.call_tool("get_task_status", {"task_id": task_id, "wait_seconds": 20})
                assert result.structured_content is not None
                assert unwrapped(result.structured_content["text"]) == f"nap {number}"
            listed = (await client.call_tool("list_tasks", {"direction": "sent"})).structured_content
            assert listed is not None
            assert sorted(task["task_id"] for task in listed["tasks"]) == sorted(sent)
