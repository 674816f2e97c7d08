"""Both ways with frameworks built on A2A, as they come from their registries: they call us, we call them.

Not tried: fasta2a 2.x as a client, which sends the methods of 0.3 and reads the results of 1.0.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_a2a.api.a2a import A2ASendRequest
from mcp_a2a.api.agents import AddPeerRequest
from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest, ReplyRequest, SendTaskRequest, TaskView
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.ipc.owner import SharedNode
from mcp_a2a.protocol.model import Message, Part, Role, TaskState
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.server.hosting import host
from mcp_a2a.server.listening import Listening
from tests.a2a.conftest import serving
from tests.interop.conftest import program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BINARY = b"\x00\x01binary"


@dataclass(frozen=True)
class Server:
    """A program that serves, and what its framework can do beside text."""

    framework: str
    name: str
    words: Sequence[str] = ()
    can: frozenset[str] = frozenset()


SERVERS = {
    "a2a-js": Server("js", "server_js.mjs", ["streaming"], frozenset({"file", "ask", "cancel", "why"})),
    "a2a-js that does not stream": Server(
        "js", "server_js.mjs", ["polling"], frozenset({"file", "ask", "cancel", "why"})
    ),
    "a2a-sdk 1 that does not stream": Server(
        "1", "server_1.py", ["JSONRPC", "polling"], frozenset({"file", "ask", "cancel", "why"})
    ),
    "a2a-sdk 0.3 that does not stream": Server(
        "0_3", "server_0_3.py", ["JSONRPC", "polling"], frozenset({"file", "ask", "cancel", "why"})
    ),
    "google-adk": Server("adk", "server_adk.py", can=frozenset({"file", "cancel", "why"})),
    "agent-framework": Server("maf", "server_maf.py", ["streaming"], frozenset({"several", "why"})),
    "agent-framework that does not stream": Server("maf", "server_maf.py", ["polling"], frozenset({"several", "why"})),
    "agent-framework in chunks": Server("maf", "server_maf.py", ["streaming", "chunks"], frozenset({"why"})),
    "pydantic-ai with fasta2a 0.6": Server("fasta0", "server_fasta.py"),
    "pydantic-ai with fasta2a 2": Server("fasta2", "server_fasta.py"),
}


@asynccontextmanager
async def running(words: Sequence[str]) -> AsyncIterator[str]:
    """A server of theirs; its URL."""
    async with await anyio.open_process(words, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            with anyio.fail_after(120):
                url = (await process.stdout.receive()).decode().strip()
            yield url
        finally:
            process.kill()


@pytest.mark.parametrize("name", list(SERVERS))
async def test_an_agent_of_a_framework_is_an_agent_like_any_other(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    server = SERVERS[name]
    words = [*program(request.config.cache, server.framework, server.name), *server.words]
    settings = Settings(home=tmp_path, mdns=False, link_host="127.0.0.1", allow_strangers=True)
    async with running(words) as url, open_node(settings) as node:
        with anyio.fail_after(120):
            await _use(node, url, server.can)


async def _use(node: SharedNode, url: str, can: frozenset[str]) -> None:
    agent = (await node.call(AddPeerRequest(address=url))).did

    async def ask(text: str, seconds: float = 30) -> TaskView:
        return await node.call(SendTaskRequest(agent=agent, message=text, wait_seconds=seconds))

    hello, failed = await ask("hello"), await ask("fail")
    assert (hello.state, hello.text) == (Moment.COMPLETED, "HELLO")
    assert failed.error is not None
    assert (failed.state, "it broke" in failed.error.message) == (Moment.FAILED, "why" in can)
    if "several" in can:
        assert (await ask("several")).text == "one\ntwo"
    else:
        assert (await ask("stream")).text == "one two three"
    if "file" in can:
        assert await _mirrored(node, agent) == BINARY
    if "ask" in can:
        asked = await ask("ask")
        assert (asked.state, asked.question) == (Moment.INPUT_REQUIRED, "which?")
        reply = ReplyRequest(task_id=asked.task_id, message="slowly", wait_seconds=30)
        answered = await node.call(reply)
        assert (answered.state, answered.text) == (Moment.COMPLETED, "SLOWLY")
    if "cancel" in can:
        waiting = await ask("wait", 0)
        while not waiting.progress:
            waiting = await node.call(GetTaskRequest(task_id=waiting.task_id, wait_seconds=0.2))
        await node.call(CancelRequest(task_id=waiting.task_id))
        canceled = await node.call(GetTaskRequest(task_id=waiting.task_id, wait_seconds=30))
        assert canceled.state == Moment.CANCELED


async def _mirrored(node: SharedNode, agent: str) -> bytes:
    """A file there and back."""
    file = Part(raw=base64.b64encode(BINARY).decode(), filename="b.bin", media_type="application/octet-stream")
    message = Message(message_id="m", role=Role.USER, parts=(Part(text="mirror"), file))
    task = (await node.call(A2ASendRequest(agent=agent, message=message, wait_seconds=20))).task
    assert task.status.state == TaskState.COMPLETED
    return base64.b64decode(task.artifacts[0].parts[0].raw or "")


# --- they call us --------------------------------------------------------------------------------


async def seen_by(words: Sequence[str], home: Path, *more: str, **listening: Any) -> dict[str, Any]:
    """What a client of theirs saw of an agent of ours, which is served by gRPC too."""
    pytest.importorskip("a2a.server.request_handlers.grpc_handler", reason="the extra `grpc` is not installed")
    where = Listening("127.0.0.1:0", grpc_listen="127.0.0.1:0", **listening)
    async with serving(home) as served, anyio.create_task_group() as tasks:
        hosted = await tasks.start(partial(host, served.node, None, where, Settings(home=home)))
        command = [*words, hosted.url, *more]
        with anyio.fail_after(240):
            finished = await anyio.run_process(command, stderr=subprocess.PIPE, check=False)
        tasks.cancel_scope.cancel()
    assert finished.returncode == 0, finished.stderr.decode()
    seen: dict[str, Any] = json.loads(finished.stdout)
    return seen


def texts(task: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for artifact in task.get("artifacts", ()) for part in artifact["parts"])


async def test_a_client_of_google_adk_gets_all_that_it_asks_of_us(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seen = await seen_by(program(request.config.cache, "adk", "client_adk.py"), tmp_path)
    assert "HELLO" in seen["hello"]["texts"]
    assert "".join(seen["stream"]["texts"]) == "one two three"
    assert "it broke" in seen["fail"]["texts"]
    assert seen["mirror"]["files"] == [BINARY.hex()]
    assert "you said blue" in seen["reply"]["texts"]
    assert not any(read["errors"] for read in seen.values())


async def test_google_adk_refuses_a_card_that_names_grpc(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Why gRPC is in no card unless asked for: as of 2.13 each URL in a card must have the card's own origin."""
    words = program(request.config.cache, "adk", "client_adk.py")
    with pytest.raises(AssertionError, match=r"URL must (use https|have the same origin)"):
        seen = await seen_by(words, tmp_path, grpc_in_card=True)
        assert not [error for read in seen.values() for error in read["errors"]]


