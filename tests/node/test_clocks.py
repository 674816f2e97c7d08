"""Clocks that differ, jump, or were wrong for a while (promise R8)."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mcp_a2a.protocol.model import TaskState
from mcp_a2a.views import AnswerRequest, CheckInboxRequest, GetTaskRequest, SendTaskRequest, TaskView
from tests.node.world import Clock, Person, World, acquainted

DAY = 86_400


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


def clock(offset: float) -> Clock:
    made = Clock()
    made.advance(offset)
    return made


async def a_task(alice: Person, bob: Person) -> TaskView:
    """Sent by Alice, answered by Bob."""
    with anyio.fail_after(10):
        sent = await alice.api.send_task(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        inbox = await bob.api.check_inbox(CheckInboxRequest(wait_seconds=10))
        assert [item.task_id for item in inbox.items] == [sent.task_id]
        await bob.api.answer_task(AnswerRequest(task_id=sent.task_id, status="completed", text="olleh"))
        return await alice.api.get_task(GetTaskRequest(task_id=sent.task_id, wait_seconds=5))


@pytest.mark.parametrize("minutes", [-9, 9])
async def test_clocks_may_differ_by_minutes(world: World, minutes: int) -> None:
    async with world.person("alice", clock=clock(minutes * 60)) as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        assert (await a_task(alice, bob)).text == "olleh"


@pytest.mark.parametrize("ahead", [3_600, DAY, 5 * DAY])
async def test_a_clock_that_was_ahead_and_is_right_again_after_a_restart_costs_nothing(
    world: World, ahead: float
) -> None:
    async with world.person("alice", clock=clock(ahead)):
        pass
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        assert (await a_task(alice, bob)).text == "olleh"
        assert (await a_task(bob, alice)).text == "olleh"


async def test_a_clock_that_is_set_back_while_the_node_runs_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.node.HOUSEKEEPING_SECONDS", 0.01)
    of_alice = clock(DAY)
    async with world.person("alice", clock=of_alice) as alice:
        key = alice.node.ring.current
        of_alice.advance(-DAY)
        while alice.node.ring.current is key:
            await alice.node.context.database.write(lambda _: None)
        async with world.person("bob") as bob:
            await acquainted(alice, bob)
            assert (await a_task(alice, bob)).text == "olleh"
            assert (await a_task(bob, alice)).text == "olleh"


@pytest.mark.parametrize(("alice_ahead", "bob_ahead"), [(DAY, 0), (0, DAY), (0, -2 * DAY)])
async def test_clocks_that_differ_by_days_are_named_as_the_reason(
    world: World, alice_ahead: float, bob_ahead: float
) -> None:
    async with (
        world.person("alice", clock=clock(alice_ahead)) as alice,
        world.person("bob", clock=clock(bob_ahead)) as bob,
    ):
        alice.sees(bob)
        sent = await alice.api.send_task(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        with anyio.fail_after(5):
            while True:
                view = await alice.api.get_task(GetTaskRequest(task_id=sent.task_id))
                said = " ".join(filter(None, (*view.tried, view.error.message if view.error else None)))
                if "clock" in said:
                    break
                await alice.node.context.database.write(lambda _: None)
        assert view.state in (TaskState.SUBMITTED, TaskState.REJECTED)
