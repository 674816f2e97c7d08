"""What a node takes from the network: each forgery, replay and lie is refused, and leaves nothing behind."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, SendTaskRequest, TaskView
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.runtime.context import delivery_of
from mcp_a2a.ports import Link
from mcp_a2a.protocol.control import Answer, Delivered, Refused
from mcp_a2a.protocol.crypto import SEED_SIZE, KemSecret, best_suite
from mcp_a2a.protocol.envelope import Envelope, Header, seal
from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.protocol.moment import state_of
from mcp_a2a.protocol.receipt import sign_receipt
from tests.node.outsider import (
    WEEK,
    Outsider,
    cancel_letter,
    message_letter,
    outsider,
    sealed,
    task_letter,
    update_letter,
)
from tests.node.wiretap import FrameTap
from tests.node.world import Person, World, acquainted

HOUR = 3600


@pytest.fixture
def tap() -> FrameTap:
    return FrameTap()


@pytest.fixture
def world(tmp_path: Path, tap: FrameTap) -> World:
    world = World(tmp_path, network=tap.network)
    world.make_own("alice", "bob", "carol")
    return world


def task(text: str = "hello", **more: object) -> SendTaskRequest:
    return SendTaskRequest.model_validate({"agent": "bob", "message": text, "wait_seconds": 0, **more})


async def answered(alice: Person, bob: Person, text: str = "olleh") -> TaskView:
    """A task of Alice's that Bob has completed."""
    sent = await alice.api.call(task())
    await bob.api.call(CheckInboxRequest(wait_seconds=30))
    await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text=text))
    return await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))


async def tasks_of(person: Person) -> list[tuple[str, TaskState, str | None, str]]:
    page = await person.api.call(ListTasksRequest())
    return [(view.task_id, state_of(view.state), view.text, view.updated) for view in page.tasks]


def stored(person: Person) -> dict[str, int]:
    """How many rows a node keeps of what others sent, or that leave for others because of it."""
    return person.node.context.database.read(
        lambda connection: {
            table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for table in ("tasks", "held", "outbox")
        }
    )


# --- replay ------------------------------------------------------------------------------


