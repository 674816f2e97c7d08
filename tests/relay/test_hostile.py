"""A relay that lies. Whatever it does, it can delay and withhold, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from typing_extensions import override

from mcp_a2a.api.agents import DiscoverRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.networks import InviteRequest, JoinRequest, LeaveRequest
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, SendTaskRequest, TaskView
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import (
    Answer,
    ByeCode,
    Control,
    Delivered,
    Done,
    Found,
    Held,
    Presence,
    Refused,
    Role,
    Stored,
    envelopes_of,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Header, seal
from mcp_a2a.protocol.handshake import Failed, Handshake, Side, Target, Waiting
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.protocol.moment import Moment, moment_of
from mcp_a2a.protocol.receipt import sign_receipt, sign_verdict
from mcp_a2a_transports.direct import DirectTransport
from tests.node.outsider import task_letter
from tests.node.world import Person, World
from tests.protocol.people import mark
from tests.relay.scripted import EPOCH, Caller, ScriptedRelay

MALLORY = Identity(b"mallory".ljust(32, b"!"))


@asynccontextmanager
async def pair(world: World, relay: ScriptedRelay) -> AsyncIterator[tuple[Person, Person]]:
    """Alice and Bob in a network at this relay."""
    async with relay.serve(), world.person("alice") as alice, world.person("bob") as bob:
        ticket = (await alice.api.call(InviteRequest(network="shop", relays=(relay.url,)))).ticket
        await bob.api.call(JoinRequest(ticket=ticket))
        with anyio.fail_after(30):
            while not any(peer.name == "bob" for peer in alice.node.directory):
                await alice.node.directory.changes.event().wait()
        yield alice, bob


async def send(alice: Person, text: str = "hello") -> TaskView:
    return await alice.api.call(SendTaskRequest(agent="bob", message=text, wait_seconds=0))


async def state_after(person: Person, task_id: str, seconds: float = 0.5) -> TaskView:
    return await person.api.call(GetTaskRequest(task_id=task_id, wait_seconds=seconds))


# --- lies about delivery --------------------------------------------------------------------------


Lie = Callable[[Identity, bytes], Answer]
"""What a relay with this key says about an envelope."""


class Boaster(ScriptedRelay):
    """Says at once what it likes about a deposit, and delivers nothing."""

    def __init__(self, lie: Lie) -> None:
        super().__init__()
        self._lie = lie

    @override
    async def deposit(self, caller: Caller, envelope: bytes, envelope_id: bytes) -> None:
        await caller.say(self._lie(self.identity, envelope_id))


LIES: dict[str, tuple[Lie, Delivery]] = {
    "delivered": (lambda key, sent: Delivered((mark(sent),), sign_receipt(key, (mark(sent),))), Delivery.QUEUED),
    "held": (lambda key, sent: Held(sent, sign_verdict(key, mark(sent), "held")), Delivery.QUEUED),
    "blocked": (
        lambda key, sent: Refused(sent, "blocked", 60.0, signature=sign_verdict(key, mark(sent), "blocked")),
        Delivery.QUEUED,
    ),
    "stored": (lambda _, sent: Stored(sent), Delivery.STORED),
}
"""Each with what is made of it."""


@pytest.mark.parametrize(("lie", "seen"), LIES.values(), ids=LIES)
async def test_a_lie_about_delivery_is_at_most_stored_and_the_task_stays_ours(
    world: World, lie: Lie, seen: Delivery
) -> None:
    async with pair(world, Boaster(lie)) as (alice, _):
        sent = await send(alice)
        view = await state_after(alice, sent.task_id)
        assert (view.delivery, view.state, view.done) == (seen, moment_of(TaskState.SUBMITTED, seen), False)
        assert len(alice.node.outbox) == 1, "it is still in the journal"


async def test_a_receipt_for_another_envelope_counts_for_none(world: World) -> None:
    class Shuffler(ScriptedRelay):
        """Lets each receipt name one envelope more than its recipient signed for."""

        @override
        async def forward(self, depositor: PeerId, answer: Answer) -> None:
            if isinstance(answer, Delivered):
                others = tuple(self.depositors.keys() - set(answer.envelopes)) or (bytes(16),)
                answer = replace(answer, postmarks=(*answer.postmarks, *map(mark, others)))
            await super().forward(depositor, answer)

    async with pair(world, Shuffler()) as (alice, bob):
        sent = [await send(alice, text) for text in ("one", "two")]
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert {(await state_after(alice, task.task_id, 0.2)).delivery for task in sent} == {Delivery.QUEUED}
        assert len(alice.node.outbox) == 2


# --- forging, changing, redirecting ----------------------------------------------------------------


async def test_a_relay_cannot_make_a_task_of_a_member(world: World) -> None:
    relay = ScriptedRelay()
    async with pair(world, relay) as (alice, bob):
        letter = task_letter(alice.node.context.me, bob.node.context.me)
        forged = seal(
            relay.identity, letter.to_bytes(), relay.bundles[bob.node.context.me], os.urandom(16), letter.expires
        )
        caller = relay.newest(bob.node.context.me)
        assert caller is not None
        relay.depositors[Header.parse_untrusted(forged).envelope_id] = alice.node.context.me
        await caller.say(forged)
        assert (await bob.api.call(CheckInboxRequest(wait_seconds=0.3))).items == ()


async def test_an_envelope_that_was_changed_on_the_way_is_no_task(world: World) -> None:
    class Changer(ScriptedRelay):
        @override
        async def deliver(self, recipient: Caller, envelope: bytes) -> None:
            changed = bytearray(envelope)
            changed[-20] ^= 1
            await recipient.say(bytes(changed))

    async with pair(world, Changer()) as (alice, bob):
        sent = await send(alice)
        assert (await bob.api.call(CheckInboxRequest(wait_seconds=0.5))).items == ()
        view = await state_after(alice, sent.task_id)
        assert not view.done, "Bob says that he cannot read it; Alice seals it anew, and tries on"


async def test_a_letter_that_is_brought_to_somebody_else_is_no_task_there(world: World) -> None:
    class Redirector(ScriptedRelay):
        """Brings everything to Carol."""

        to: PeerId | None = None

        @override
        async def deliver(self, recipient: Caller, envelope: bytes) -> None:
            caller = self.newest(self.to) if self.to else recipient
            assert caller is not None
            await caller.say(envelope)

    relay = Redirector()
    async with pair(world, relay) as (alice, bob), world.person("carol") as carol:
        ticket = (await alice.api.call(InviteRequest(network="shop"))).ticket
        await carol.api.call(JoinRequest(ticket=ticket))
        relay.to = carol.node.context.me
        await send(alice)
        for person in (bob, carol):
            assert (await person.api.call(CheckInboxRequest(wait_seconds=0.3))).items == ()


# --- replaying and re-ordering --------------------------------------------------------------------


async def test_everything_played_again_and_again_is_one_task_and_one_result(world: World) -> None:
    class Repeater(ScriptedRelay):
        @override
        async def deliver(self, recipient: Caller, envelope: bytes) -> None:
            for _ in range(5):
                await recipient.say(envelope)

        @override
        async def answered(self, caller: Caller, answer: Answer) -> None:
            await super().answered(caller, answer)
            await self.forward(self.depositors[envelopes_of(answer)[0]], answer)

    relay = Repeater()
    async with pair(world, relay) as (alice, bob):
        sent = await send(alice)
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert len(inbox.items) == 1
        await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text="olleh"))
        view = await state_after(alice, sent.task_id, 5)
        assert (view.state, view.text) == (Moment.COMPLETED, "olleh")
        envelopes = [frame for frame in relay.seen if isinstance(frame, bytes) and frame.startswith(b"A2E")]
        for envelope in envelopes * 20:
            caller = relay.newest(Header.parse_untrusted(envelope).to)
            assert caller is not None
            await caller.say(envelope)
        assert (await bob.api.call(CheckInboxRequest(wait_seconds=0.3))).items == ()
        assert [task.state for task in (await alice.api.call(ListTasksRequest())).tasks] == [Moment.COMPLETED]


async def test_updates_in_the_wrong_order_never_move_a_task_backwards(world: World) -> None:
    class Reverser(ScriptedRelay):
        """Keeps what goes to Alice, and brings it backwards."""

        to: PeerId | None = None

        @override
        async def deliver(self, recipient: Caller, envelope: bytes) -> None:
            if recipient.peer != self.to:
                await super().deliver(recipient, envelope)

    relay = Reverser()
    async with pair(world, relay) as (alice, bob):
        relay.to = alice.node.context.me
        sent = await send(alice)
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        for number in range(3):
            progress = AnswerRequest(task_id=sent.task_id, status="working", text=f"step {number}")
            await bob.api.call(progress)
        await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text="olleh"))
        with anyio.fail_after(30):
            while len(relay.mail[relay.to]) < 4:
                await anyio.lowlevel.checkpoint()
        caller = relay.newest(relay.to)
        assert caller is not None
        for envelope in reversed(list(relay.mail[relay.to].values())):
            await caller.say(envelope)
        view = await state_after(alice, sent.task_id, 5)
        assert (view.state, view.text) == (Moment.COMPLETED, "olleh")
        view = await state_after(alice, sent.task_id, 0)
        assert (view.state, view.text, view.progress) == (Moment.COMPLETED, "olleh", None)


# --- lies about others ----------------------------------------------------------------------------


async def test_a_relay_cannot_put_a_key_of_its_own_under_anothers_name(world: World) -> None:
    ring = KeyRing(MALLORY)
    ring.handle_timeout(time.time(), os.urandom)

    class Liar(ScriptedRelay):
        @override
        def found(self, number: int, peer: PeerId) -> Control:
            return Found(number, ring.current, online=True)

    relay = Liar()
    async with pair(world, relay) as (alice, bob):
        sent = await send(alice)
        view = await state_after(alice, sent.task_id)
        assert view.delivery == Delivery.QUEUED
        assert (await bob.api.call(CheckInboxRequest())).items == ()
        envelopes = [frame for frame in relay.seen if isinstance(frame, bytes) and frame.startswith(b"A2E")]
        assert envelopes == [], "nothing was sealed to that key"


async def test_an_entry_that_no_member_made_names_nobody(world: World) -> None:
    relay = ScriptedRelay()
    async with pair(world, relay) as (alice, _):
        network = alice.node.networks.named("shop").network.id
        caller = relay.newest(alice.node.context.me)
        assert caller is not None
        entry = next(iter(relay.listings.values()))
        forged = Listing(network, MALLORY.peer_id, entry.seq, entry.expires, entry.sealed, 99, online=True)
        await caller.say(forged.to_bytes())
        await caller.say(Presence(network, (MALLORY.peer_id,), ()))
        await send(alice)  # whatever the relay said before that has been heard
        assert alice.node.directory.known(MALLORY.peer_id) is None
        assert not alice.node.networks.is_member(MALLORY.peer_id)


async def test_an_old_entry_does_not_take_the_place_of_a_new_one(world: World) -> None:
    relay = ScriptedRelay()
    async with pair(world, relay) as (alice, bob):
        network = alice.node.networks.named("shop").network.id
        old = relay.listings[network, bob.node.context.me]
        bob.node.own_advert.card = bob.node.own_advert.card.model_copy(update={"description": "new"})
        await bob.node.publishing.publish(bob.node.networks.named("shop"), relay.url)
        caller = relay.newest(alice.node.context.me)
        assert caller is not None
        await caller.say(replace(old, revision=1000).to_bytes())
        with anyio.fail_after(30):
            while (await alice.api.call(DiscoverRequest(settle_seconds=0))).agents[0].description != "new":
                await alice.node.directory.changes.event().wait()
        await send(alice)
        assert (await alice.api.call(DiscoverRequest(settle_seconds=0))).agents[0].description == "new"


async def withdrawn(alice: Person, relay: ScriptedRelay, listing: Listing) -> None:
    """The relay says so, and everything after it has been heard as well."""
    caller = relay.newest(alice.node.context.me)
    assert caller is not None
    await caller.say(replace(listing, revision=1000).to_bytes())
    await alice.node.publishing.publish(alice.node.networks.named("shop"), relay.url)


async def test_a_relay_cannot_put_a_member_out_of_its_network(world: World) -> None:
    """One of several would shut out whom all the others list: its tasks would wait for a person like a stranger's."""
    relay = ScriptedRelay()
    async with pair(world, relay) as (alice, bob):
        network, me = alice.node.networks.named("shop").network.id, bob.node.context.me
        entry = relay.listings[network, me]
        await withdrawn(alice, relay, replace(entry, seq=entry.seq + 1, sealed=bytes(64)))
        forged = Listing.withdrawal(MALLORY, network, entry.seq + 1, entry.expires)
        await withdrawn(alice, relay, replace(forged, peer=me))
        await withdrawn(alice, relay, forged)
        assert alice.node.networks.is_member(me)


