"""Attacks on what an owner hears."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.protocol.moment import Moment
from tests.node.test_news import begin, heard
from tests.node.world import World, acquainted


async def test_an_end_that_shares_a_commit_with_a_word_of_progress_is_told_with_the_state_that_it_has(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        here = await begin(bob)
        await alice.api.call(SendTaskRequest(agent="bob", message="a secret", wait_seconds=0))
        (item,) = (await bob.api.call(CheckInboxRequest(wait_seconds=30))).items
        busy = threading.Event()
        bob.node.context.database.enqueue(lambda _: busy.wait(30), lambda _: None)
        async with anyio.create_task_group() as tasks:
            for answer in (
                AnswerRequest(task_id=item.task_id, status="working", text="half"),
                AnswerRequest(task_id=item.task_id, status="completed", text="all"),
            ):
                tasks.start_soon(bob.api.call, answer)
                await anyio.wait_all_tasks_blocked()
            busy.set()
        _, answered = await heard(bob, here, "task_received", "task_answered")
        assert answered.state == Moment.COMPLETED
