"""Commands about tasks that we send."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.exits import Exit, exit_of
from mcp_a2a.cli.files import FileOption, Moving, attachments, file_lines, save_to
from mcp_a2a.cli.following import Writing
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.terminal import answered_for
from mcp_a2a.cli.web import as_typed
from mcp_a2a.cli.wording import for_people
from mcp_a2a.errors import TransitionError
from mcp_a2a.protocol.model import Delivery, Part, TaskState
from mcp_a2a.protocol.task import INTERRUPTED
from mcp_a2a.views import (
    CancelRequest,
    FileArg,
    GetTaskRequest,
    ListTasksRequest,
    ReplyRequest,
    SavedFilesView,
    SendTaskBySkillRequest,
    SendTaskRequest,
    TaskView,
)

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

Wait = Annotated[float, typer.Option(min=0, max=86_400, metavar="SECONDS", help="How long to wait for the answer.")]

FOREVER = 7 * 86_400.0
"""No message lives longer."""

HANDOVER_SECONDS = 3.0
"""A command that does not wait for the answer still tries so long to hand the task over."""

SLICES = (0.3, 0.7, 1.0, 2.0)
"""Progress is looked for in these steps, the last one for ever."""

MOVING_SLICE = 0.25


def send(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="[AGENT] TEXT", help="The agent, and the text; - is stdin.")],
    skill: Annotated[
        str | None, typer.Option(metavar="ID", help="The skill; without AGENT the best one with it.")
    ] = None,
    wait: Wait = 20.0,
    files: FileOption = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the answer.")] = False,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Show the answer while it is written.")] = False,
    no_queue: Annotated[
        bool, typer.Option("--no-queue", help="Fail at once when the agent cannot be reached.")
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key is the same task, however often it is sent.")
    ] = None,
    in_context: Annotated[
        str | None, typer.Option("--context", metavar="ID", help="Go on in the conversation of an earlier task.")
    ] = None,
) -> None:
    """Send a task and print its answer.

    What you type at a terminal is sent as it is; a script may send to a stranger once you have run mcp-a2a allow. The
    text of the answer is all that goes to stdout. The exit code says how it ended: 0 done, 3 no such agent, 4 not
    reachable (the task is queued), 5 refused, 6 still running, 7 failed, 8 the agent asks something.
    """
    session = session_of(context)
    agent, text = _addressed(words, skill)
    if not text.strip() and not files:
        raise UsageError("The text is empty, so there is nothing to send.")
    session.waiting_for = agent or skill or "an answer"
    shared: dict[str, object] = {
        "idempotency_key": idempotency_key,
        "context_id": in_context,
        "queue": not no_queue,
        "wait_seconds": 0,
        "files": attachments(files),
        "consent": answered_for(),
    }

    async def operate(node: NodeApi) -> TaskView:
        if agent is None:
            task = await node.send_task_by_skill(
                SendTaskBySkillRequest.model_validate({"skill": skill, "message": text, **shared})
            )
        else:
            asked = SendTaskRequest.model_validate({"agent": agent, "message": text, "skill": skill, **shared})
            task = await as_typed(node, agent, lambda: node.send_task(asked))
        if follow_it:
            return await writing.follow(node, task, wait)
        return await (hand_over(session, node, task) if detach else follow(session, node, task, wait))

    writing = Writing(session)
    report(session, session.ask(operate), detached=detach, shown=writing.text)


def _addressed(words: list[str], skill: str | None) -> tuple[str | None, str]:
    match words:
        case [agent, text]:
            return agent, read_text(text)
        case [text] if skill is not None:
            return None, read_text(text)
        case [agent]:
            raise UsageError(f'What shall {agent} do? mcp-a2a send {agent} "TEXT" (or - for stdin).')
        case _:
            raise UsageError('The text is one argument: put it in quotes. mcp-a2a send AGENT "TEXT"')


def read_text(text: str) -> str:
    """The text as it was given, or standard input for `-`."""
    if text != "-":
        return text
    return sys.stdin.buffer.read().decode("utf-8", "replace")


async def follow(
    session: Session, node: NodeApi, task: TaskView, seconds: float, *, stop_at: Delivery | None = Delivery.HELD
) -> TaskView:
    """Wait for a task's answer, showing its progress; it goes on when this is interrupted.

    Who has just sent it hears at once that a person over there must decide first; who looks later may wait for that.
    """
    session.task_id = task.task_id
    deadline, step = anyio.current_time() + seconds, 0
    told: str | None = None
    moving = Moving(session)
    while not (_settled(task) or _stuck(task, stop_at)) and (remaining := deadline - anyio.current_time()) > 0:
        pause = min(remaining, SLICES[min(step, len(SLICES) - 1)])
        if moving.show(task):  # the time that files take is not the agent's
            pause = min(pause, MOVING_SLICE)
            deadline = max(deadline, moving.moved_at + seconds)
        task = await node.get_task(GetTaskRequest(task_id=task.task_id, wait_seconds=pause))
        step += 1
        if task.progress and task.progress != told:
            told = task.progress
            session.output.progress("")
            session.output.note(f"  {task.agent.name}: {render.quoted(told)}")
    moving.show(task)
    session.task_id = None
    return task


async def hand_over(session: Session, node: NodeApi, task: TaskView) -> TaskView:
    """Wait until the agent's node has the task and its files, but not for its work."""
    session.task_id = task.task_id
    moving = Moving(session)
    while task.delivery == Delivery.QUEUED and not task.done and task.put_off is None:
        if anyio.current_time() - moving.moved_at >= HANDOVER_SECONDS:
            break
        await anyio.sleep(0.05)
        task = await node.get_task(GetTaskRequest(task_id=task.task_id))
        moving.show(task)
    session.task_id = None
    return task


