"""Mail through a relay over real connections: who gets what, and what its sender hears."""

from __future__ import annotations

import anyio
import pytest
from aiohttp import web

from mcp_a2a.protocol.control import (
    NONCE_SIZE,
    Bye,
    ByeCode,
    Challenge,
    Check,
    Delivered,
    Find,
    Found,
    Held,
    Hello,
    Refused,
    Role,
    Stored,
)
from mcp_a2a.protocol.control import Failed as FailedFrame
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Handshake, Side, Target, Waiting
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.receipt import sign_verdict
from mcp_a2a_transports.relay import server
from tests.protocol.people import mark
from tests.relay.conftest import Open
from tests.relay.guest import Door, envelope, id_of, person

SHOP, HOME = Network(b"s" * 32), Network(b"h" * 32)


async def test_a_message_reaches_its_recipient_and_the_recipients_own_receipt_its_sender(door: Door) -> None:
    alice, bob = await door.enter(), await door.enter()
    sealed = envelope(bob.peer)
    await alice.send(sealed)
    assert await bob.take() == sealed
    receipt = await alice.answer_to(sealed, Delivered)
    assert receipt == bob.receipt(sealed)


def test_this_aiohttp_has_the_queue_that_a_relay_reads_from() -> None:
    websocket = web.WebSocketResponse()
    assert hasattr(websocket, "_reader")
    assert server._source(websocket) == websocket.receive  # until it is prepared there is none


