"""A relay whose clock jumps keeps what it would have kept (promise R8)."""

from __future__ import annotations

import time

import anyio
import pytest

from mcp_a2a.protocol.control import Claim, Claimed, Delivered, Done, Failed, Find, Found, Stored
from mcp_a2a.protocol.network import Network
from mcp_a2a.relay_operator import ServingRelay
from tests.node.world import Clock
from tests.relay.conftest import Open
from tests.relay.guest import Door, Guest, entry, envelope
from tests.relay.test_directory import offer, watch

SHOP = Network(b"s" * 32)
DAY = 86_400


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The relay's, which a test can move."""
    made = Clock()
    monkeypatch.setattr("mcp_a2a.relaying.wall_clock", made)
    monkeypatch.setattr("mcp_a2a.relaying.Uptime", lambda: made.uptime)
    return made


async def sweep(relay: ServingRelay, door: Door) -> None:
    """Have the relay drop and forget whatever is over by its clock."""
    service, now = relay.listener.service, time.monotonic()
    service.tick(now)
    service.sweep(now)
    service.forget_unused()
    service.settle()
    probe = await door.enter()  # it has done all before it lets anybody in
    await probe.leave()


async def left_in(open_relay: Open) -> tuple[Guest, Guest, list[bytes]]:
    """Mail from one who stays to one who has gone, and an entry of the latter."""
    async with open_relay() as (_, door):
        alice, bob = await door.enter(), await door.enter(networks=[SHOP])
        await bob.publish(entry(SHOP, bob.who), Done)
        await bob.leave()
        sent = [envelope(bob.peer, expires=time.time() + 6 * DAY) for _ in range(3)]
        for sealed in sent:
            await alice.submit(sealed, Stored)
    return alice, bob, sent


@pytest.mark.parametrize("days", [-20_000, 8, 30, 366])
async def test_a_clock_that_is_wrong_for_a_minute_loses_no_mail_and_forgets_no_key(
    open_relay: Open, clock: Clock, days: int
) -> None:
    alice, bob, sent = await left_in(open_relay)
    for _ in range(2):
        clock.jump(days * DAY)
        async with open_relay() as (relay, door):
            clock.advance(60)
            await sweep(relay, door)
            guest = await door.enter()
            later = envelope(bob.peer, expires=time.time() + 6 * DAY)
            await guest.submit(later, Stored)  # a relay whose clock is wrong goes on taking mail
            sent.append(later)
            await sweep(relay, door)
        clock.jump(-days * DAY)
        async with open_relay() as (relay, door):
            await sweep(relay, door)
    async with open_relay() as (relay, door):
        await sweep(relay, door)
        guest = await door.enter(networks=[SHOP])
        assert (await guest.ask(Find(7, bob.peer), Found)).bundle.peer == bob.peer
        _, listings, _ = await watch(guest, SHOP)
        assert [one.peer for one in listings] == [bob.peer]
        bob = await door.enter(bob.who)
        assert [await bob.take() for _ in sent] == sent
        alice = await door.enter(alice.who)
        for sealed in sent[:3]:
            await alice.answer_to(sealed, Delivered)


async def test_mail_goes_when_its_time_is_over_by_a_clock_that_is_right(open_relay: Open, clock: Clock) -> None:
    await left_in(open_relay)
    clock.advance(7 * DAY)
    async with open_relay() as (relay, door):
        await sweep(relay, door)
        with anyio.fail_after(30):
            while relay.listener.facts().messages:
                await anyio.wait_all_tasks_blocked()


async def test_a_ticket_that_has_expired_stays_so_when_the_clock_of_its_relay_is_set_back(
    open_relay: Open, clock: Clock
) -> None:
    wanted = offer(expires=int(clock()) + 3600)
    async with open_relay() as (relay, door):
        alice = await door.enter(networks=[SHOP])
        await alice.ask(wanted, Done)
        clock.jump(30 * DAY)  # a clock that is wrong for a minute ends no ticket
        late = await door.enter()
        assert (await late.ask(Claim(1, wanted.invitation), Failed)).code == "expired"
        await sweep(relay, door)
        clock.jump(-30 * DAY)
        await late.ask(Claim(2, wanted.invitation), Claimed)
        clock.advance(7200)
        await sweep(relay, door)
        clock.jump(-4 * 3600)
        bob = await door.enter()
        assert (await bob.ask(Claim(3, wanted.invitation), Failed)).code == "expired"
    async with open_relay() as (_, door):
        bob = await door.enter(bob.who)
        assert (await bob.ask(Claim(4, wanted.invitation), Failed)).code == "expired"
