"""Showing an answer while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from mcp_a2a.api.a2a import A2AFollowRequest, A2AFollowView
from mcp_a2a.api.tasks import GetTaskRequest, TaskView
from mcp_a2a.cli.files import Moving
from mcp_a2a.cli.render import quoted
from mcp_a2a.cli.session import Session
from mcp_a2a.protocol.model import (
    Artifact,
    ArtifactChunk,
    StreamResponse,
    TaskState,
    text_of_result,
)
from mcp_a2a.protocol.task.artifacts import grow
from mcp_a2a.protocol.text import clean

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

SLICE_SECONDS = 2.0


class Writing:
    """The part of an answer that was shown so far."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._artifacts: tuple[Artifact, ...] = ()
        self._last: str | None = None
        """The artifact whose text was shown last."""
        self._told: str | None = None

    @property
    def text(self) -> str:
        """The answer so far, as the task has it."""
        return clean(text_of_result(self._artifacts))

    async def follow(self, node: NodeApi, task: TaskView, seconds: float) -> TaskView:
        """Show what the agent says and makes until the task rests, or for so long; the task as it is then."""
        self._session.task_id = task.task_id
        deadline, cursor = anyio.current_time() + seconds, None
        moving = Moving(self._session)
        while (remaining := deadline - anyio.current_time()) > 0:
            view = await node.call(
                A2AFollowRequest(
                    agent=task.agent.did,
                    task_id=task.task_id,
                    cursor=cursor,
                    wait_seconds=min(SLICE_SECONDS, remaining),
                )
            )
            self._show(view)
            cursor = view.cursor
            if view.over or (not view.events and await self._is_held_up(node, task, moving)):
                break
        self._session.task_id = None
        if self._last is not None:
            self._session.output.piece("\n")
        return await node.call(GetTaskRequest(task_id=task.task_id))

    async def _is_held_up(self, node: NodeApi, task: TaskView, moving: Moving) -> bool:
        """True if nothing can come before a person decides, or before the message is taken."""
        now = await node.call(GetTaskRequest(task_id=task.task_id, text_limit=1))
        moving.show(now)
        return now.is_held_up

    def _show(self, view: A2AFollowView) -> None:
        if view.task is not None:  # the beginning, or what was missed
            for artifact in view.task.artifacts:
                self._grow(ArtifactChunk(artifact=artifact))
        for event in view.events:
            self._event(event)

    def _event(self, event: StreamResponse) -> None:
        if event.artifact_update is not None:
            update = event.artifact_update
            self._grow(ArtifactChunk(artifact=update.artifact, append=update.append))
        if event.status_update is not None and event.status_update.status.state == TaskState.WORKING:
            said = event.status_update.status.message
            if said is not None and said.text != self._told:
                self._told = said.text
                self._session.output.note(f"  {quoted(said.text)}")

    def _grow(self, chunk: ArtifactChunk) -> None:
        """Show what of an artifact was not shown before, also where it comes as a whole."""
        name = chunk.artifact.artifact_id
        shown = self._text_of(name)
        self._artifacts = grow(self._artifacts, (chunk,))
        text = self._text_of(name)
        if shown and self._last == name and not text.startswith(shown):
            self._last = ""  # another text, as of an agent that has begun anew: on a line of its own
        self._piece(name, clean(text.removeprefix(shown)))

    def _text_of(self, name: str) -> str:
        return text_of_result(tuple(one for one in self._artifacts if one.artifact_id == name))

    def _piece(self, artifact: str, text: str) -> None:
        if not text:
            return
        if self._last not in (None, artifact):
            self._session.output.piece("\n")
        self._last = artifact
        self._session.output.piece(text)
