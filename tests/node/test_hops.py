"""Agents that ask each other in a circle: the chain ends, whoever passes the work on and however."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_a2a.api.inbox import CLIENT, AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import MAX_HOP as MAX_HOP_OF_VIEWS
from mcp_a2a.api.tasks import GetTaskRequest, ReplyRequest, SendTaskRequest, TaskView
from mcp_a2a.errors.tasks import HopLimitError
from mcp_a2a.node.ipc.caller import Caller
from mcp_a2a.protocol.payload import MAX_HOP
from tests.node.world import Person, World, acquainted


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


async def passed_on(holder: Person, to: str, hop: int = 0) -> TaskView:
    """As a tool does, for a client that may be working on what it has leased."""
    request = SendTaskRequest(agent=to, message="do it", wait_seconds=0, holder=CLIENT, hop=hop)
    return await holder.api.call(request)


async def leased_hop(person: Person) -> int:
    (item,) = (await person.api.call(CheckInboxRequest(wait_seconds=30))).items
    return item.hop


def test_both_places_know_the_same_limit() -> None:
    assert MAX_HOP_OF_VIEWS == MAX_HOP


async def test_two_assistants_that_pass_their_work_to_each_other_stop(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        hops, people = [], [(alice, "bob", bob), (bob, "alice", alice)]
        with pytest.raises(HopLimitError, match="passed on 4 times"):
            for turn in range(10):
                sender, name, receiver = people[turn % 2]
                await passed_on(sender, name)
                hops.append(await leased_hop(receiver))
        assert hops == [1, 2, 3, 4]


async def test_what_a_client_has_answered_counts_no_longer(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await passed_on(alice, "bob", hop=3)
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        with pytest.raises(HopLimitError):
            await passed_on(bob, "alice")
        await bob.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="done"))
        await passed_on(bob, "alice")
        assert await leased_hop(alice) == 1


async def test_a_person_at_a_terminal_is_not_held_to_what_an_assistant_works_on(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await passed_on(alice, "bob", hop=3)
        await leased_hop(bob)
        await bob.api.call(SendTaskRequest(agent="alice", message="hello", wait_seconds=0))
        assert await leased_hop(alice) == 1


async def test_the_next_task_of_a_conversation_carries_the_hop_too(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        first = await bob.api.call(SendTaskRequest(agent="alice", message="hello", wait_seconds=0))
        (item,) = (await alice.api.call(CheckInboxRequest(wait_seconds=30))).items
        await alice.api.call(AnswerRequest(task_id=item.task_id, status="completed", text="done"))
        await bob.api.call(GetTaskRequest(task_id=first.task_id, wait_seconds=30))
        await passed_on(alice, "bob", hop=2)
        assert await leased_hop(bob) == 3
        await bob.api.call(ReplyRequest(task_id=first.task_id, message="and now?", wait_seconds=0, holder=CLIENT))
        assert await leased_hop(alice) == 4


async def test_what_the_command_of_an_agent_sends_carries_its_hop(world: World) -> None:
    """The process that `agent exec` started was told MCP_A2A_HOP; each of its requests is counted, whoever makes it."""
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        request = Caller(hop=2).passed_on(SendTaskRequest(agent="bob", message="x", wait_seconds=0))
        await alice.api.call(request)
        assert await leased_hop(bob) == 3
        with pytest.raises(HopLimitError):
            await alice.api.call(Caller(hop=99).passed_on(SendTaskRequest(agent="bob", message="x")))
