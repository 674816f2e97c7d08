"""What a person forgets is gone from the disk, and what comes again of it does not run twice."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.api.tasks import ForgetRequest, GetTaskRequest, ListTasksRequest
from mcp_a2a.errors.tasks import NotForgettableError, TaskForgottenError
from mcp_a2a.node.housekeeping import bookkeeping
from mcp_a2a.protocol.bundle import KEEP_SECRET_SECONDS
from mcp_a2a.protocol.control import Delivered, Refused
from mcp_a2a.protocol.model import TaskState
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS
from mcp_a2a.store.records import find_task
from tests.files.scenes import answer, next_item, some_file, spooled, task, until
from tests.node.outsider import outsider, task_letter
from tests.node.world import Person, World, acquainted

SIZE = 300 * 1024
DAY = 86_400.0
Pair = tuple[World, Person, Person]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Alice, who asks, and bob, who works for her."""
    world = World(tmp_path / "world")
    world.folder.mkdir()
    world.make_own("alice", "bob", "eve")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        yield world, alice, bob


async def finished(pair: Pair, folder: Path, text: str = "a secret request", **more: object) -> str:
    """A task from alice to bob with files both ways, done and known to be."""
    _, alice, bob = pair
    sent = await alice.api.call(task(some_file(folder, SIZE, "there.bin"), text=text, **more))
    await answer(bob, await next_item(bob), some_file(folder, SIZE, "back.bin"), text="a secret answer")
    await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=20))
    await until(lambda: bob.node.outbox.waiting(alice.node.context.me) == 0)
    await bob.node.context.database.write(lambda connection: None)  # so is the note of its delivery
    return sent.task_id


async def count(person: Person) -> int:
    return len((await person.api.call(ListTasksRequest())).tasks)


async def test_texts_files_and_result_are_gone_at_both_ends(pair: Pair, tmp_path: Path) -> None:
    world, alice, bob = pair
    task_id = await finished(pair, tmp_path)
    assert len(spooled(world, "alice")) + len(spooled(world, "bob")) == 4
    for person in (alice, bob):
        view = await person.api.call(ForgetRequest(task_ids=(task_id,)))
        assert (view.tasks, view.files) == ((task_id,), 2)
        assert view.freed_bytes > 2 * SIZE
        assert await count(person) == 0
        with pytest.raises(TaskForgottenError, match=f"{task_id} was deleted by you at 20"):
            await person.api.call(GetTaskRequest(task_id=task_id))
        with pytest.raises(TaskForgottenError):
            await person.api.call(ForgetRequest(task_ids=(task_id,)))
    assert spooled(world, "alice") == spooled(world, "bob") == []


async def test_nothing_that_was_said_stays_on_the_disk(pair: Pair, tmp_path: Path) -> None:
    world, alice, _ = pair
    task_id = await finished(pair, tmp_path)
    assert b"a secret" in content(world)
    await alice.api.call(ForgetRequest(task_ids=(task_id,)))
    await until(lambda: b"a secret" not in content(world))


def content(world: World) -> bytes:
    """Everything in alice's database and its log."""
    return b"".join(path.read_bytes() for path in (world.folder / "alice").glob("node.db*"))


async def test_the_same_key_again_sends_nothing_and_tells_the_end(pair: Pair, tmp_path: Path) -> None:
    _, alice, bob = pair
    task_id = await finished(pair, tmp_path, idempotency_key="once")
    await alice.api.call(ForgetRequest(task_ids=(task_id,)))
    again = await alice.api.call(task(text="a secret request", idempotency_key="once"))
    assert (again.task_id, again.state) == (task_id, Moment.COMPLETED)
    assert "was deleted by you at" in (again.text or "")
    assert not (await bob.api.call(CheckInboxRequest())).items


