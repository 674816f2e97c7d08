"""Which way a task goes: directly where that works, through a relay where it does not, and whoever asks is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from typing_extensions import override

from mcp_a2a.api.agents import GetAgentRequest
from mcp_a2a.api.diagnostics import NetcheckRequest, PingRequest
from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest, TaskView
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.node import address_change
from mcp_a2a.node.delivery import patience
from mcp_a2a.protocol import heartbeat
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr
from mcp_a2a.protocol.ticket import Ticket
from tests.node.patience import set_patience
from tests.node.world import Person, World
from tests.relay.scripted import ScriptedRelay
from tests.transports.memory import MemoryTransport


@asynccontextmanager
async def members(world: World, *relays: ScriptedRelay) -> AsyncIterator[tuple[Person, Person]]:
    """Alice and Bob in one network at these relays; they do not know yet that they could reach each other directly."""
    async with world.person("alice") as alice, world.person("bob") as bob:
        request = InviteRequest(network="shop", relays=tuple(relay.url for relay in relays))
        await bob.api.call(JoinRequest(ticket=(await alice.api.call(request)).ticket))
        with anyio.fail_after(30):
            while not any(peer.name == "bob" and peer.online for peer in alice.node.directory):
                await alice.node.directory.changes.event().wait()
        yield alice, bob


async def taken(alice: Person, bob: Person, text: str) -> TaskView:
    """Send a task, and see how it went as far as Bob's inbox."""
    sent = await alice.api.call(SendTaskRequest(agent="bob", message=text, wait_seconds=0))
    with anyio.fail_after(30):
        while text not in [item.text for item in (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items]:
            pass
    with anyio.fail_after(30):
        while True:
            changed = alice.node.context.task_changes.event(f"{sent.task_id}/delivery")
            view = await alice.api.call(GetTaskRequest(task_id=sent.task_id))
            if view.delivery == Delivery.DELIVERED:
                return view
            await changed.wait()


def bob_of(alice: Person, bob: Person):
    peer = alice.node.directory.known(PeerId.parse_untrusted(bob.did))
    assert peer is not None
    return peer


async def direct_link(alice: Person, bob: Person, *, there: bool) -> None:
    with anyio.fail_after(30):
        while bob_of(alice, bob).has_direct_link != there:
            await alice.node.directory.changes.event().wait()


async def test_a_direct_way_is_preferred_to_a_relay(world: World) -> None:
    relay = ScriptedRelay()
    async with relay.serve(), members(world, relay) as (alice, bob):
        assert (await taken(alice, bob, "one")).route == "relay"
        alice.sees(bob)
        await direct_link(alice, bob, there=True)
        before = len(relay.seen)
        assert (await taken(alice, bob, "two")).route == "direct"
        assert not any(isinstance(frame, bytes) for frame in relay.seen[before:]), "the relay had nothing to do with it"


async def test_where_the_direct_way_fails_the_relay_is_taken_and_the_failure_is_told(world: World) -> None:
    relay = ScriptedRelay()
    async with relay.serve(), members(world, relay) as (alice, bob):
        world.network.cut("alice", "bob")
        alice.sees(bob)
        view = await taken(alice, bob, "one")
        assert view.route == "relay"
        with anyio.fail_after(30):
            while not bob_of(alice, bob).tried:
                await alice.node.directory.changes.event().wait()
        reply = await alice.api.call(PingRequest(agent="bob"))
        assert reply.route == "relay"
        assert reply.tried == ("direct bob.memory:7301: no program listens there (connection refused)",)


async def test_a_message_that_waits_on_a_silent_direct_link_goes_by_the_relay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line to Bob is dead and nothing says so: no end of the connection is ever heard."""
    assert patience.SEALED.probe + heartbeat.PROBE_SECONDS <= 8.0, "ten seconds are promised"
    set_patience(monkeypatch, probe=0.1)
    monkeypatch.setattr("mcp_a2a.protocol.heartbeat.PROBE_SECONDS", 0.3)
    monkeypatch.setattr("mcp_a2a.protocol.heartbeat.QUIET_SECONDS", 0.0)
    relay = ScriptedRelay()
    async with relay.serve(), members(world, relay) as (alice, bob):
        alice.sees(bob)
        await direct_link(alice, bob, there=True)
        world.network.cut("alice", "bob", silently=True)
        assert (await taken(alice, bob, "one")).route == "relay"


async def test_links_are_made_anew_when_this_machine_has_moved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert address_change.ADDRESS_SECONDS + address_change.MOVED_SECONDS <= 5.0, "five seconds are promised"
    monkeypatch.setattr("mcp_a2a.node.address_change.ADDRESS_SECONDS", 0.1)
    monkeypatch.setattr("mcp_a2a.node.address_change.MOVED_SECONDS", 0.3)
    relay = ScriptedRelay()
    async with relay.serve(), members(world, relay) as (alice, bob):
        alice.sees(bob)
        await direct_link(alice, bob, there=True)
        await anyio.sleep(0.3)  # all have looked where they are
        world.network.cut("alice", "bob", silently=True)
        world.places.append(DirectAddr("192.0.2.7", 7301))
        await direct_link(alice, bob, there=False)
        world.network.heal()
        await direct_link(alice, bob, there=True)


async def test_a_direct_way_that_appears_is_taken(world: World) -> None:
    relay = ScriptedRelay()
    async with relay.serve(), members(world, relay) as (alice, bob):
        world.network.cut("alice", "bob")
        alice.sees(bob)
        assert (await taken(alice, bob, "one")).route == "relay"
        world.network.heal()
        await direct_link(alice, bob, there=True)
        assert (await taken(alice, bob, "two")).route == "direct"


async def test_a_direct_way_that_is_lost_is_made_up_for_by_the_relay(world: World) -> None:
    relay = ScriptedRelay()
    async with relay.serve(), members(world, relay) as (alice, bob):
        alice.sees(bob)
        await direct_link(alice, bob, there=True)
        assert (await taken(alice, bob, "one")).route == "direct"
        world.network.cut("alice", "bob")
        await direct_link(alice, bob, there=False)
        assert (await taken(alice, bob, "two")).route == "relay"


@pytest.mark.slow
async def test_what_waits_at_a_relay_that_is_gone_goes_through_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_patience(monkeypatch, reroute=0.2)
    first, second = ScriptedRelay(), ScriptedRelay()
    async with first.serve(), second.serve(), members(world, first, second):
        pass
    async with first.serve(first.port), world.person("alice") as alice:
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="hello", wait_seconds=0))
        with anyio.fail_after(30):
            while True:
                changed = alice.node.context.task_changes.event(f"{sent.task_id}/delivery")
                if (await alice.api.call(GetTaskRequest(task_id=sent.task_id))).delivery == Delivery.STORED:
                    break
                await changed.wait()
    async with second.serve(second.port), world.person("alice"), world.person("bob") as bob:
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [sent.task_id]


async def test_a_network_lives_while_one_of_its_relays_does(world: World) -> None:
    first, second = ScriptedRelay(), ScriptedRelay()
    async with second.serve():
        async with first.serve(), members(world, first, second) as (alice, bob):
            assert (await taken(alice, bob, "one")).route == "relay"
        async with world.person("alice") as alice, world.person("bob") as bob:
            with anyio.fail_after(30):
                while not any(peer.name == "bob" and peer.online for peer in alice.node.directory):
                    await alice.node.directory.changes.event().wait()
            assert (await taken(alice, bob, "two")).route == "relay"
            view = await alice.api.call(GetAgentRequest(agent="self"))
            assert view.node is not None
            states = {relay.url: relay.connected for relay in view.node.networks[0].relays}
            assert states == {first.url: False, second.url: True}
            checks = {check.name: check for check in (await alice.api.call(NetcheckRequest())).checks}
            assert (checks[f"relay {first.url}"].ok, checks[f"relay {second.url}"].ok) == (False, True)
            assert "no program listens there" in checks[f"relay {first.url}"].detail


class Deserted(MemoryTransport):
    """A LAN on which no program listens."""

    @override
    def reaches(self, address: TransportAddr) -> bool:
        return isinstance(address, DirectAddr)


async def test_a_ticket_without_a_relay_whose_maker_is_away_says_what_its_maker_must_do(world: World) -> None:
    async with world.person("alice") as alice:
        made = Ticket.parse_untrusted((await alice.api.call(InviteRequest(network="home"))).ticket)
    ticket = replace(made, addresses=("10.9.9.9:7301", "10.9.9.9:7302")).to_text()
    async with world.person("bob", transport=Deserted(world.network, "bob")) as bob:
        with pytest.raises(NoRouteError, match=r"10.9.9.9:7301: no .*; 10.9.9.9:7302: no .*mcp-a2a invite again"):
            await bob.api.call(JoinRequest(ticket=ticket, wait_seconds=0.2))
        assert not list(bob.node.networks)


async def test_a_ticket_without_a_relay_makes_members_of_who_meet_directly(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        view = await alice.api.call(InviteRequest(network="home"))
        assert any("names no relay" in warning for warning in view.warnings)
        bob.sees(alice)
        await direct_link(bob, alice, there=True)
        joined = await bob.api.call(JoinRequest(ticket=view.ticket, wait_seconds=30))
        assert joined.agents_visible == 1
        sent = await bob.api.call(SendTaskRequest(agent="alice", message="hello", wait_seconds=0))
        inbox = await alice.api.call(CheckInboxRequest(wait_seconds=30))
        assert [(item.task_id, item.trust) for item in inbox.items] == [(sent.task_id, "member")]


async def test_who_joins_over_a_link_that_was_open_long_before_sees_the_inviter(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        bob.sees(alice)
        await direct_link(bob, alice, there=True)
        await alice.api.call(PingRequest(agent=bob.did))
        await bob.api.call(PingRequest(agent=alice.did))  # both have introduced themselves
        view = await alice.api.call(InviteRequest(network="home"))
        joined = await bob.api.call(JoinRequest(ticket=view.ticket, wait_seconds=30))
        assert joined.agents_visible == 1


async def test_a_key_that_is_only_known_by_its_did_is_found_at_a_relay(world: World) -> None:
    relay = ScriptedRelay()
    async with relay.serve(), members(world, relay) as (alice, _), world.person("carol") as carol:
        await carol.api.call(InviteRequest(network="other", relays=(relay.url,)))
        sent = await alice.api.call(SendTaskRequest(agent=carol.did, message="hello", wait_seconds=30))
        assert sent.delivery == Delivery.HELD, "she does not know Alice"
        assert (await carol.api.call(CheckInboxRequest())).held == 1
