"""What one host, or one network, may take of a relay: whatever it does, there is room for others."""

from __future__ import annotations

import time

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from mcp_a2a.api.relay import RelayAdmitRequest
from mcp_a2a.protocol.control import (
    Bye,
    ByeCode,
    Claim,
    Delivered,
    Done,
    Failed,
    Find,
    Found,
    Hello,
    Offer,
    Refused,
    Stored,
)
from mcp_a2a.protocol.envelope import HEADER_SIZE, HOUR, WIRE_SIZES
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.rates import Bucket
from mcp_a2a.protocol.relay_limits import NEW_KEYS
from mcp_a2a.relay_admin import ask_relay
from mcp_a2a_transports.relay import key_register
from tests.relay.conftest import Open
from tests.relay.guest import Door, Guest, Person, entry, envelope, person

SHOP, HOME = Network(b"s" * 32), Network(b"h" * 32)
BAD, GOOD = ({"X-Forwarded-For": host} for host in ("203.0.113.7", "198.51.100.7"))
MIB = 1024 * 1024
LARGEST = max(WIRE_SIZES) - HEADER_SIZE
FAST = {"behind_proxy": True, "rate": 1e9, "burst": 10**6, "rate_mib": 1e5, "host_new_agents": 1000}


async def why_not(guest: Guest) -> ByeCode:
    await guest.send(Find(1, guest.peer))
    return (await guest.bye()).code


async def away(door: Door, who: Person | None = None, networks: tuple[Network, ...] = ()) -> Person:
    """A key that was here once, from a good host."""
    guest = await door.enter(who, networks, GOOD)
    for network in networks:
        await guest.publish(entry(network, guest.who), Done)
    await guest.leave()
    return guest.who


# --- new keys -------------------------------------------------------------------------------------


async def test_one_host_brings_ten_new_keys_in_an_hour_and_another_host_its_own(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True) as (relay, door):
        guests = [await door.enter(headers=BAD) for _ in range(10)]
        crowd = await door.enter(headers=BAD)
        assert await why_not(crowd) is ByeCode.CROWDED
        assert relay.listener.facts().keys == 10
        await (await door.enter(guests[0].who, headers=BAD)).ask(Find(1, guests[1].peer), Found)
        await (await door.enter(headers=GOOD)).ask(Find(1, guests[1].peer), Found)
        await (await door.enter(crowd.who, headers=GOOD)).ask(Find(1, guests[1].peer), Found)


async def test_addresses_of_one_ipv6_network_are_one_host(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True) as (_, door):
        for number in range(10):
            await door.enter(headers={"X-Forwarded-For": f"2001:db8::{number:x}"})
        assert await why_not(await door.enter(headers={"X-Forwarded-For": "2001:db8::ffff"})) is ByeCode.CROWDED
        other = await door.enter(headers={"X-Forwarded-For": "2001:db8:0:1::1"})
        await other.ask(Find(1, other.peer), Found)


