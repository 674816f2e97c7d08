"""A carrier takes a message away, and has its recipient sign for something else under the number of its envelope.

The number is readable on the way. What the recipient signs is genuine, and must not count for the message that was
taken away: neither as a receipt, nor as a refusal, nor as "held".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.node.runtime.context import delivery_of
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import Answer, Delivered, Held, Refused
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Header, seal
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import AgentCard, Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.payload import MAX_HOP, AdvertBody, Payload
from tests.node.outsider import letter, task_letter
from tests.node.world import Person, World
from tests.relay.scripted import Caller, ScriptedRelay
from tests.relay.test_hostile import pair, send, state_after

MALLORY = Identity(b"mallory".ljust(32, b"?"))


def advert(to: PeerId) -> Payload:
    ring, now = KeyRing(MALLORY), time.time()
    ring.handle_timeout(now, os.urandom)
    card = AgentCard(name="mallory", description="")
    signed = Advert.sign(MALLORY, card, ring.current, (), seq=int(now * 1000), expires=int(now) + 3600)
    return letter("advert", MALLORY.peer_id, to, AdvertBody(advert=signed.to_text(), vouchers=()))


def passed_on_too_often(to: PeerId) -> Payload:
    return task_letter(MALLORY.peer_id, to, hop=MAX_HOP)


def of_a_stranger(to: PeerId) -> Payload:
    return task_letter(MALLORY.peer_id, to)


class Thief(ScriptedRelay):
    """While it has a victim, gives it something of its own in place of its mail, and passes the answer on."""

    def __init__(self, bait: Callable[[PeerId], Payload]) -> None:
        super().__init__()
        self.bait = bait
        self.victim: PeerId | None = None
        self.genuine: list[Answer] = []

    def deposits(self) -> int:
        """How often a task for Bob was brought. Introductions and questions after a task live for minutes only."""
        bob, tomorrow = Identity(b"bob".ljust(32, b"\0")).peer_id, time.time() + 86_400
        headers = [Header.parse_untrusted(frame) for frame in self.seen if frame[:3] == b"A2E"]
        return sum(header.to == bob and header.expires > tomorrow for header in headers)

    @override
    async def deliver(self, recipient: Caller, envelope: bytes) -> None:
        if recipient.peer == self.victim:
            payload, header = self.bait(recipient.peer), Header.parse_untrusted(envelope)
            bundle = self.bundles[recipient.peer]
            envelope = seal(MALLORY, payload.to_bytes(), bundle, header.envelope_id, payload.expires)
        await super().deliver(recipient, envelope)

    @override
    async def answered(self, caller: Caller, answer: Answer) -> None:
        if caller.peer == self.victim:
            self.genuine.append(answer)
        await super().answered(caller, answer)


async def misled(sender: Person) -> None:
    """Wait until an answer came to a message of this one that it does not believe."""
    with anyio.fail_after(30):
        while not any(
            standing.tries
            for peer in sender.node.directory
            for standing in sender.node.outbox._queue.pending(peer.row.did)
        ):
            await anyio.lowlevel.checkpoint()


BAITS: dict[str, tuple[Callable[[PeerId], Payload], type[Answer]]] = {
    "a receipt": (advert, Delivered),
    "a refusal for good": (passed_on_too_often, Refused),
    "held": (of_a_stranger, Held),
}


@pytest.mark.parametrize(("bait", "kind"), BAITS.values(), ids=BAITS)
async def test_a_genuine_answer_to_another_message_says_nothing_about_a_task(
    world: World, bait: Callable[[PeerId], Payload], kind: type[Answer]
) -> None:
    relay = Thief(bait)
    async with pair(world, relay) as (alice, bob):
        relay.victim = bob.node.context.me
        sent = await send(alice)
        await misled(alice)
        assert {type(answer) for answer in relay.genuine} == {kind}, "the recipient has signed, for something else"
        view = await state_after(alice, sent.task_id, 0.1)
        assert view.delivery in (Delivery.QUEUED, Delivery.STORED)
        assert view.state in (Moment.QUEUED, Moment.STORED)
        assert (view.done, len(alice.node.outbox)) == (False, 1)
        relay.victim = None
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [sent.task_id], "an honest relay brings it"


@pytest.mark.parametrize(("bait", "kind"), BAITS.values(), ids=BAITS)
async def test_a_genuine_answer_to_another_message_says_nothing_about_a_result(
    world: World, bait: Callable[[PeerId], Payload], kind: type[Answer]
) -> None:
    relay = Thief(bait)
    async with pair(world, relay) as (alice, bob):
        sent = await send(alice)
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        relay.victim = alice.node.context.me
        await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text="olleh"))
        await misled(bob)
        assert {type(answer) for answer in relay.genuine} == {kind}
        assert len(bob.node.outbox) == 1, "the result is still to be delivered"
        relay.victim = None
        view = await state_after(alice, sent.task_id, 8)
        assert (view.state, view.text) == (Moment.COMPLETED, "olleh")


async def delivery_is(person: Person, task_id: str, wanted: Delivery) -> None:
    with anyio.fail_after(30):
        while True:
            changed = person.node.context.task_changes.event(delivery_of(task_id))
            if (await state_after(person, task_id, 0)).delivery == wanted:
                return
            await changed.wait()


@pytest.mark.parametrize("is_honest", [True, False], ids=["honest", "not honest"])
async def test_what_the_recipient_must_sign_is_known_after_a_restart(world: World, *, is_honest: bool) -> None:
    relay = Thief(advert)
    async with pair(world, relay):
        pass
    async with relay.serve(relay.port):
        async with world.person("alice") as alice:
            sent = await send(alice)
            await delivery_is(alice, sent.task_id, Delivery.STORED)
        envelopes = relay.deposits()
        relay.victim = None if is_honest else world.identity("bob").peer_id
        async with world.person("bob") as bob, world.person("alice") as alice:
            if not is_honest:
                await misled(alice)
                assert (await state_after(alice, sent.task_id, 0)).delivery == Delivery.STORED
                relay.victim = None
            await delivery_is(alice, sent.task_id, Delivery.DELIVERED)
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
            assert [item.task_id for item in inbox.items] == [sent.task_id]
            assert (relay.deposits() == envelopes) == is_honest, "sent again only where it had to be"
