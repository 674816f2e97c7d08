"""Every limit of a relay takes n and answers the next with what it is, about which, and when to come again."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from mcp_a2a.protocol import heartbeat, mail_deposits, relay_session
from mcp_a2a.protocol.control import (
    Bye,
    ByeCode,
    Check,
    Delivered,
    Done,
    Failed,
    Find,
    Found,
    Ping,
    Pong,
    Refused,
    Stored,
    Watch,
)
from mcp_a2a.protocol.envelope import HEADER_SIZE, MAX_ENVELOPE, WIRE_SIZES, Header
from mcp_a2a.protocol.frames import decode_untrusted
from mcp_a2a.protocol.listing import LISTING_SIZES, Listing
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.replay import stale_difference
from mcp_a2a.store.relay_store import RelayStore
from mcp_a2a_transports.relay import connection_limits, server_wire
from tests.relay.conftest import Open
from tests.relay.guest import WITHDRAWN, Door, Guest, Person, entry, envelope, id_of, person

MUCH = {"rate": 1e9, "burst": 10**6, "rate_mib": 1e5}
LARGEST = max(WIRE_SIZES) - HEADER_SIZE
NET = Network(b"n" * 32)


async def absent(door: Door) -> Guest:
    """Somebody who was here once."""
    guest = await door.enter()
    await guest.leave()
    return guest


async def acquainted(door: Door, *others: Guest) -> Guest:
    """Somebody who was here once, and has written to these."""
    guest = await door.enter()
    for other in others:
        await guest.send(envelope(other.peer))
        await other.take()
    for _ in others:
        await guest.next(Delivered)
    await guest.leave()
    return guest


def large_entry(who: Person) -> Listing:
    return replace(entry(NET, who), sealed=os.urandom(max(LISTING_SIZES) - min(LISTING_SIZES) + WITHDRAWN))


# --- mail -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "body", "fits", "code"),
    [
        ({"burst": 3}, None, 3, "rate_limited"),
        ({**MUCH, "rate_mib": 2}, LARGEST, 1, "rate_limited"),
        ({**MUCH, "max_queue": 3}, None, 3, "mailbox_full"),
        ({**MUCH, "max_per_sender": 3}, None, 3, "quota"),
        ({**MUCH, "max_mailbox_mib": 3}, LARGEST, 2, "mailbox_full"),
        ({**MUCH, "max_disk_mib": 2}, LARGEST, 1, "storage_full"),
    ],
)
async def test_mail(open_relay: Open, settings: dict[str, object], body: int | None, fits: int, code: str) -> None:
    async with open_relay(**settings) as (_, door):
        alice = await door.enter()
        bob = await acquainted(door, alice)
        sent = [envelope(bob.peer, **({"body": body} if body else {})) for _ in range(fits + 1)]
        for sealed in sent[:-1]:
            await alice.submit(sealed, Stored)
        refused = await alice.submit(sent[-1], Refused)
        assert refused.code == code
        assert refused.retry_after
        again = await door.enter(bob.who)
        assert [await again.take() for _ in sent[:-1]] == sent[:-1]
        for sealed in sent[:-1]:
            await alice.answer_to(sealed, Delivered)


async def test_the_quota_of_one_depositor_is_not_anothers(open_relay: Open) -> None:
    async with open_relay(max_per_sender=1) as (_, door):
        alice, carol = await door.enter(), await door.enter()
        bob = await acquainted(door, alice, carol)
        await alice.submit(envelope(bob.peer), Stored)
        assert (await alice.submit(envelope(bob.peer), Refused)).code == "quota"
        await carol.submit(envelope(bob.peer), Stored)


async def test_an_envelope_that_is_too_large_is_refused_by_its_id_and_one_far_beyond_ends_the_connection(
    door: Door,
) -> None:
    alice, bob = await door.enter(), await door.enter()
    large = envelope(bob.peer) + bytes(MAX_ENVELOPE - 1712 + 1)
    await alice.send(large)
    assert (await alice.next(Refused)) == Refused(large[44:60], "too_large", 60.0)
    with suppress(ConnectionError):
        await alice.send(bytes(64 * 1024 * 1024))
    with suppress(ConnectionError):
        assert await alice.receive() is None
    await (await door.enter()).ask(Find(1, bob.peer), Found)


async def test_an_envelope_that_has_expired_is_refused_and_one_that_expires_is_not_delivered(
    open_relay: Open,
) -> None:
    async with open_relay(ttl_days=1e-9) as (relay, door):
        alice, bob = await door.enter(), await absent(door)
        refused = await alice.submit(envelope(bob.peer, expires=3600), Refused)
        assert stale_difference(refused.code) == (True, pytest.approx(3600 - time.time(), abs=60))
        await alice.submit(envelope(bob.peer), Stored)
        assert relay.listener.facts().messages == 1
        relay.listener.service.tick(0.0)
        again = await door.enter(bob.who)
        relay.listener.service.sweep(0.0)
        assert relay.listener.facts().messages == 0
        await again.ask(Find(1, alice.peer), Found)
        assert again.kept == []


async def test_a_full_disk_is_said_and_nothing_is_called_stored_until_there_is_room(
    open_relay: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[RelayStore] = []
    original = RelayStore.__init__
    monkeypatch.setattr(RelayStore, "__init__", lambda self, *args: (original(self, *args), stores.append(self))[0])
    async with open_relay(**MUCH) as (_, door):
        alice, bob = await door.enter(networks=[NET]), await absent(door)
        kept = envelope(bob.peer)
        await alice.submit(kept, Stored)
        await stores[0]._database.write(lambda c: c.execute("PRAGMA max_page_count=1").fetchone())
        lost = [envelope(bob.peer, body=LARGEST) for _ in range(3)]
        for sealed in lost:
            refused = await alice.submit(sealed, Refused)
            assert (refused.code, bool(refused.retry_after)) == ("storage_full", True)
        full = await alice.publish(large_entry(alice.who), Failed)
        assert (full.code, bool(full.retry_after)) == ("full", True)
        await stores[0]._database.write(lambda c: c.execute("PRAGMA max_page_count=1000000").fetchone())
        await alice.submit(lost[0], Stored)
        await alice.publish(large_entry(alice.who), Done)
        again = await door.enter(bob.who)
        assert [await again.take(), await again.take()] == [kept, lost[0]]


# --- questions ------------------------------------------------------------------------------------


async def test_questions_beyond_the_rate_are_answered_with_their_number_and_a_time(door: Door) -> None:
    alice = await door.enter()
    for number in range(300):
        await alice.send(Find(number, alice.peer))
    for number in range(300, 400):
        await alice.send(Find(number, alice.peer))
    failed = await alice.next(Failed)
    assert (failed.code, failed.number >= 300, bool(failed.retry_after)) == ("rate_limited", True, True)
    await alice.send(Check(tuple(bytes([number]) * 16 for number in range(256))))
    assert (await alice.next(Refused)).code == "rate_limited"
    other = await door.enter()
    await other.ask(Find(1, alice.peer), Found)


async def test_small_talk_beyond_an_allowance_ends_the_connection(door: Door) -> None:
    alice = await door.enter()
    for number in range(240):
        await alice.send(Ping(number))
    for _ in range(240):
        await alice.next(Pong)
    await alice.send(Ping(241))
    assert (await alice.bye()).code is ByeCode.PROTOCOL


async def test_answers_to_live_mail_cost_nothing(open_relay: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_deposits, "ELISION_SECONDS", 5.0)  # on a busy machine an answer may take 20 ms
    async with open_relay(**MUCH, max_queue=1000, max_per_sender=1000) as (_, door):
        alice, bob = await door.enter(), await door.enter()
        for _ in range(300):
            sealed = envelope(bob.peer)
            await alice.send(sealed)
            await bob.take()
            await alice.answer_to(sealed, Delivered)


async def test_answers_to_nothing_do_cost_something(door: Door) -> None:
    bob = await door.enter()
    for number in range(241):
        await bob.send(bob.receipt(envelope(bob.peer, number)))
    assert (await bob.bye()).code is ByeCode.PROTOCOL


# --- connections ----------------------------------------------------------------------------------


async def turned_away(door: Door, headers: dict[str, str] | None = None) -> Bye:
    """What is said to one connection too many."""
    socket = await door.knock(headers)
    frames = [decode_untrusted((await socket.receive()).data) for _ in range(2)]
    assert isinstance(frames[1], Bye)
    return frames[1]


async def test_connections_in_all(open_relay: Open) -> None:
    async with open_relay(max_connections=2) as (_, door):
        guests = [await door.enter(), await door.enter()]
        assert (await turned_away(door)).code is ByeCode.BUSY
        await guests[0].leave()
        with anyio.fail_after(30):
            while True:
                try:
                    guests.append(await door.enter())
                    break
                except Exception:  # noqa: BLE001, S112  until the one that left is gone
                    continue


async def test_connections_of_one_key_the_oldest_makes_room(door: Door) -> None:
    who = person()
    guests = [await door.enter(who) for _ in range(6)]
    assert (await guests[0].bye()).code is ByeCode.REPLACED
    for guest in guests[1:]:
        await guest.ask(Find(1, who.peer), Found)


async def test_keys_in_all(open_relay: Open) -> None:
    async with open_relay(max_keys=2) as (_, door):
        alice, bob = await door.enter(), await door.enter()
        third = await door.enter()
        assert (await third.bye()).code is ByeCode.FULL
        await bob.leave()
        await (await door.enter(bob.who)).ask(Find(1, alice.peer), Found)


async def test_connections_without_a_key_the_oldest_makes_room_for_an_honest_one(open_relay: Open) -> None:
    async with open_relay(max_half_open=3) as (_, door):
        silent = [await door.knock() for _ in range(3)]
        assert await door.enter()
        frames = [decode_untrusted((await silent[0].receive()).data) for _ in range(2)]
        assert frames[1] == Bye(ByeCode.BUSY)


async def test_whoever_proves_no_key_in_time_is_sent_away(open_relay: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "WAIT_SECONDS", 0.2)
    async with open_relay() as (_, door):
        socket = await door.knock()
        await socket.receive()
        with anyio.fail_after(30):
            assert decode_untrusted((await socket.receive()).data) == Bye(ByeCode.TIMEOUT)


async def test_a_host_that_fails_to_prove_keys_too_often_has_to_wait_and_others_do_not(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True) as (_, door):
        bad = {"X-Forwarded-For": "203.0.113.7"}
        for _ in range(10):
            socket = await door.knock(bad)
            await socket.receive()
            await socket.send_str("garbage")
            await socket.close()
        with anyio.fail_after(30):
            while (await _second_frame(door, bad)) is None:
                pass
        assert (await turned_away(door, bad)).code is ByeCode.BUSY
        assert await door.enter(headers={"X-Forwarded-For": "203.0.113.8"})
        assert await door.enter()


async def _second_frame(door: Door, headers: dict[str, str]) -> object:
    socket = await door.knock(headers)
    await socket.receive()
    found = None
    with anyio.move_on_after(0.1):
        found = (await socket.receive()).data
    await socket.close()
    return found


async def test_a_host_may_hold_so_many_connections_and_this_machine_any_number(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True, host_connections=3) as (_, door):
        host = {"X-Forwarded-For": "2001:db8:1:2::1"}
        neighbour = {"X-Forwarded-For": "2001:db8:1:2:ffff::1"}
        guests = [await door.enter(headers=host) for _ in range(3)]
        assert (await turned_away(door, neighbour)).code is ByeCode.BUSY, "one /64 is one party"
        guests += [await door.enter() for _ in range(6)]
        assert len(guests) == 9


# --- silence --------------------------------------------------------------------------------------


async def test_whoever_is_silent_is_asked_and_then_given_up(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "PING_SECONDS", 0.1)
    monkeypatch.setattr(heartbeat, "DEAD_SECONDS", 2.2)
    alice = await door.enter()
    with anyio.fail_after(30):
        heard = []
        while len(heard) < 2 or heard[-1] != Bye(ByeCode.TIMEOUT):
            heard.append(decode_untrusted(alice.keys.open_untrusted((await alice.socket.receive()).data)))
    assert Ping(1) in heard


async def test_whoever_is_only_here_to_claim_has_five_seconds(
    open_relay: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_session, "CLAIM_SECONDS", 0.2)
    async with open_relay(closed=True) as (_, door):
        outsider = await door.enter()
        assert (await outsider.bye()).code is ByeCode.NOT_ADMITTED


async def test_whoever_never_reads_is_cut_and_the_others_are_served_meanwhile(
    open_relay: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_wire, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(mail_deposits, "ELISION_SECONDS", 5.0)
    async with open_relay(**MUCH) as (relay, door):
        for _ in range(150):
            member = await door.enter(networks=[NET])
            await member.publish(large_entry(member.who), Done)
            await member.cut()
        deaf = await door.enter(networks=[NET])
        deaf.socket._reader._protocol.pause_reading()  # type: ignore[attr-defined]
        await deaf.send(Watch(1, NET.id, 0, 0))
        alice, bob = await door.enter(), await door.enter()
        with anyio.fail_after(30):
            while relay.listener.service.connections.is_online(deaf.peer.key):
                sealed = envelope(bob.peer)
                await alice.send(sealed)
                await bob.take()
                await alice.answer_to(sealed, Delivered)


def test_the_ids_of_refusals_are_where_headers_have_them() -> None:
    sealed = envelope(person().peer)
    assert sealed[44:60] == id_of(sealed) == Header.parse_untrusted(sealed).envelope_id


@pytest.mark.parametrize(("began", "passed"), [(None, (0, 60, 3600)), (None, (0, -60, -86_400)), (30.0, (0, 60, 3600))])
async def test_whom_a_key_writes_to_every_hour_is_not_forgotten_for_whom_it_wrote_to_later(
    open_relay: Open, monkeypatch: pytest.MonkeyPatch, began: float | None, passed: Sequence[float]
) -> None:
    """Of too many, those go that were noted longest ago; who is forgotten gets no place in a mailbox that fills up.

    The clock may be set back, or begin at 1970 on a machine without one that goes on while it is off.
    """
    noted: list[tuple[bytes, bytes]] = []
    async with open_relay() as (relay, door):
        service = relay.listener.service
        alice, bob = await door.enter(), await door.enter()
        monkeypatch.setattr(service._store, "note_correspondent", lambda key, other, _: noted.append((key, other)))
        (session,) = [one for one in service.sessions if one.peer == alice.peer]
        stamp = service._stamp
        for later in passed:
            service._stamp = (stamp if began is None else began) + later
            service.deposit(session, envelope(bob.peer), time.monotonic())
        service._stamp = stamp
        assert noted == [(alice.peer.key, bob.peer.key)] * 2
