"""Clocks that differ, jump, or were wrong for a while (promise R8)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from benchmarks.history import a_task as a_finished_task
from benchmarks.history import multiply
from mcp_a2a.api.agents import DiscoverRequest, GetAgentRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest, TaskView
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node import housekeeping as housekeeping_module
from mcp_a2a.node.agents import startup_wait
from mcp_a2a.node.runtime.clocks import Clocks
from mcp_a2a.ports import Link
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.clock_evidence import MAX_WITNESSES
from mcp_a2a.protocol.control import Delivered, Refused
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.store import forgetting, records
from mcp_a2a.store.journal import get_meta, set_meta
from tests.node.outsider import outsider, sealed, task_letter
from tests.node.patience import set_patience
from tests.node.world import Clock, Person, World, acquainted

DAY = 86_400


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


def clock(offset: float) -> Clock:
    made = Clock()
    made.advance(offset)
    return made


async def a_task(alice: Person, bob: Person) -> TaskView:
    """Sent by Alice, answered by Bob."""
    with anyio.fail_after(30):
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [sent.task_id]
        await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text="olleh"))
        return await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))


@pytest.mark.parametrize("minutes", [-9, 9])
async def test_clocks_may_differ_by_minutes(world: World, minutes: int) -> None:
    async with world.person("alice", clock=clock(minutes * 60)) as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        assert (await a_task(alice, bob)).text == "olleh"


@pytest.mark.parametrize("ahead", [3_600, DAY, 5 * DAY])
async def test_a_clock_that_was_ahead_and_is_right_again_after_a_restart_costs_nothing(
    world: World, ahead: float
) -> None:
    async with world.person("alice", clock=clock(ahead)):
        pass
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        assert (await a_task(alice, bob)).text == "olleh"
        assert (await a_task(bob, alice)).text == "olleh"


async def test_a_clock_that_is_set_back_while_the_node_runs_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.housekeeping.HOUSEKEEPING_SECONDS", 0.01)
    of_alice = clock(DAY)
    async with world.person("alice", clock=of_alice) as alice:
        key = alice.node.ring.current
        of_alice.advance(-DAY)
        while alice.node.ring.current is key:
            await alice.node.context.database.write(lambda _: None)
        async with world.person("bob") as bob:
            await acquainted(alice, bob)
            assert (await a_task(alice, bob)).text == "olleh"
            assert (await a_task(bob, alice)).text == "olleh"


@pytest.mark.parametrize("hours", [-14, -2, 2, 14])
@pytest.mark.parametrize("whose", ["alice", "bob"])
async def test_clocks_may_differ_by_a_time_zone(world: World, hours: int, whose: str) -> None:
    clocks = {whose: clock(hours * 3600)}
    async with (
        world.person("alice", clock=clocks.get("alice")) as alice,
        world.person("bob", clock=clocks.get("bob")) as bob,
    ):
        await acquainted(alice, bob)
        assert (await a_task(alice, bob)).text == "olleh"
        assert (await a_task(bob, alice)).text == "olleh"
        for person in (alice, bob):
            said = " ".join((await person.api.call(GetAgentRequest(agent="self"))).node.clocks)
            assert f"{abs(hours)} h 0 min" in said, said


async def refused_for_clocks(person: Person, sent: TaskView) -> TaskView:
    """The task, once its agent has said that the clocks differ."""
    with anyio.fail_after(30):
        while True:
            view = await person.api.call(GetTaskRequest(task_id=sent.task_id))
            if any("clock" in said for said in view.tried):
                return view
            await person.node.context.database.write(lambda _: None)


@pytest.mark.parametrize("days", [1, 30, 366])
async def test_a_task_sent_under_a_clock_that_is_ahead_waits_and_goes_when_the_clock_is_right(
    world: World, days: int
) -> None:
    of_alice = clock(0)
    async with world.person("alice", clock=of_alice) as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        of_alice.jump(days * DAY)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        view = await refused_for_clocks(alice, sent)
        assert (view.state, view.delivery) == (Moment.QUEUED, Delivery.QUEUED)
        assert f"{days} d 0 h" in " ".join(view.tried)
        assert "trust" not in str(view)
        of_alice.jump(-days * DAY)
        alice.node.context.clocks.now()
        with anyio.fail_after(30):
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [sent.task_id]


async def test_a_task_that_was_sent_under_a_clock_that_was_behind_goes_after_a_restart_with_a_right_one(
    world: World,
) -> None:
    world.boot, mine = "this start", clock(-40 * DAY)
    async with world.person("alice", clock=mine) as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        await refused_for_clocks(alice, sent)
    mine.jump(40 * DAY)
    async with world.person("alice", clock=mine) as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text="late"))
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        assert (view.state, view.text) == (Moment.COMPLETED, "late")


@pytest.mark.parametrize("days", [1, 12, 366])
async def test_a_result_sealed_under_a_clock_that_is_ahead_is_not_lost(world: World, days: int) -> None:
    of_bob = clock(0)
    async with world.person("alice") as alice, world.person("bob", clock=of_bob) as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        of_bob.jump(days * DAY)
        await bob.api.call(AnswerRequest(task_id=inbox.items[0].task_id, status="completed", text="olleh"))
        with anyio.fail_after(30):
            while not any("clock" in said for said in bob.node.outbox.tried(alice.node.context.me)):
                await bob.node.context.database.write(lambda _: None)
        assert len(bob.node.outbox) == 1
        of_bob.jump(-days * DAY)
        bob.node.context.clocks.now()
        view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
        assert (view.state, view.text) == (Moment.COMPLETED, "olleh")


@pytest.mark.parametrize("days", [-30, 1, 30, 366])
async def test_a_recipient_whose_clock_is_off_loses_nothing_and_is_named(world: World, days: int) -> None:
    of_bob = clock(0)
    async with world.person("alice") as alice, world.person("bob", clock=of_bob) as bob:
        await acquainted(alice, bob)
        of_bob.jump(days * DAY)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        if days != 1:  # by a day behind, a message is merely a day old
            view = await refused_for_clocks(alice, sent)
            assert view.state == Moment.QUEUED
            said = (await alice.api.call(GetAgentRequest(agent="self"))).node.clocks
            assert f"{abs(days)} d 0 h {'ahead of' if days > 0 else 'behind'} this machine's" in said[0]
        of_bob.jump(-days * DAY)
        bob.node.context.clocks.now()
        with anyio.fail_after(30):
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [sent.task_id]


async def test_after_a_day_of_refusals_a_task_ends_with_whose_clock_is_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_patience(monkeypatch, clocks=Backoff(0.01, 300.0, jitter=0.0))
    of_alice = clock(0)
    async with world.person("alice", clock=of_alice) as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        of_alice.jump(30 * DAY)
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
        await refused_for_clocks(alice, sent)
        of_alice.advance(1.01 * DAY)
        with anyio.fail_after(30):
            while (view := await alice.api.call(GetTaskRequest(task_id=sent.task_id))).state != Moment.REJECTED:
                await alice.node.context.database.write(lambda _: None)
    assert view.error is not None
    assert "31 d" in view.error.message
    assert "clock" in view.error.message
    assert "trust" not in (view.error.hint or "")


async def test_a_stranger_to_the_clock_is_found_or_the_reason_names_the_clock(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob", clock=clock(30 * DAY)) as bob:
        await acquainted(alice, bob)
        view = await alice.api.call(DiscoverRequest(query="nothing like it", settle_seconds=0))
        assert "The clock of bob is 30 d 0 h ahead of this machine's" in (view.reason or "")
        with pytest.raises(PeerNotFoundError, match="The clock of bob is 30 d 0 h ahead"):
            await alice.api.call(SendTaskRequest(agent="carol", message="hello", wait_seconds=0))


async def test_whose_clock_is_off_is_said_by_the_first_look_at_agents_that_are_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"YOUNG": 60.0, "GREETING": 60.0, "SETTLE_LOCAL": 0.0, "SETTLE_DIALLING": 0.0}.items():
        monkeypatch.setattr(startup_wait, f"{name}_SECONDS", seconds)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
    async with world.person("alice") as alice, world.person("bob", clock=clock(12 * DAY)) as bob:
        greet = bob.node.own_advert.greet

        async def greet_when_nothing_else_is_left_to_do(link: Link) -> None:
            while not any(peer.has_direct_link for peer in alice.node.directory):
                await alice.node.directory.changes.event().wait()
            await anyio.wait_all_tasks_blocked()
            greet(link)

        def greet_late(link: Link) -> None:
            bob.node.context.tasks.start_soon(greet_when_nothing_else_is_left_to_do, link)

        monkeypatch.setattr(bob.node.own_advert, "greet", greet_late)
        alice.sees(bob)
        found = await alice.api.call(DiscoverRequest())
        assert [agent.name for agent in found.agents] == ["bob"]
        assert "12 d 0 h ahead" in (found.reason or "")


@pytest.mark.parametrize("days", [30, 366, 4000])
async def test_a_database_of_before_whose_mark_is_in_the_future_recovers_by_itself(world: World, days: int) -> None:
    async with world.person("alice") as alice:
        await alice.node.context.database.write(
            lambda c: (
                c.execute("DELETE FROM meta WHERE key IN ('sound', 'forgotten')"),
                set_meta(c, "clock", str(world.clock() + days * DAY)),
            )
        )
    with closing(sqlite3.connect(world.folder / "alice" / "node.db")) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key IN ('sound', 'forgotten')")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        assert (await a_task(alice, bob)).text == "olleh"
        assert (await a_task(bob, alice)).text == "olleh"


@pytest.mark.parametrize("days", [10, 31, 366])
async def test_a_minute_of_a_clock_that_is_ahead_deletes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    monkeypatch.setattr("mcp_a2a.node.housekeeping.HOUSEKEEPING_SECONDS", 0.01)
    monkeypatch.setattr("mcp_a2a.node.address_change.ADDRESS_SECONDS", 0.0)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        done = await a_task(alice, bob)
    async with world.person("alice") as alice:  # and one that has not gone yet, to somebody who is away
        sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="later", wait_seconds=0))
    for _ in range(3):
        world.clock.jump(days * DAY)
        async with world.person("alice") as alice:
            world.clock.advance(20)
            await housekeeping(alice)
        world.clock.jump(-days * DAY)
        async with world.person("alice") as alice:
            await housekeeping(alice)
    async with world.person("alice") as alice, world.person("bob") as bob:
        assert (await alice.api.call(GetTaskRequest(task_id=done.task_id))).text == "olleh"
        await acquainted(alice, bob)
        with anyio.fail_after(30):
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        assert [item.task_id for item in inbox.items] == [sent.task_id]


async def test_a_task_that_ended_while_the_clock_was_behind_is_kept_as_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.housekeeping.HOUSEKEEPING_SECONDS", 0.01)
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        world.clock.jump(-20_000 * DAY)
        done = await a_task(alice, bob)
        await housekeeping(alice)
        world.clock.jump(20_000 * DAY)
        await housekeeping(alice)
        assert (await alice.api.call(GetTaskRequest(task_id=done.task_id))).text == "olleh"
        world.clock.advance(31 * DAY)
        await housekeeping(alice)
        with pytest.raises(TaskNotFoundError):
            await alice.api.call(GetTaskRequest(task_id=done.task_id))


async def test_a_long_history_that_is_over_is_forgotten_in_one_go_and_many_transactions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "AT_ONCE", 3)
    async with world.person("alice"):
        pass
    with closing(sqlite3.connect(world.folder / "alice" / "node.db")) as connection, connection:
        records.insert_task(connection, replace(a_finished_task(world.clock() - 40 * DAY), id="task-old"))
        multiply(connection, "task-old", 20)
        connection.execute("UPDATE tasks SET ended=updated")
    left: list[int] = []
    forget = housekeeping_module.forget_finished

    def noted(connection: sqlite3.Connection, aged: float, seconds: float) -> forgetting.Dropped:
        found = forget(connection, aged, seconds)
        left.append(count(connection))
        return found

    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT COUNT(*) FROM tasks").fetchone()[0])

    monkeypatch.setattr(housekeeping_module, "forget_finished", noted)
    async with world.person("alice") as alice:
        with anyio.fail_after(30):
            while alice.node.context.database.read(count):
                await alice.node.context.database.write(lambda _: None)
    assert left[:7] == [17, 14, 11, 8, 5, 2, 0]


async def housekeeping(person: Person) -> None:
    """Let the node look after its house twice."""
    for _ in range(2):
        kept = person.node.context.database.read(lambda c: get_meta(c, "sound"))
        with anyio.fail_after(30):
            while person.node.context.database.read(lambda c: get_meta(c, "sound")) == kept:
                await person.node.context.database.write(lambda _: None)


@pytest.mark.parametrize("days_back", [31, 33, 37])
async def test_a_task_that_was_forgotten_is_not_taken_again_when_the_clock_is_set_back(
    world: World, monkeypatch: pytest.MonkeyPatch, days_back: int
) -> None:
    monkeypatch.setattr("mcp_a2a.node.housekeeping.HOUSEKEEPING_SECONDS", 0.01)
    monkeypatch.setattr("mcp_a2a.node.address_change.ADDRESS_SECONDS", 0.0)
    async with world.person("bob") as bob, outsider(world.network, "alice", world.identity("alice")) as alice:
        now = world.clock()
        link = await alice.dial(bob)
        letter = task_letter(alice.peer_id, bob.node.context.me, now=now, expires=now + 7 * DAY)
        envelope = sealed(world.identity("alice"), letter, link.bundle)
        assert isinstance(await alice.submit(link, envelope), Delivered)
        inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
        await bob.api.call(AnswerRequest(task_id=inbox.items[0].task_id, status="completed", text="done"))
        await bob.node.context.database.write(lambda c: c.execute("DELETE FROM outbox"))
        again = sealed(world.identity("alice"), letter, link.bundle)
        assert isinstance(await alice.submit(link, again), Delivered), "known as long as it is remembered"
        world.clock.advance(31 * DAY)
        await housekeeping(bob)
        assert bob.node.context.database.read(all_tasks_of) == 0
        world.clock.jump(-days_back * DAY)
        bundle = (await alice.dial(bob)).bundle
        answer = await alice.submit(alice.links[-1], sealed(world.identity("alice"), letter, bundle))
        assert isinstance(answer, Refused)
        assert answer.code.startswith("stale")
        assert bob.node.context.database.read(all_tasks_of) == 0


def all_tasks_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM tasks").fetchone()[0])


def test_of_any_number_of_keys_whose_messages_were_refused_for_a_clock_the_last_are_remembered() -> None:
    clocks = Clocks(lambda: 1_790_000_000.0, lambda: 0.0)
    known = Identity(b"known".ljust(32, b"\0")).peer_id
    for number in range(3 * MAX_WITNESSES):
        clocks.refuse(known)
        clocks.refuse(Identity(number.to_bytes(32)).peer_id)
    assert len(clocks.refused) == MAX_WITNESSES
    assert clocks.refused[known] == 3 * MAX_WITNESSES


async def test_a_task_that_was_taken_while_the_clock_was_ahead_is_offered_again_in_time(world: World) -> None:
    async with world.person("alice") as alice:
        async with world.person("bob", clock=clock(5 * DAY)) as bob:
            await acquainted(alice, bob)
            sent = await alice.api.call(SendTaskRequest(agent=bob.did, message="hello", wait_seconds=0))
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
            assert [item.task_id for item in inbox.items] == [sent.task_id]
        world.lease_seconds = 0.05
        async with world.person("bob") as bob:  # its clock was put right while no process ran
            inbox = await bob.api.call(CheckInboxRequest(wait_seconds=30))
            assert [item.task_id for item in inbox.items] == [sent.task_id]
