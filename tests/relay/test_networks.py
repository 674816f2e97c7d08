"""Nodes that only a relay connects: joining, finding, tasks both ways, offline, tickets, rotation, leaving."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest

from mcp_a2a.api.agents import DiscoverRequest
from mcp_a2a.api.diagnostics import PingRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.networks import InviteRequest, JoinRequest, LeaveRequest, NetworksRequest, RotateRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest, TaskView
from mcp_a2a.errors.machine import HomeUnusableError, StorageFullError
from mcp_a2a.errors.networks import NetworkError, RelayError, TicketError
from mcp_a2a.node.networks import renewal
from mcp_a2a.node.networks.membership import Membership
from mcp_a2a.node.networks.networks import Joined
from mcp_a2a.node.networks.renewal import Renewal
from mcp_a2a.node.runtime.context import delivery_of
from mcp_a2a.node.runtime.refusal import Refusal
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.network import SECRET_SIZE, Network
from mcp_a2a.protocol.payload import MAX_RELAYS, NetworkBody
from mcp_a2a.protocol.strict_json import to_base64url
from mcp_a2a.protocol.ticket import Ticket
from tests.node.world import Person, World
from tests.relay.scripted import ScriptedRelay


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    async with ScriptedRelay().serve() as relay:
        yield relay


async def ticket_of(person: Person, relay: ScriptedRelay, **more: object) -> str:
    request = InviteRequest.model_validate({"network": "shop", "relays": (relay.url,), **more})
    return (await person.api.call(request)).ticket


async def joined(person: Person, ticket: str) -> int:
    return (await person.api.call(JoinRequest(ticket=ticket))).agents_visible


async def until(person: Person, name: str, *, online: bool = True) -> None:
    """Wait until somebody is seen coming or going."""
    with anyio.fail_after(30):
        while True:
            changed = person.node.directory.changes.event()
            if any(peer.name == name and peer.online == online and peer.sightings for peer in person.node.directory):
                return
            await changed.wait()


async def answered(sender: Person, worker: Person, name: str, text: str = "olleh") -> TaskView:
    sent = await sender.api.call(SendTaskRequest(agent=name, message="hello", wait_seconds=0))
    await worker.api.call(CheckInboxRequest(wait_seconds=30))
    await worker.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text=text))
    return await sender.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))


async def test_two_agents_that_only_a_relay_connects_find_and_task_each_other(
    world: World, relay: ScriptedRelay
) -> None:
    async with world.person("alice") as alice, world.person("bob", "reverse") as bob:
        ticket = await ticket_of(alice, relay)
        assert await joined(bob, ticket) == 1
        await until(alice, "bob")
        await until(bob, "alice")
        found = await alice.api.call(DiscoverRequest(skill="reverse"))
        assert [(agent.name, agent.route, agent.trust, agent.networks) for agent in found.agents] == [
            ("bob", "relay", "member", ("shop",))
        ]
        for sender, worker, name in ((alice, bob, "bob"), (bob, alice, "alice")):
            view = await answered(sender, worker, name)
            assert (view.state, view.text, view.route) == (Moment.COMPLETED, "olleh", "relay")


async def test_tasks_wait_for_who_is_away_and_results_for_who_has_gone(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice:
        ticket = await ticket_of(alice, relay)
    async with world.person("bob", "reverse") as bob:
        await joined(bob, ticket)

    async with world.person("alice") as alice:
        sent = [
            await alice.api.call(SendTaskRequest(agent="bob", message=f"task {number}", wait_seconds=0))
            for number in range(5)
        ]
        for task in sent:
            assert (await settled(alice, task.task_id)).delivery == Delivery.STORED

    async with world.person("bob", "reverse") as bob:
        texts = []
        while len(texts) < 5:
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30, limit=1))
            for item in inbox.items:
                texts.append(item.text)
                answer = AnswerRequest(task_id=item.task_id, status="completed", text=item.text.upper())
                await bob.api.call(answer)
        assert texts == [f"task {number}" for number in range(5)]
        with anyio.fail_after(30):
            while True:
                changed = bob.node.context.task_changes.event(delivery_of(sent[-1].task_id))
                if all(bob.node.outbox.settled(message_id) for message_id in await outbox_ids(bob)):
                    break
                await changed.wait()

    async with world.person("alice") as alice:
        for number, task in enumerate(sent):
            view = await alice.api.call(GetTaskRequest(task_id=task.task_id, wait_seconds=30))
            assert (view.state, view.text, view.delivery) == (
                Moment.COMPLETED,
                f"TASK {number}",
                Delivery.DELIVERED,
            )


async def settled(person: Person, task_id: str) -> TaskView:
    with anyio.fail_after(30):
        while True:
            changed = person.node.context.task_changes.event(f"{task_id}/delivery")
            view = await person.api.call(GetTaskRequest(task_id=task_id))
            if view.delivery != Delivery.QUEUED:
                return view
            await changed.wait()


async def outbox_ids(person: Person) -> list[str]:
    rows = person.node.context.database.read(lambda c: c.execute("SELECT id FROM outbox").fetchall())
    return [row[0] for row in rows]


async def test_a_stored_task_is_not_left_there_twice_by_a_node_that_restarts(
    world: World, relay: ScriptedRelay
) -> None:
    async with world.person("alice") as alice:
        ticket = await ticket_of(alice, relay)
    async with world.person("bob") as bob:
        await joined(bob, ticket)
        did = bob.node.context.me
    for _ in range(3):
        async with world.person("alice") as alice:
            request = SendTaskRequest(agent="bob", message="once", wait_seconds=0, idempotency_key="k")
            sent = await alice.api.call(request)
            assert (await settled(alice, sent.task_id)).delivery == Delivery.STORED
            assert len(relay.mail[did]) == 1


async def test_what_a_relay_has_lost_is_sent_again(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice:
        ticket = await ticket_of(alice, relay)
    async with world.person("bob") as bob:
        await joined(bob, ticket)
    async with world.person("alice") as alice:
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="hello", wait_seconds=0))
        await settled(alice, sent.task_id)
    relay.mail.clear()
    async with world.person("alice") as alice, world.person("bob") as bob:
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.text for item in inbox.items] == ["hello"]
        assert alice.did


async def test_a_ping_goes_the_whole_way_and_says_which(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice:
        ticket = await ticket_of(alice, relay)
        async with world.person("bob") as bob:
            await joined(bob, ticket)
            await until(alice, "bob")
            reply = await alice.api.call(PingRequest(agent="bob"))
            assert (reply.route, reply.address, reply.detail) == ("relay", relay.url, None)
            assert reply.ms is not None
        await until(alice, "bob", online=False)
        reply = await alice.api.call(PingRequest(agent="bob"))
        assert (reply.ms, reply.detail) == (None, "the relay has its mailbox, but it is not connected")


async def test_whoever_joins_joins_with_all_agents_of_the_data_folder(world: World, relay: ScriptedRelay) -> None:
    shared = world.folder / "shared"
    async with world.person("alice") as alice:
        ticket = await ticket_of(alice, relay)
        async with (
            world.person("bob", networks=shared) as bob,
            world.person("worker", "reverse", networks=shared) as worker,
        ):
            await joined(bob, ticket)
            await until(alice, "bob")
            await until(alice, "worker")
            view = await answered(alice, worker, "worker")
            assert (view.state, view.route) == (Moment.COMPLETED, "relay")
            await bob.api.call(LeaveRequest(network="shop"))
            with anyio.fail_after(30):
                while list(worker.node.networks):
                    await worker.node.networks.changes.event().wait()


# --- tickets --------------------------------------------------------------------------------------


async def test_two_invitations_at_once_are_to_one_network(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice:
        tickets: list[str] = []

        async def invite() -> None:
            tickets.append(await ticket_of(alice, relay))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(invite)
            tasks.start_soon(invite)
        assert [network.row.name for network in alice.node.networks] == ["shop"]
        assert len({Ticket.parse_untrusted(ticket).secret for ticket in tickets}) == 1


@pytest.mark.parametrize("what", ["leave", "rotate"])
async def test_a_network_that_is_left_or_renewed_while_it_is_invited_to_does_not_come_back(
    world: World, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The relay that the invitation names is asked first, and may take its time."""
    async with ScriptedRelay().serve() as other, world.person("alice") as alice:
        await ticket_of(alice, relay)
        before = alice.node.networks.named("shop").network.id
        try_out = alice.node.networks.relays.try_out

        async def slow(url: str) -> float:
            if what == "leave":
                await alice.api.call(LeaveRequest(network="shop"))
            else:
                await alice.api.call(RotateRequest(network="shop"))
            return await try_out(url)

        monkeypatch.setattr(alice.node.networks.relays, "try_out", slow)
        with pytest.raises(NetworkError, match="left or renewed meanwhile"):
            await ticket_of(alice, other)
        assert alice.node.networks.by_id(before) is None
        assert len(list(alice.node.networks)) == (0 if what == "leave" else 1)


