"""What the node keeps of its work with agents at URLs, and what it shows of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from mcp_a2a.api.tasks import CancelRequest
from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.node.delivery.http_calls import HttpCalls
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.task import Task
from tests.node.world import Person, World
from tests.web.agents import Agent, Heard, shout, task
from tests.web.people import added, impatient, looked, sent, somebody


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def is_idle(person: Person) -> None:
    """Wait until nothing is kept of any task at an agent at a URL."""
    outbox = person.node.outbox
    with anyio.fail_after(30):
        while outbox.http._tasks or outbox._queue._waiting.peers or outbox._rows:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("streaming", [True, False])
async def test_nothing_is_kept_in_memory_of_tasks_that_are_over(world: World, *, streaming: bool) -> None:
    async def refuse(_: Heard) -> object:
        return web.Response(status=400)

    async def work(heard: Heard) -> object:
        working = {"task": task("TASK_STATE_WORKING")}
        return (
            task("TASK_STATE_CANCELED") if heard.operation == "cancel" else working if heard.operation == "send" else []
        )

    async with (
        Agent(shout, streaming=streaming).serve() as done,
        Agent(refuse, streaming=streaming).serve() as rude,
        Agent(work).serve() as slow,
        somebody(world) as ada,
    ):
        assert (await sent(ada, await added(ada, done))).state == Moment.COMPLETED
        assert (await sent(ada, await added(ada, rude))).state in (Moment.FAILED, Moment.REJECTED)
        view = await sent(ada, await added(ada, slow), wait=0.5)
        await ada.api.call(CancelRequest(task_id=view.task_id))
        assert (await looked(ada, view)).state == Moment.CANCELED
        await is_idle(ada)


async def test_a_task_that_is_refused_while_the_disk_is_full_ends_when_there_is_room_and_is_told_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.delivery.http.DISK_SECONDS", 0.01)
    full, end = iter([True, True]), HttpCalls.end

    async def end_with_room(self: HttpCalls, task_id: str, ending: Callable[[Task], Event]) -> None:
        if next(full, False):
            raise StorageFullError("node.db")
        await end(self, task_id, ending)

    monkeypatch.setattr(HttpCalls, "end", end_with_room)

    async def refuse(_: Heard) -> object:
        return web.Response(status=400)

    async with Agent(refuse).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other))
        assert view.error is not None
        await is_idle(ada)
    assert other.asked == ["send"]


async def test_why_a_task_does_not_get_on_is_shown_until_it_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch, retry=Backoff(cap=0.01), look=Backoff(cap=0.01))
    is_away = True

    async def answer(heard: Heard) -> object:
        if heard.operation == "send":
            return {"task": task("TASK_STATE_WORKING")}
        return web.Response(status=503) if is_away else task("TASK_STATE_WORKING")

    async with Agent(answer).serve() as other, somebody(world) as ada:
        view = await sent(ada, await added(ada, other), wait=0)
        with anyio.fail_after(30):
            while not view.tried:
                view = await looked(ada, view, wait=0)
            assert "503" in view.tried[0]
            is_away = False
            while view.tried:
                view = await looked(ada, view, wait=0)