async def test_a_client_of_agent_framework_gets_all_that_it_asks_of_us(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seen = await seen_by(program(request.config.cache, "maf", "client_maf.py"), tmp_path)
    assert (seen["hello"], seen["stream"], seen["ask"]) == ("HELLO", "one two three", "which?")
    assert seen["reply"] == "you said blue"
    (uri,) = seen["mirror"]
    assert base64.b64decode(uri.partition("base64,")[2]) == BINARY


async def test_a_client_of_fasta2a_gets_all_that_it_asks_of_us(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    seen = await seen_by(program(request.config.cache, "fasta0", "client_fasta.py"), tmp_path)
    states = {name: task["status"]["state"] for name, task in seen.items()}
    assert states.pop("fail") == "failed"
    assert states.pop("ask") == "input-required"
    assert set(states.values()) == {"completed"}
    assert (texts(seen["hello"]), texts(seen["stream"])) == ("HELLO", "one two three")
    assert "you said blue" in texts(seen["reply"])
    (file,) = (part["file"] for part in seen["mirror"]["artifacts"][0]["parts"])
    assert base64.b64decode(file["bytes"]) == BINARY


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_a_client_of_a2a_js_gets_all_that_it_asks_of_us(
    request: pytest.FixtureRequest, tmp_path: Path, binding: str
) -> None:
    seen = (await seen_by(program(request.config.cache, "js", "client_js.mjs"), tmp_path, binding))[binding]
    assert texts(seen["hello"]) == "HELLO"
    pieces = [event["artifactUpdate"] for event in seen["stream"] if "artifactUpdate" in event]
    assert "".join(part["text"] for one in pieces for part in one["artifact"]["parts"]) == "one two three"
    assert seen["fail"]["status"]["state"] == "TASK_STATE_FAILED"
    assert base64.b64decode(seen["mirror"]["artifacts"][0]["parts"][0]["raw"]) == b"\x00\x01bin"
    assert seen["ask"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    states = [one["status"]["state"] for event in seen["replied"] for one in event.values() if "status" in one]
    assert (states[-1], "TASK_STATE_SUBMITTED" in states) == ("TASK_STATE_COMPLETED", False)
    assert seen["canceled"]["status"]["state"] == "TASK_STATE_CANCELED"
