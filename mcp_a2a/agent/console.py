"""The terminal of an agent's owner: one line when the agent is ready, one per task."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from pydantic import JsonValue

from mcp_a2a.api.agents import AgentDetail
from mcp_a2a.api.news import EventView
from mcp_a2a.node.worker.worker import TaskEvent
from mcp_a2a.protocol.text import clean, preview
from mcp_a2a.screen import put

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi
    from mcp_a2a.server.hosting import Served

REASON_CHARS = 120


@dataclass(frozen=True)
class Console:
    """The stream on which an agent reports to its owner, and the form of its lines."""

    ready: Callable[[AgentDetail, Served | None], None]
    task: Callable[[TaskEvent], None]
    watch: Callable[[NodeApi], Coroutine[None, None, None]] | None = None
    """Runs beside the agent, and tells of what else happens at its node."""
    client: Callable[[EventView], None] | None = None
    """Told of the clients of its A2A server."""


def console(*, as_json: bool = False, quiet: bool = False, ascii_only: bool = False) -> Console:
    """The console of this terminal: readiness on stdout, what happens on stderr, and never more than fits there."""

    def ready(me: AgentDetail, served: Served | None) -> None:
        if as_json:
            _write(sys.stdout, _ready_json(me, served))
        else:
            put(
                sys.stdout,
                "\n".join([ready_line(me), *(served_lines(served) if served else ())]),
                ascii_only=ascii_only,
            )
        for warning in served.warnings if served is not None else ():
            put(sys.stderr, f"Note: {warning}", ascii_only=ascii_only)

    if quiet:
        return Console(ready, lambda _: None)
    from mcp_a2a.agent.reporting import Reporter  # noqa: PLC0415  a quiet agent needs none of it

    reporter = Reporter(as_json=False, ascii_only=ascii_only, received=False)

    def task(event: TaskEvent) -> None:
        reporter.say(lambda: " ".join(clean(f"{time.strftime('%H:%M:%S')}  {task_line(event)}").split("\n")))

    return Console(ready, task, reporter.run, reporter.tell)


def silent() -> Console:
    """A console that prints nothing."""
    return Console(lambda *_: None, lambda _: None)


def ready_line(me: AgentDetail) -> str:
    """The agent in one line: name, key, what it can do, whom it listens to."""
    skills = ", ".join(skill.id for skill in me.card.skills)
    accept = me.node.accept if me.node else "trusted"
    return f"{me.card.name} is online   {me.agent.did}   skills: {skills}   accepts: {accept}"


def served_lines(served: Served) -> list[str]:
    """The URLs at which the agent speaks A2A, and the credentials that a client must send."""
    where = f"A2A at {served.url}/   card: {served.url}/.well-known/agent-card.json"
    grpc = [f"A2A by gRPC at {served.grpc}"] if served.grpc is not None else []
    return [where, *served.how_to_call(show=sys.stdout.isatty()), *grpc]


def _ready_json(me: AgentDetail, served: Served | None) -> str:
    skills: list[JsonValue] = [
        {"id": skill.id, "name": skill.name, "description": skill.description} for skill in me.card.skills
    ]
    fields: dict[str, JsonValue] = {
        "ready": True,
        "name": me.card.name,
        "did": me.agent.did,
        "words": me.agent.words,
        "skills": skills,
    }
    if me.node is not None:
        fields |= {
            "identity": me.node.identity,
            "accept": me.node.accept,
            "listening": list(me.node.listening),
            "pid": me.node.pid,
        }
    if served is not None:
        fields |= {"a2a_url": f"{served.url}/", "token_file": str(served.token.path)}
        fields |= {"grpc_address": served.grpc} if served.grpc is not None else {}
    return json.dumps(fields)


def task_line(event: TaskEvent) -> str:
    """A line about an event of a task, without its content; with the reason of a failure."""
    skill = preview(event.item.skill or "task", 40)
    line = f"{event.item.task_id}  {skill}  {event.kind}"
    if event.kind == "working":
        return f"{line}  ← {event.item.agent.name}"
    line += f"  {event.seconds:.2f} s  → {event.item.agent.name}"
    reason = event.text if event.kind in ("failed", "rejected", "crashed", "lost") else None
    return f"{line}  {preview(reason, REASON_CHARS)}" if reason else line


def _write(stream: TextIO | None, line: str) -> None:
    if stream is None:  # a skill has put it away
        return
    # An agent goes on when nothing reads what it says any more, or a skill has closed the stream (ValueError).
    with suppress(OSError, ValueError):
        stream.write(line + "\n")
        stream.flush()