async def test_recorded_envelopes_played_a_hundred_times_are_one_task_and_one_result(
    world: World, tap: FrameTap
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        first = await answered(alice, bob)
        to_bob, to_alice = tap.envelopes("alice", "bob"), tap.envelopes("bob", "alice")
        before = await tasks_of(alice), await tasks_of(bob)
        async with outsider(tap.network, "mallory") as mallory:
            await play(mallory, alice, to_alice, times=100)
            await play(mallory, bob, to_bob, times=100)
        assert (await tasks_of(alice), await tasks_of(bob)) == before
        assert (await bob.api.call(CheckInboxRequest())).items == ()

    async with world.person("alice") as alice, world.person("bob") as bob, outsider(tap.network, "eve") as eve:
        await play(eve, alice, to_alice, times=100)
        await play(eve, bob, to_bob, times=100)
        assert [row[:3] for row in await tasks_of(alice)] == [(first.task_id, TaskState.COMPLETED, "olleh")]
        assert (await tasks_of(alice), await tasks_of(bob)) == before
        assert (await bob.api.call(CheckInboxRequest())).items == ()


async def play(mallory: Outsider, victim: Person, envelopes: list[bytes], *, times: int) -> None:
    link = await mallory.dial(victim)
    for envelope in envelopes * times:
        assert isinstance(await mallory.submit(link, envelope), Delivered), "what was stored is acknowledged again"


@pytest.mark.parametrize("days_back", [2, 30])
async def test_a_clock_set_back_does_not_reopen_what_was_forgotten(world: World, tap: FrameTap, days_back: int) -> None:
    alice = world.identity("alice")
    async with world.person("bob") as bob, outsider(tap.network, "mallory") as mallory:
        now = time.time()
        short_lived = task_letter(alice.peer_id, bob.node.context.me, now=now, expires=now + HOUR)
        link = await mallory.dial(bob)
        envelope = sealed(alice, short_lived, link.bundle)
        assert isinstance(await mallory.submit(link, envelope), Delivered)

    world.clock.advance(2 * 86_400)
    async with world.person("bob"):
        pass  # long enough after its end: whatever is remembered of the message may be forgotten
    with closing(sqlite3.connect(world.folder / "bob" / "node.db")) as connection, connection:
        connection.execute("DELETE FROM tasks")

    world.clock.advance(-days_back * 86_400)
    async with world.person("bob") as bob, outsider(tap.network, "eve") as eve:
        answer = await eve.submit(await eve.dial(bob), envelope)
        assert isinstance(answer, Refused)
        assert answer.code.startswith("stale")
        assert stored(bob) == {"tasks": 0, "held": 0, "outbox": 0}


# --- forgeries ------------------------------------------------------------------------------------

Forge = Callable[[World, Person, Link], bytes]
"""Makes an envelope for Bob, who takes tasks from Alice."""


def _task(world: World, bob: Person, **more: object) -> tuple[object, ...]:
    alice = world.identity("alice")
    return alice, task_letter(alice.peer_id, bob.node.context.me, **more)


def meant_for_carol(world: World, bob: Person, link: Link) -> bytes:
    alice = world.identity("alice")
    return sealed(alice, task_letter(alice.peer_id, world.identity("carol").peer_id), link.bundle)


def signed_by_another(world: World, bob: Person, link: Link) -> bytes:
    payload = task_letter(world.identity("alice").peer_id, bob.node.context.me)
    return sealed(world.identity("mallory"), payload, link.bundle)


def dated(now: float, life: float = WEEK) -> Forge:
    def forge(world: World, bob: Person, link: Link) -> bytes:
        made = time.time() + now
        alice = world.identity("alice")
        payload = task_letter(alice.peer_id, bob.node.context.me, now=made, expires=made + life)
        return sealed(alice, payload, link.bundle)

    return forge


def with_fields(**fields: object) -> Forge:
    def forge(world: World, bob: Person, link: Link) -> bytes:
        alice = world.identity("alice")
        return sealed(alice, task_letter(alice.peer_id, bob.node.context.me, **fields), link.bundle)

    return forge


def rewritten(old: bytes, new: bytes) -> Forge:
    """Signed by Alice as it is; no node of ours would write it so."""

    def forge(world: World, bob: Person, link: Link) -> bytes:
        alice = world.identity("alice")
        payload = task_letter(alice.peer_id, bob.node.context.me)
        data = payload.to_bytes()
        assert old in data
        return seal(alice, data.replace(old, new, 1), link.bundle, os.urandom(16), payload.expires)

    return forge


def flipped(position: int) -> Forge:
    def forge(world: World, bob: Person, link: Link) -> bytes:
        envelope = bytearray(with_fields()(world, bob, link))
        envelope[position] ^= 1
        return bytes(envelope)

    return forge


def opens(bob: Person, envelope: bytes) -> bool:
    try:
        Envelope.parse_untrusted(envelope).open_untrusted(bob.node.ring, bob.node.context.me)
    except RemoteProtocolError:
        return False
    return True


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        pytest.param(meant_for_carol, "rejected", id="sealed again for a third peer"),
        pytest.param(signed_by_another, "rejected", id="signed by another key"),
        pytest.param(dated(-WEEK - HOUR), "stale_behind_3600", id="expired"),
        pytest.param(dated(+16 * HOUR), "stale_ahead_57600", id="from the future"),
        pytest.param(dated(0, life=WEEK + HOUR), "stale", id="claims to live too long"),
        pytest.param(dated(0, life=-1), "stale_behind_1", id="ends before it begins"),
        pytest.param(with_fields(hop=4), "hop_limit", id="passed on too often"),
        pytest.param(with_fields(task="task-made-up"), "rejected", id="task id not derived from its message"),
        pytest.param(rewritten(b'"type":"task"', b'"type":"order"'), "rejected", id="unknown type"),
        pytest.param(rewritten(b'"v":1', b'"v":2'), "rejected", id="unknown version"),
        pytest.param(rewritten(b'"hop":0', b'"hop":5'), "rejected", id="hop beyond the range"),
        pytest.param(rewritten(b'{"v":1', b'{"v":1,"v":1'), "rejected", id="ambiguous JSON"),
        pytest.param(flipped(-1), "rejected", id="last byte changed"),
        pytest.param(flipped(64), "rejected", id="first sealed byte changed"),
        pytest.param(flipped(36), "unknown_key", id="another key named"),
        pytest.param(flipped(4), "rejected", id="another recipient named"),
        pytest.param(flipped(44), "rejected", id="another envelope id"),
    ],
)
async def test_a_forged_envelope_is_refused_and_nothing_of_it_stored(
    world: World, tap: FrameTap, forge: Forge, code: str
) -> None:
    async with world.person("bob") as bob, outsider(tap.network, "mallory") as mallory:
        link = await mallory.dial(bob)
        envelope = forge(world, bob, link)
        answer = await mallory.submit(link, envelope)
        assert isinstance(answer, Refused)
        assert answer.code == code
        assert (answer.signature is not None) == opens(bob, envelope), (
            "of whom it is, must be known before it is signed"
        )
        assert stored(bob) == {"tasks": 0, "held": 0, "outbox": 0}
        # The same hand can still deliver what Alice really signed: the refusals were about the envelope.
        assert isinstance(await mallory.submit(link, with_fields()(world, bob, link)), Delivered)
        assert stored(bob)["tasks"] == 1


