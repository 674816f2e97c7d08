"""A stream in which a node tells its whole task once more: clients take one task in a stream, and no second one."""

from __future__ import annotations

from pathlib import Path

from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.params import SendParams, TaskParams
from mcp_a2a.a2a.service import Service
from mcp_a2a.api.a2a import A2AFollowRequest, A2AFollowView
from mcp_a2a.node.worker.job import Chunk
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.protocol.model import Artifact, Part, TaskDocument, TaskState, TaskStatus
from tests.node.test_desk import say, working
from tests.node.world import World
from tests.server.standin import CARD, StandIn

LARGE = "x" * 2_000_000


class Forgetful(StandIn):
    """A node that keeps of what happened to a task only how it ended."""

    async def a2a_follow(self, request: A2AFollowRequest) -> A2AFollowView:
        self.asked.append(request)
        ended = request.cursor is not None
        state = TaskState.COMPLETED if ended else TaskState.WORKING
        made = (Artifact(artifact_id="a", parts=(Part(text="all"),)),) if ended else ()
        task = TaskDocument(id="t", context_id="c", status=TaskStatus(state=state), artifacts=made)
        return A2AFollowView(task=task, cursor="c.1", over=ended)


async def test_what_a_stream_has_missed_is_told_in_updates_and_not_as_a_second_task() -> None:
    service = Service(agent="self", card=CARD)
    events = [event async for event in Dispatch(Forgetful()).subscribe(TaskParams(id="t"), service)]
    assert [*events[0].model_fields_set & {"task"}] == ["task"]
    made, ended = events[1].artifact_update, events[2].status_update
    assert made is not None
    assert (made.artifact.parts[0].text, made.append, made.last_chunk) == ("all", False, True)
    assert ended is not None
    assert ended.status.state == TaskState.COMPLETED
    assert len(events) == 3


async def test_a_stream_with_a_chunk_of_two_megabytes_has_one_task_and_ends_with_its_status(tmp_path: Path) -> None:
    async def stream(task: TaskContext) -> None:
        await task.send_chunk(Chunk(LARGE, last=True))

    world = World(tmp_path)
    async with world.person("alice") as alice, working(alice, stream):
        service = Service(agent="self", card=CARD)
        events = [event async for event in Dispatch(alice.api).stream(SendParams(message=say("go")), service)]
    assert [event.task is not None for event in events] == [True] + [False] * (len(events) - 1)
    made = [event.artifact_update.artifact.parts[0].text for event in events if event.artifact_update]
    assert made == [LARGE]
    assert events[-1].status_update is not None
    assert events[-1].status_update.status.state == TaskState.COMPLETED
