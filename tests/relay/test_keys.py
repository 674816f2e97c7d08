"""What was sealed to a key that its recipient no longer has is sealed anew, also when nobody is there at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import anyio

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, SendTaskRequest, TaskView
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.relaying import ServingRelay
from tests.node.world import Person, World


def lose_keys(world: World, name: str) -> None:
    """The disk of this one lost its encryption keys, not its identity."""
    with closing(sqlite3.connect(world.folder / name / "node.db")) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key='ring'")
    world.clock.advance(2)  # a ring that starts anew numbers its keys by the second


async def meet(world: World, relay: ServingRelay) -> None:
    async with world.person("alice") as alice:
        ticket = (await alice.api.call(InviteRequest(network="shop", relays=(relay.url,)))).ticket
    async with world.person("bob") as bob:
        await bob.api.call(JoinRequest(ticket=ticket))


async def stored(alice: Person) -> TaskView:
    sent = await alice.api.call(SendTaskRequest(agent="bob", message="hello", wait_seconds=0))
    return await until(alice, sent.task_id, Delivery.STORED)


async def until(person: Person, task_id: str, delivery: Delivery) -> TaskView:
    with anyio.fail_after(30):
        while True:
            changed = person.node.context.task_changes.event(f"{task_id}/delivery")
            view = await person.api.call(GetTaskRequest(task_id=task_id))
            if view.delivery == delivery:
                return view
            await changed.wait()


async def test_first_contact_with_somebody_who_is_away_needs_its_entry_only(world: World, relay: ServingRelay) -> None:
    await meet(world, relay)
    async with world.person("alice") as alice:
        assert (await stored(alice)).delivery == Delivery.STORED
    async with world.person("bob") as bob:
        assert [item.text for item in (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items] == ["hello"]


async def test_a_key_that_was_lost_while_a_task_waited_costs_nothing(world: World, relay: ServingRelay) -> None:
    await meet(world, relay)
    async with world.person("alice") as alice:
        sent = await stored(alice)
        lose_keys(world, "bob")
        async with world.person("bob") as bob:
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
            assert [item.task_id for item in inbox.items] == [sent.task_id]
            await until(alice, sent.task_id, Delivery.DELIVERED)
            assert len((await bob.api.call(ListTasksRequest())).tasks) == 1


async def test_the_news_of_a_new_key_waits_for_a_sender_that_has_gone(world: World, relay: ServingRelay) -> None:
    await meet(world, relay)
    async with world.person("alice") as alice:
        sent = await stored(alice)
    lose_keys(world, "bob")
    async with world.person("bob") as bob:
        assert (await bob.api.call(CheckInboxRequest(wait_seconds=1))).items == ()
    async with world.person("alice") as alice:
        # It was told over there that the key is gone, has sealed the same task again, and Bob is away again.
        with anyio.fail_after(30):
            while alice.node.outbox.waiting(world.identity("bob").peer_id) != 1:
                await anyio.lowlevel.checkpoint()
        async with world.person("bob") as bob:
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
            assert [item.task_id for item in inbox.items] == [sent.task_id]
            await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text="olleh"))
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
            assert (view.state, view.text, view.delivery) == (Moment.COMPLETED, "olleh", Delivery.DELIVERED)


async def test_a_key_that_is_renewed_every_day_is_known_to_every_member(world: World, relay: ServingRelay) -> None:
    await meet(world, relay)
    async with world.person("alice") as alice:
        before = alice.node.directory.get(world.identity("bob").peer_id).bundle
        world.clock.advance(86_401)
        async with world.person("bob"):
            with anyio.fail_after(30):
                while alice.node.directory.get(world.identity("bob").peer_id).bundle == before:
                    await alice.node.directory.changes.event().wait()
