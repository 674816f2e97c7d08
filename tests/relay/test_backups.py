"""A data folder that was restored from a backup has older encryption keys than its peers seal to. Nothing waits for
that, directly or through a relay.
"""

from __future__ import annotations

import shutil

import anyio

from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.networks import LeaveRequest
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.relaying import ServingRelay
from tests.files.scenes import until as met
from tests.node.world import Person, World, acquainted
from tests.relay.test_keys import meet, stored, until

DAY = 86_401.0


async def age(world: World, name: str, days: int) -> None:
    """Its keys are renewed on each of so many days."""
    for _ in range(days):
        world.clock.advance(DAY)
        async with world.person(name):
            pass


async def knows_key(alice: Person, bob: Person) -> None:
    """Alice has an advert with Bob's newest key, also after a restart."""
    with anyio.fail_after(60):
        while True:
            changed = alice.node.directory.changes.event()
            peer = alice.node.directory.known(bob.node.context.me)
            if peer is not None and peer.advert is not None and peer.advert.bundle == bob.node.ring.current:
                return
            await changed.wait()


async def test_a_folder_from_a_backup_is_sealed_to_by_what_it_shows_on_its_link(world: World) -> None:
    world.make_own("alice", "bob")
    async with world.person("bob") as bob, world.person("alice") as alice:
        await acquainted(alice, bob)
    world.back_up("bob")
    await age(world, "bob", 3)
    async with world.person("bob") as bob, world.person("alice") as alice:
        await acquainted(alice, bob)
        await knows_key(alice, bob)
    world.restore("bob")
    async with world.person("bob") as bob, world.person("alice") as alice:
        await acquainted(alice, bob)
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="x", wait_seconds=0))
        with anyio.fail_after(60):
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=50))
        assert [item.task_id for item in inbox.items] == [sent.task_id]


async def test_a_folder_from_a_backup_is_reached_through_a_relay(world: World, relay: ServingRelay) -> None:
    await meet(world, relay)
    world.back_up("bob")
    await age(world, "bob", 3)
    async with world.person("bob") as bob, world.person("alice") as alice:
        await knows_key(alice, bob)
    async with world.person("alice") as alice:
        sent = await stored(alice)
        world.restore("bob")
        world.clock.advance(60)  # two keys of one second cannot be told apart
        async with world.person("bob") as bob:
            with anyio.fail_after(60):
                inbox = await bob.api.call(CheckInboxRequest(wait_seconds=50))
            assert [item.task_id for item in inbox.items] == [sent.task_id]
            await until(alice, sent.task_id, Delivery.DELIVERED)


async def test_a_folder_from_before_its_agent_left_a_network_is_that_of_a_member(
    world: World, relay: ServingRelay
) -> None:
    await meet(world, relay)
    world.back_up("bob")
    async with world.person("alice") as alice:
        me, networks = world.identity("bob").peer_id, alice.node.networks
        async with world.person("bob") as bob:
            await bob.api.call(LeaveRequest(network="shop"))
        await met(lambda: networks.settled and not networks.is_member(me), 10)
        world.restore("bob")
        async with world.person("bob"):
            await met(lambda: networks.is_member(me), 10)


async def test_of_two_machines_with_one_identity_behind_a_relay_the_one_that_has_the_key_gets_the_task(
    world: World, relay: ServingRelay
) -> None:
    await meet(world, relay)
    shutil.copytree(world.folder / "bob", world.folder / "copy" / "bob")
    await age(world, "bob", 1)
    world.clock.advance(60)
    copy = World(world.folder / "copy", network=world.network, clock=world.clock, own=world.own)
    async with world.person("alice") as alice, copy.person("bob") as newer:
        await knows_key(alice, newer)
        async with world.person("bob", transport=world.network.transport("elsewhere")) as older:
            assert newer.node.ring.current.supersedes(older.node.ring.current)
            key = older.node.context.me.key
            await met(lambda: len(relay.listener.service.connections.wires_of(key)) == 2)
            sent = await alice.api.call(SendTaskRequest(agent=newer.did, message="x", wait_seconds=0))
            with anyio.fail_after(60):
                inbox = await newer.api.call(CheckInboxRequest(wait_seconds=50))
            assert [item.task_id for item in inbox.items] == [sent.task_id]
            await until(alice, sent.task_id, Delivery.DELIVERED)
