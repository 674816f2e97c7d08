"""Commands about tasks that we send."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from mcp_a2a.cli.arguments import check_cursor, check_files, check_recipient, check_task
from mcp_a2a.cli.asking import as_typed
from mcp_a2a.cli.files import FileOption, attachments, save_to
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.steps import Steps, look, seen_task
from mcp_a2a.cli.telling import report, tasks_table
from mcp_a2a.cli.terminal import answered_for, can_confirm
from mcp_a2a.cli.waiting import (
    FOREVER,
    HANDOVER_SECONDS,
    Wait,
    converse,
    follow,
    hand_over,
    patience,
    read_text,
)
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.remedy import plain
from mcp_a2a.errors.tasks import AlreadyEndedError, NotSentError
from mcp_a2a.protocol.moment import Moment, at_rest
from mcp_a2a.protocol.naming import kind_of_agent

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.api.files import SavedFilesView
    from mcp_a2a.api.tasks import SendTaskBySkillRequest, SendTaskRequest, TaskPage, TaskView
    from mcp_a2a.ports import NodeApi


TASKS_SHOWN = 20
"""Tasks that `tasks` shows, unless it is told otherwise."""

LOOK_SECONDS = 1.0
"""Seconds that `task` waits for an answer by default. No node is started for so short a wait."""


Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[AGENT] [TEXT]", help="The agent and the text; without TEXT, or with -, stdin is read."),
]
Skill = Annotated[
    str | None, typer.Option(metavar="ID", help="The skill to use; without AGENT, the best agent that has it.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait for the answer.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show the answer as it is written.")]
NoQueue = Annotated[bool, typer.Option("--no-queue", help="Fail if the agent cannot be reached now.")]
Key = Annotated[
    str | None, typer.Option(metavar="KEY", help="Sending again with the same key does not create another task.")
]
InContext = Annotated[
    str | None, typer.Option("--context", metavar="ID", help="Continue the conversation of an earlier task.")
]


def send(
    context: typer.Context,
    words: Words = None,
    skill: Skill = None,
    wait: Wait = None,
    files: FileOption = None,
    detach: Detach = False,
    follow_it: Follow = False,
    no_queue: NoQueue = False,
    idempotency_key: Key = None,
    in_context: InContext = None,
) -> None:
    """Send a task and print the answer.

    Only the text of the answer goes to stdout. At a terminal you can send to any agent; a script can send to a stranger
    after you have run `mcp-a2a allow`.

    Exit codes: 0 done, 3 no such agent, 4 not reachable (the task is queued), 5 refused, 6 still running, 7 failed,
    8 the agent has a question.
    """
    from mcp_a2a.cli.following import Writing

    session = session_of(context)
    agent, given = _addressed(words or [], skill)
    if agent is not None:
        check_recipient(agent)
    attached = attachments(files)
    if in_context is not None and in_context.startswith("task-"):
        seen_task(session, in_context)
    session.waiting_for = agent or skill or "an answer"
    options = {"idempotency_key": idempotency_key, "context_id": in_context, "queue": not no_queue, "files": attached}
    request = _request(agent, skill, options)
    request = request.model_copy(update={"message": _text(session, given, needed=not files)})

    async def operate(node: NodeApi) -> TaskView:
        task = await _sent(node, request)
        if detach:
            return await hand_over(session, node, task)
        showing = writing.follow(node, task, patience(wait)) if follow_it else follow(session, node, task, wait)
        return await converse(session, node, await showing, wait)

    writing = Writing(session)
    try:
        task = session.ask(operate)
    except NoRouteError as error:
        if no_queue:
            error.remedy = plain("Check that it is running. Without --no-queue the task is kept and sent later.")
        raise
    report(session, task, detached=detach, shown=writing.text)


def _text(session: Session, given: str | None, *, needed: bool) -> str:
    text = read_text(session, given)
    if needed and not text.strip():
        raise UsageError("The text is empty, so there is nothing to send.")
    return text


def _request(
    agent: str | None, skill: str | None, options: Mapping[str, object]
) -> SendTaskRequest | SendTaskBySkillRequest:
    """The request without its text, so that mistakes in the options are told before stdin is read."""
    from mcp_a2a.api.tasks import SendTaskBySkillRequest, SendTaskRequest

    shared = {"message": "", "wait_seconds": 0, "consent": answered_for(), "skill": skill, **options}
    if agent is None:
        return SendTaskBySkillRequest.model_validate(shared)
    return SendTaskRequest.model_validate({"agent": agent, **shared})


async def _sent(node: NodeApi, request: SendTaskRequest | SendTaskBySkillRequest) -> TaskView:
    from mcp_a2a.api.tasks import SendTaskBySkillRequest

    if isinstance(request, SendTaskBySkillRequest):
        return await node.call(request)
    return await as_typed(node, request.agent, lambda: node.call(request))


def _addressed(words: list[str], skill: str | None) -> tuple[str | None, str | None]:
    """The agent and the text; no text where standard input has it.

    Raises:
        UsageError: too many words, or nothing to read the text from.
    """
    match words:
        case [agent, text]:
            return agent, text
        case [text] if skill is not None:
            return None, text
        case [] if skill is not None and not can_confirm():
            return None, None
        case [agent] if not can_confirm():
            return agent, None
        case [agent]:
            raise UsageError(f'The text is missing. Type it: mcp-a2a send {shlex.quote(agent)} "TEXT"   Or pipe it in.')
        case []:
            raise UsageError('Name an agent and say what it should do: mcp-a2a send AGENT "TEXT"')
        case _:
            raise UsageError('The text is one argument: put it in quotes. mcp-a2a send AGENT "TEXT"')


def show_task(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Task id, or its last letters (at least 4).")],
    wait: Annotated[
        float, typer.Option(min=0, max=86_400, metavar="SECONDS", help="How long to wait for the answer")
    ] = LOOK_SECONDS,
    follow_it: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the answer as it is written, until it is complete.")
    ] = False,
    offset: Annotated[int, typer.Option(min=0, help="Where to start in a long text")] = 0,
    save: Annotated[bool, typer.Option("--save", help="Also save the files that came with it.")] = False,
) -> None:
    """Show a task and its answer."""
    session = session_of(context)
    session.waiting_for = "the task"
    if save:
        check_files(seen_task(session, task_id))
    check_task(task_id)
    task = session.read(partial(look, task_id, offset), at_rest=not (save or follow_it or wait > LOOK_SECONDS))
    # How a task stands at a URL is found out by asking there, which only a node can.
    elsewhere = kind_of_agent(task.agent.did) == "url" and task.direction == "sent" and not task.done
    if elsewhere:
        session.is_resting = False
    if save or elsewhere or not (session.is_resting or task.direction == "received" or at_rest(task.state)):
        _wait_for(session, task_id, wait, offset, follow_it=follow_it, save=save)
        return
    try:
        report(session, task, head=True)
    finally:
        session.note_rest()


def _wait_for(session: Session, task_id: str, wait: float, offset: int, *, follow_it: bool, save: bool) -> None:
    """Show a task that is not done, or write its files."""
    from mcp_a2a.api.tasks import GetTaskRequest
    from mcp_a2a.cli.following import Writing

    async def operate(node: NodeApi) -> TaskView:
        task = await node.call(GetTaskRequest(task_id=task_id, text_offset=offset))
        if task.direction == "received" or at_rest(task.state):
            return task
        if follow_it:
            return await writing.follow(node, task, FOREVER)
        return await follow(session, node, task, wait, until="rest")

    async def operate_and_save(node: NodeApi) -> tuple[TaskView, SavedFilesView | None]:
        task = await operate(node)
        return task, await save_to(node, task.task_id, None) if save else None

    writing = Writing(session)
    task, saved = session.ask(operate_and_save)
    if saved is not None:
        session.output.note("\n".join(["written:", *(f"  {file.path}" for file in saved.files)]))
    report(session, task, shown=writing.text, head=True)


def list_tasks(
    context: typer.Context,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help=f"Only tasks in this state: {', '.join(Moment)}.")
    ] = None,
    sent: Annotated[bool, typer.Option("--sent", help="Only tasks you sent.")] = False,
    received: Annotated[bool, typer.Option("--received", help="Only tasks others sent you.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many tasks to show")] = TASKS_SHOWN,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="Continue from a previous page.")] = None,
) -> None:
    """List tasks sent (→) and received (←), latest change first."""
    session = session_of(context)
    direction: Literal["sent", "received"] | None = None
    if sent != received:
        direction = "sent" if sent else "received"
    wanted = _state(state)
    if cursor is not None:
        check_cursor(cursor)
    request: dict[str, JsonValue] = {
        "state": None if wanted is None else wanted.value,
        "direction": direction,
        "limit": limit,
        "cursor": cursor,
    }
    page = session.read(partial(_page, request), at_rest=True)

    def tell() -> None:
        if page.tasks:
            session.output.table(tasks_table(page.tasks))
        elif wanted is not None or direction is not None or cursor is not None:
            session.output.note("No such task. List them all: mcp-a2a tasks")
        else:
            session.output.note('No tasks yet. Send one: mcp-a2a send AGENT "TEXT"')
        for said in page.damage:
            session.output.note(f"damage: {said}")
        if page.next_cursor:
            again = _again(wanted, direction, limit)
            session.output.note(f"more: mcp-a2a tasks{again} --cursor {page.next_cursor}")

    session.show(page, tell)


def _again(state: Moment | None, direction: str | None, limit: int) -> str:
    """The filter of a list, to be typed again with its cursor, which has only the place."""
    asked = [f"--state {state}"] if state is not None else []
    asked += [f"--{direction}"] if direction is not None else []
    asked += [f"--limit {limit}"] if limit != TASKS_SHOWN else []
    return "".join(f" {one}" for one in asked)


def _page(request: Mapping[str, JsonValue]) -> Steps[TaskPage]:
    return cast("TaskPage", (yield "list_tasks", request))


def _state(text: str | None) -> Moment | None:
    if text is None:
        return None
    plain = text.lower().replace("-", "_").removeprefix("task_state_")
    if plain not in tuple(Moment):
        known = ", ".join(Moment)
        raise UsageError(f"There is no state {text!r}. There are: {known}.")
    return Moment(plain)


def cancel(context: typer.Context, task_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Cancel a task you sent."""
    import anyio

    from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest

    session = session_of(context)
    task = seen_task(session, task_id)
    if task.direction == "received":
        raise NotSentError(task.task_id)

    async def operate(node: NodeApi) -> TaskView:
        canceled = await node.call(CancelRequest(task_id=task.task_id))
        if canceled.done:
            return canceled
        with anyio.move_on_after(HANDOVER_SECONDS):
            ended = GetTaskRequest(task_id=task.task_id, wait_seconds=HANDOVER_SECONDS, until="end")
            return await node.call(ended)
        return canceled

    if not task.done:
        task = session.ask(operate)
    if task.done and task.state != Moment.CANCELED:
        raise AlreadyEndedError(task.state, task.task_id)
    rest = "" if task.done else "   It will be canceled when its agent is reached."
    session.output.show(task, lambda: session.output.line(f"{task.task_id}  {task.state}{rest}"))
