"""A caller says how far a task must have come, and is told when it has."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import anyio
import pytest

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest, SendTaskRequest, TaskView, Until
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from tests.node.world import Person, World, acquainted

WAITING = 30.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


async def asked(alice: Person, task_id: str, until: Until, seconds: float = WAITING) -> TaskView:
    return await alice.api.call(GetTaskRequest(task_id=task_id, wait_seconds=seconds, until=until))


async def answer(bob: Person, status: str) -> None:
    (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=WAITING))).items
    said = {"task_id": item.task_id, "status": status, "text": "well?"}
    await bob.api.call(AnswerRequest.model_validate(said))


async def test_a_task_is_waited_for_until_it_is_taken_rests_and_has_ended(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="la", wait_seconds=0))
        taken = await asked(alice, sent.task_id, "taken")
        assert (taken.delivery, taken.state) == (Delivery.DELIVERED, Moment.SUBMITTED)
        seen = dict[str, TaskView]()

        async def look(until: Until) -> None:
            seen[until] = await asked(alice, sent.task_id, until)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, "held_up")
            tasks.start_soon(look, "rest")
            await answer(bob, "input_required")
        assert {until: view.state for until, view in seen.items()} == dict.fromkeys(
            ("held_up", "rest"), Moment.INPUT_REQUIRED
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, "end")
            await anyio.wait_all_tasks_blocked()
            assert "end" not in seen
            await alice.api.call(CancelRequest(task_id=sent.task_id))
        assert seen["end"].state == Moment.CANCELED


async def test_a_task_that_a_person_must_let_in_holds_up_its_sender_and_is_not_at_rest(world: World) -> None:
    world.own.clear()
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="la", wait_seconds=0))
        held = await asked(alice, sent.task_id, "held_up")
        assert (held.delivery, held.is_held_up) == (Delivery.HELD, True)
        assert (await asked(alice, sent.task_id, "rest", 0.01)).state == Moment.HELD


async def test_a_task_is_shown_as_it_is_when_the_time_is_over(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
    async with world.person("alice") as alice:
        sent = await alice.api.call(SendTaskRequest(agent=world.did("bob"), message="la", wait_seconds=0))
        for until in get_args(Until):
            assert (await asked(alice, sent.task_id, until, 0.01)).delivery == Delivery.QUEUED
