"""Server-Sent Events on the wire: what a stream looks like, how it lives, and how it ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from mcp_a2a.a2a import wire
from mcp_a2a.a2a.asgi import A2AApp, Offer
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.params import TaskParams
from mcp_a2a.a2a.service import Service
from mcp_a2a.api.a2a import A2AFollowRequest, A2AFollowView
from mcp_a2a.protocol.model import TaskDocument, TaskState, TaskStatus
from mcp_a2a.server.address import Listen
from mcp_a2a.server.http import serve_http
from tests.a2a.bindings import Binding, said
from tests.a2a.conftest import Served
from tests.server.standin import CARD, StandIn


async def lines(response: aiohttp.ClientResponse, count: int) -> list[bytes]:
    return [await response.content.readline() for _ in range(count)]


async def test_a_stream_is_made_of_data_frames_and_not_kept_by_anybody(served: Served) -> None:
    async with served.web.post(
        f"{served.url}/message:stream", json=said("stream"), headers={"A2A-Version": "1.0"}
    ) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        body = await response.read()
    frames = body.decode().removesuffix("\n\n").split("\n\n")
    assert all(frame.startswith("data: {") for frame in frames)
    assert all("\n" not in frame for frame in frames)
    assert "task" in json.loads(frames[0].removeprefix("data: "))


async def test_a_silent_stream_is_kept_alive_by_comments(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "KEEP_ALIVE_SECONDS", 0.05)
    client = served.binding("rest")
    task = await client.task("wait", {"returnImmediately": True})
    async with served.web.get(f"{served.url}/tasks/{task['id']}:subscribe") as response:
        with anyio.fail_after(30):
            assert (await lines(response, 2))[0].startswith(b"data: ")
            seen = b""
            while seen.count(b": still here\n\n") < 2:
                seen += await response.content.readany()
    await client.cancel(task["id"])


async def test_a_stream_closes_when_its_task_asks_and_another_goes_on_from_there(client: Binding) -> None:
    events = await client.stream("ask")
    last = events[-1]["statusUpdate"] if "statusUpdate" in events[-1] else events[-1]["task"]
    assert last["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    task_id = events[0]["task"]["id"]
    rest = await client.stream("blue", taskId=task_id)
    assert rest[0]["task"]["id"] == task_id
    assert rest[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_request_that_fails_is_answered_with_an_error_and_no_stream(served: Served) -> None:
    wrong = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": []}}
    async with served.web.post(f"{served.url}/message:stream", json=wrong) as response:
        assert (response.status, response.headers["content-type"]) == (400, "application/json")
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": wrong}
    async with served.web.post(f"{served.url}/", json=body) as response:
        assert (await response.json())["error"]["code"] == -32602


class Broken(StandIn):
    """A node with a bug."""

    async def a2a_send(self, request: object) -> None:
        raise ZeroDivisionError("a secret of ours")

    a2a_list = a2a_send


@pytest.fixture
async def broken(tmp_path: Path) -> AsyncIterator[str]:
    async with anyio.create_task_group() as tasks:

        async def serve(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            app = A2AApp(Broken(), Offer())
            await serve_http(None, Listen("127.0.0.1", 0), a2a=app, task_status=task_status)

        yield await tasks.start(serve)
        tasks.cancel_scope.cancel()


async def test_a_bug_of_ours_is_told_in_the_words_of_the_binding_and_logged(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with aiohttp.ClientSession() as web:
        for method in ("SendMessage", "SendStreamingMessage"):
            body = {"jsonrpc": "2.0", "id": "7", "method": method, "params": said("x")}
            async with web.post(f"{broken}/", json=body) as response:
                answer = await response.json()
            assert (answer["id"], answer["error"]["code"]) == ("7", -32603)
            assert "secret" not in answer["error"]["message"]
        async with web.get(f"{broken}/tasks") as response:
            assert response.status == 500
            assert (await response.json(content_type=None))["error"]["status"] == "INTERNAL"
    assert "a secret of ours" in caplog.text


async def test_who_subscribes_follows_a_task_through_its_questions_to_its_end(client: Binding) -> None:
    asked = await client.task("ask")
    told: list[list[Any]] = []

    async def follow(begun: anyio.Event) -> None:
        async with client.events("SubscribeToTask", {"id": asked["id"]}) as events:
            first = await anext(events)
            begun.set()
            told.append([first, *[event async for event in events]])

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            begun = anyio.Event()
            tasks.start_soon(follow, begun)
            await begun.wait()
        await client.task("blue", taskId=asked["id"])
    assert told[0] == told[1]
    assert told[0][0]["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert told[0][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_in_0_3_a_subscription_ends_with_a_question(served: Served) -> None:
    asked = await served.binding("rest").task("ask")
    body = {"jsonrpc": "2.0", "id": 1, "method": "tasks/resubscribe", "params": {"id": asked["id"]}}
    async with served.web.post(f"{served.url}/", json=body) as response:
        (event,) = [json.loads(line[6:])["result"] async for line in response.content if line.startswith(b"data: ")]
    assert event["status"]["state"] == "input-required"


class Silent(StandIn):
    """A node with a task that ends when it is asked for the second time."""

    async def a2a_follow(self, request: A2AFollowRequest) -> A2AFollowView:
        self.asked.append(request)
        task = TaskDocument(id="t", status=TaskStatus(state=TaskState.WORKING)) if request.cursor is None else None
        return A2AFollowView(task=task, cursor="c.1", over=request.cursor is not None)


async def test_a_silent_task_is_waited_for_in_long_slices() -> None:
    node = Silent()
    params, service = TaskParams(id="t"), Service(agent="self", card=CARD)
    assert len([event async for event in Dispatch(node).subscribe(params, service)]) == 1
    assert [request.wait_seconds > 60 for request in node.asked] == [False, True]
