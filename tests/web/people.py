"""A node that calls agents at URLs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mcp_a2a.a2a.client import WebClient
from mcp_a2a.api.agents import AddPeerRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest, TaskView
from mcp_a2a.node.delivery import patience
from mcp_a2a.protocol.backoff import Backoff
from tests.node.world import Person, World
from tests.web.agents import Agent


def impatient(monkeypatch: pytest.MonkeyPatch, *, retry: Backoff | None = None, look: Backoff | None = None) -> None:
    """Give deliveries to agents at URLs these pauses after a failure, and between looks at a task."""
    fast = patience.HTTP
    if retry is not None:
        fast = replace(fast, retry=retry, put_off=retry, asked=retry)
    monkeypatch.setattr(patience, "HTTP", replace(fast, look=look or fast.look))


@asynccontextmanager
async def somebody(
    world: World, name: str = "ada", calls: Callable[..., WebClient] = WebClient
) -> AsyncIterator[Person]:
    """A person whose node calls agents at URLs."""
    async with calls(idle_seconds=2) as client, world.person(name, web=client) as person:
        yield person


async def added(person: Person, agent: Agent) -> str:
    """The person types the agent's address."""
    return (await person.api.call(AddPeerRequest(address=agent.url))).did


async def sent(person: Person, agent: str, text: str = "hello", wait: float = 5, **more: object) -> TaskView:
    return await person.api.call(
        SendTaskRequest.model_validate({"agent": agent, "message": text, "wait_seconds": wait, **more})
    )


async def looked(person: Person, task: TaskView, wait: float = 5) -> TaskView:
    return await person.api.call(GetTaskRequest(task_id=task.task_id, wait_seconds=wait))
