"""The command that removes finished tasks with all that they said and brought."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli.asking import insist
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.render import size
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.steps import seen_task
from mcp_a2a.cli.terminal import can_confirm
from mcp_a2a.errors.tasks import NotForgettableError
from mcp_a2a.plurals import many

if TYPE_CHECKING:
    from mcp_a2a.api.tasks import ForgetRequest, ForgetView
    from mcp_a2a.ports import NodeApi

_AGE = re.compile(r"(\d{1,6})\s*(d|h|w)")
_SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def forget(
    context: typer.Context,
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK…]", help="Task ids, or their last letters.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="All tasks that ended longer ago than this: 30d, 12h, 2w."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete finished tasks: texts, files and results.

    A task that is not finished is kept: cancel it first. If a message of a deleted task arrives again, the answer is
    the final state, and the task does not run twice.
    """
    from mcp_a2a.api.tasks import ForgetRequest

    session = session_of(context)
    if bool(tasks) == (older_than is not None):
        raise UsageError("Name tasks, or an age: mcp-a2a forget TASK, or mcp-a2a forget --older-than 30d")
    request = ForgetRequest(
        task_ids=tuple(tasks or ()), older_than_seconds=None if older_than is None else _seconds(older_than)
    )
    if not yes and not can_confirm():
        raise UsageError("This deletes permanently, so it asks for confirmation at a terminal. In a script, use --yes.")
    session.waiting_for = "the tasks to delete"
    for asked in tasks or ():
        task = seen_task(session, asked)
        if not task.done:
            raise NotForgettableError(task.task_id, NotForgettableError.unfinished(sent=task.direction == "sent"))
    if not yes:
        found = session.ask(lambda node: _all(session, node, request.model_copy(update={"count_only": True})))
        if found.tasks:
            insist(session, f"Delete {_what(found)} for good?", otherwise="Nothing was deleted.")
    done = session.ask(lambda node: _all(session, node, request))
    session.output.show(done, lambda: _tell(session, done))


def _seconds(age: str) -> float:
    match = _AGE.fullmatch(age.strip().lower())
    if match is None:
        raise UsageError(f"{age!r} is not an age. Use hours, days or weeks: 12h, 30d, 2w.")
    return int(match[1]) * _SECONDS[match[2]]


async def _all(session: Session, node: NodeApi, request: ForgetRequest) -> ForgetView:
    """Go on until there is no more; what is done so far is shown while it lasts."""
    from mcp_a2a.api.tasks import ForgetView

    total = ForgetView(tasks=(), files=0, freed_bytes=0)
    while True:
        view = await node.call(request)
        total = ForgetView(
            tasks=(*total.tasks, *view.tasks),
            kept=(*total.kept, *view.kept),
            files=total.files + view.files,
            freed_bytes=total.freed_bytes + view.freed_bytes,
        )
        if view.after is None:
            return total
        session.moving = f"… {many(len(total.tasks), 'task')}, {size(total.freed_bytes)}"
        request = request.model_copy(update={"after": view.after})


def _what(found: ForgetView) -> str:
    files = f" and {many(found.files, 'file')}" if found.files else ""
    return f"{many(len(found.tasks), 'task')}{files} ({size(found.freed_bytes)})"


def _tell(session: Session, done: ForgetView) -> None:
    for kept in done.kept:
        session.output.note(f"kept: {kept.task_id} {kept.reason}")
    if not done.tasks:
        session.output.line("No finished task is that old." if not done.kept else "Nothing was deleted.")
        return
    session.output.line(f"Deleted {_what(done)}. The database reuses its space.")
