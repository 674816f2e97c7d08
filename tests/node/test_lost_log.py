"""Attacks on readers of what happens to a task."""

from __future__ import annotations

from pathlib import Path

import anyio

from mcp_a2a.api.a2a import A2AFollowRequest, A2ASendRequest
from tests.node.test_desk import say
from tests.node.test_events import chunk, chunks
from tests.node.world import World


async def test_a_reader_whose_log_was_lost_gets_the_task_once_and_then_what_comes(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.person("alice") as alice:
        sent = await alice.api.call(A2ASendRequest(message=say("go"), follow=True))
        await alice.api.call(chunk(sent.task.id, 0, "one "))
        database = alice.node.context.database
        await database.write(lambda connection: connection.execute("DELETE FROM task_events").close())
        whole = await alice.api.call(A2AFollowRequest(task_id=sent.task.id, cursor=sent.cursor, wait_seconds=30))
        assert whole.task is not None
        again = A2AFollowRequest(task_id=sent.task.id, cursor=whole.cursor, wait_seconds=0.1)
        assert (await alice.api.call(again)).task is None
        await alice.api.call(chunk(sent.task.id, 1, "two"))
        with anyio.fail_after(30):
            assert chunks((await alice.api.call(again)).events) == ["two"]
