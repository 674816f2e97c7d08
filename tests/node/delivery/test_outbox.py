"""The outbox carries out what the delivery queue decides, whatever happens between a decision and its execution."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mcp_a2a.api.agents import SetTrustRequest
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.node.delivery.reasons import CLOCK_HINT
from mcp_a2a.node.node import Node
from mcp_a2a.ports import Link
from mcp_a2a.protocol.blob import piece_id
from mcp_a2a.protocol.control import Answer, Refused
from mcp_a2a.protocol.envelope import Header
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import TaskState
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.protocol.receipt import envelope_id_of, sign_verdict
from mcp_a2a.store.journal import OutboxRow
from tests.node.outsider import WEEK, Outsider, outsider, update_letter
from tests.node.patience import set_patience
from tests.node.world import Person, World
from tests.transports.memory import DOMAIN, PORT

TASK = "task-" + "a" * 26


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def update(node: Node, bob: Outsider, seq: int, now: float, task: str = TASK, *pieces: OutboxRow) -> OutboxRow:
    """An update of a task for Bob, as it is journalled."""
    said = update_letter(node.context.me, bob.peer_id, task, seq, TaskState.WORKING, "so far", now=now)
    return OutboxRow(
        node.context.next_number(), said.id, bob.did, task, seq, "update", said.to_bytes(), said.created, said.expires,
        kept=node.context.clocks.sound(), pieces=pieces,
    )  # fmt: skip


def piece(node: Node, bob: Outsider, task: str = TASK) -> OutboxRow:
    """The only piece of a file that is not on the disk."""
    number, now = node.context.next_number(), node.context.clock()
    name = piece_id(f"{number:032x}", 0)
    return OutboxRow(number, name, bob.did, task, 1, "blob", b"", now, now + WEEK, kept=node.context.clocks.sound())


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def until_empty(person: Person) -> None:
    await until(lambda: not len(person.node.outbox))


async def test_a_message_with_new_dates_goes_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written while the clock was ahead. Nothing else happens that would wake the outbox."""
    set_patience(monkeypatch, probe=0.05)
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        await bob.dial(alice)
        await bob.until(lambda: bob.received_of("advert"))
        outbox, now = alice.node.outbox, time.time()
        outbox.push(update(alice.node, bob, 1, now))
        await until_empty(alice)
        await until(lambda: outbox._asleep_until > anyio.current_time() + 60.0)
        outbox.push(update(alice.node, bob, 2, now + 7200.0))
        await until_empty(alice)


async def test_updates_that_were_merged_when_a_file_of_theirs_turned_out_to_be_lost_are_forgotten_once(
    world: World,
) -> None:
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        slow = [True]

        def react(link: Link, envelope: bytes) -> Answer:
            if bob.read(envelope).type == "update" and slow:
                slow.clear()
                return Refused(Header.parse_untrusted(envelope).envelope_id, "rate_limited", retry_after=60.0)
            bob.received.pop()
            return bob.sign_for(link, envelope)

        bob.reaction = react
        await bob.dial(alice)
        outbox, now = alice.node.outbox, time.time()
        first = update(alice.node, bob, 1, now)
        outbox.push(first)
        await until(lambda: outbox.refusal(TASK))
        lost = piece(alice.node, bob)
        outbox.push(update(alice.node, bob, 2, now, TASK, lost))
        await until_empty(alice)
        outbox.push(update(alice.node, bob, 1, now, "task-" + "b" * 26))
        await until_empty(alice)
        assert not outbox._rows


async def test_an_agent_that_was_blocked_while_it_was_dialled_is_dialled_again_once_it_is_not(world: World) -> None:
    """The link opens, counts for nothing, and is closed: no report of a link follows from that attempt."""
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        address = DirectAddr("bob" + DOMAIN, PORT)
        alice.node.directory.get(bob.peer_id).row.addresses = (str(address),)
        world.network.faults.delay_seconds = 0.05
        await alice.api.call(SendTaskRequest(agent=bob.did, message="first", wait_seconds=0))
        await alice.api.call(SetTrustRequest(agent=bob.did, level="blocked"))
        await bob.until(lambda: bob.links)
        await bob.until(lambda: not bob.links)
        await alice.api.call(SetTrustRequest(agent=bob.did, level="trusted"))
        await alice.api.call(SendTaskRequest(agent=bob.did, message="second", wait_seconds=0))
        await bob.until(lambda: bob.received_of("task"), 10)


