"""What happens to a task is told once and in one order, however it is followed."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import pytest

grpc = pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
pytest.importorskip("a2a.server.request_handlers.grpc_handler", reason="the extra `grpc` is not installed")

from a2a.types import a2a_pb2 as pb  # noqa: E402
from a2a.types.a2a_pb2_grpc import A2AServiceStub  # noqa: E402
from google.protobuf.json_format import MessageToDict  # noqa: E402

from mcp_a2a.a2a.asgi import A2AApp, Offer  # noqa: E402
from mcp_a2a.a2a.grpc_server import GrpcOffer, grpc_server  # noqa: E402
from mcp_a2a.api.a2a import A2ASendRequest  # noqa: E402
from mcp_a2a.api.tasks import GetTaskRequest, TaskView  # noqa: E402
from mcp_a2a.api.view import AgentRef  # noqa: E402
from mcp_a2a.cli.following import Writing  # noqa: E402
from mcp_a2a.cli.options import Options  # noqa: E402
from mcp_a2a.cli.output import Output  # noqa: E402
from mcp_a2a.cli.session import Session  # noqa: E402
from mcp_a2a.node.tasks.a2a_tasks import SELF  # noqa: E402
from mcp_a2a.node.worker.job import Chunk  # noqa: E402
from mcp_a2a.node.worker.task_context import TaskContext  # noqa: E402
from mcp_a2a.server.address import Listen  # noqa: E402
from mcp_a2a.server.context import came_at  # noqa: E402
from mcp_a2a.server.following import while_telling  # noqa: E402
from mcp_a2a.server.guard import Rules, admitted  # noqa: E402
from mcp_a2a.server.http import serve_http  # noqa: E402
from mcp_a2a.store.callers import CallerFolder  # noqa: E402
from tests.a2a.bindings import JsonRpc, Rest  # noqa: E402
from tests.a2a.test_push import config, hooked  # noqa: E402
from tests.node.test_desk import say, working  # noqa: E402
from tests.node.test_events import followed  # noqa: E402
from tests.node.world import Person, World  # noqa: E402
from tests.transports.certificates import authority  # noqa: E402

Told = list[tuple[str, str]]
"""Chunks with their texts and statuses with their words, in order."""

EXPECTED = [("WORKING", "begun"), ("chunk", "one "), ("chunk", "two "), ("chunk", "three"), ("COMPLETED", "")]


def told_by(events: Sequence[Any]) -> Told:
    """What these events of A2A tell, without the task that begins them."""
    told: Told = []
    for event in events:
        if "artifactUpdate" in event:
            told.append(("chunk", event["artifactUpdate"]["artifact"]["parts"][0]["text"]))
        if "statusUpdate" in event:
            status = event["statusUpdate"]["status"]
            words = "".join(part["text"] for part in status.get("message", {}).get("parts", ()))
            told.append((status["state"].removeprefix("TASK_STATE_"), words))
    return told


@asynccontextmanager
async def served(person: Person, folder: Path) -> AsyncIterator[str]:
    app = A2AApp(person.api, Offer(push=True), CallerFolder(folder).agents_of)
    async with anyio.create_task_group() as tasks:

        async def serve(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            await serve_http(None, Listen("127.0.0.1", 0), a2a=app, this_user=True, task_status=task_status)

        yield await tasks.start(serve)
        tasks.cancel_scope.cancel()


async def by_http(binding: JsonRpc | Rest, task_id: str, ready: anyio.Event, into: list[Told]) -> None:
    async with binding.events("SubscribeToTask", {"id": task_id}) as events:
        found = [await anext(events)]
        ready.set()
        into.append(told_by([*found, *[event async for event in events]]))


async def by_grpc(person: Person, task_id: str, ready: anyio.Event, into: list[Told]) -> None:
    offer = GrpcOffer(partial(admitted, Rules(this_user=True)))
    async with (
        grpc_server(person.api, "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        request = pb.SubscribeToTaskRequest(id=task_id)
        found = []
        async for event in A2AServiceStub(channel).SubscribeToTask(request, metadata=(("a2a-version", "1.0"),)):
            found.append(MessageToDict(event))
            ready.set()
        into.append(told_by(found))


async def by_mcp(person: Person, task: TaskView, ready: anyio.Event, into: list[str]) -> None:
    heard = anyio.Event()

    async def report_progress(_done: float, *, total: float, message: str) -> None:
        assert total
        into.append(message)
        ready.set()
        if "three" in message:
            heard.set()

    async def call(request: Any) -> Any:
        if isinstance(request, GetTaskRequest):  # the answer would end the report of what led to it
            await heard.wait()
        return await person.api.call(request)

    ctx: Any = SimpleNamespace(
        request_context=SimpleNamespace(lifespan_context=SimpleNamespace(call=call)), report_progress=report_progress
    )
    came_at.set(anyio.current_time())
    await while_telling(ctx, task, GetTaskRequest(task_id=task.task_id, wait_seconds=30), "Waiting")


async def by_cli(person: Person, task: TaskView, ready: anyio.Event, into: list[str]) -> None:
    out, notes = io.StringIO(), io.StringIO()
    ready.set()
    await Writing(Session(Options(), Output(Options(), out, notes))).follow(person.api, task, 30)
    into += [notes.getvalue().strip(), out.getvalue().strip()]


async def test_every_way_to_follow_a_task_tells_the_same_chunks_and_states(tmp_path: Path) -> None:
    gate = anyio.Event()

    async def speak(task: TaskContext) -> object:
        await gate.wait()
        await task.progress("begun")
        await task.stream("one ")
        await task.stream("two ")
        await task.send_chunk(Chunk("three", last=True))
        return None

    told, progress, shown = list[Told](), list[str](), list[str]()
    async with (
        hooked(authority(tmp_path)) as (hook, hooks),
        World(tmp_path).person("alice", hooks=hooks) as alice,
        working(alice, speak),
        served(alice, tmp_path) as url,
        aiohttp.ClientSession() as web,
    ):
        sent = await alice.api.call(A2ASendRequest(message=say("go"), push_config=config(hook), follow=True))
        task_id = sent.task.id
        task = await alice.api.call(GetTaskRequest(task_id=task_id))
        task = task.model_copy(update={"direction": "sent", "agent": AgentRef(name="alice", did=SELF)})
        ready = [anyio.Event() for _ in range(5)]
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(by_http, JsonRpc(web, url), task_id, ready[0], told)
                tasks.start_soon(by_http, Rest(web, url), task_id, ready[1], told)
                tasks.start_soon(by_grpc, alice, task_id, ready[2], told)
                tasks.start_soon(by_mcp, alice, task, ready[3], progress)
                tasks.start_soon(by_cli, alice, task, ready[4], shown)
                for one in ready:
                    await one.wait()
                gate.set()
        posted = told_by(await hook.until("completed"))
        views = await followed(alice.api, task_id, sent.cursor)
    dumped = [event.model_dump(mode="json", by_alias=True, exclude_none=True) for event in views]
    assert told == [EXPECTED] * 3
    assert posted == told_by(dumped) == EXPECTED
    assert shown == ["begun", "one two three"]
    assert re.findall("begun|one|two|three", " ".join(progress)) == ["begun", "one", "two", "three"]