def test_after_an_hour_ten_more_new_keys_are_taken() -> None:
    bucket = Bucket(NEW_KEYS, 0.0)
    assert [bucket.take(1, 0.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(1, 0.0) == pytest.approx(360)
    assert [bucket.take(1, HOUR) for _ in range(10)] == [0.0] * 10
    assert bucket.take(1, HOUR) > 0


async def test_an_office_of_an_admitted_network_may_be_behind_one_address(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True, host_connections=12) as (relay, door):
        relay.listener.admit(SHOP.id)
        members = [await door.enter(networks=[SHOP], headers=BAD) for _ in range(15)]
        await members[0].ask(Find(1, members[14].peer), Found)
        strangers = [await door.enter(headers=BAD) for _ in range(10)]
        await strangers[9].ask(Find(1, members[14].peer), Found)
        assert await why_not(await door.enter(networks=[HOME], headers=BAD)) is ByeCode.CROWDED


async def test_a_newcomer_from_a_crowded_host_may_still_fetch_an_invitation_to_an_admitted_network(
    open_relay: Open,
) -> None:
    async with open_relay(behind_proxy=True, host_new_agents=1) as (relay, door):
        relay.listener.admit(SHOP.id)
        inviter = await door.enter(networks=[SHOP], headers=GOOD)
        await inviter.ask(Offer(1, SHOP.id, b"i" * 16, b"sealed", 1, int(time.time()) + HOUR), Done)
        await door.enter(headers=BAD)
        crowd = await door.enter(headers=BAD)
        await crowd.ask(Claim(1, b"?" * 16), Failed)
        member = await door.enter(crowd.who, [SHOP], headers=BAD)
        await member.ask(Find(1, inviter.peer), Found)


async def test_keys_that_left_nothing_are_forgotten_after_an_hour_and_others_are_not(
    open_relay: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_register, "FORGET_NEWCOMER_SECONDS", -60)
    async with open_relay(behind_proxy=True) as (relay, door):
        service = relay.listener.service
        relay.listener.admit(SHOP.id)
        kept = {
            "a member of an admitted network": await away(door, networks=(SHOP,)),
            "listed": await away(door, networks=(HOME,)),
            "has mail": await away(door),
        }
        reader, sender = await door.enter(headers=GOOD), await door.enter(headers=GOOD)
        await sender.send(envelope(reader.peer))
        await reader.take()
        await sender.next(Delivered)
        await reader.leave()
        kept["has received mail"] = reader.who
        await sender.submit(envelope(kept["has mail"].peer), Stored)
        await sender.leave()
        kept["its mail is here"] = sender.who
        idle = await away(door)
        online = await door.enter(headers=GOOD)
        with anyio.fail_after(30):
            while service.connections.online > 1 or idle.peer.key not in service._store.newcomers():
                await anyio.lowlevel.checkpoint()
        service.forget_unused()
        assert [name for name, who in kept.items() if not service.connections.has_mailbox(who.peer.key)] == []
        assert not service.connections.has_mailbox(idle.peer.key)
        assert service.connections.has_mailbox(online.peer.key)


# --- mailboxes ------------------------------------------------------------------------------------


async def test_a_host_that_floods_a_mailbox_leaves_room_for_members_and_for_other_strangers(open_relay: Open) -> None:
    async with open_relay(**FAST, max_queue=20, max_per_sender=4) as (_, door):
        victim = await away(door, networks=(SHOP,))
        taken = 0
        for _ in range(4):
            attacker = await door.enter(headers=BAD)
            for _ in range(5):
                sealed = envelope(victim.peer)
                await attacker.send(sealed)
                taken += isinstance(await attacker.answer_to(sealed, object), Stored)
        assert taken == 4
        stranger = await door.enter(headers=GOOD)
        await stranger.submit(envelope(victim.peer), Stored)
        for number in range(4):
            for _ in range(4):
                other = await door.enter(headers={"X-Forwarded-For": f"192.0.2.{number}"})
                await other.send(envelope(victim.peer))
                await other.next((Stored, Refused))  # type: ignore[arg-type]
        assert (await stranger.submit(envelope(victim.peer), Refused)).code == "reserved"
        member = await door.enter(networks=[SHOP], headers=BAD)
        await member.submit(envelope(victim.peer), Stored)
        assert (await (await door.enter(networks=[HOME])).submit(envelope(victim.peer), Refused)).code == "reserved"


async def test_whom_a_key_has_written_to_may_use_all_of_its_mailbox_also_after_a_restart(open_relay: Open) -> None:
    async with open_relay(**FAST, max_queue=2) as (_, door):
        friend, owner = await door.enter(headers=GOOD), await door.enter(headers=GOOD)
        await owner.send(envelope(friend.peer))
        await friend.take()
        await owner.next(Delivered)
        await owner.leave()
        stranger = await door.enter(headers=BAD)
        await stranger.submit(envelope(owner.peer), Stored)
    async with open_relay(**FAST, max_queue=2) as (_, door):
        stranger, friend = await door.enter(stranger.who, headers=BAD), await door.enter(friend.who, headers=GOOD)
        assert (await stranger.submit(envelope(owner.peer), Refused)).code == "reserved"
        await friend.submit(envelope(owner.peer), Stored)


# --- disk and rates -------------------------------------------------------------------------------


async def test_one_host_cannot_fill_the_disk_with_mail_also_not_over_a_restart(open_relay: Open) -> None:
    async with open_relay(**FAST, max_disk_mib=30) as (_, door):
        victim = await away(door)
        for number in range(3):
            attacker = await door.enter(headers=BAD)
            sealed = envelope(victim.peer, body=LARGEST)
            await attacker.send(sealed)
            answer = await attacker.answer_to(sealed, object)
            assert isinstance(answer, Stored if number < 2 else Refused)
    async with open_relay(**FAST, max_disk_mib=30) as (_, door):
        attacker = await door.enter(headers=BAD)
        refused = await attacker.submit(envelope(victim.peer, body=LARGEST), Refused)
        assert (refused.code, bool(refused.retry_after)) == ("share", True)
        await (await door.enter(headers=GOOD)).submit(envelope(victim.peer, body=LARGEST), Stored)


async def test_networks_that_nobody_admitted_cannot_fill_the_disk_with_their_entries(open_relay: Open) -> None:
    async with open_relay(**FAST, max_disk_mib=20) as (relay, door):
        relay.listener.service.directory.stranger_bytes = 2 * MIB - 2000
        stranger = await door.enter(networks=[HOME], headers=BAD)
        codes = []
        for number in range(1, 4):
            await stranger.send(entry(HOME, stranger.who, number, number=number).to_bytes())
            reply = await stranger.next(object, lambda frame, n=number: getattr(frame, "number", None) == n)
            codes.append(getattr(reply, "code", "done"))
        assert codes[0] == "done"
        assert codes[-1] == "share"
        relay.listener.admit(HOME.id)
        await stranger.publish(entry(HOME, stranger.who, 9, number=9), Done)


async def test_all_keys_of_one_host_share_its_rate_and_so_do_those_of_one_admitted_network(open_relay: Open) -> None:
    settings = {"behind_proxy": True, "burst": 4, "rate": 1, "host_senders": 2, "network_senders": 3}
    async with open_relay(**settings) as (relay, door):
        relay.listener.admit(SHOP.id)
        victim = await away(door)

        async def sent(headers: dict[str, str], networks: tuple[Network, ...] = ()) -> int:
            guest, taken = await door.enter(None, networks, headers), 0
            for _ in range(5):
                sealed = envelope(victim.peer)
                await guest.send(sealed)
                answer = await guest.answer_to(sealed, object)
                taken += isinstance(answer, Stored)
                assert isinstance(answer, Stored) or (answer.code, bool(answer.retry_after)) == ("rate_limited", True)
            return taken

        assert [await sent(BAD) for _ in range(3)] == [4, 4, 0]
        assert await sent(GOOD) == 4
        assert [await sent(BAD, (SHOP,)) for _ in range(4)] == [4, 4, 4, 0]


# --- closings -------------------------------------------------------------------------------------


async def test_being_turned_away_for_want_of_room_is_no_failure_of_an_address(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True, host_connections=5) as (relay, door):
        relay.listener.admit(SHOP.id)
        guests = [await door.enter(headers=BAD) for _ in range(5)]
        for _ in range(20):
            socket = await door.knock(BAD)
            await socket.receive()
            await socket.receive()
            await socket.close()
        await guests[0].leave()
        with anyio.fail_after(30):
            while relay.listener.facts().connections > 4:
                await anyio.lowlevel.checkpoint()
        again = await door.enter(guests[0].who, headers=BAD)
        await again.ask(Find(1, guests[1].peer), Found)


@pytest.mark.parametrize(
    "first", [Bye(ByeCode.WRONG_KEY), Hello(1, person().peer, bytes(32), bytes(64), "{}")], ids=["key", "version"]
)
async def test_old_nodes_and_those_that_seek_another_relay_do_not_bar_their_office(
    open_relay: Open, first: Bye | Hello
) -> None:
    """Some of an office were not updated, or have the URL of a relay that was here before."""
    async with open_relay(behind_proxy=True) as (relay, door):

        async def knock() -> None:
            socket = await door.knock(BAD)
            await socket.receive()
            await socket.send_str(encode(first))
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            await socket.close()

        for _ in range(5):
            async with anyio.create_task_group() as office:
                for _ in range(5):
                    office.start_soon(knock)
        await door.enter(headers=BAD)
        assert relay.listener.facts().connections == 1


async def test_the_operator_may_admit_a_key_from_a_crowded_host(open_relay: Open, tmp_path: object) -> None:
    async with open_relay(behind_proxy=True, host_new_agents=1) as (_, door):
        await door.enter(headers=BAD)
        crowd = await door.enter(headers=BAD)
        assert await why_not(crowd) is ByeCode.CROWDED
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(crowd.peer)))  # type: ignore[arg-type]
        again = await door.enter(crowd.who, headers=BAD)
        await again.ask(Find(1, again.peer), Found)


