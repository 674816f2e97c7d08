"""One real server for each module of tests: a node, a worker, and HTTP on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import anyio
import pytest

from mcp_a2a import Agent, Chunk, Message, Part, Reject, Role, TaskContext
from mcp_a2a.a2a.asgi import A2AApp, Offer
from mcp_a2a.agent.hosting import agent_settings
from mcp_a2a.app import open_node
from mcp_a2a.config import Settings
from mcp_a2a.node.ipc.owner import SharedNode
from mcp_a2a.node.worker.worker import Worker
from mcp_a2a.server.address import Listen
from mcp_a2a.server.http import serve_http
from mcp_a2a.store.callers import CallerFolder
from tests.a2a.bindings import Binding, JsonRpc, Rest


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def behaving(name: str = "behaving") -> Agent:  # noqa: C901  a table of behaviours
    """An agent that does what the text of a message says."""
    agent = Agent(name, description="Does what it is told", concurrency=16)

    @agent.skill(tags=["test"], input_modes=["application/octet-stream"])
    async def behave(task: TaskContext) -> AsyncIterator[object]:
        match task.text:
            case "ask":
                yield f"you said {await task.ask('which?')}"
            case "authorize":
                yield f"you said {await task.ask_authorization('may I?')}"
            case "direct":
                yield Message(message_id="r", role=Role.AGENT, parts=(Part(text="no task here"),))
            case "reject":
                raise Reject("not this")
            case "fail":
                raise ValueError("it broke")
            case "wait":
                yield "waiting"
                await anyio.sleep_forever()
            case "stream":
                yield Chunk("one ")
                yield Chunk("two ")
                yield Chunk("three", last=True)
            case "data":
                yield {"integer": 12345678901234567, "float": 1.5, "null": None, "list": [1, 2]}
            case "mirror":
                yield [part for part in task.parts if part.text is None]
            case text:
                yield text.upper()

    return agent


@dataclass
class Served:
    """A running server."""

    url: str
    node: SharedNode
    callers: CallerFolder
    web: aiohttp.ClientSession

    def binding(self, name: str, base: str = "", **headers: str) -> Binding:
        kind = JsonRpc if name == "jsonrpc" else Rest
        return kind(self.web, f"{self.url}{base}", headers)


@asynccontextmanager
async def serving(
    home: Path, agent: Agent | None = None, token: str | None = None, **settings: object
) -> AsyncIterator[Served]:
    """An agent, its node, and its A2A server."""
    agent = agent or behaving()
    configured = agent_settings(Settings(home=home, mdns=False, link_host="127.0.0.1", **settings), agent.name)
    service, stopping = agent.service(), anyio.Event()
    async with open_node(configured, service.card) as node, anyio.create_task_group() as tasks:
        tasks.start_soon(Worker(node, service.handler, holder="1-test", concurrency=service.concurrency).run, stopping)
        callers = CallerFolder(configured.folder)
        app = A2AApp(node, Offer(token=token is not None, push=configured.a2a_push), callers.agents_of)

        async def serve(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            await serve_http(
                None,
                Listen("127.0.0.1", 0),
                a2a=app,
                callers=callers.name_of,
                token=token,
                this_user=token is None,
                task_status=task_status,
            )

        url = await tasks.start(serve)
        async with aiohttp.ClientSession() as web:
            yield Served(url, node, callers, web)
        tasks.cancel_scope.cancel()


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(params=["jsonrpc", "rest"])
def client(request: pytest.FixtureRequest, served: Served) -> Binding:
    """Every rule holds on every binding."""
    return served.binding(request.param)
