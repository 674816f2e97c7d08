"""Tools to send work and to follow it."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Annotated, Literal

from mcp.server.mcpserver import Elicit, Resolve
from mcp.types import CallToolResult
from pydantic import Field

from mcp_a2a.api.inbox import CLIENT
from mcp_a2a.api.tasks import (
    CancelRequest,
    GetTaskRequest,
    ListTasksRequest,
    ReplyRequest,
    SendTaskBySkillRequest,
    SendTaskRequest,
    TaskView,
)
from mcp_a2a.plurals import many
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.server.arguments import (
    AgentName,
    ContextId,
    Data,
    IdempotencyKey,
    Message,
    OptionalText,
    PollWait,
    ReplyText,
    SendWait,
    SkillId,
    TaskId,
)
from mcp_a2a.server.brief import TaskAnswer, TaskLine, TaskLines, brief_page, brief_task
from mcp_a2a.server.consent import Permission, Permitted, Reply, Sent, ask_to_send, permitted, tried
from mcp_a2a.server.context import Call, answer, node_of
from mcp_a2a.server.fence import LIST_NOTICE, Fence
from mcp_a2a.server.files import Files, attachments, roots_of
from mcp_a2a.server.following import FIRST_SECONDS, followed, while_telling
from mcp_a2a.server.prose import asked, headline, task_lines
from mcp_a2a.server.result_size import PAGE_CHARS

LISTED_TASKS = 12
"""Tasks that one result has room for, whatever was asked for; the cursor goes on behind them."""

ACCEPT_SECONDS = 10.0
"""Seconds for which agents with a skill are asked to take a task, before the call only waits."""


async def try_to_send(  # noqa: PLR0913, PLR0917  the arguments of the tool
    agent: str,
    message: str,
    ctx: Call,
    wait_seconds: float,
    skill: str,
    data: dict[str, object] | None,
    files: tuple[str, ...],
    context_id: str,
    idempotency_key: str,
) -> Sent:
    """The task; or the question that a person must answer first."""
    request = SendTaskRequest(
        holder=CLIENT,
        agent=agent,
        message=message,
        parts=_parts(data),
        skill=skill or None,
        files=attachments(files),
        roots=await roots_of(ctx, files),
        wait_seconds=min(wait_seconds, FIRST_SECONDS),
        context_id=context_id or None,
        idempotency_key=idempotency_key or None,
    )

    def send(to: str | None) -> Awaitable[TaskView]:
        asked = request if to is None else request.model_copy(update={"agent": to})
        return followed(ctx, node_of(ctx).call(asked), wait_seconds, "waiting for the agent")

    return await tried(ctx, send, message, data)


async def ask_before_sending(
    sent: Annotated[Sent, Resolve(try_to_send)], ctx: Call
) -> Elicit[Permission] | Reply | None:
    """The question for the person before a message is sent, if there is one."""
    return await ask_to_send(sent, ctx)


async def send_task(  # noqa: PLR0913, PLR0917  these are the arguments of the tool
    agent: AgentName,
    message: Message,
    ctx: Call,
    sent: Annotated[Sent, Resolve(try_to_send)],
    decision: Annotated[Permitted, Resolve(ask_before_sending)],
    wait_seconds: SendWait = 20,
    skill: Annotated[
        OptionalText, Field(max_length=128, description="Id of the skill meant, for an agent that has several.")
    ] = "",
    data: Data = None,
    files: Files = (),
    context_id: ContextId = "",
    idempotency_key: IdempotencyKey = "",
) -> Annotated[CallToolResult, TaskAnswer]:
    """Send work to one agent and get its answer.

    Returns the result if it comes in time, else a task_id for get_task_status. The task is stored before it is sent
    and waits for an agent that is offline. The text leaves your user's hands: include only what the work needs.
    The first task to a stranger asks your user, or gives you a command for them.
    """
    return _about(await permitted(ctx, sent, decision), told=True)


async def try_to_send_by_skill(  # noqa: PLR0913, PLR0917  as above
    skill: str,
    message: str,
    ctx: Call,
    wait_seconds: float,
    data: dict[str, object] | None,
    files: tuple[str, ...],
    context_id: str,
    idempotency_key: str,
) -> Sent:
    """The task; or the question that a person must answer first."""
    request = SendTaskBySkillRequest(
        holder=CLIENT,
        skill=skill,
        message=message,
        parts=_parts(data),
        files=attachments(files),
        roots=await roots_of(ctx, files),
        wait_seconds=min(wait_seconds, ACCEPT_SECONDS),
        context_id=context_id or None,
        idempotency_key=idempotency_key or None,
    )

    def send(_: str | None) -> Awaitable[TaskView]:
        return followed(ctx, node_of(ctx).call(request), wait_seconds, "waiting for an agent with that skill")

    return await tried(ctx, send, message, data)


async def ask_before_sending_by_skill(
    sent: Annotated[Sent, Resolve(try_to_send_by_skill)], ctx: Call
) -> Elicit[Permission] | Reply | None:
    """The question for the person before a message is sent, if there is one."""
    return await ask_to_send(sent, ctx)


async def send_task_by_skill(  # noqa: PLR0913, PLR0917  these are the arguments of the tool
    skill: SkillId,
    message: Message,
    ctx: Call,
    sent: Annotated[Sent, Resolve(try_to_send_by_skill)],
    decision: Annotated[Permitted, Resolve(ask_before_sending_by_skill)],
    wait_seconds: SendWait = 20,
    data: Data = None,
    files: Files = (),
    context_id: ContextId = "",
    idempotency_key: IdempotencyKey = "",
) -> Annotated[CallToolResult, TaskAnswer]:
    """Send work to the best agent that has a skill, and get its answer.

    Your user's own, trusted and network agents come first, also when they are offline; strangers only if your user
    allows one. The answer says which agent took it and why. Otherwise like send_task.
    """
    return _about(await permitted(ctx, sent, decision), told=True)


async def get_task_status(
    task_id: TaskId,
    ctx: Call,
    wait_seconds: PollWait = 0,
    text_offset: Annotated[
        int, Field(ge=0, description="Where to go on in a long text: the text_next of the last answer.")
    ] = 0,
) -> Annotated[CallToolResult, TaskAnswer]:
    """Where a task stands, with its result text, its files, its question or the reason it failed.

    With wait_seconds it returns as soon as the task is done or asks something. Works for tasks sent and received, also
    after a restart.
    """
    request = GetTaskRequest(task_id=task_id, wait_seconds=wait_seconds, text_offset=text_offset, text_limit=PAGE_CHARS)
    if wait_seconds <= 0:
        return _about(await node_of(ctx).call(request), text_offset)
    now = await node_of(ctx).call(request.model_copy(update={"wait_seconds": 0}))
    return _about(await while_telling(ctx, now, request, "waiting for the task"), text_offset)


async def try_to_reply(task_id: str, message: str, ctx: Call, wait_seconds: float, files: tuple[str, ...]) -> Sent:
    """The task; or the question that a person must answer first."""
    request = ReplyRequest(
        holder=CLIENT,
        task_id=task_id,
        message=message,
        wait_seconds=min(wait_seconds, FIRST_SECONDS),
        files=attachments(files),
        roots=await roots_of(ctx, files),
    )

    def send(_: str | None) -> Awaitable[TaskView]:
        return followed(ctx, node_of(ctx).call(request), wait_seconds, "waiting for the agent")

    return await tried(ctx, send, message)


async def ask_before_replying(
    sent: Annotated[Sent, Resolve(try_to_reply)], ctx: Call
) -> Elicit[Permission] | Reply | None:
    """The question for the person before a message is sent, if there is one."""
    return await ask_to_send(sent, ctx)


async def reply_to_task(  # noqa: PLR0913, PLR0917  these are the arguments of the tool
    task_id: TaskId,
    message: ReplyText,
    ctx: Call,
    sent: Annotated[Sent, Resolve(try_to_reply)],
    decision: Annotated[Permitted, Resolve(ask_before_replying)],
    wait_seconds: SendWait = 20,
    files: Files = (),
) -> Annotated[CallToolResult, TaskAnswer]:
    """Answer an agent whose task is input_required, or say more in a task you sent."""
    return _about(await permitted(ctx, sent, decision), told=True)


async def cancel_task(task_id: TaskId, ctx: Call) -> Annotated[CallToolResult, TaskAnswer]:
    """Withdraw a task you sent; the agent is told to stop. Work it has already done is not undone."""
    return _about(await node_of(ctx).call(CancelRequest(task_id=task_id)))


async def list_tasks(
    ctx: Call,
    state: Annotated[Moment | None, Field(description="Only tasks in this state.")] = None,
    direction: Annotated[
        Literal["sent", "received"] | None, Field(description="Only tasks you sent, or only tasks sent to you.")
    ] = None,
    limit: Annotated[int, Field(ge=1, le=100, description="How many at most.")] = 20,
    cursor: Annotated[
        OptionalText,
        Field(
            max_length=512, description="next_cursor of the last answer, to go on with the same state and direction."
        ),
    ] = "",
) -> Annotated[CallToolResult, TaskLines]:
    """Tasks sent and received, the one that changed last first. Long texts are shortened; get_task_status has them."""
    page = await node_of(ctx).call(
        ListTasksRequest(
            state=state,
            direction=direction,
            limit=min(limit, LISTED_TASKS),
            cursor=cursor or None,
        )
    )
    return answer(brief_page(page), partial(_list_lines, asked_for=_asked_for(state, direction)))


def _about(task: TaskView, text_offset: int = 0, *, told: bool = False) -> CallToolResult:
    return answer(brief_task(task, text_offset, told=told), task_lines)


def _parts(data: dict[str, object] | None) -> tuple[Part, ...]:
    return () if data is None else (Part.model_validate({"data": data}),)


def _asked_for(state: Moment | None, direction: str | None) -> str:
    """The arguments of a list besides its cursor, which does not say of which tasks."""
    given = {"state": state, "direction": direction}
    return "".join(f", {name}={value}" for name, value in given.items() if value is not None)


def _list_lines(page: TaskLines, fence: Fence, *, asked_for: str) -> list[str]:
    if not page.tasks:
        return ["No tasks.", *page.damage, "Next: send one with send_task, or look for work with check_inbox."]
    following = f"Next: list_tasks with cursor={page.next_cursor}{asked_for} has more; "
    more = following if page.next_cursor else "Next: "
    return [
        f"1 task. {LIST_NOTICE}"
        if len(page.tasks) == 1
        else f"{many(len(page.tasks), 'task')}, the one that changed last first. {LIST_NOTICE}",
        *(_line(task, fence) for task in page.tasks),
        *page.damage,
        f"{more}get_task_status has the whole of one.",
    ]


def _line(task: TaskLine, fence: Fence) -> str:
    facts = f"{headline(task)}, {task.updated}"
    if task.request:
        facts = f"{facts}, asked {asked(task.request, fence, ours=task.asked_here)}"
    return fence.line(facts, task.answer or "")
