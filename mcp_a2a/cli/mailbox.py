"""Commands about tasks that others send us."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.files import FileOption, Moving, attachments
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.steps import Steps, seen_task
from mcp_a2a.cli.telling import inbox_lines, report, tasks_table
from mcp_a2a.cli.terminal import answered_for, can_confirm
from mcp_a2a.cli.waiting import HANDOVER_SECONDS, MOVING_SLICE, Wait, converse, read_text, reply
from mcp_a2a.errors.tasks import AlreadyEndedError, NothingAskedError
from mcp_a2a.protocol.moment import at_rest

if TYPE_CHECKING:
    from mcp_a2a.api.agents import ContactView, PeersView
    from mcp_a2a.api.inbox import InboxView
    from mcp_a2a.api.tasks import TaskPage, TaskView
    from mcp_a2a.ports import NodeApi

Status = Literal["working", "completed", "failed", "input_required", "rejected"]
STATUSES: tuple[Status, ...] = ("working", "completed", "failed", "input_required", "rejected")


def inbox(
    context: typer.Context,
    wait: Annotated[
        float, typer.Option(min=0, max=86_400, metavar="SECONDS", help="How long to wait for a task")
    ] = 0.0,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many tasks to take at most")] = 5,
) -> None:
    """Take tasks from your inbox.

    Each task is reserved for you for 15 minutes, then it is offered again.
    """
    session = session_of(context)
    session.waiting_for = "a task"

    view, contacts, received = session.read(partial(_taken, wait, limit))
    session.output.show(view, lambda: _tell(session, view, contacts, received))


def _taken(wait: float, limit: int) -> Steps[tuple[InboxView, tuple[ContactView, ...], tuple[TaskView, ...]]]:
    view = cast("InboxView", (yield "check_inbox", {"wait_seconds": wait, "limit": limit}))
    contacts = cast("PeersView", (yield "peers", {})).contacts if view.held else ()
    received = cast("TaskPage", (yield "list_tasks", {"direction": "received", "limit": 100}))
    return view, contacts, received.tasks


def _tell(session: Session, view: InboxView, contacts: tuple[ContactView, ...], received: tuple[TaskView, ...]) -> None:
    new = {item.task_id for item in view.items}
    for item in view.items:
        session.output.line("\n".join(inbox_lines(item, whole=not session.output.is_watched)))
    open_before = [task for task in received if not task.done and task.task_id not in new]
    if open_before:
        session.output.note("Open before:")
        session.output.table(tasks_table(open_before))
    for contact in contacts:
        session.output.line("\n".join(render.contact_lines(contact)))
        session.output.note(f"  accept it: mcp-a2a trust {contact.did}   or: mcp-a2a block {contact.did}")
    if view.items:
        session.output.note(f'answer: mcp-a2a answer {view.items[0].task_id} "TEXT"')
        for item in view.items:
            if item.files:
                session.output.note(f"its files: mcp-a2a save {item.task_id}")
    elif not open_before and not contacts:
        session.output.note("Your inbox is empty.")


def answer(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Task id, or its last letters.")],
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="Your answer; without it, or with -, stdin is read."),
    ] = None,
    status: Annotated[
        str, typer.Option(metavar="STATUS", help="completed, working, input_required (a question), failed or rejected")
    ] = ("completed"),
    wait: Wait = None,
    files: FileOption = None,
) -> None:
    """Answer a task from your inbox, or a question about a task you sent."""
    from mcp_a2a.api.inbox import AnswerRequest
    from mcp_a2a.api.tasks import GetTaskRequest

    session = session_of(context)
    chosen = _status(status)
    attached = attachments(files)
    if text is None and can_confirm():
        raise UsageError(f'The text is missing. Type it: mcp-a2a answer {shlex.quote(task_id)} "TEXT"   Or pipe it in.')
    source = context.get_parameter_source("status")
    before = seen_task(session, task_id)
    _check_open(before, is_status_given=source is not None and source.name != "DEFAULT")
    said = read_text(session, text)
    if not said.strip() and not attached and text != "":
        raise UsageError("The text is empty, so there is no answer.")

    async def operate(node: NodeApi) -> TaskView:
        task = await node.call(GetTaskRequest(task_id=before.task_id, text_limit=1))
        session.waiting_for = task.agent.name
        _check_open(task)  # what waited at a relay has come since
        if task.direction == "sent":
            if not at_rest(task.state):
                raise NothingAskedError(task.agent.name, task.task_id, task.state, task.context_id)
            task = await reply(session, node, task.task_id, said, wait, attached)
            return await converse(session, node, task, wait)
        given = AnswerRequest(task_id=task.task_id, status=chosen, text=said, files=attached, consent=answered_for())
        task = await node.call(given)
        return await sent_off(session, node, task)

    task = session.ask(operate)
    if task.direction == "sent":
        report(session, task)
    session.output.show(task, lambda: session.output.line(f"{task.task_id}  {task.state} → {task.agent.name}"))


def _check_open(task: TaskView, *, is_status_given: bool = False) -> None:
    """Check that a task can be answered.

    Raises:
        NothingAskedError, AlreadyEndedError: the task has ended.
        UsageError: its state is not ours to give.
    """
    if task.direction == "received":
        if task.done:
            raise AlreadyEndedError(task.state, task.task_id)
        return
    if task.done:
        raise NothingAskedError(task.agent.name, task.task_id, task.state, task.context_id)
    if is_status_given:
        raise UsageError("--status is for a task that was sent to you; this one is yours and asks you something.")


async def sent_off(session: Session, node: NodeApi, task: TaskView) -> TaskView:
    """Stay while files move: this process may be the one that sends them."""
    import anyio

    from mcp_a2a.api.tasks import GetTaskRequest

    moving = Moving(session)
    while moving.show(task) and anyio.current_time() - moving.moved_at < HANDOVER_SECONDS:
        await anyio.sleep(MOVING_SLICE)
        task = await node.call(GetTaskRequest(task_id=task.task_id))
    return task


def _status(text: str) -> Status:
    plain = text.lower().replace("-", "_")
    for status in STATUSES:
        if status == plain:
            return status
    raise UsageError(f"There is no status {text!r}. There are: {', '.join(STATUSES)}.")