def _stuck(task: TaskView, stop_at: Delivery | None) -> bool:
    """Whether whoever has just sent it should hear now why nothing will happen for a while."""
    return stop_at is not None and (task.delivery == stop_at or task.put_off is not None)


def _settled(task: TaskView) -> bool:
    asks = task.state in (TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED)
    return task.done or asks


def report(session: Session, task: TaskView, *, detached: bool = False, shown: str = "") -> None:
    """Print a task but for the text that was shown already, and end with the exit code it stands for."""
    session.output.show(task, lambda: _tell(session, task, shown))
    raise typer.Exit(Exit.DONE if detached and not task.done else exit_of(task))


def _tell(session: Session, task: TaskView, shown: str) -> None:
    note, short = session.output.note, task.task_id
    if task.direction == "sent":
        note(f"  → {task.chosen or task.agent.name}" + (f" ({render.ROUTES[task.route]})" if task.route else ""))
    rest = (task.text or "").removeprefix(shown)
    if rest and (task.direction == "sent" or not task.done):
        session.output.line(rest.removeprefix("\n") if shown else rest)
    if task.text_next is not None:
        note(f"the text goes on: mcp-a2a task {short} --offset {task.text_next}")
    data = sum(_is_data(part) for artifact in task.artifacts for part in artifact.parts)
    if data:
        note(f"  and {data} parts of data: --json shows them")
    for line in file_lines(task.files):
        note(f"  {line}")
    if any(file.here and file.size is not None for file in task.files):
        note(f"save what came: mcp-a2a save {short[-6:]}")
    if task.question is not None:
        note(f'{task.agent.name} asks: {render.quoted(task.question)}\nanswer it: mcp-a2a answer {short} "TEXT"')
    elif task.error is not None:
        note(
            f"{render.state(task)}: {render.quoted(task.error.message)}"
            + (f"\n{for_people(task.error.hint)}" if task.error.hint else "")
        )
    elif not task.done:
        _tell_open(session, task)


def _is_data(part: Part) -> bool:
    return part.raw is None and part.url is None


def _tell_open(session: Session, task: TaskView) -> None:
    note = session.output.note
    if task.direction == "received":
        note(f'{render.state(task)}   answer it: mcp-a2a answer {task.task_id} "TEXT"')
        return
    if task.state in INTERRUPTED:
        note(f'{task.agent.name} asks something, without words.\nanswer it: mcp-a2a answer {task.task_id} "TEXT"')
        return
    for attempt in task.tried:
        note(f"  tried {render.quoted(attempt)}")
    if task.delivery == Delivery.QUEUED:
        note("It is kept, and sent whenever a node of yours runs (mcp-a2a serve, or an assistant with this server).")
    label = "still running" if task.delivery == Delivery.DELIVERED else render.state(task)
    note(f"{label}: {task.task_id}   follow it: mcp-a2a task {task.task_id[-6:]}")