# --- many hosts -----------------------------------------------------------------------------------


def host(number: int) -> dict[str, str]:
    return {"X-Forwarded-For": f"203.0.113.{number}"}


async def test_strangers_of_many_hosts_leave_keys_for_admitted_networks(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True, max_keys=20) as (relay, door):
        relay.listener.admit(SHOP.id)
        crowd = [await door.enter(headers=host(number)) for number in range(18)]
        assert await why_not(await door.enter(headers=GOOD)) is ByeCode.FULL
        new = await door.enter(networks=[SHOP], headers=GOOD)
        await new.ask(Find(1, crowd[0].peer), Found)


async def test_strangers_of_many_hosts_leave_connections_for_admitted_networks_and_for_other_hosts(
    open_relay: Open,
) -> None:
    async with open_relay(behind_proxy=True, max_connections=20) as (relay, door):
        relay.listener.admit(SHOP.id)
        crowd = [await door.enter(headers=host(number // 3)) for number in range(18)]
        member = await door.enter(networks=[SHOP], headers=GOOD)
        await member.ask(Find(1, crowd[0].peer), Found)
        one = await door.enter(headers=GOOD)
        await one.ask(Find(1, member.peer), Found)
        assert (await crowd[0].bye()).code is ByeCode.BUSY
        assert await why_not(await door.enter(headers=host(1))) is ByeCode.BUSY
        assert relay.listener.facts().connections == 19


async def test_strangers_of_many_hosts_leave_half_of_the_disk_also_over_a_restart(open_relay: Open) -> None:
    settings = {**FAST, "max_disk_mib": 10}
    async with open_relay(**settings) as (relay, door):
        relay.listener.admit(SHOP.id)
        member, owners = await away(door, networks=(SHOP,)), [await away(door) for _ in range(3)]
        codes = []
        for number in range(6):
            sealed = envelope(owners[number // 2].peer, body=LARGEST)
            guest = await door.enter(headers=host(number))
            await guest.send(sealed)
            codes.append(getattr(await guest.answer_to(sealed, object), "code", "stored"))
        assert codes == ["stored"] * 4 + ["share"] * 2
    async with open_relay(**settings) as (relay, door):
        relay.listener.admit(SHOP.id)
        stranger = await door.enter(headers=host(9))
        assert (await stranger.submit(envelope(owners[2].peer, body=LARGEST), Refused)).code == "share"
        sender = await door.enter(networks=[SHOP], headers=GOOD)
        await sender.submit(envelope(member.peer, body=LARGEST), Stored)


async def test_recipients_of_many_hosts_that_answer_nothing_leave_memory_for_admitted_networks(
    open_relay: Open,
) -> None:
    async with open_relay(**FAST, max_memory_mib=8) as (relay, door):
        relay.listener.admit(SHOP.id)
        one, other = await door.enter(networks=[SHOP], headers=GOOD), await door.enter(networks=[SHOP], headers=GOOD)
        accounting, codes = relay.listener.service.mail.accounting, []
        for number in range(12):
            deaf, guest = await door.enter(headers=host(100 + number)), await door.enter(headers=host(number))
            sealed = envelope(deaf.peer, body=LARGEST)
            await guest.send(sealed)
            codes.append(getattr(await guest.answer_to(sealed, object), "code", "stored"))
        assert codes == ["stored"] * (len(codes) - codes.count("rate_limited")) + ["rate_limited"] * (
            codes.count("rate_limited")
        )
        assert accounting.memory_bytes <= 4 * MIB
        sealed = envelope(other.peer, body=LARGEST)
        await one.send(sealed)
        await other.take()
        await one.answer_to(sealed, Delivered)
