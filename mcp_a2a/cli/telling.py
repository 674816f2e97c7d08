"""One task as a person reads it: the answer on standard output, everything about it beside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from mcp_a2a.cli.columns import Cell, Column, Table
from mcp_a2a.cli.exits import Exit, exit_of
from mcp_a2a.cli.render import SHOWN_ID, TRUSTS, age, file_lines, quoted, short_id
from mcp_a2a.plurals import many
from mcp_a2a.protocol.moment import ASKING, Moment
from mcp_a2a.protocol.naming import shown_name
from mcp_a2a.protocol.paths import route_word
from mcp_a2a.protocol.state import Delivery
from mcp_a2a.protocol.text import clean, preview
from mcp_a2a.screen import Style

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.api.inbox import InboxItem
    from mcp_a2a.api.tasks import TaskView
    from mcp_a2a.cli.session import Session
    from mcp_a2a.protocol.model import Part

WHY_OPEN = {
    Moment.QUEUED: "it has not been delivered yet",
    Moment.STORED: "it is stored at a relay",
    Moment.HELD: "its owner has to accept you first",
    Moment.SUBMITTED: "its agent has it",
    Moment.WORKING: "its agent is working on it",
}
"""The meaning of a word for an open task, for a note under it."""
"""The last letters of an id, which every command takes."""


def report(session: Session, task: TaskView, *, detached: bool = False, shown: str = "", head: bool = False) -> None:
    """Print a task but for the text that was shown already, and end with the exit code it stands for.

    With `head` its state, agent and times come first.
    """
    session.output.show(task, lambda: _tell(session, task, shown, head=head))
    raise typer.Exit(Exit.DONE if detached and not task.done else exit_of(task))


def head_lines(task: TaskView) -> list[str]:
    """The lines about a task besides its texts."""
    arrow = "→" if task.direction == "sent" else "←"
    route = f" ({route_word(task.route)})" if task.route else ""
    skill = f"   skill {preview(task.skill, 40)}" if task.skill else ""
    lines = [f"{task.task_id}   {arrow} {shown_name(task.agent.name)}{route}{skill}   {task.state}"]
    verb = "sent" if task.direction == "sent" else "received"
    lines.append(f"  {verb} {_clock(task.created)} ({age(task.created)} ago){_took(task)}")
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
        return f", last news {age(task.updated)} ago" if seconds >= 1 else ""
    return f", took {seconds:.1f} s" if seconds < 60 else f", took {seconds / 60:.0f} min"


def _tell(session: Session, task: TaskView, shown: str, *, head: bool) -> None:
    note, short = session.output.note, task.task_id[-SHOWN_ID:]
    if head:
        note("\n".join(head_lines(task)))
    elif task.direction == "sent":
        note(f"  → {task.chosen or task.agent.name}" + (f" ({route_word(task.route)})" if task.route else ""))
    rest = (task.text or "").removeprefix(shown)
    if rest and (task.direction == "sent" or not task.done):
        session.output.verbatim(rest.removeprefix("\n") if shown else rest)
    _tell_more(session, task)
    if task.question is not None:
        note(f'{task.agent.name} asks: {quoted(task.question)}\nanswer it: mcp-a2a answer {short} "TEXT"')
    elif task.error is not None:
        note(f"{task.state}: {quoted(task.error.message)}", style_of(task))
        if task.error.hint:
            note(task.error.hint)
    elif not task.done:
        _tell_open(session, task)


def _tell_more(session: Session, task: TaskView) -> None:
    """Show the parts of an answer besides its text."""
    note, short = session.output.note, task.task_id[-SHOWN_ID:]
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
    note, short = session.output.note, task.task_id[-SHOWN_ID:]
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
        note(f"  tried {quoted(attempt)}")
    if task.delivery == Delivery.QUEUED:
        note("It is kept, and sent while any program with this data folder runs: an agent, a server, or an assistant.")
    where = f"{task.state} ({WHY_OPEN[task.state]}): {task.task_id}"
    note(f"{where}   follow it: mcp-a2a task {short} --follow", style_of(task))


TASKS = (
    Column("TASK"),
    Column(""),
    Column("AGENT", least=10),
    Column("STATE"),
    Column("AGE", leaves=2, vanishes=True),
    Column("REQUEST", least=12, leaves=1),
    Column("ANSWER", least=12, leaves=3),
)


def tasks_table(tasks: Iterable[TaskView]) -> Table:
    """A line per task."""
    drawn = Table(TASKS)
    for task in tasks:
        arrow = "→" if task.direction == "sent" else "←"
        said = preview(task.request, 60), preview(task.answer or "", 60)
        who = shown_name(task.agent.name)
        drawn.add(short_id(task.task_id), arrow, who, Cell(task.state, style_of(task)), age(task.updated), *said)
    return drawn


def style_of(task: TaskView) -> Style:
    """Red for a failed task, yellow for one that waits for an answer."""
    if task.state in (Moment.FAILED, Moment.REJECTED):
        return "red"
    return "" if task.done or task.state == Moment.WORKING else "yellow"


EXCERPT_LINES = 20
EXCERPT_CHARS = 1_600
"""Characters of each task that a terminal shows at once: a sender may write much, and other tasks wait below."""


def inbox_lines(item: InboxItem, *, whole: bool = True) -> list[str]:
    """A task that waits for an answer; its text in part, where it would fill the terminal."""
    skill = f" wants {preview(item.skill, 40)}" if item.skill else ""
    again = f"   attempt {item.attempt}" if item.attempt > 1 else ""
    who = f"{shown_name(item.agent.name)} ({TRUSTS[item.trust]})"
    head = f"{item.task_id}   {who}{skill}   {age(item.received)} ago{again}"
    text = clean(item.text).rstrip("\n")
    shown = text if whole else "\n".join(text.split("\n", EXCERPT_LINES)[:EXCERPT_LINES])[:EXCERPT_CHARS]
    said = [f"  | {line}" for line in shown.split("\n")] if shown else []
    if len(shown) < len(text):
        said.append(f"  … {many(len(text) - len(shown), 'more character')}: mcp-a2a task {item.task_id[-SHOWN_ID:]}")
    return [head, *said, *(f"  {line}" for line in file_lines(item.files))]