async def test_whoever_got_a_task_cannot_pass_it_on_as_its_senders(world: World, tap: FrameTap) -> None:
    async with (
        world.person("alice") as alice,
        world.person("carol") as carol,
        outsider(tap.network, "bob", world.identity("bob")) as bob,
    ):
        await alice_knows(alice, bob)
        await alice.api.call(task(agent=bob.did))
        await bob.until(lambda: bob.received_of("task"))
        link = await bob.dial(carol)
        answer = await bob.send(link, bob.received_of("task")[0], signer=world.identity("alice"))
        assert isinstance(answer, Refused)
        assert stored(carol)["tasks"] == 0


# --- whose word counts ----------------------------------------------------------------------


async def test_a_result_from_a_third_peer_or_for_an_unknown_task_changes_nothing(world: World, tap: FrameTap) -> None:
    async with (
        world.person("alice") as alice,
        world.person("bob") as bob,
        outsider(tap.network, "carol", world.identity("carol")) as carol,
    ):
        await acquainted(alice, bob)
        sent = await alice.api.call(task())
        await alice.api.call(GetTaskRequest(task_id=sent.task_id))
        before = await tasks_of(alice)
        link = await carol.dial(alice)
        for task_id in (sent.task_id, "task-unknown"):
            lie = update_letter(
                carol.peer_id, alice.node.context.me, task_id, seq=9, state=TaskState.COMPLETED, text="a lie"
            )
            await carol.send(link, lie)
        assert await tasks_of(alice) == before

        link = await carol.dial(bob)
        await bob.api.call(CheckInboxRequest(wait_seconds=30))  # the task is there
        before = await tasks_of(bob)
        for lie in (
            message_letter(carol.peer_id, bob.node.context.me, sent.task_id, "do something else"),
            cancel_letter(carol.peer_id, bob.node.context.me, sent.task_id),
            update_letter(
                carol.peer_id, bob.node.context.me, sent.task_id, seq=9, state=TaskState.COMPLETED, text="a lie"
            ),
        ):
            await carol.send(link, lie)
        assert await tasks_of(bob) == before


async def test_the_agent_that_was_asked_cannot_cancel_or_extend_the_task_as_its_sender(
    world: World, tap: FrameTap
) -> None:
    async with world.person("alice") as alice, outsider(tap.network, "bob", world.identity("bob")) as bob:
        link = await alice_knows(alice, bob)
        sent = await alice.api.call(task(agent=bob.did))
        await bob.until(lambda: bob.received_of("task"))
        before = await tasks_of(alice)
        await bob.send(link, message_letter(bob.peer_id, alice.node.context.me, sent.task_id, "more"))
        await bob.send(link, cancel_letter(bob.peer_id, alice.node.context.me, sent.task_id))
        assert await tasks_of(alice) == before


