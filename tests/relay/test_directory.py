"""Directories and invitations at a relay: for members only, in order, and nothing twice."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import anyio
import pytest

from mcp_a2a.protocol import relay_limits
from mcp_a2a.protocol.control import Claim, Claimed, Done, Failed, ListingFrame, Offer, Presence, Watch
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.replay import stale_difference
from mcp_a2a.store import relay_listings
from tests.relay.conftest import Open
from tests.relay.guest import Door, Guest, entry, person

SHOP, HOME = Network(b"s" * 32), Network(b"h" * 32)
INVITATION = b"i" * 16


def offer(network: Network = SHOP, uses: int = 1, number: int = 1, **changes: object) -> Offer:
    made = Offer(number, network.id, INVITATION, b"sealed", uses, int(time.time()) + 3600)
    return replace(made, **changes)  # type: ignore[arg-type]


async def watch(
    guest: Guest, network: Network, epoch: int = 0, since: int = 0
) -> tuple[Done, list[Listing], set[PeerId]]:
    """What a watcher is told before the end: listings, and who is online."""
    done = await guest.ask(Watch(77, network.id, epoch, since), Done)
    listings = [frame.listing for frame in guest.kept if isinstance(frame, ListingFrame)]
    online = {peer for frame in guest.kept if isinstance(frame, Presence) for peer in frame.online}
    guest.kept.clear()
    return done, listings, online


async def test_a_member_sees_what_others_published_and_who_is_there_and_then_whatever_comes(door: Door) -> None:
    alice, bob = await door.enter(networks=[SHOP]), await door.enter(networks=[SHOP])
    published = entry(SHOP, alice.who)
    done = await alice.publish(published, Done)
    assert done.revision == 1
    told, listings, online = await watch(bob, SHOP)
    assert (told.epoch, told.revision) == (done.epoch, 1)
    assert [(one.peer, one.seq, one.sealed, one.online) for one in listings] == [
        (alice.peer, 1, published.sealed, True)
    ]
    assert online == {alice.peer, bob.peer}
    newer = entry(SHOP, alice.who, 2)
    await alice.publish(newer, Done)
    live = await bob.listing()
    assert (live.seq, live.sealed, live.revision) == (2, newer.sealed, 2)
    await alice.leave()
    assert (await bob.next(Presence, lambda told: bool(told.offline))).offline == (alice.peer,)


async def test_only_what_changed_since_is_told_and_everything_after_the_relay_lost_its_disk_or_part_of_it(
    door: Door,
) -> None:
    people = [await door.enter(networks=[SHOP]) for _ in range(3)]
    for guest in people:
        await guest.publish(entry(SHOP, guest.who), Done)
    watcher = await door.enter(networks=[SHOP])
    told, listings, _ = await watch(watcher, SHOP)
    assert len(listings) == 3
    await people[0].publish(entry(SHOP, people[0].who, 2), Done)
    _, since, _ = await watch(watcher, SHOP, told.epoch, told.revision)
    assert {one.peer for one in since} == {people[0].peer}
    _, all_again, _ = await watch(watcher, SHOP, told.epoch + 1, told.revision)
    assert len(all_again) == 3
    done, after_a_backup, _ = await watch(watcher, SHOP, told.epoch, told.revision + 100)
    assert (len(after_a_backup), done.revision) == (3, told.revision + 1)


async def test_an_older_entry_is_stale_and_the_same_again_is_harmless(door: Door) -> None:
    alice = await door.enter(networks=[SHOP])
    await alice.publish(entry(SHOP, alice.who, 5), Done)
    await alice.publish(entry(SHOP, alice.who, 5), Done)
    assert (await alice.publish(entry(SHOP, alice.who, 4), Failed)).code == "stale"
    _, listings, _ = await watch(alice, SHOP)
    assert [(one.seq, one.revision) for one in listings] == [(5, 1)]


async def test_a_withdrawal_is_told_like_any_change_and_is_there_for_those_who_come_later(door: Door) -> None:
    alice, bob = await door.enter(networks=[SHOP]), await door.enter(networks=[SHOP])
    await alice.publish(entry(SHOP, alice.who), Done)
    await watch(bob, SHOP)
    await alice.publish(entry(SHOP, alice.who, 2, left=True), Done)
    assert (await bob.listing()).is_withdrawal
    _, listings, _ = await watch(await door.enter(networks=[SHOP]), SHOP)
    assert [one.is_withdrawal for one in listings] == [True]


async def test_whoever_has_not_proven_membership_sees_and_changes_nothing(door: Door) -> None:
    alice, mallory = await door.enter(networks=[SHOP]), await door.enter(networks=[HOME])
    await alice.publish(entry(SHOP, alice.who), Done)
    assert (await mallory.ask(Watch(1, SHOP.id, 0, 0), Failed)).code == "not_member"
    assert (await mallory.publish(entry(SHOP, mallory.who, number=2), Failed)).code == "not_member"
    assert (await mallory.publish(entry(HOME, alice.who, number=3), Failed)).code == "not_member"
    assert (await mallory.ask(offer(number=4), Failed)).code == "not_member"
    await alice.publish(entry(SHOP, alice.who, 2), Done)
    assert mallory.kept == []


async def test_a_membership_proof_of_another_handshake_is_not_one(door: Door) -> None:
    class Replayed(Network):
        def prove(self, listener, dialler, nonce):  # noqa: ANN202
            return super().prove(listener, dialler, bytes(32))

    mallory = await door.enter(networks=[Replayed(SHOP.secret)])
    assert (await mallory.ask(Watch(1, SHOP.id, 0, 0), Failed)).code == "not_member"


@pytest.mark.parametrize(("seconds", "amount"), [(-3600, -3600), (relay_limits.MAX_LISTING_SECONDS + 3600, 3600)])
async def test_an_entry_that_has_expired_or_never_does_is_not_taken(door: Door, seconds: float, amount: float) -> None:
    alice = await door.enter(networks=[SHOP])
    listing = replace(entry(SHOP, alice.who), expires=int(time.time() + seconds))
    is_clock, off = stale_difference((await alice.publish(listing, Failed)).code)
    assert is_clock
    assert off == pytest.approx(amount, abs=60)


async def test_a_directory_survives_a_restart_with_its_numbers(open_relay: Open) -> None:
    async with open_relay() as (_, door):
        alice = await door.enter(networks=[SHOP])
        first = await alice.publish(entry(SHOP, alice.who), Done)
    async with open_relay() as (_, door):
        bob = await door.enter(networks=[SHOP])
        done, listings, _ = await watch(bob, SHOP, first.epoch, 0)
        assert done.epoch == first.epoch
        assert [(one.peer, one.online) for one in listings] == [(alice.peer, False)]
        assert (await bob.publish(entry(SHOP, bob.who), Done)).revision == 2


async def test_a_network_is_full_at_its_limit(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_listings, "MAX_LISTINGS", 2)
    guests = [await door.enter(networks=[SHOP]) for _ in range(3)]
    for guest in guests[:2]:
        await guest.publish(entry(SHOP, guest.who), Done)
    assert (await guests[2].publish(entry(SHOP, guests[2].who), Failed)).code == "full"
    await guests[0].publish(entry(SHOP, guests[0].who, 2), Done)


async def test_a_large_directory_comes_in_pieces_to_whoever_reads_slowly(open_relay: Open) -> None:
    many = 400
    async with open_relay(rate_mib=1e4, agent_connections=1) as (_, door):
        for _ in range(many):
            guest = await door.enter(networks=[SHOP])
            await guest.publish(replace(entry(SHOP, guest.who), sealed=os.urandom(17 * 1024 - 984)), Done)
            await guest.cut()
        slow = await door.enter(networks=[SHOP])
        await slow.send(Watch(77, SHOP.id, 0, 0))
        other = await door.enter(networks=[SHOP])
        _, listings, _ = await watch(other, SHOP)
        assert len({one.peer for one in listings}) == many
        done = await slow.next(Done)
        assert done.revision == many
        assert len({frame.listing.peer for frame in slow.kept if isinstance(frame, ListingFrame)}) == many


# --- invitations ----------------------------------------------------------------------------------


async def test_an_invitation_for_one_is_for_one_who_may_ask_again(door: Door) -> None:
    alice, bob, late = await door.enter(networks=[SHOP]), await door.enter(), await door.enter()
    await alice.ask(offer(), Done)
    assert (await bob.ask(Claim(1, INVITATION), Claimed)).sealed == b"sealed"
    assert (await late.ask(Claim(1, INVITATION), Failed)).code == "used"
    assert (await bob.ask(Claim(2, INVITATION), Claimed)).sealed == b"sealed"
    assert (await bob.ask(Claim(3, b"?" * 16), Failed)).code == "unknown"


async def test_two_who_claim_at_once_do_not_both_get_what_is_for_one(door: Door) -> None:
    alice = await door.enter(networks=[SHOP])
    await alice.ask(offer(), Done)
    guests = [await door.enter() for _ in range(8)]
    said = []

    async def claim(guest: Guest) -> None:
        said.append(type(await guest.ask(Claim(1, INVITATION), object)))  # type: ignore[type-abstract]

    async with anyio.create_task_group() as tasks:
        for guest in guests:
            tasks.start_soon(claim, guest)
    assert said.count(Claimed) == 1
    assert said.count(Failed) == 7


async def test_an_invitation_is_counted_over_a_restart(open_relay: Open) -> None:
    async with open_relay() as (_, door):
        alice, bob = await door.enter(networks=[SHOP]), await door.enter()
        await alice.ask(offer(), Done)
        await bob.ask(Claim(1, INVITATION), Claimed)
    async with open_relay() as (_, door):
        assert (await (await door.enter()).ask(Claim(1, INVITATION), Failed)).code == "used"
        await (await door.enter(bob.who)).ask(Claim(1, INVITATION), Claimed)


async def test_the_same_offer_again_is_harmless_and_another_with_its_id_is_refused(door: Door) -> None:
    alice, mallory = await door.enter(networks=[SHOP]), await door.enter(networks=[HOME])
    first = offer()
    await alice.ask(first, Done)
    await alice.ask(replace(first, number=2), Done)
    assert (await mallory.ask(offer(HOME, number=3), Failed)).code == "used"
    assert (await alice.ask(replace(first, number=4, sealed=b"other"), Failed)).code == "used"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"expires": 1}, "stale_behind_"), ({"expires": 2**40}, "stale_ahead_"),
        ({"uses": 0}, "used"), ({"uses": 2**40}, "used"),
    ],
)  # fmt: skip
async def test_an_offer_without_end_or_sense_is_refused(door: Door, changes: dict[str, object], code: str) -> None:
    alice = await door.enter(networks=[SHOP])
    assert (await alice.ask(offer(**changes), Failed)).code.startswith(code)  # type: ignore[arg-type]


async def test_a_network_may_have_so_many_invitations(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_listings, "MAX_INVITATIONS", 2)
    alice = await door.enter(networks=[SHOP])
    for number in (1, 2):
        await alice.ask(offer(number=number, invitation=bytes([number]) * 16), Done)
    assert (await alice.ask(offer(number=3, invitation=bytes(16)), Failed)).code == "full"


async def test_somebody_with_too_many_networks_does_not_get_in(door: Door) -> None:
    many = [Network(bytes([number]) * 32) for number in range(33)]
    with pytest.raises(Exception, match="protocol"):
        await door.enter(person(), many)
    await door.enter(person(), many[:32])
