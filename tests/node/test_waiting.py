"""A caller says how far a task must have come, and is told when it has."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import anyio
import pytest

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest, SendTaskRequest, TaskView, Until
from mcp_a2a.errors.delivery import QueueFullError
from mcp_a2a.errors.machine import HomeUnusableError
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.leases import count_waiting
from tests.node.world import Person, World, acquainted

WAITING = 30.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    return world


async def asked(alice: Person, task_id: str, until: Until, seconds: float = WAITING) -> TaskView:
    return await alice.api.call(GetTaskRequest(task_id=task_id, wait_seconds=seconds, until=until))


async def answer(bob: Person, status: str) -> None:
    (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=WAITING))).items
    said = {"task_id": item.task_id, "status": status, "text": "well?"}
    await bob.api.call(AnswerRequest.model_validate(said))


async def test_a_task_is_waited_for_until_it_is_taken_rests_and_has_ended(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="la", wait_seconds=0))
        taken = await asked(alice, sent.task_id, "taken")
        assert (taken.delivery, taken.state) == (Delivery.DELIVERED, Moment.SUBMITTED)
        seen = dict[str, TaskView]()

        async def look(until: Until) -> None:
            seen[until] = await asked(alice, sent.task_id, until)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, "held_up")
            tasks.start_soon(look, "rest")
            await answer(bob, "input_required")
        assert {until: view.state for until, view in seen.items()} == dict.fromkeys(
            ("held_up", "rest"), Moment.INPUT_REQUIRED
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, "end")
            await anyio.wait_all_tasks_blocked()
            assert "end" not in seen
            await alice.api.call(CancelRequest(task_id=sent.task_id))
        assert seen["end"].state == Moment.CANCELED


async def test_a_task_that_a_person_must_let_in_holds_up_its_sender_and_is_not_at_rest(world: World) -> None:
    world.own.clear()
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="la", wait_seconds=0))
        held = await asked(alice, sent.task_id, "held_up")
        assert (held.delivery, held.is_held_up) == (Delivery.HELD, True)
        assert (await asked(alice, sent.task_id, "rest", 0.01)).state == Moment.HELD


async def test_a_task_is_shown_as_it_is_when_the_time_is_over(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
    async with world.person("alice") as alice:
        sent = await alice.api.call(SendTaskRequest(agent=world.did("bob"), message="la", wait_seconds=0))
        for until in get_args(Until):
            assert (await asked(alice, sent.task_id, until, 0.01)).delivery == Delivery.QUEUED


@contextmanager
def slow_disk(alice: Person) -> Iterator[threading.Event]:
    """The writer of a node stands still until the event is set: what is journalled stays on its way."""
    may_go, stands = threading.Event(), threading.Event()

    def stand(_: sqlite3.Connection) -> None:
        stands.set()
        may_go.wait(WAITING)

    alice.node.context.database.enqueue(stand, lambda _: None)
    assert stands.wait(WAITING)
    try:
        yield may_go
    finally:
        may_go.set()


async def test_a_caller_that_gives_up_while_the_disk_is_slow_has_sent_its_task(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        ended = anyio.Event()

        async def send() -> None:
            try:
                await alice.api.call(SendTaskRequest(agent="bob", message="la", wait_seconds=WAITING))
            finally:
                ended.set()

        async with anyio.create_task_group() as tasks:
            with slow_disk(alice) as may_go:
                tasks.start_soon(send)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await anyio.wait_all_tasks_blocked()
                    assert not ended.is_set(), "a caller leaves when it is known what became of its task"
                    may_go.set()
                    await ended.wait()
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=WAITING))).items
        assert item.text == "la"


@pytest.mark.parametrize("seconds", [0.0, 0.01])
async def test_the_disk_is_waited_for_by_a_caller_that_has_no_time(world: World, seconds: float) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        views = list[TaskView]()

        async def send() -> None:
            views.append(await alice.api.call(SendTaskRequest(agent="bob", message="la", wait_seconds=seconds)))

        async with anyio.create_task_group() as tasks:
            with slow_disk(alice) as may_go:
                tasks.start_soon(send)
                await anyio.sleep(2 * seconds)
                await anyio.wait_all_tasks_blocked()
                assert not views
                may_go.set()
        assert (await asked(alice, views[0].task_id, "taken")).delivery == Delivery.DELIVERED


async def test_a_task_that_the_journal_does_not_take_is_not_sent_and_not_waited_for(world: World) -> None:
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mcp_a2a.node.tasks.sending.MAX_OUTBOX", 0)
            with pytest.raises(QueueFullError), anyio.fail_after(WAITING / 2):
                await alice.api.call(SendTaskRequest(agent="bob", message="la", wait_seconds=WAITING))
        assert not (await bob.api.call(CheckInboxRequest(wait_seconds=0))).items
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="lo", wait_seconds=0))
        assert (await asked(alice, sent.task_id, "taken")).delivery == Delivery.DELIVERED


async def test_a_task_is_leased_after_a_look_for_it_that_the_disk_has_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = iter([True])

    def count(connection: sqlite3.Connection, now: float) -> int:
        if next(failing, False):
            raise sqlite3.OperationalError("disk I/O error")
        return count_waiting(connection, now)

    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="la", wait_seconds=0))
        await asked(alice, sent.task_id, "taken")
        monkeypatch.setattr("mcp_a2a.node.tasks.inbox.count_waiting", count)
        with pytest.raises(HomeUnusableError):
            await bob.api.call(CheckInboxRequest())
        assert [item.task_id for item in (await bob.api.call(CheckInboxRequest())).items] == [sent.task_id]


async def test_a_listener_that_fails_keeps_no_caller_waiting(world: World) -> None:
    def fail(_key: str, _task: Task | None) -> None:
        raise RuntimeError("the news of a task cannot be read")

    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        for person in (alice, bob):
            person.node.context.task_changes.listeners.insert(0, fail)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer_one, bob)
                view = await alice.api.call(SendTaskRequest(agent="bob", message="sum", wait_seconds=600))
        assert view.state == Moment.COMPLETED


async def answer_one(person: Person) -> None:
    inbox = await person.api.call(CheckInboxRequest(wait_seconds=30))
    await person.api.call(AnswerRequest(task_id=inbox.items[0].task_id, status="completed", text="42"))
