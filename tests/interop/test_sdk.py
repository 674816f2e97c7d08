"""Both ways with the official SDKs, 1.3.0 and 0.3.26: they call us, we call them."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_a2a.api.a2a import A2AFollowRequest, A2AListRequest, A2ASendRequest
from mcp_a2a.api.agents import AddPeerRequest, DiscoverRequest
from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest, ReplyRequest, SendTaskBySkillRequest, SendTaskRequest
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.ipc.owner import SharedNode
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.server.hosting import host
from mcp_a2a.server.listening import Listening
from tests.a2a.conftest import Served, serving
from tests.interop.conftest import python_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAMS = Path(__file__).parent / "programs"


async def seen_by(sdk: tuple[str, Path], url: str, *bindings: str) -> dict[str, Any]:
    version, python = sdk
    program = PROGRAMS / f"client_{version}.py"
    finished = await anyio.run_process([str(python), str(program), url, *bindings], stderr=subprocess.PIPE, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    observed: dict[str, Any] = json.loads(finished.stdout)
    return observed


def texts(parts: list[dict[str, Any]]) -> str:
    return "".join(part.get("text", "") for part in parts)


async def test_the_sdk_as_a_client_gets_all_that_it_asks_of_us(sdk: tuple[str, Path], served: Served) -> None:
    observed = await seen_by(sdk, served.url, "JSONRPC", "HTTP+JSON")
    assert len(observed) == 2
    for binding, seen in observed.items():
        (check_1 if sdk[0] == "1" else check_0_3)(seen)
        if sdk[0] == "0_3":
            data = seen["files"]["task"]["artifacts"][0]["parts"][2]["data"]
            exact = 12345678901234567
            # Over HTTP+JSON its own protobuf makes every number a float.
            assert data == {"integer": exact if binding == "JSONRPC" else float(exact), "one": 1}


async def test_the_sdk_finds_grpc_on_our_card_and_gets_the_same_there(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    python = python_with(request.config.cache, "1")
    listening = Listening("127.0.0.1:0", grpc_listen="127.0.0.1:0", grpc_in_card=True)
    async with serving(tmp_path) as served, anyio.create_task_group() as tasks:
        hosted = await tasks.start(partial(host, served.node, None, listening, Settings(home=tmp_path)))
        check_1((await seen_by(("1", python), hosted.url, "GRPC"))["GRPC"])
        tasks.cancel_scope.cancel()


def check_1(seen: dict[str, Any]) -> None:
    """What SDK 1.x saw over one binding."""
    task = seen["send"]["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert texts(task["artifacts"][0]["parts"]) == "HELLO"
    assert seen["get"] == task
    assert "task" in seen["stream"][0]
    chunks = [event["artifactUpdate"] for event in seen["stream"] if "artifactUpdate" in event]
    assert "".join(texts(chunk["artifact"]["parts"]) for chunk in chunks) == "one two three"
    assert seen["stream"][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert texts(seen["direct"]["message"]["parts"]) == "no task here"
    assert seen["asked"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert texts(seen["answered"]["task"]["artifacts"][0]["parts"]) == "you said blue"
    assert seen["canceled"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert "task" in seen["subscribed"][0]
    assert seen["subscribed"][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert len(seen["listed"]["tasks"]) == 2
    assert seen["listed"]["nextPageToken"]
    raw, link = seen["files"]["task"]["artifacts"][0]["parts"]
    assert base64.b64decode(raw["raw"]) == b"\x00\x01binary"
    assert (raw["filename"], link["url"]) == ("b.bin", "https://example.com/f.txt")
    assert seen["errors"] == {
        "unknown": "TaskNotFoundError",
        "canceled": "TaskNotCancelableError",
        "ended": "UnsupportedOperationError",
        "media_type": "ContentTypeNotSupportedError",
    }


def check_0_3(seen: dict[str, Any]) -> None:
    """What SDK 0.3 saw over one transport."""
    task = seen["send"]["task"]
    assert task["status"]["state"] == "completed"
    assert texts(task["artifacts"][0]["parts"]) == "HELLO"
    assert seen["get"]["id"] == task["id"]
    last = seen["stream"][-1]
    assert last["task"]["status"]["state"] == "completed"
    assert texts(last["task"]["artifacts"][0]["parts"]) == "one two three"
    assert texts(seen["direct"]["message"]["parts"]) == "no task here"
    assert seen["asked"]["status"]["state"] == "input-required"
    assert texts(seen["answered"]["task"]["artifacts"][0]["parts"]) == "you said blue"
    assert seen["canceled"]["status"]["state"] == "canceled"
    assert seen["subscribed"][-1]["task"]["status"]["state"] == "canceled"
    raw, link, _ = seen["files"]["task"]["artifacts"][0]["parts"]
    assert base64.b64decode(raw["file"]["bytes"]) == b"\x00\x01binary"
    assert link["file"]["uri"] == "https://example.com/f.txt"
    assert all(seen["errors"].values())


# --- we call them --------------------------------------------------------------------------------


@asynccontextmanager
async def sdk_server(sdk: tuple[str, Path], binding: str) -> AsyncIterator[str]:
    version, python = sdk
    async with await anyio.open_process(
        [str(python), str(PROGRAMS / f"server_{version}.py"), binding], stderr=None
    ) as process:
        assert process.stdout is not None
        try:
            with anyio.fail_after(30):
                url = (await process.stdout.receive()).decode().strip()
            yield url
        finally:
            process.kill()


@asynccontextmanager
async def calling(home: Path) -> AsyncIterator[SharedNode]:
    async with open_node(Settings(home=home, mdns=False, link_host="127.0.0.1", allow_strangers=True)) as node:
        yield node


async def test_an_agent_of_the_sdk_is_an_agent_like_any_other(sdk: tuple[str, Path], tmp_path: Path) -> None:
    for binding in ("JSONRPC", "HTTP+JSON"):
        async with sdk_server(sdk, binding) as url, calling(tmp_path / binding) as node:
            with anyio.fail_after(60):
                await _use(node, url)


async def _use(node: SharedNode, url: str) -> None:
    added = await node.call(AddPeerRequest(address=url))
    assert (added.name, [skill.id for skill in added.skills]) == ("sdk-agent", ["behave"])
    found = await node.call(DiscoverRequest(query="sdk-agent"))
    assert [agent.did for agent in found.agents] == [added.did]

    done = await node.call(SendTaskRequest(agent=added.did, message="hello"))
    assert (done.state, done.text) == (Moment.COMPLETED, "HELLO")
    by_skill = await node.call(SendTaskBySkillRequest(skill="behave", message="by skill"))
    assert by_skill.text == "BY SKILL"
    streamed = await node.call(SendTaskRequest(agent="sdk-agent", message="stream"))
    assert streamed.text == "one two three"
    direct = await node.call(SendTaskRequest(agent=added.did, message="direct"))
    assert direct.text == "no task here"
    failed = await node.call(SendTaskRequest(agent=added.did, message="fail"))
    assert failed.state == Moment.FAILED
    assert failed.error is not None
    assert "it broke" in failed.error.message
    asked = await node.call(SendTaskRequest(agent=added.did, message="ask"))
    assert (asked.state, asked.question) == (Moment.INPUT_REQUIRED, "which?")
    answered = await node.call(ReplyRequest(task_id=asked.task_id, message="blue"))
    assert (answered.task_id, answered.state, answered.text) == (asked.task_id, Moment.COMPLETED, "BLUE"), (
        answered.error
    )
    waiting = await node.call(SendTaskRequest(agent=added.did, message="wait", wait_seconds=0))
    while not waiting.progress:
        waiting = await node.call(GetTaskRequest(task_id=waiting.task_id, wait_seconds=0.2))
    await node.call(CancelRequest(task_id=waiting.task_id))
    canceled = await node.call(GetTaskRequest(task_id=waiting.task_id, wait_seconds=30))
    assert canceled.state == Moment.CANCELED
    await _stream_through(node, added.did)


async def _stream_through(node: SharedNode, url: str) -> None:
    """An A2A client of ours that follows an agent behind us sees what that agent streams."""
    message = Message(message_id="m", role=Role.USER, parts=(Part(text="stream"),), reference_task_ids=("task-0",))
    sent = await node.call(A2ASendRequest(agent=url, message=message, follow=True))
    chunks, cursor = [], sent.cursor
    while True:
        view = await node.call(A2AFollowRequest(agent=url, task_id=sent.task.id, cursor=cursor, wait_seconds=30))
        chunks += [event.artifact_update.artifact for event in view.events if event.artifact_update]
        cursor = view.cursor
        if view.over:
            break
    assert "".join(part.text or "" for artifact in chunks for part in artifact.parts) == "one two three"
    file = Part(raw=base64.b64encode(b"\x00\x01binary").decode(), filename="b.bin")
    mirrored = await node.call(
        A2ASendRequest(
            agent=url,
            message=message.model_copy(update={"parts": (Part(text="mirror"), file)}),
            wait_seconds=20,
        )
    )
    assert base64.b64decode(mirrored.task.artifacts[0].parts[0].raw or "") == b"\x00\x01binary"
    listed = await node.call(A2AListRequest(agent=url))
    assert listed.total_size >= 2