async def test_a_message_that_this_version_cannot_read_goes_under_its_old_dates(world: World) -> None:
    """Another version has journalled it, while the clock was ahead."""
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        came: list[bytes] = []

        def react(link: Link, envelope: bytes) -> Answer | None:
            came.append(envelope)
            return None

        bob.reaction = react
        await bob.dial(alice)
        await bob.until(lambda: came)
        before = len(came)
        alice.node.outbox.push(replace(update(alice.node, bob, 1, time.time() + 7200.0), payload=b"{}"))
        await bob.until(lambda: len(came) > before)


async def test_a_task_that_is_refused_because_of_a_clock_says_what_to_do_about_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the recipient does not say how far its clock is off."""
    set_patience(monkeypatch, clock=0.0)
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:

        def react(link: Link, envelope: bytes) -> Answer:
            payload = bob.read(envelope)
            if payload.type != "task":
                return bob.sign_for(link, envelope)
            postmark = bob.postmark(envelope, payload)
            signature = sign_verdict(bob.identity, postmark, "stale")
            return Refused(envelope_id_of(postmark), "stale", signature=signature)

        bob.reaction = react
        await bob.dial(alice)
        view = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=5))
        assert view.done
        assert view.error is not None
        assert view.error.hint == CLOCK_HINT


async def test_nothing_is_kept_of_a_link_that_has_ended(world: World) -> None:
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        link = await bob.dial(alice)
        await bob.until(lambda: bob.received_of("advert"))
        courier = alice.node.outbox._courier
        courier.seal_ahead(update(alice.node, bob, 1, time.time()))
        assert courier._ahead
        link.close("it leaves")
        await until(lambda: not courier._routes)
        assert (courier._ahead, courier._links, courier._outdated) == ({}, {}, set())
        assert not alice.node.outbox._queue._waiting.peers


async def test_an_agent_that_was_added_by_hand_is_reached_after_a_crowd_of_strangers_came(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.peers.directory.MAX_PEERS", 3)
    async with world.person("alice") as alice:
        bob_id = Identity(b"bob".ljust(32, b"\1")).peer_id
        alice.node.directory.get(bob_id).row.addresses = (str(DirectAddr("bob" + DOMAIN, PORT)),)
        await alice.api.call(SendTaskRequest(agent=str(bob_id), message="hello", wait_seconds=0))
        await until(lambda: alice.node.outbox._queue.failures(str(bob_id)) > 1)
        for number in range(5):
            alice.node.directory.get(Identity(bytes([number]) * 32).peer_id)
        async with outsider(world.network, "bob") as bob:
            alice.node.outbox.seek(bob.peer_id)
            await bob.until(lambda: bob.received_of("task"), 5)


async def test_a_link_that_closes_while_the_disk_does_not_answer_is_opened_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether an answer is awaited cannot be read at that moment."""
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        alice.node.directory.get(bob.peer_id).row.addresses = (str(DirectAddr("bob" + DOMAIN, PORT)),)
        bob.reaction = lambda *_: None
        await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        await bob.until(lambda: bob.links)
        asked: list[str] = []

        def broken(_: sqlite3.Connection, did: str) -> bool:
            asked.append(did)
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr("mcp_a2a.node.delivery.outbox_views.has_open_sent", broken)
        bob.links[0].close("it restarts")
        await bob.until(lambda: not bob.links)
        await bob.until(lambda: bob.links, 10)
        assert asked


async def test_a_message_may_expire_in_the_moment_in_which_it_is_dropped(world: World) -> None:
    """The clock was set, and the first to read it since is the one that drops the message."""
    async with world.person("alice") as alice, outsider(world.network, "bob") as bob:
        outbox = alice.node.outbox
        old = replace(update(alice.node, bob, 1, time.time()), kept=0.0)
        outbox.push(old)
        world.clock.jump(8 * 86_400.0)
        outbox.drop([old.id])
        assert not outbox.holds(old.id)
        assert not outbox._rows
