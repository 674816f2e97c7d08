"""Nobody takes the place of another's task, and what is said about tasks is limited like tasks themselves."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mcp_a2a.api.agents import SetTrustRequest
from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.protocol.control import Delivered, Refused
from mcp_a2a.protocol.model import TaskState
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task import effects
from mcp_a2a.protocol.task.task import task_id_of
from mcp_a2a.store.records import find_task
from tests.node.outsider import cancel_letter, message_letter, outsider, task_letter
from tests.node.world import World, acquainted


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("accept", ["anyone", "trusted"])
async def test_a_cancellation_of_a_task_that_is_to_come_does_not_keep_out_the_task_of_another(
    world: World, accept: str
) -> None:
    """The id of a task with an idempotency key can be known before the task is: it is made of both keys and that."""
    async with (
        world.person("bob", accept=accept) as bob,
        world.person("alice") as alice,
        outsider(world.network, "mallory") as mallory,
    ):
        await bob.api.call(SetTrustRequest(agent=mallory.did, level="trusted"))
        link = await mallory.dial(bob)
        opening = hashlib.sha256(f"{bob.did}\0monday".encode()).hexdigest()[:32]
        wanted = task_id_of(alice.node.context.me, opening)
        for guess in (None, opening):
            withdrawn = cancel_letter(mallory.peer_id, bob.node.context.me, wanted, guess)
            assert isinstance(await mallory.send(link, withdrawn), Delivered)
        await acquainted(alice, bob)
        request = SendTaskRequest(agent="bob", message="x", wait_seconds=0, idempotency_key="monday")
        sent = await alice.api.call(request)
        assert sent.task_id == wanted
        if accept == "trusted":
            await bob.api.call(SetTrustRequest(agent=alice.did, level="trusted"))
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=20))).items
        assert (item.task_id, item.agent.did) == (wanted, alice.did)


async def test_nor_does_it_keep_its_own_sender_from_sending_it(world: World) -> None:
    async with (
        world.person("bob", accept="anyone") as bob,
        world.person("alice", accept="anyone") as alice,
        outsider(world.network, "mallory") as mallory,
    ):
        link = await mallory.dial(alice)
        opening = hashlib.sha256(f"{bob.did}\0monday".encode()).hexdigest()[:32]
        wanted = task_id_of(alice.node.context.me, opening)
        await mallory.send(link, cancel_letter(mallory.peer_id, alice.node.context.me, wanted, opening))
        await acquainted(alice, bob)
        request = SendTaskRequest(agent="bob", message="x", wait_seconds=0, idempotency_key="monday")
        assert (await alice.api.call(request)).state == Moment.QUEUED
        assert len((await bob.api.call(CheckInboxRequest(wait_seconds=20))).items) == 1


async def test_cancellations_and_messages_of_a_stranger_are_limited_like_its_tasks(world: World) -> None:
    world.clock.uptime = lambda: 1_000.0  # type: ignore[method-assign]  # what is used up does not come back
    async with world.person("bob", accept="anyone") as bob, outsider(world.network, "stranger") as stranger:
        link, me = await stranger.dial(bob), bob.node.context.me
        task = task_letter(stranger.peer_id, me, "first")
        assert isinstance(await stranger.send(link, task), Delivered)
        said = [
            await stranger.send(link, message_letter(stranger.peer_id, me, task.task, str(number)))
            for number in range(15)
        ]
        said += [
            await stranger.send(
                link, cancel_letter(stranger.peer_id, me, task_id_of(stranger.peer_id, str(number)), str(number))
            )
            for number in range(15)
        ]
        assert [type(answer) for answer in said] == [Delivered] * 29 + [Refused]
        assert isinstance(said[-1], Refused)
        assert said[-1].code == "busy"


async def test_a_conversation_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "MAX_CONVERSATION", 10_000)
    async with world.person("bob", accept="anyone") as bob, outsider(world.network, "stranger") as stranger:
        link, me = await stranger.dial(bob), bob.node.context.me
        task = task_letter(stranger.peer_id, me, "first")
        await stranger.send(link, task)
        said = [
            await stranger.send(link, message_letter(stranger.peer_id, me, task.task, "x" * 4_000)) for _ in range(3)
        ]
        assert [type(answer) for answer in said] == [Delivered, Delivered, Refused]
        assert isinstance(said[-1], Refused)
        assert said[-1].code == "conversation_full"
        record = bob.node.context.database.read(lambda connection: find_task(connection, task.task))
        assert record is not None
        assert (record.state, len(record.messages)) == (TaskState.SUBMITTED, 3)