async def until_member(alice: Person, peer: PeerId, *, is_one: bool) -> None:
    with anyio.fail_after(30):
        while alice.node.networks.is_member(peer) != is_one:
            await alice.node.networks.changes.event().wait()


async def test_a_withdrawal_of_who_has_come_back_is_no_news_and_neither_is_the_entry_of_who_has_left(
    world: World,
) -> None:
    relay = ScriptedRelay()
    async with pair(world, relay) as (alice, bob):
        joined, me = alice.node.networks.named("shop"), bob.node.context.me
        ticket = (await alice.api.call(InviteRequest(network="shop"))).ticket
        entry = relay.listings[joined.network.id, me]
        await bob.api.call(LeaveRequest(network="shop"))
        await until_member(alice, me, is_one=False)
        left = relay.listings[joined.network.id, me]
        await withdrawn(alice, relay, entry)  # as another relay lists it, which was away then
        assert not alice.node.networks.is_member(me)
        await bob.api.call(JoinRequest(ticket=ticket))
        await until_member(alice, me, is_one=True)
        await withdrawn(alice, relay, left)
        assert alice.node.networks.is_member(me)


class Forgetful(ScriptedRelay):
    """Lists no entry that is new to it, once it `keeps_back`."""

    keeps_back = False

    @override
    async def publish(self, caller: Caller, listing: Listing) -> None:
        if not self.keeps_back:
            await super().publish(caller, listing)
            return
        await caller.say(Done(listing.revision, EPOCH, self.revision))