def show_task(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="A task id, or its beginning or end (4 letters do).")],
    wait: Wait = 1.0,
    follow_it: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the answer while it is written, however long that takes.")
    ] = False,
    offset: Annotated[int, typer.Option(min=0, help="Where to begin in a long text.")] = 0,
    save: Annotated[bool, typer.Option("--save", help="Write its files into the folder for them.")] = False,
) -> None:
    """Show where a task stands, and its answer; waits a moment for it."""
    session = session_of(context)
    session.waiting_for = "the task"

    async def operate(node: NodeApi) -> TaskView:
        task = await node.get_task(GetTaskRequest(task_id=task_id, text_offset=offset))
        if task.direction == "received" or _settled(task):
            return task
        if follow_it:
            return await writing.follow(node, task, FOREVER)
        return await follow(session, node, task, wait, stop_at=None)

    async def operate_and_save(node: NodeApi) -> tuple[TaskView, SavedFilesView | None]:
        task = await operate(node)
        return task, await save_to(node, task.task_id, None) if save else None

    writing = Writing(session)
    task, saved = session.ask(operate_and_save)
    if saved is not None:
        session.output.note("\n".join(["written:", *(f"  {file.path}" for file in saved.files)]))
    report(session, task, shown=writing.text)


def list_tasks(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only tasks in this state: working, completed, failed, …")] = None,
    sent: Annotated[bool, typer.Option("--sent", help="Only tasks you sent.")] = False,
    received: Annotated[bool, typer.Option("--received", help="Only tasks others sent you.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on where an earlier list ended.")] = None,
) -> None:
    """List tasks, sent (→) and received (←), the newest change first."""
    session = session_of(context)
    direction: Literal["sent", "received"] | None = "sent" if sent else "received" if received else None
    request = ListTasksRequest(
        state=_state(state), direction=None if sent and received else direction, limit=limit, cursor=cursor
    )
    page = session.ask(lambda node: node.list_tasks(request))

    def tell() -> None:
        if page.tasks:
            session.output.rich(render.tasks_table(page.tasks))
        else:
            session.output.note('No tasks yet. Send one: mcp-a2a send AGENT "TEXT"')
        for said in page.damage:
            session.output.note(f"damage: {said}")
        if page.next_cursor:
            session.output.note(f"more: mcp-a2a tasks --cursor {page.next_cursor}")

    session.output.show(page, tell)


def _state(text: str | None) -> TaskState | None:
    if text is None:
        return None
    plain = text.upper().replace("-", "_").removeprefix("TASK_STATE_")
    if plain not in TaskState.__members__:
        known = ", ".join(name.lower() for name in TaskState.__members__)
        raise UsageError(f"There is no state {text!r}. There are: {known}.")
    return TaskState[plain]


def cancel(context: typer.Context, task_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Withdraw a task you sent; its worker stops."""
    session = session_of(context)

    async def operate(node: NodeApi) -> TaskView:
        task = await node.cancel_task(CancelRequest(task_id=task_id))
        return task if task.done else await follow(session, node, task, HANDOVER_SECONDS)

    task = session.ask(operate)
    if task.done and task.state != TaskState.CANCELED:
        raise TransitionError(task.state.name.lower(), TaskState.CANCELED.name.lower())  # it ended before
    rest = "" if task.done else "   it is canceled as soon as its agent is reached"
    said = "canceled" if task.done else render.state(task)
    session.output.show(task, lambda: session.output.line(f"{task.task_id}  {said}{rest}"))


async def reply(
    session: Session, node: NodeApi, task_id: str, text: str, seconds: float, files: tuple[FileArg, ...] = ()
) -> TaskView:
    """Answer an agent that asked something, and wait for what it makes of it."""
    task = await node.reply_to_task(
        ReplyRequest(task_id=task_id, message=text, wait_seconds=0, files=files, consent=answered_for())
    )
    return await follow(session, node, task, seconds)
