"""What ends a task over there, or holds it back, is believed only with the signature of whom it was sent to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio
import pytest

from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, SendTaskRequest, TaskView
from mcp_a2a.node.delivery.model import Route, Way
from mcp_a2a.node.delivery.reasons import relay_refusal
from mcp_a2a.ports import Link
from mcp_a2a.protocol.control import Answer, Delivered, Held, Refused, Stored
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.receipt import HELD_VERDICT, envelope_id_of, sign_verdict
from mcp_a2a.protocol.replay import stale_code
from tests.files.scenes import until
from tests.node.outsider import Outsider, cancel_letter, outsider, sealed, task_letter
from tests.node.patience import set_patience
from tests.node.world import Person, World

Verdict = Callable[[Outsider, bytes], Answer]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(code: str, signer: str | None) -> Verdict:
    """A refusal with this one's signature."""

    def verdict(bob: Outsider, postmark: bytes) -> Answer:
        key = bob.identity if signer == "bob" else Identity(b"m" * 32)
        signature = sign_verdict(key, postmark, code) if signer else None
        return Refused(envelope_id_of(postmark), code, retry_after=0.0, signature=signature)

    return verdict


async def fate(world: World, first: Verdict) -> tuple[TaskView, int]:
    """What becomes of a task that is answered so the first time and signed for the second; and how often it came."""
    seen = 0

    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:

        def react(link: Link, envelope: bytes) -> Answer:
            nonlocal seen
            payload = bob.read(envelope)
            if payload.type != "task":
                return bob.sign_for(link, envelope)
            seen += 1
            return first(bob, bob.postmark(envelope, payload)) if seen == 1 else bob.sign_for(link, envelope)

        bob.reaction = react
        await bob.dial(alice)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        return await delivered_or_over(alice, sent.task_id), seen


async def delivered_or_over(person: Person, task_id: str) -> TaskView:
    with anyio.fail_after(30):
        while True:
            changed = person.node.context.task_changes.event(f"{task_id}/delivery")
            view = await person.api.call(GetTaskRequest(task_id=task_id))
            if view.done or view.delivery == Delivery.DELIVERED:
                return view
            await changed.wait()


@pytest.mark.parametrize("code", ["blocked", "not_trusted", "stale", "hop_limit", "rejected", "something_new"])
@pytest.mark.parametrize("signer", [None, "mallory"])
async def test_a_refusal_that_the_recipient_has_not_signed_ends_nothing(
    world: World, code: str, signer: str | None
) -> None:
    view, seen = await fate(world, refused(code, signer))
    assert (view.delivery, view.state, seen) == (Delivery.DELIVERED, Moment.SUBMITTED, 2)


async def test_a_refusal_that_the_recipient_has_signed_ends_the_task(world: World) -> None:
    view, seen = await fate(world, refused("blocked", "bob"))
    assert (view.delivery, view.state, seen) == (Delivery.REFUSED, Moment.REJECTED, 1)


async def test_a_signature_for_one_code_does_not_serve_for_another(world: World) -> None:
    def verdict(bob: Outsider, postmark: bytes) -> Answer:
        signature = sign_verdict(bob.identity, postmark, "busy")
        return Refused(envelope_id_of(postmark), "blocked", retry_after=0.0, signature=signature)

    view, seen = await fate(world, verdict)
    assert (view.state, seen) == (Moment.SUBMITTED, 2)


async def test_held_is_believed_with_the_signature_of_the_recipient_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_patience(monkeypatch, held=0.0, answer=0.2)

    def forged(bob: Outsider, postmark: bytes) -> Answer:
        del bob
        return Held(envelope_id_of(postmark), sign_verdict(world.identity("mallory"), postmark, HELD_VERDICT))

    view, seen = await fate(world, forged)
    assert (view.delivery, seen) == (Delivery.DELIVERED, 2)