async def test_mail_passes_with_an_aiohttp_that_has_no_such_queue(
    open_relay: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_source", lambda websocket: websocket.receive)
    async with open_relay() as (_, door):
        alice, bob = await door.enter(), await door.enter()
        sealed = envelope(bob.peer)
        await alice.send(sealed)
        assert await bob.take() == sealed
        await alice.answer_to(sealed, Delivered)


async def test_mail_waits_for_whoever_is_away_and_comes_in_order(door: Door) -> None:
    alice, bob = await door.enter(), await door.enter()
    await bob.leave()
    sent = [envelope(bob.peer) for _ in range(50)]
    for sealed in sent:
        await alice.submit(sealed, Stored)
    bob = await door.enter(bob.who)
    assert [await bob.take() for _ in sent] == sent
    for sealed in sent:
        await alice.answer_to(sealed, Delivered)


async def test_mail_and_answers_survive_a_restart_with_nobody_there(open_relay: Open) -> None:
    async with open_relay() as (first, door):
        alice, bob = await door.enter(), await door.enter()
        await bob.leave()
        sent = [envelope(bob.peer) for _ in range(3)]
        for sealed in sent:
            await alice.submit(sealed, Stored)
    async with open_relay() as (second, door):
        assert second.relay == first.relay
        bob = await door.enter(bob.who)
        assert [await bob.take() for _ in sent] == sent
        with anyio.fail_after(30):
            while second.listener.facts().messages:
                await anyio.wait_all_tasks_blocked()
    async with open_relay() as (third, door):
        assert third.listener.facts().messages == 0
        alice = await door.enter(alice.who)
        for sealed in sent:
            await alice.answer_to(sealed, Delivered)
        again = await door.enter(alice.who)
        await again.send(Check(tuple(id_of(sealed) for sealed in sent)))
        for sealed in sent:
            await again.answer_to(sealed, Delivered)


async def test_a_key_that_nobody_has_shown_has_no_mailbox(door: Door) -> None:
    alice = await door.enter()
    refused = await alice.submit(envelope(person().peer), Refused)
    assert refused.code == "no_mailbox"
    assert refused.retry_after


async def test_the_newest_connection_receives_and_the_end_of_an_older_one_takes_nothing_along(door: Door) -> None:
    alice, old = await door.enter(), await door.enter()
    new = await door.enter(old.who)
    await old.leave()
    for _ in range(3):
        sealed = envelope(old.peer)
        await alice.send(sealed)
        assert await new.take() == sealed
        await alice.answer_to(sealed, Delivered)


async def test_a_reconnect_while_the_old_connection_still_looks_open_is_deliverable_at_once(door: Door) -> None:
    alice, silent = await door.enter(), await door.enter()
    unread = envelope(silent.peer)
    await alice.submit(unread, Stored)
    with anyio.fail_after(30):
        new = await door.enter(silent.who)
        assert await new.take() == unread
        sealed = envelope(silent.peer)
        await alice.send(sealed)
        assert await new.take() == sealed
        await alice.answer_to(sealed, Delivered)


async def test_another_key_gets_neither_mail_nor_can_it_answer_for_it(door: Door) -> None:
    alice, bob, mallory = await door.enter(), await door.enter(), await door.enter()
    sealed = envelope(bob.peer)
    await alice.send(sealed)
    assert await bob.mail() == sealed
    await mallory.send(mallory.receipt(sealed))
    await mallory.send(Refused(id_of(sealed), "blocked"))
    await alice.answer_to(sealed, Stored)
    await bob.send(bob.receipt(sealed))
    assert await alice.answer_to(sealed, Delivered) == bob.receipt(sealed)
    assert not [frame for frame in mallory.kept if not isinstance(frame, Bye)]


async def test_held_and_refused_come_as_the_recipient_signed_them_and_end_the_matter(door: Door) -> None:
    alice, bob = await door.enter(), await door.enter()
    for word in ("held", "blocked"):
        sealed = envelope(bob.peer)
        await alice.send(sealed)
        await bob.mail()
        signature = sign_verdict(bob.who.identity, mark(id_of(sealed)), word)
        said = Held(id_of(sealed), signature) if word == "held" else Refused(id_of(sealed), word, None, None, signature)
        await bob.send(said)
        assert await alice.answer_to(sealed, type(said)) == said
    again = await door.enter(bob.who)
    await again.ask(Find(1, alice.peer), Found)
    assert again.kept == []


async def test_a_new_key_to_seal_to_travels_with_the_refusal(door: Door) -> None:
    alice, bob = await door.enter(), await door.enter()
    sealed = envelope(bob.peer)
    await alice.send(sealed)
    await bob.mail()
    await bob.send(Refused(id_of(sealed), "unknown_key", 0.0, bob.who.ring.current))
    assert (await alice.answer_to(sealed, Refused)).bundle == bob.who.ring.current


async def test_busy_is_not_passed_on_and_the_message_comes_again(door: Door) -> None:
    alice, bob = await door.enter(), await door.enter()
    sealed = envelope(bob.peer)
    await alice.send(sealed)
    await bob.mail()
    await bob.send(Refused(id_of(sealed), "busy", 0.5))
    await alice.answer_to(sealed, Stored)
    assert await bob.take() == sealed
    await alice.answer_to(sealed, Delivered)


async def test_a_recipient_whose_clock_is_wrong_for_now_loses_no_mail_of_who_has_gone(door: Door) -> None:
    alice, bob = await door.enter(), await door.enter()
    await bob.leave()
    sent = envelope(bob.peer)
    await alice.submit(sent, Stored)
    await alice.leave()
    wrong = await door.enter(bob.who)
    assert await wrong.mail() == sent
    await wrong.send(Refused(id_of(sent), "stale_ahead_90000", signature=bytes(64)))
    await wrong.leave()
    right = await door.enter(bob.who)
    assert await right.mail() == sent


async def test_whoever_asks_hears_what_became_of_its_own_deposits_only(door: Door) -> None:
    alice, bob, mallory = await door.enter(), await door.enter(), await door.enter()
    await bob.leave()
    sealed, never = envelope(bob.peer), envelope(bob.peer)
    await alice.submit(sealed, Stored)
    await alice.send(Check((id_of(sealed), id_of(never))))
    await alice.answer_to(sealed, Stored)
    assert (await alice.answer_to(never, Refused)).code == "unknown"
    await mallory.send(Check((id_of(sealed),)))
    assert (await mallory.answer_to(sealed, Refused)).code == "unknown"


async def test_the_same_deposit_again_is_the_same_deposit(door: Door) -> None:
    alice, bob = await door.enter(), await door.enter()
    await bob.leave()
    sealed, last = envelope(bob.peer), envelope(bob.peer)
    for _ in range(3):
        await alice.submit(sealed, Stored)
    await alice.submit(last, Stored)
    bob = await door.enter(bob.who)
    assert [await bob.take(), await bob.take()] == [sealed, last]


async def test_find_knows_keys_by_their_bundle_and_says_to_members_of_a_network_who_is_there(door: Door) -> None:
    alice, bob = await door.enter(networks=[SHOP]), await door.enter(networks=[HOME, SHOP])
    found = await alice.ask(Find(1, bob.peer), Found)
    assert (found.bundle, found.online) == (bob.who.ring.current, True)
    await bob.leave()
    with anyio.fail_after(30):
        while (await alice.ask(Find(2, bob.peer), Found)).online:
            pass
    assert (await alice.ask(Find(3, person().peer), FailedFrame)).code == "unknown"


async def test_find_does_not_say_to_strangers_who_is_there(door: Door) -> None:
    alice, bob = await door.enter(networks=[SHOP]), await door.enter(networks=[HOME])
    for guest in (alice, await door.enter()):
        found = await guest.ask(Find(1, bob.peer), Found)
        assert (found.bundle, found.online) == (bob.who.ring.current, False)
    assert (await bob.ask(Find(1, bob.peer), Found)).online, "its own session"


# --- logging in -----------------------------------------------------------------------------


async def hello(door: Door, make: object) -> Bye:
    """What a relay says to this hello."""
    socket = await door.knock()
    challenge = decode_untrusted(await socket.receive_str())
    assert isinstance(challenge, Challenge)
    assert challenge.role is Role.RELAY
    await socket.send_str(encode(make(challenge)))  # type: ignore[operator]
    said = decode_untrusted(await socket.receive_str())
    assert isinstance(said, Bye), said
    return said


def honest(challenge: Challenge, who: object = None) -> Hello:
    me = who or person()
    step = Handshake(
        Side.DIALLER,
        me.identity,
        me.ring.current,
        bytes(NONCE_SIZE),
        Target(None, Role.RELAY),  # type: ignore[attr-defined]
    ).receive_untrusted(challenge)
    assert isinstance(step, Waiting)
    assert isinstance(step.reply, Hello)
    return step.reply


async def test_a_proof_that_was_made_before_or_for_another_relay_or_by_another_key_opens_nothing(door: Door) -> None:
    me = person()
    seen: list[Challenge] = []

    def replayed(challenge: Challenge) -> Hello:
        old = Challenge(challenge.version, bytes(NONCE_SIZE), challenge.peer, challenge.role, challenge.max_envelope)
        return honest(old, me)

    def relayed(challenge: Challenge) -> Hello:
        seen.append(challenge)
        # What a hostile relay would get from us when it passes on the nonce that another relay gave it.
        other = person().peer
        return honest(Challenge(challenge.version, challenge.nonce, other, challenge.role, challenge.max_envelope), me)

    def borrowed(challenge: Challenge) -> Hello:
        proof = honest(challenge, me)
        return Hello(proof.version, person().peer, proof.nonce, proof.signature, proof.bundle)

    def foreign_bundle(challenge: Challenge) -> Hello:
        proof = honest(challenge, me)
        return Hello(proof.version, proof.peer, proof.nonce, proof.signature, person().ring.current.to_text())

    assert (await hello(door, replayed)).code is ByeCode.PROOF
    assert (await hello(door, relayed)).code is ByeCode.PROOF
    assert (await hello(door, borrowed)).code is ByeCode.PROOF
    assert (await hello(door, foreign_bundle)).code is ByeCode.PROOF
    alice = await door.enter()
    assert (await alice.submit(envelope(me.peer), Refused)).code == "no_mailbox", "none of them made a mailbox"


@pytest.mark.parametrize("first", ["envelope", "find", "check", "listing"])
async def test_nothing_is_done_for_whoever_has_not_proven_a_key(door: Door, first: str) -> None:
    bob = await door.enter()
    frames: dict[str, bytes | str] = {
        "envelope": envelope(bob.peer),
        "find": encode(Find(1, bob.peer)),
        "check": encode(Check((bytes(16),))),
        "listing": b"A2L\x01" + bytes(100),
    }
    socket = await door.knock()
    await socket.receive_str()
    frame = frames[first]
    await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
    assert decode_untrusted(await socket.receive_str()) == Bye(ByeCode.PROTOCOL)
    assert bob.kept == []