async def test_a_message_that_comes_again_gets_the_end_and_no_second_run(pair: Pair) -> None:
    world, _, bob = pair
    async with outsider(world.network, "eve", world.identity("eve")) as eve:
        link = await eve.dial(bob)
        letter = task_letter(eve.peer_id, bob.node.context.me)
        assert isinstance(await eve.send(link, letter), Delivered)
        await answer(bob, await next_item(bob))
        await until(lambda: bob.node.outbox.waiting(eve.peer_id) == 0)
        await bob.node.context.database.write(lambda connection: None)
        await bob.api.call(ForgetRequest(task_ids=(letter.task,)))
        before = len(eve.received_of("update"))
        assert isinstance(await eve.send(link, letter), Delivered)
        await until(lambda: len(eve.received_of("update")) > before)
        last = eve.received_of("update")[-1].body
        assert getattr(last, "status").state is TaskState.COMPLETED  # noqa: B009  of one body among several
        assert not (await bob.api.call(CheckInboxRequest())).items

        await kept_books(bob)  # its end is noted
        world.clock.advance(MAX_LIFETIME_SECONDS + 2 * DAY)
        await kept_books(bob)
        gone = bob.node.context.database.read(lambda connection: find_task(connection, letter.task))
        assert gone is None, "the rest of a forgotten task goes when no message of it can be accepted"
        world.clock.offset = 0.0
        answered = await eve.send(link, letter)
        assert isinstance(answered, Refused)
        assert answered.code.startswith("stale")


async def kept_books(person: Person) -> None:
    await person.node.context.database.write(bookkeeping(person.node.context.clocks))


async def test_what_is_not_finished_or_not_delivered_is_kept_with_the_reason(pair: Pair, tmp_path: Path) -> None:
    world, alice, bob = pair
    sent = await alice.api.call(task(text="for later"))
    await until(lambda: alice.node.outbox.waiting(bob.node.context.me) == 0)
    with pytest.raises(NotForgettableError, match="is not finished: cancel it first"):
        await alice.api.call(ForgetRequest(task_ids=(sent.task_id,)))
    item = await next_item(bob)
    with pytest.raises(NotForgettableError, match="is not finished: answer it first"):
        await bob.api.call(ForgetRequest(task_ids=(item.task_id,)))
    world.clock.advance(DAY)
    assert (await alice.api.call(ForgetRequest(older_than_seconds=60))).tasks == ()


async def test_an_age_takes_what_ended_before_it_and_nothing_else(pair: Pair, tmp_path: Path) -> None:
    world, alice, _ = pair
    old = [await finished(pair, tmp_path, f"old {number}") for number in range(2)]
    world.clock.advance(3 * DAY)
    young = await finished(pair, tmp_path, "young")
    looked = await alice.api.call(ForgetRequest(older_than_seconds=2 * DAY, count_only=True))
    assert await count(alice) == 3, "a look removes nothing"
    done = await alice.api.call(ForgetRequest(older_than_seconds=2 * DAY))
    assert sorted(looked.tasks) == sorted(done.tasks) == sorted(old)
    assert looked.files == done.files
    assert [view.task_id for view in (await alice.api.call(ListTasksRequest())).tasks] == [young]


async def test_many_tasks_are_forgotten_a_few_at_a_time(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.tasks.forgetting.BATCH", 2)
    _, alice, _ = pair
    tasks = [await finished(pair, tmp_path, f"number {number}") for number in range(3)]
    first = await alice.api.call(ForgetRequest(older_than_seconds=0))
    assert (len(first.tasks), first.after) == (2, first.tasks[-1])
    second = await alice.api.call(ForgetRequest(older_than_seconds=0, after=first.after))
    assert sorted((*first.tasks, *second.tasks)) == sorted(tasks)
    assert second.after is None


async def test_the_copy_of_an_older_database_goes_with_the_first_thing_that_is_forgotten(
    pair: Pair, tmp_path: Path
) -> None:
    alice = pair[1]
    task_id = await finished(pair, tmp_path)
    path = alice.node.context.database.path
    copy = path.with_name(f"{path.name}.schema-3")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    assert b"a secret request" in copy.read_bytes()
    await alice.api.call(ForgetRequest(task_ids=(task_id,), count_only=True))
    assert copy.exists()
    await alice.api.call(ForgetRequest(task_ids=(task_id,)))
    assert not copy.exists()


async def test_the_copy_of_an_older_database_is_kept_no_longer_than_the_keys_in_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "alice").mkdir()
    old, new = (tmp_path / "alice" / f"node.db.schema-{version}" for version in (3, 4))
    for copy, made in ((old, world.clock() - KEEP_SECRET_SECONDS - 1), (new, world.clock())):
        copy.touch()
        os.utime(copy, (made, made))
    async with world.person("alice"):
        await until(lambda: not old.exists())
        assert new.exists()