async def test_a_withdrawal_is_no_news_either_of_who_has_come_back_and_is_known_by_its_greeting_alone(
    world: World,
) -> None:
    relay = Forgetful()
    async with pair(world, relay) as (alice, bob):
        joined, me = alice.node.networks.named("shop"), bob.node.context.me
        ticket = (await alice.api.call(InviteRequest(network="shop"))).ticket
        await bob.api.call(LeaveRequest(network="shop"))
        await until_member(alice, me, is_one=False)
        left = relay.listings[joined.network.id, me]
        relay.keeps_back = True
        await bob.api.call(JoinRequest(ticket=ticket))
        alice.sees(bob)
        await until_member(alice, me, is_one=True)
        await withdrawn(alice, relay, left)
        assert alice.node.networks.is_member(me)


async def test_a_greeting_from_before_it_left_makes_nobody_a_member_again(world: World) -> None:
    """A relay may bring one late: it lies in the mailbox of an agent that was away, behind the news of the leaving."""
    relay = ScriptedRelay()
    async with pair(world, relay) as (alice, bob):
        me = bob.node.context.me
        advert, vouchers = bob.node.own_advert.advert(), bob.node.publishing.vouchers(alice.node.context.me)
        await bob.api.call(LeaveRequest(network="shop"))
        with anyio.fail_after(30):
            while alice.node.networks.is_member(me):
                await alice.node.networks.changes.event().wait()
        alice.node.networks.vouched(advert, vouchers, advert.expires)
        assert not alice.node.networks.is_member(me)


