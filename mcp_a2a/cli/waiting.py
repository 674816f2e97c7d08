"""Waiting for a task: for how long, what is shown meanwhile, and what a person at the terminal is asked.

At a terminal a command waits until the task is done, and Ctrl-C leaves the task running. A script waits 20 seconds.
Both wait 20 seconds at most for an agent that has not taken the task yet.
Record: docs/decisions/0038-what-a-terminal-waits-for.md.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.asking import next_line, say_that_it_is_read
from mcp_a2a.cli.files import Moving
from mcp_a2a.cli.session import Session
from mcp_a2a.cli.terminal import answered_for, can_confirm, is_watched
from mcp_a2a.cli.tracing import Progress
from mcp_a2a.protocol.moment import Moment, at_rest
from mcp_a2a.protocol.state import Delivery

if TYPE_CHECKING:
    from mcp_a2a.api.files import FileArg
    from mcp_a2a.api.tasks import TaskView, Until
    from mcp_a2a.ports import NodeApi

Wait = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=86_400,
        metavar="SECONDS",
        help="How long to wait for the answer. Default: until it arrives at a terminal, 20 seconds in a script.",
    ),
]

SCRIPT_SECONDS = 20.0
"""Seconds that a script waits for an answer, and a person for an agent to take the task."""

FOREVER = 7 * 86_400.0
"""No message lives longer."""

HANDOVER_SECONDS = 3.0
"""A command that does not wait for the answer still tries so long to hand the task over."""

SLICES = (0.3, 0.7, 1.0, 2.0)
"""Progress is looked for in these steps, the last one for ever."""

MOVING_SLICE = 0.25

TAKEN = (Delivery.DELIVERED, Delivery.HELD)
"""The message is at the agent's node."""


def patience(given: float | None) -> float:
    """Seconds to wait for an answer."""
    if given is not None:
        return given
    return FOREVER if is_watched() else SCRIPT_SECONDS


async def follow(
    session: Session,
    node: NodeApi,
    task: TaskView,
    seconds: float | None,
    *,
    until: Until = "held_up",
) -> TaskView:
    """Wait for the answer to a task, and show its progress; the task goes on when this is interrupted.

    A sender is told at once that a person over there must decide first; a later look may wait for that.
    """
    import anyio

    from mcp_a2a.api.tasks import GetTaskRequest

    session.task_id = task.task_id
    whole, at_first = patience(seconds), SCRIPT_SECONDS if seconds is None else FOREVER
    moved_at, step = anyio.current_time(), 0
    told: str | None = None
    moving, progress = Moving(session), Progress()
    progress.look(task)
    while not (at_rest(task.state) or (until == "held_up" and task.is_held_up)):
        allowed = whole if task.delivery in TAKEN else min(whole, at_first)
        if (remaining := moved_at + allowed - anyio.current_time()) <= 0:
            break
        pause = min(remaining, SLICES[min(step, len(SLICES) - 1)])
        if moving.show(task):  # the time that files take is not the agent's
            pause = min(pause, MOVING_SLICE)
            moved_at = max(moved_at, moving.moved_at)
        task = await node.call(GetTaskRequest(task_id=task.task_id, wait_seconds=pause, until=until))
        step += 1
        progress.look(task)
        if task.progress and task.progress != told:
            told = task.progress
            session.output.progress("")
            session.output.note(f"  {task.agent.name}: {render.quoted(told)}")
    moving.show(task)
    session.task_id = None
    return task


async def hand_over(session: Session, node: NodeApi, task: TaskView) -> TaskView:
    """Wait until the agent's node has the task and its files, but not for its work."""
    import anyio

    from mcp_a2a.api.tasks import GetTaskRequest

    session.task_id = task.task_id
    moving = Moving(session)
    while task.delivery == Delivery.QUEUED and not task.done and task.put_off is None:
        if (left := moving.moved_at + HANDOVER_SECONDS - anyio.current_time()) <= 0:
            break
        pause = min(MOVING_SLICE, left)
        task = await node.call(GetTaskRequest(task_id=task.task_id, wait_seconds=pause, until="taken"))
        moving.show(task)
    session.task_id = None
    return task


async def converse(session: Session, node: NodeApi, task: TaskView, seconds: float | None) -> TaskView:
    """Have the person at the terminal answer what the agent asks, until it asks no more; the task as it is then.

    A bare Enter or Ctrl-D leaves the question open.
    """
    while task.state == Moment.INPUT_REQUIRED and task.direction == "sent" and _can_be_asked(session):
        question = f"{task.agent.name} asks: {render.quoted(task.question)}" if task.question else _unasked(task)
        session.task_id = task.task_id
        said = (await next_line(session, f"{question}\n> ")).strip()
        session.task_id = None
        if not said:
            return task
        task = await reply(session, node, task.task_id, said, seconds)
    return task


def _unasked(task: TaskView) -> str:
    return f"{task.agent.name} waits for an answer, but asked no question."


def _can_be_asked(session: Session) -> bool:
    return can_confirm() and is_watched() and not session.options.json and session.options.verbosity >= 0


async def reply(
    session: Session, node: NodeApi, task_id: str, text: str, seconds: float | None, files: tuple[FileArg, ...] = ()
) -> TaskView:
    """Answer an agent that asked something, and wait for what it makes of it."""
    from mcp_a2a.api.tasks import ReplyRequest

    task = await node.call(
        ReplyRequest(task_id=task_id, message=text, wait_seconds=0, files=files, consent=answered_for())
    )
    return await follow(session, node, task, seconds)


def read_text(session: Session, text: str | None) -> str:
    """The text as it was given; standard input for `-`, and for none where it is a pipe or a file."""
    if text is not None and text != "-":
        return text
    if can_confirm() and text == "-":
        session.output.note("Type the text. Ctrl-D on an empty line ends it.")
    elif not can_confirm():
        say_that_it_is_read(session, "the text")
    return sys.stdin.buffer.read().decode("utf-8", "replace")