async def test_two_invitations_at_once_by_two_relays_leave_the_network_both(
    world: World, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process of the data folder may make the other one."""
    async with ScriptedRelay().serve() as other, world.person("alice") as alice:
        await alice.api.call(InviteRequest(network="shop"))
        networks = alice.node.networks
        shop, try_out = networks.named("shop").row, networks.relays.try_out

        async def slow(url: str) -> float:
            networks.folder.save(replace(shop, relays=(other.url,)))
            return await try_out(url)

        monkeypatch.setattr(networks.relays, "try_out", slow)
        await ticket_of(alice, relay)
        assert networks.named("shop").row.relays == (other.url, relay.url)


async def test_a_ticket_for_one_admits_one_and_that_one_again(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob, world.person("carol") as carol:
        ticket = await ticket_of(alice, relay, uses=1)
        assert await joined(bob, ticket) == 1
        assert (await bob.api.call(JoinRequest(ticket=ticket))).already_member
        with pytest.raises(TicketError, match="used as often as it may be"):
            await joined(carol, ticket)
        assert (await carol.api.call(NetworksRequest())).networks == ()


async def test_an_expired_ticket_admits_nobody(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        ticket = await ticket_of(alice, relay, expires_seconds=60)
        world.clock.advance(61)
        with pytest.raises(TicketError, match="expired on"):
            await joined(bob, ticket)


async def test_a_limited_ticket_does_not_hold_the_secret_and_needs_a_relay(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice:
        with pytest.raises(NetworkError, match="needs a relay that counts"):
            await alice.api.call(InviteRequest(network="home", uses=1))
        assert await ticket_of(alice, relay, uses=1)


async def test_a_ticket_for_one_is_counted_by_the_relay_that_was_named_for_it(
    world: World, relay: ScriptedRelay
) -> None:
    async with ScriptedRelay().serve() as older, world.person("alice") as alice, world.person("bob") as bob:
        await ticket_of(alice, older)
        ticket = await ticket_of(alice, relay, uses=1)
        assert (len(older.invitations), len(relay.invitations)) == (0, 1)
        assert Ticket.parse_untrusted(ticket).relays == (relay.url, older.url)
        assert await joined(bob, ticket) == 1


async def test_a_ticket_for_one_needs_only_one_relay_of_the_network_that_is_there(
    world: World, relay: ScriptedRelay
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        async with ScriptedRelay().serve() as older:
            await ticket_of(alice, older)
            await ticket_of(alice, relay)
        ticket = (await alice.api.call(InviteRequest(network="shop", uses=1))).ticket
        assert await joined(bob, ticket) == 1


async def test_a_relay_that_is_not_there_is_said_and_nothing_is_joined(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice:
        ticket = await ticket_of(alice, relay)
    async with world.person("bob") as bob:
        other = ScriptedRelay()  # another key at the same place
        relay.identity, relay.ring = other.identity, other.ring
        with pytest.raises(RelayError, match=r"another agent answers there.*127\.0\.0\.1 is an address of the machine"):
            await joined(bob, ticket)
        assert (await bob.api.call(NetworksRequest())).networks == ()


async def test_a_relay_that_cannot_be_reached_makes_no_network(world: World) -> None:
    async with world.person("alice") as alice:
        gone = f"ws://127.0.0.1:9/#{alice.did}"
        with pytest.raises(RelayError, match="no program listens there"):
            await alice.api.call(InviteRequest(network="shop", relays=(gone,)))
        assert (await alice.api.call(NetworksRequest())).networks == ()


# --- leaving and renewing -------------------------------------------------------------------------


async def test_a_command_that_leaves_as_soon_as_it_runs_leaves(world: World, relay: ScriptedRelay) -> None:
    """Its session with the relay opens meanwhile, which brings the entry up to date otherwise."""
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await joined(bob, await ticket_of(alice, relay))
            await until(alice, "bob")
        async with world.person("bob") as bob:
            await bob.api.call(LeaveRequest(network="shop"))
        with anyio.fail_after(10):
            while alice.node.networks.is_member(bob.node.context.me):
                await alice.node.networks.changes.event().wait()
        (entry,) = (entry for (_, who), entry in relay.listings.items() if who == bob.node.context.me)
        assert entry.is_withdrawal


async def test_who_leaves_is_no_longer_seen_and_sees_nobody(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        await until(alice, "bob")
        await bob.api.call(LeaveRequest(network="shop"))
        with anyio.fail_after(30):
            while alice.node.networks.named("shop").members:
                await alice.node.networks.changes.event().wait()
        assert (await alice.api.call(DiscoverRequest(settle_seconds=0))).agents == ()
        assert (await bob.api.call(DiscoverRequest(settle_seconds=0))).agents == ()


async def test_an_invitation_lists_no_agent_anew_that_is_leaving_meanwhile(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice:
        await ticket_of(alice, relay)
        me, shop = alice.node.context.me, alice.node.networks.named("shop")
        with alice.node.publishing.leaving(shop):
            await alice.node.own_advert.renew()  # what is said from now on is newer than the withdrawal
            before = relay.listings[shop.network.id, me].seq
            await ticket_of(alice, relay)
            assert relay.listings[shop.network.id, me].seq == before
        with anyio.fail_after(30):
            while relay.listings[shop.network.id, me].seq == before:  # but it stays
                await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("moment", ["drop", "save", "letters"])
async def test_who_cannot_leave_is_there_again_for_the_others(
    world: World, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The relay has heard of the leaving before the disk refuses to forget the network, or to take its new secret."""

    def refuse(*_: object, **__: object) -> None:
        raise HomeUnusableError("home", "it is read-only")

    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        await until(bob, "alice")
        me, network = alice.node.context.me, alice.node.networks.named("shop").network.id
        with monkeypatch.context() as patch, pytest.raises(HomeUnusableError):
            if moment == "letters":
                patch.setattr(renewal, "_put_letters", refuse)
            else:
                patch.setattr(alice.node.networks.folder, moment, refuse)
            if moment == "drop":
                await alice.api.call(LeaveRequest(network="shop"))
            else:
                await alice.api.call(RotateRequest(network="shop"))
        assert [row.id for row in alice.node.networks.folder.rows()] == [str(network)]
        with anyio.fail_after(30):
            while relay.listings[network, me].is_withdrawal:
                await anyio.wait_all_tasks_blocked()
            while not bob.node.networks.is_member(me):
                await bob.node.networks.changes.event().wait()
        assert (await answered(bob, alice, "alice")).state == Moment.COMPLETED


async def test_who_left_can_come_back(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        ticket = await ticket_of(alice, relay)
        await joined(bob, ticket)
        await bob.api.call(LeaveRequest(network="shop"))
        assert await joined(bob, ticket) == 1
        await until(alice, "bob")
        assert (await answered(alice, bob, "bob")).state == Moment.COMPLETED


async def test_a_new_secret_reaches_those_who_stay_and_shuts_out_who_does_not(
    world: World, relay: ScriptedRelay
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob, world.person("carol") as carol:
        ticket = await ticket_of(alice, relay)
        await joined(bob, ticket)
        await joined(carol, ticket)
        await until(alice, "bob")
        await until(alice, "carol")
        before = alice.node.networks.named("shop").network.id
        view = await alice.api.call(RotateRequest(network="shop", without=("carol",)))
        assert (view.told, [agent.name for agent in view.left_out]) == (1, ["carol"])
        assert [agent.name for agent in view.stay] == ["bob"]
        with anyio.fail_after(30):
            while bob.node.networks.by_id(before) is not None:
                await bob.node.networks.changes.event().wait()
        assert bob.node.networks.named("shop").network.id == alice.node.networks.named("shop").network.id != before
        await until(alice, "bob")
        await until(bob, "alice")
        assert (await answered(alice, bob, "bob")).state == Moment.COMPLETED
        assert carol.node.networks.named("shop").network.id == before
        assert not alice.node.networks.is_member(carol.node.context.me)


def renewed(network: Joined) -> NetworkBody:
    """What members are told of the network that follows this one."""
    return NetworkBody(previous=network.network.id, secret=to_base64url(bytes(SECRET_SIZE)), relays=network.row.relays)


async def test_a_new_secret_that_comes_while_an_agent_leaves_does_not_keep_it_there(
    world: World, relay: ScriptedRelay
) -> None:
    """The relays are told first, and each has three seconds for that."""
    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        await until(bob, "alice")
        shop = bob.node.networks.named("shop")
        body = renewed(shop)
        outcomes: list[object] = []
        with bob.node.publishing.leaving(shop):
            bob.node.intake.on_network(alice.node.context.me, body, outcomes.append)
        (outcome,) = outcomes
        assert isinstance(outcome, Refusal)
        assert (outcome.code, [row.id for row in bob.node.networks.folder.rows()]) == ("busy", [shop.row.id])
        bob.node.intake.on_network(alice.node.context.me, body, outcomes.append)
        assert outcomes[1:] == [None], "it is taken where the agent stays"


async def test_an_agent_that_leaves_while_it_moves_to_the_renewed_network_is_in_neither(
    world: World, relay: ScriptedRelay
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        await until(bob, "alice")
        shop = bob.node.networks.named("shop")
        body = renewed(shop)
        bob.node.intake.on_network(alice.node.context.me, body, lambda _: None)
        await bob.api.call(LeaveRequest(network="shop"))
        await anyio.wait_all_tasks_blocked()
        assert list(bob.node.networks) == []
        assert bob.node.networks.folder.rows() == []


async def test_a_network_with_more_relays_than_a_letter_has_room_for_is_renewed_with_those_that_are_there(
    world: World, relay: ScriptedRelay
) -> None:
    """Each address that a relay had once is a relay of its network: a tunnel has another one after every start."""
    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        await until(alice, "bob")
        shop = alice.node.networks.named("shop")
        gone = tuple(f"ws://127.0.0.1:{port}/#{alice.did}" for port in range(1, 10))
        alice.node.networks.folder.save(replace(shop.row, relays=(*gone, relay.url)))
        alice.node.networks.reload()
        assert (await alice.api.call(RotateRequest(network="shop"))).told == 1
        with anyio.fail_after(30):
            while bob.node.networks.by_id(shop.network.id) is not None:
                await bob.node.networks.changes.event().wait()
        relays = alice.node.networks.named("shop").row.relays
        assert (relays[0], len(relays)) == (relay.url, MAX_RELAYS)


async def full(*_: object) -> None:
    """A disk that takes nothing more."""
    raise StorageFullError("/data")


async def test_a_full_disk_ends_no_node_that_a_new_secret_comes_to(
    world: World, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        await until(bob, "alice")
        shop = bob.node.networks.named("shop")
        body = renewed(shop)
        with monkeypatch.context() as patch, anyio.fail_after(30):
            patch.setattr(bob.node.context.database, "write", full)
            bob.node.intake.on_network(alice.node.context.me, body, lambda _: None)
            while bob.node.networks.by_id(Network(bytes(SECRET_SIZE)).id) is None:
                await bob.node.networks.changes.event().wait()
        assert bob.node.networks.by_id(shop.network.id) is None


async def test_a_full_disk_ends_no_node_that_comes_back_to_its_network(
    world: World, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        await until(alice, "bob")
        network, identity = bob.node.networks.named("shop").network.id, bob.node.context.identity
        number = bob.node.own_advert.entry().seq + 1000
        left = Listing.withdrawal(identity, network, number, int(world.clock()) + 86_400)
        with monkeypatch.context() as patch, anyio.fail_after(30):
            patch.setattr(bob.node.context.database, "write", full)
            bob.node.listings.listed(relay.url, left)
            while relay.listings[network, identity.peer_id].seq <= number:
                await anyio.wait_all_tasks_blocked()


async def test_two_renewals_at_once_follow_each_other_and_both_shut_out_whom_they_name(
    world: World, relay: ScriptedRelay
) -> None:
    async with (
        world.person("alice") as alice,
        world.person("bob") as bob,
        world.person("carol") as carol,
        world.person("dave") as dave,
    ):
        ticket = await ticket_of(alice, relay)
        for person, name in ((bob, "bob"), (carol, "carol"), (dave, "dave")):
            await joined(person, ticket)
            await until(alice, name)
        async with anyio.create_task_group() as tasks:
            for name in ("carol", "dave"):
                tasks.start_soon(alice.api.call, RotateRequest(network="shop", without=(name,)))
        (network,) = alice.node.networks
        assert set(network.members) == {bob.node.context.me}
        with anyio.fail_after(30):
            while bob.node.networks.by_id(network.network.id) is None:
                await bob.node.networks.changes.event().wait()
        await until(bob, "alice")
        assert (await answered(alice, bob, "bob")).state == Moment.COMPLETED


async def test_an_old_ticket_says_that_its_network_was_renewed_and_a_new_one_brings_back_who_was_left_out(
    world: World, relay: ScriptedRelay
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob, world.person("carol") as carol:
        ticket = await ticket_of(alice, relay)
        assert (await bob.api.call(JoinRequest(ticket=ticket))).warnings == ()
        await until(alice, "bob")
        await alice.api.call(RotateRequest(network="shop", without=("bob",)))
        late = await carol.api.call(JoinRequest(ticket=ticket))
        assert "ask for a new ticket" in " ".join(late.warnings)
        again = await bob.api.call(JoinRequest(ticket=await ticket_of(alice, relay)))
        assert (again.network.name, again.agents_visible) == ("shop-2", 1)
        assert [warning[:25] for warning in again.warnings] == ["You are in another networ"]
        await until(alice, "bob")
        for sender, worker, name in ((alice, bob, "bob"), (bob, alice, "alice")):
            assert (await answered(sender, worker, name)).state == Moment.COMPLETED


async def test_who_was_away_goes_through_every_renewal_in_whatever_order_they_come(
    world: World, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "UNKNOWN_RETRY_SECONDS", 0.1)
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await joined(bob, await ticket_of(alice, relay))
            await until(alice, "bob")
            me = bob.node.context.me
        for _ in range(3):
            await alice.api.call(RotateRequest(network="shop"))
        newest = alice.node.networks.named("shop").network.id
        mail = relay.mail[me]
        assert len(mail) == 3
        for envelope_id in reversed(list(mail)):
            mail[envelope_id] = mail.pop(envelope_id)  # what was sent last comes first
        async with world.person("bob") as bob:
            with anyio.fail_after(30):
                while bob.node.networks.by_id(newest) is None:
                    await bob.node.networks.changes.event().wait()
            assert len(list(bob.node.networks)) == 1
            await until(bob, "alice")


class KilledError(Exception):
    """The process of a test is killed here."""


@pytest.mark.parametrize(("service", "moment"), [(Renewal, "_replace"), (Membership, "forget")])
async def test_a_renewal_that_is_cut_short_leaves_no_member_behind(
    world: World, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch, service: type, moment: str
) -> None:
    def end(*_: object) -> None:
        raise KilledError

    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        await until(alice, "bob")
        did = bob.did
    async with world.person("alice") as alice:
        with monkeypatch.context() as patch:
            patch.setattr(service, moment, end)
            with pytest.raises(KilledError):
                await alice.api.call(RotateRequest(network="shop"))
            patch.setattr(alice.node.context.database, "enqueue_lazily", lambda *_: None)
    async with world.person("alice") as alice:
        view = await alice.api.call(RotateRequest(network="shop"))
        assert [agent.did for agent in view.stay] == [did]
        async with world.person("bob") as bob:
            with anyio.fail_after(30):
                while bob.node.networks.by_id(alice.node.networks.named("shop").network.id) is None:
                    await bob.node.networks.changes.event().wait()
            await until(alice, "bob")
            await until(bob, "alice")
            assert (await answered(alice, bob, "bob")).state == Moment.COMPLETED


async def test_only_its_owner_renews_a_network(world: World, relay: ScriptedRelay) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await joined(bob, await ticket_of(alice, relay))
        with pytest.raises(NetworkError, match="Only the creator of shop"):
            await bob.api.call(RotateRequest(network="shop"))