async def test_who_has_left_is_not_listed_to_a_newcomer_that_hears_of_it_first(world: World) -> None:
    relay = ScriptedRelay()
    async with pair(world, relay) as (alice, bob):
        joined, me = alice.node.networks.named("shop"), bob.node.context.me
        ticket = (await alice.api.call(InviteRequest(network="shop"))).ticket
        entry = relay.listings[joined.network.id, me]
        await bob.api.call(LeaveRequest(network="shop"))
        async with world.person("carol") as carol:
            await carol.api.call(JoinRequest(ticket=ticket))
            await withdrawn(carol, relay, entry)  # as another relay lists it, which was away then
            assert not carol.node.networks.is_member(me)


# --- logins ---------------------------------------------------------------------------------------


async def test_a_login_that_was_made_for_another_relay_is_refused(world: World) -> None:
    """Mallory's relay hands on the nonce of the real one, and shows it the answer as its own."""
    real, mallory = ScriptedRelay(), Identity(b"M" * 32)
    async with world.person("alice") as alice:
        relay = Target(role=Role.RELAY)
        listener = Handshake(Side.LISTENER, real.identity, real.ring.current, os.urandom(32), relay)
        me = alice.node.context.identity
        dialler = Handshake(Side.DIALLER, me, alice.node.ring.current, os.urandom(32), relay)
        hello = dialler.receive_untrusted(replace(listener.challenge, peer=mallory.peer_id))
        assert isinstance(hello, Waiting)
        verdict = listener.receive_untrusted(hello.reply)
        assert isinstance(verdict, Failed)
        assert verdict.code == ByeCode.PROOF


async def test_a_relay_with_another_key_is_not_talked_to(world: World) -> None:
    relay = ScriptedRelay()
    async with relay.serve(), world.person("alice") as alice:
        elsewhere = relay.url.replace(str(relay.identity.peer_id), str(MALLORY.peer_id))
        with pytest.raises(RelayError, match="another agent answers there"):
            await alice.api.call(InviteRequest(network="shop", relays=(elsewhere,)))


async def test_an_agent_is_not_taken_for_a_relay_nor_a_relay_for_an_agent(world: World) -> None:
    relay, direct = ScriptedRelay(), DirectTransport("127.0.0.1")
    async with relay.serve(), world.person("alice") as alice, world.person("bob", transport=direct) as bob:
        port = str(bob.addresses[0]).rpartition(":")[2]
        with pytest.raises(RelayError, match="an agent answers there, not a relay"):
            await alice.api.call(InviteRequest(network="shop", relays=(f"ws://127.0.0.1:{port}/#{bob.did}",)))
        with pytest.raises(NoRouteError, match="a relay answers there, not an agent"):
            await bob.node.dialer.dial_address(f"127.0.0.1:{relay.port}")