async def alice_knows(alice: Person, other: Outsider) -> Link:
    """A link from the outsider to Alice, over which she can send to its key."""
    link = await other.dial(alice)
    await other.until(lambda: other.received_of("advert"))
    return link


# --- receipts -------------------------------------------------------------------------------


@pytest.mark.parametrize("liar", ["nobody", "mallory"])
async def test_a_receipt_that_the_recipient_did_not_sign_does_not_count(world: World, tap: FrameTap, liar: str) -> None:
    honest = False

    def react(link: Link, envelope: bytes) -> Answer | None:
        payload = bob.read(envelope)
        marks = (bob.postmark(envelope, payload),)
        if honest or payload.type == "advert":
            return Delivered(marks, sign_receipt(bob.identity, marks))
        return Delivered(marks, sign_receipt(world.identity(liar), marks) if liar != "nobody" else bytes(64))

    async with (
        world.person("alice") as alice,
        outsider(tap.network, "bob", world.identity("bob"), react) as bob,
    ):
        link = await alice_knows(alice, bob)
        sent = await alice.api.call(task(agent=bob.did))
        await bob.until(lambda: bob.received_of("task"))
        await bob.send(link, message_letter(bob.peer_id, alice.node.context.me, "task-none", "a round trip"))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id))
        assert view.delivery == Delivery.QUEUED
        assert stored(alice)["outbox"] == 1

        honest = True
        link.close("again")
        await bob.until(lambda: not bob.links)
        await bob.dial(alice)
        while (await alice.api.call(GetTaskRequest(task_id=sent.task_id))).delivery != Delivery.DELIVERED:
            await alice.node.context.task_changes.event(delivery_of(sent.task_id)).wait()
        assert stored(alice)["outbox"] == 0
        assert len({payload.id for payload in bob.received_of("task")}) == 1


# --- keys -----------------------------------------------------------------------------------


async def test_an_unknown_key_is_answered_with_the_current_one_and_the_same_message_sealed_to_it(
    world: World, tap: FrameTap
) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        old = bob.node.ring.current
        bob.node.ring._kept.clear()  # as if its disk had been lost a moment ago
        bob.node.ring.handle_timeout(time.time() + 5, os.urandom)
        sent = await alice.api.call(task())
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [sent.task_id]
        assert inbox.waiting == 0
        kids = [envelope[36:44] for envelope in tap.envelopes("alice", "bob")]
        assert kids[-2:] == [old.kid, bob.node.ring.current.kid]


async def test_a_key_bundle_is_never_rolled_back(world: World, tap: FrameTap) -> None:
    async with world.person("alice") as alice, outsider(tap.network, "bob", world.identity("bob")) as bob:
        old = bob.ring.current
        bob.ring._rotate(time.time(), KemSecret(best_suite(), os.urandom(SEED_SIZE)))
        newest = bob.ring.current
        link = await alice_knows(alice, bob)
        known = alice.node.directory.known(bob.peer_id)
        assert known is not None
        assert known.bundle == newest

        def nack_with_the_old_key(_: Link, envelope: bytes) -> Answer | None:
            bob.read(envelope)
            return Refused(Header.parse_untrusted(envelope).envelope_id, "unknown_key", bundle=old)

        bob.reaction = nack_with_the_old_key
        await alice.api.call(task(agent=bob.did))
        await bob.until(lambda: len(bob.received_of("task")) >= 3)
        assert known.bundle == newest

        link.close("to begin a new one with the old key")
        await bob.until(lambda: not bob.links)
        bob.ring._kept = dict(reversed(bob.ring._kept.items()))
        assert bob.ring.current == old
        await bob.dial(alice)
        await bob.until(lambda: len(bob.received_of("task")) >= 4)
        assert known.bundle == newest
