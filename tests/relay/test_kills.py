"""What a relay has called stored outlives it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mcp_a2a.protocol.control import Check, Claim, Claimed, Delivered, Done, Offer, Stored, Watch
from mcp_a2a.protocol.network import Network
from tests.relay.guest import entry, envelope, id_of, open_door, person
from tests.relay.process import relay_process

NET = Network(b"n" * 32)
MUCH = {"rate": 1e9, "burst": 10**6}


async def test_a_kill_between_deposit_and_pickup_loses_nothing_and_changes_no_order(tmp_path: Path) -> None:
    alice, bob = person(), person()
    sent: list[bytes] = []
    for _ in range(3):
        with relay_process(tmp_path, **MUCH) as relay:
            async with open_door(relay.port) as door:
                if not sent:
                    await (await door.enter(bob)).leave()
                sender = await door.enter(alice)
                for _ in range(20):
                    sealed = envelope(bob.peer)
                    await sender.submit(sealed, Stored)
                    sent.append(sealed)
                relay.kill()
    with relay_process(tmp_path, **MUCH) as relay:
        async with open_door(relay.port) as door:
            recipient = await door.enter(bob)
            assert [await recipient.take() for _ in sent] == sent


async def test_a_kill_between_an_answer_and_its_depositors_return_leaves_the_answer_or_the_message(
    tmp_path: Path,
) -> None:
    alice, bob = person(), person()
    sealed = envelope(bob.peer)
    with relay_process(tmp_path) as relay:
        async with open_door(relay.port) as door:
            recipient = await door.enter(bob)
            sender = await door.enter(alice)
            await recipient.leave()
            await sender.submit(sealed, Stored)
            await sender.leave()
            recipient = await door.enter(bob)
            await recipient.take()
            relay.kill()
    with relay_process(tmp_path) as relay:
        async with open_door(relay.port) as door:
            sender, recipient = await door.enter(alice), await door.enter(bob)
            await sender.send(Check((id_of(sealed),)))
            answer = await sender.next(object, lambda frame: isinstance(frame, Delivered | Stored))
            if isinstance(answer, Stored):
                assert await recipient.take() == sealed
                await sender.answer_to(sealed, Delivered)


@pytest.mark.parametrize("kills", [3])
async def test_directories_and_invitations_are_on_disk_when_they_are_acknowledged(tmp_path: Path, kills: int) -> None:
    alice, claimers = person(), [person() for _ in range(kills)]
    for round_number, claimer in enumerate(claimers, 1):
        with relay_process(tmp_path) as relay:
            async with open_door(relay.port) as door:
                guest = await door.enter(alice, [NET])
                done = await guest.publish(entry(NET, alice, round_number), Done)
                assert done.revision == round_number
                if round_number == 1:
                    await guest.ask(Offer(1, NET.id, b"i" * 16, b"sealed", kills, int(time.time()) + 3600), Done)
                await (await door.enter(claimer)).ask(Claim(1, b"i" * 16), Claimed)
                relay.kill()
    with relay_process(tmp_path) as relay:
        async with open_door(relay.port) as door:
            guest = await door.enter(alice, [NET])
            assert (await guest.ask(Watch(1, NET.id, done.epoch, 0), Done)).revision == kills
            assert (await (await door.enter()).ask(Claim(1, b"i" * 16), object)).code == "used"  # type: ignore[attr-defined]
