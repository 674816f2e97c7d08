"""A cursor of a task goes on from any place, also after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio

from mcp_a2a.api.a2a import A2AFollowRequest, A2AFollowView, A2ASendRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part, StreamResponse
from tests.node.test_desk import say
from tests.node.world import Person, World


async def followed(person: Person, task_id: str, cursor: str | None) -> list[StreamResponse]:
    """What is told of a task behind a cursor, with no whole task between."""
    events: list[StreamResponse] = []
    with anyio.fail_after(30):
        while True:
            view = await person.api.call(A2AFollowRequest(task_id=task_id, cursor=cursor, wait_seconds=30))
            assert view.task is None
            events, cursor = [*events, *view.events], view.cursor
            if view.over:
                return events


async def test_a_cursor_goes_on_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)

    def answer(task_id: str, number: int, text: str) -> AnswerRequest:
        chunk = ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(Part(text=text),)), append=number > 0)
        return AnswerRequest(task_id=task_id, status="working", chunks=(chunk,), streamed=number)

    async with world.person("alice") as alice:
        sent = await alice.api.call(A2ASendRequest(message=say("go"), follow=True))
        await alice.api.call(CheckInboxRequest(wait_seconds=30, limit=1))
        await alice.api.call(answer(sent.task.id, 0, "one "))
        first = await follow_once(alice, sent.task.id, sent.cursor)
        await alice.api.call(answer(sent.task.id, 1, "two "))
    async with world.person("alice") as alice:
        second = await follow_once(alice, sent.task.id, first.cursor)
        await alice.api.call(answer(sent.task.id, 2, "three"))
        await alice.api.call(AnswerRequest(task_id=sent.task.id, status="completed"))
        rest = await followed(alice, sent.task.id, second.cursor)
        again = await followed(alice, sent.task.id, sent.cursor)
    assert [chunks(first.events), chunks(second.events), chunks(rest)] == [["one "], ["two "], ["three"]]
    assert again == [*first.events, *second.events, *rest]


async def follow_once(person: Person, task_id: str, cursor: str | None) -> A2AFollowView:
    view = await person.api.call(A2AFollowRequest(task_id=task_id, cursor=cursor, wait_seconds=30))
    assert view.task is None
    return view


def chunks(events: Sequence[StreamResponse]) -> list[str]:
    return [event.artifact_update.artifact.parts[0].text or "" for event in events if event.artifact_update]
