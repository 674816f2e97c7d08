"""One task as a person reads it: the answer on standard output, everything about it beside."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.exits import Exit, exit_of
from mcp_a2a.cli.sizes import file_lines
from mcp_a2a.cli.wording import for_people
from mcp_a2a.plurals import many
from mcp_a2a.protocol.moment import ASKING, Moment
from mcp_a2a.protocol.naming import shown_name
from mcp_a2a.protocol.paths import route_word
from mcp_a2a.protocol.state import Delivery
from mcp_a2a.protocol.text import preview

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.api.tasks import TaskView
    from mcp_a2a.cli.session import Session
    from mcp_a2a.protocol.model import Part

SHORT_ID = 6
"""The last letters of an id, which every command takes."""


def report(session: Session, task: TaskView, *, detached: bool = False, shown: str = "", head: bool = False) -> None:
    """Print a task but for the text that was shown already, and end with the exit code it stands for.

    With `head` its state, agent and times come first.
    """
    session.output.show(task, lambda: _tell(session, task, shown, head=head))
    raise typer.Exit(Exit.DONE if detached and not task.done else exit_of(task))


def head_lines(task: TaskView) -> list[str]:
    """What is known of a task besides its texts."""
    arrow = "→" if task.direction == "sent" else "←"
    route = f" ({route_word(task.route)})" if task.route else ""
    skill = f"   skill {preview(task.skill, 40)}" if task.skill else ""
    lines = [f"{task.task_id}   {arrow} {shown_name(task.agent.name)}{route}{skill}   {task.state}"]
    verb = "sent" if task.direction == "sent" else "received"
    lines.append(f"  {verb} {_clock(task.created)} ({render.age(task.created)} ago){_took(task)}")
    if task.request:
        lines.append(f"  asked    {preview(task.request, 160)}")
    if task.reply:
        lines.append(f"  replied  {preview(task.reply, 160)}")
    if task.direction == "received" and task.answer:
        lines.append(f"  answered {preview(task.answer, 160)}")
    if task.attempts > 1:
        lines.append(f"  attempts {task.attempts}")
    return lines


def _clock(iso: str) -> str:
    """A moment as the clock on the wall shows it here."""
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _took(task: TaskView) -> str:
    seconds = (datetime.fromisoformat(task.updated) - datetime.fromisoformat(task.created)).total_seconds()
    if seconds < 0:
        return ""  # the clock was set back meanwhile
    if not task.done:
        return f", last news {render.age(task.updated)} ago" if seconds >= 1 else ""
    return f", took {seconds:.1f} s" if seconds < 60 else f", took {seconds / 60:.0f} min"


def _tell(session: Session, task: TaskView, shown: str, *, head: bool) -> None:
    note, short = session.output.note, task.task_id[-SHORT_ID:]
    if head:
        note("\n".join(head_lines(task)))
    elif task.direction == "sent":
        note(f"  → {task.chosen or task.agent.name}" + (f" ({route_word(task.route)})" if task.route else ""))
    rest = (task.text or "").removeprefix(shown)
    if rest and (task.direction == "sent" or not task.done):
        session.output.verbatim(rest.removeprefix("\n") if shown else rest)
    _tell_more(session, task)
    if task.question is not None:
        note(f'{task.agent.name} asks: {render.quoted(task.question)}\nanswer it: mcp-a2a answer {short} "TEXT"')
    elif task.error is not None:
        note(f"{task.state}: {render.quoted(task.error.message)}", render.style_of(task))
        if task.error.hint:
            note(for_people(task.error.hint))
    elif not task.done:
        _tell_open(session, task)


def _tell_more(session: Session, task: TaskView) -> None:
    """What came besides the text that was shown."""
    note, short = session.output.note, task.task_id[-SHORT_ID:]
    if task.text_next is not None:
        note(f"more text: mcp-a2a task {short} --offset {task.text_next}")
    data = sum(
        _is_data(part) and not _is_twin(part.data, task.text) for artifact in task.artifacts for part in artifact.parts
    )
    if data:
        note(f"  and {many(data, 'part')} of data, which --json shows: mcp-a2a task {short} --json")
    for line in file_lines(task.files):
        note(f"  {line}")
    if any(file.here and file.size is not None for file in task.files):
        note(f"save the files: mcp-a2a save {short}")


def _is_data(part: Part) -> bool:
    return part.raw is None and part.url is None


def _is_twin(data: JsonValue, text: str | None) -> bool:
    """True if the text, which was shown, says the same as the data."""
    if text is None:
        return False
    if data == text:
        return True
    try:
        said: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return said == data and isinstance(said, bool) == isinstance(data, bool)  # to Python True is 1


def _tell_open(session: Session, task: TaskView) -> None:
    note, short = session.output.note, task.task_id[-SHORT_ID:]
    if task.direction == "received":
        note(f'{task.state}   answer it: mcp-a2a answer {short} "TEXT"')
        return
    if task.state in ASKING:
        note(f"{task.agent.name} waits for an answer, but asked no question.")
        if task.state == Moment.AUTH_REQUIRED:
            note("It needs authorization; ask its owner how to give it.")
        note(f'answer it: mcp-a2a answer {short} "TEXT"')
        return
    for attempt in task.tried:
        note(f"  tried {render.quoted(attempt)}")
    if task.delivery == Delivery.QUEUED:
        note("It is kept, and sent while any program with this data folder runs: an agent, a server, or an assistant.")
    where = f"{task.state} ({render.WHY_OPEN[task.state]}): {task.task_id}"
    note(f"{where}   follow it: mcp-a2a task {short} --follow", render.style_of(task))