async def test_a_direct_peer_that_says_it_is_a_relay_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_patience(monkeypatch, answer=0.2)

    def stored(bob: Outsider, postmark: bytes) -> Answer:
        del bob
        return Stored(envelope_id_of(postmark))

    view, seen = await fate(world, stored)
    assert (view.delivery, seen) == (Delivery.DELIVERED, 2)


@dataclass(frozen=True)
class RelayLink:
    """What the outbox looks at of a link to a relay."""

    peer: PeerId
    address: str = "wss://relay.example"
    is_relayed: bool = True


async def test_a_copy_at_a_relay_is_not_waited_for_while_the_recipient_is_here_itself(world: World) -> None:
    """The relay says that it has stored a message when its recipient has come, and then keeps it to itself."""
    seen: list[bytes] = []
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:

        def react(link: Link, envelope: bytes) -> Answer | None:
            payload = bob.read(envelope)
            if payload.type == "task":
                seen.append(bob.postmark(envelope, payload))
            return bob.sign_for(link, envelope) if payload.type != "task" or len(seen) > 1 else None

        bob.reaction = react
        await bob.dial(alice)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        await until(lambda: bool(seen))
        relay, envelope_id = cast("Link", RelayLink(bob.peer_id)), envelope_id_of(seen[0])
        # The way that it went before Bob came.
        alice.node.outbox._queue._waiting.tokens[envelope_id].route = Route(-1, relay.address, Way.RELAY)
        alice.node.outbox.answer_received(relay, Stored(envelope_id))
        view = await delivered_or_over(alice, sent.task_id)
        assert (view.delivery, len(seen)) == (Delivery.DELIVERED, 2)


async def test_a_task_that_arrives_after_it_was_withdrawn_is_not_offered(world: World) -> None:
    alice = world.identity("alice")
    world.make_own("alice")
    async with world.person("bob") as bob, outsider(world.network, "alice") as sender:
        now = time.time()
        task = task_letter(alice.peer_id, bob.node.context.me, now=now)
        cancel = cancel_letter(alice.peer_id, bob.node.context.me, task.task, task.id, now=now)
        link = await sender.dial(bob)
        for letter in (cancel, task):
            assert isinstance(await sender.submit(link, sealed(alice, letter, link.bundle)), Delivered)
        assert (await bob.api.call(CheckInboxRequest())).items == ()
        listed = (await bob.api.call(ListTasksRequest())).tasks
        assert [view.state for view in listed] == [Moment.CANCELED]


@pytest.mark.parametrize(("seconds", "interrupts"), [(20.0, False), (600.0, True)])
async def test_a_task_that_its_recipient_is_too_busy_for_says_so(
    world: World, seconds: float, *, interrupts: bool
) -> None:
    """A short pause is waited through; of a long one whoever waits hears at once."""
    answered = anyio.Event()

    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:

        def react(link: Link, envelope: bytes) -> Answer:
            payload = bob.read(envelope)
            if payload.type != "task":
                return bob.sign_for(link, envelope)
            answered.set()
            postmark = bob.postmark(envelope, payload)
            signature = sign_verdict(bob.identity, postmark, "busy")
            return Refused(envelope_id_of(postmark), "busy", retry_after=seconds, signature=signature)

        bob.reaction = react
        await bob.dial(alice)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        await answered.wait()
        await until(lambda: bool(alice.node.outbox.tried(bob.peer_id)))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id))
        said = f"it accepts no more for now; tried again in {seconds:.0f} s"
        assert (view.delivery, said in view.tried[-1]) == (Delivery.QUEUED, True)
        assert (view.put_off is not None) == interrupts


def test_a_relay_that_refuses_by_its_clock_is_quoted_with_the_amount() -> None:
    said = relay_refusal(stale_code(-40 * 86_400.0))
    assert said == "by its clock, the message expired 40 d 0 h ago; its clock or that of this machine is wrong"
    assert relay_refusal("stale_behind") == "it answers 'stale_behind'"
