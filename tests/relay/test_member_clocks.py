"""Members of a network whose clock was wrong are in it like the others when it is right again (promise R8)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from mcp_a2a.node import clock_watch, housekeeping
from mcp_a2a.protocol.control import Done, Failed
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.moment import Moment
from tests.node.world import Clock, World
from tests.relay.scripted import EPOCH, Caller, ScriptedRelay
from tests.relay.test_networks import answered, joined, ticket_of, until

DAY = 86_400


class Dated(ScriptedRelay):
    """Takes no entry that is over by its clock or lasts too long, as a real one does."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()

    async def publish(self, caller: Caller, listing: Listing) -> None:
        if not 0 < listing.expires - self.clock() < 8 * DAY:
            await caller.say(Failed(listing.revision, "stale_ahead_999999"))
        elif (known := self.listings.get((listing.network, listing.peer))) is not None and known.seq == listing.seq:
            await caller.say(Done(listing.revision, EPOCH, known.revision))  # that is no news for the members
        else:
            await super().publish(caller, listing)


@pytest.fixture
async def relay() -> AsyncIterator[Dated]:
    async with Dated().serve() as relay:
        yield relay


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("days", [-40, 12, 3650])
async def test_a_member_whose_clock_was_wrong_is_found_and_finds_the_others(
    world: World, relay: Dated, monkeypatch: pytest.MonkeyPatch, days: int, *, restarts: bool
) -> None:
    monkeypatch.setattr(clock_watch, "CLOCK_SECONDS", 0.2)
    clock = Clock()
    async with world.person("alice") as alice, world.person("bob", "reverse") as bob:
        ticket = await ticket_of(alice, relay)
        await joined(bob, ticket)
    clock.jump(days * DAY)
    async with world.person("carol", "count", clock=clock) as carol, world.person("alice") as alice:
        relay.clock.jump(days * DAY)  # a relay with the same wrong clock lets it in
        await joined(carol, ticket)
        relay.clock.jump(-days * DAY)
        clock.jump(-days * DAY)
        if not restarts:
            await until(alice, "carol")
            await until(carol, "alice")
            assert (await answered(alice, carol, "carol")).state == Moment.COMPLETED
    if restarts:
        async with world.person("carol", "count", clock=clock) as carol, world.person("alice") as alice:
            await until(alice, "carol")
            await until(carol, "alice")
            assert (await answered(alice, carol, "carol")).state == Moment.COMPLETED


async def test_an_entry_that_a_relay_did_not_take_because_of_its_clock_is_brought_again(
    world: World, relay: Dated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "HOUSEKEEPING_SECONDS", 0.05)
    async with world.person("alice") as alice, world.person("bob", "reverse") as bob:
        ticket = await ticket_of(alice, relay)
        await joined(bob, ticket)
        relay.clock.jump(-60 * DAY)
        await bob.node.own_advert.renew()
        bob.node.publishing.everywhere()
        with anyio.fail_after(30):
            while relay.url not in bob.node.publishing.unpublished:
                await anyio.wait_all_tasks_blocked()
        number = bob.node.own_advert.entry().seq
        relay.clock.jump(60 * DAY)
        with anyio.fail_after(30):
            while all(one.seq != number for one in relay.listings.values()):
                await anyio.wait_all_tasks_blocked()
