"""A cursor of a task goes on from any place: after a restart, and at another process that took the node over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from mcp_a2a.api.a2a import A2AFollowRequest, A2AFollowView, A2ASendRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.app import open_node
from mcp_a2a.ports import NodeApi
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part, StreamResponse
from tests.node.test_desk import say
from tests.node.test_shared import settings
from tests.node.world import World


async def follow_once(node: NodeApi, task_id: str, cursor: str | None) -> A2AFollowView:
    """The next that is told of a task behind a cursor, with no whole task between."""
    view = await node.call(A2AFollowRequest(task_id=task_id, cursor=cursor, wait_seconds=30))
    assert view.task is None
    return view


async def followed(node: NodeApi, task_id: str, cursor: str | None) -> list[StreamResponse]:
    """All that is told of it."""
    events: list[StreamResponse] = []
    with anyio.fail_after(30):
        while True:
            view = await follow_once(node, task_id, cursor)
            events, cursor = [*events, *view.events], view.cursor
            if view.over:
                return events


def chunks(events: Sequence[StreamResponse]) -> list[str]:
    return [event.artifact_update.artifact.parts[0].text or "" for event in events if event.artifact_update]


def chunk(task_id: str, number: int, text: str) -> AnswerRequest:
    """The chunk with this number."""
    made = ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(Part(text=text),)), append=number > 0)
    return AnswerRequest(task_id=task_id, status="working", chunks=(made,), streamed=number)


async def begin(node: NodeApi) -> tuple[str, str | None, A2AFollowView]:
    """A task of which one chunk was told and another was made: its id, its first cursor, and what was told."""
    sent = await node.call(A2ASendRequest(message=say("go"), follow=True))
    await node.call(CheckInboxRequest(wait_seconds=30, limit=1))
    await node.call(chunk(sent.task.id, 0, "one "))
    first = await follow_once(node, sent.task.id, sent.cursor)
    await node.call(chunk(sent.task.id, 1, "two "))
    return sent.task.id, sent.cursor, first


async def go_on(node: NodeApi, task_id: str, begun: str | None, first: A2AFollowView) -> None:
    """Read on there to the end, and once more from the beginning."""
    second = await follow_once(node, task_id, first.cursor)
    await node.call(chunk(task_id, 2, "three"))
    await node.call(AnswerRequest(task_id=task_id, status="completed"))
    rest = await followed(node, task_id, second.cursor)
    assert [chunks(first.events), chunks(second.events), chunks(rest)] == [["one "], ["two "], ["three"]]
    assert await followed(node, task_id, begun) == [*first.events, *second.events, *rest]


async def test_a_cursor_goes_on_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.person("alice") as alice:
        known = await begin(alice.api)
    async with world.person("alice") as alice:
        await go_on(alice.api, *known)


async def test_a_cursor_goes_on_when_another_process_has_taken_the_node_over(tmp_path: Path) -> None:
    leave = anyio.Event()

    async def own(*, task_status: TaskStatus[None]) -> None:
        async with open_node(settings(tmp_path)):
            task_status.started()
            await leave.wait()

    async with anyio.create_task_group() as owning:
        await owning.start(own)
        async with open_node(settings(tmp_path)) as guest:
            known = await begin(guest)
            assert not guest.owner
            leave.set()
            await go_on(guest, *known)
            assert guest.owner
