"""A task in a handler's hands, without a node around it; and whether a process is gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import anyio
from pydantic import JsonValue

from mcp_a2a.api.inbox import AnswerRequest, InboxItem
from mcp_a2a.api.tasks import TaskView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.node.worker.job import Job
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.ports import NodeApi
from mcp_a2a.protocol.model import Message, Part, Role


class Recorder:
    """The one operation of a node that a handler reaches: what it tells the sender."""

    def __init__(self) -> None:
        self.answers: list[AnswerRequest] = []

    async def call(self, request: AnswerRequest) -> TaskView | None:
        self.answers.append(request)
        await anyio.lowlevel.checkpoint()
        return None

    @property
    def told(self) -> list[str | None]:
        return [answer.text for answer in self.answers]


NOTHING = object()


def task_of(
    text: str = "", data: object = NOTHING, skill: str | None = None, recorder: Recorder | None = None, hop: int = 1
) -> TaskContext:
    """A task with this text and this data."""
    parts = [Part(text=text)] if text or data is NOTHING else []
    if data is not NOTHING:
        parts.append(Part(data=cast("JsonValue", data)))
    message = Message(message_id="m1", role=Role.USER, parts=tuple(parts))
    item = InboxItem(
        task_id="task-1",
        agent=AgentRef(name="alice", did="did:key:zAlice"),
        trust="own",
        skill=skill,
        context_id="ctx-1",
        text=text,
        messages=(message,),
        attempt=1,
        hop=hop,
        lease_until="2026-01-01T00:15:00Z",
        received="2026-01-01T00:00:00Z",
    )
    node = cast("NodeApi", recorder or Recorder())
    return TaskContext(Job(item, "1-test", node, lambda _: None, lambda _: None, lambda *_: None, started=0.0))


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that its new parent has not collected yet counts."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)  # another process gives no event
    return False
