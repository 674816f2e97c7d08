"""Waiting for a task while telling the client what its agent says and makes on the way."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio

from mcp_a2a.api.a2a import A2AFollowRequest, A2AFollowView
from mcp_a2a.api.tasks import GetTaskRequest, TaskView
from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.model import StreamResponse, text_of
from mcp_a2a.protocol.moment import at_rest
from mcp_a2a.protocol.text import preview
from mcp_a2a.server import context
from mcp_a2a.server.context import Call, age_of_call, node_of, while_reporting
from mcp_a2a.server.fence import Fence
from mcp_a2a.server.files import transfer_line

FIRST_SECONDS = 2.0
"""An answer that comes so soon needs no sign of life before it."""

WORDS_SHOWN = 400


async def followed(ctx: Call, sending: Awaitable[TaskView], seconds: float, doing: str) -> TaskView:
    """The task that `sending` ends with, followed for `seconds`; `sending` itself waits for a part of them at most."""
    began = anyio.current_time()
    task = await while_reporting(ctx, sending, seconds, doing)
    remaining = seconds - (anyio.current_time() - began)
    if remaining <= 0 or _rests(task):
        return task
    request = GetTaskRequest(task_id=task.task_id, wait_seconds=remaining, until="held_up")
    return await while_telling(ctx, task, request, doing)


async def while_telling(ctx: Call, task: TaskView, request: GetTaskRequest, doing: str) -> TaskView:
    """Wait for a task that we sent, and report what happens to it meanwhile.

    Raises:
        McpA2AError: what the node raised.
    """
    if task.direction == "received" or _rests(task) or request.wait_seconds <= 0:
        return await node_of(ctx).call(request)
    async with anyio.create_task_group() as group:
        group.start_soon(_tell, ctx, task, request.wait_seconds, doing)
        try:
            outcome: TaskView | McpA2AError = await node_of(ctx).call(request)
        except McpA2AError as error:
            outcome = error  # raised outside of the group, which would wrap it
        group.cancel_scope.cancel()
    if isinstance(outcome, McpA2AError):
        raise outcome
    return outcome


def _rests(task: TaskView) -> bool:
    return at_rest(task.state) or task.is_held_up


async def _tell(ctx: Call, task: TaskView, seconds: float, doing: str) -> None:
    end, cursor, fence = age_of_call() + seconds, None, Fence()
    while True:
        view = await _next(ctx, task, cursor)
        elapsed = age_of_call()
        said = fence.around(words, task.agent.did) if view is not None and (words := _words(view)) else ""
        if not said and task.transfer is not None:
            said = await _transfer(ctx, task)
        await ctx.report_progress(elapsed, total=max(end, elapsed), message=said or f"{doing}, {elapsed:.0f} s")
        cursor = view.cursor if view is not None else None
        if view is None or view.over:
            await anyio.sleep(context.PROGRESS_SECONDS)


async def _next(ctx: Call, task: TaskView, cursor: str | None) -> A2AFollowView | None:
    """The next that is told of a task; None where it cannot be followed, which is no reason not to wait for it."""
    request = A2AFollowRequest(
        agent=task.agent.did, task_id=task.task_id, cursor=cursor, wait_seconds=context.PROGRESS_SECONDS
    )
    try:
        return await node_of(ctx).call(request)
    except McpA2AError:
        return None


async def _transfer(ctx: Call, task: TaskView) -> str:
    """The progress of its files in flight; empty if none is."""
    try:
        return transfer_line((await node_of(ctx).call(GetTaskRequest(task_id=task.task_id, text_limit=1))).transfer)
    except McpA2AError:
        return ""


def _words(view: A2AFollowView) -> str:
    """The agent's new messages and artifacts, in one line, for the person that watches."""
    written = [text_of(artifact.parts) for artifact in view.task.artifacts] if view.task is not None else []
    return preview(" ".join(filter(None, (*written, *map(_words_of, view.events)))), WORDS_SHOWN)


def _words_of(event: StreamResponse) -> str:
    if event.artifact_update is not None:
        return "".join(part.text or "" for part in event.artifact_update.artifact.parts)
    said = event.status_update.status.message if event.status_update is not None else None
    return said.text if said is not None else ""
