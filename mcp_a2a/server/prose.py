"""Tasks in words a model can act on: facts first, then the fenced words of others, then what to do next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mcp_a2a.api.tasks import ArtifactView
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.moment import ENDED
from mcp_a2a.protocol.text import cleaned_value, preview
from mcp_a2a.server.brief import OFFERED_AGAIN, TaskAnswer, TaskLine
from mcp_a2a.server.fence import Fence, label, plain
from mcp_a2a.server.files import file_lines, transfer_line

ALL_OF_IT = "Your user, or you where you have a shell, can read all of it: mcp-a2a task {} --json"

_TRIED_SHOWN = 8


def task_lines(task: TaskAnswer, fence: Fence) -> Iterator[str]:
    """The text of a result about one task."""
    yield f"{headline(task)}{f', via {task.route}' if task.route else ''}{_attempt(task)}."
    yield from _asked(task, fence)
    if task.chosen:
        yield fence.block(task.chosen, "reason why this agent was chosen")
    if task.tried:
        tried = "; ".join(preview(attempt, 160) for attempt in task.tried[-_TRIED_SHOWN:])
        yield fence.block(f"Tried: {tried}", "list of what was tried")
    yield transfer_line(task.transfer)
    if task.put_off:
        yield fence.block(task.put_off, "reason why it is not taken now (it is tried again)")
    yield from _words_of_others(task, fence)
    if task.next:
        yield f"Next: {task.next}"


def headline(task: TaskAnswer | TaskLine) -> str:
    """Where the task stands and whose it is."""
    who = label(task.agent.name, task.agent.did)
    return f"{task.task_id}: {task.state}, {'to' if task.direction == 'sent' else 'from'} {who}"


def _attempt(task: TaskAnswer) -> str:
    return f", attempt {task.attempts}" if task.attempts >= OFFERED_AGAIN else ""


def _asked(task: TaskAnswer, fence: Fence) -> Iterator[str]:
    for what, said in (("Asked", task.request), ("Replied", task.reply)):
        if said:
            yield f"{what}: {asked(said, fence, ours=task.asked_here)}"


def asked(said: str, fence: Fence, *, ours: bool) -> str:
    """What was asked, as it is where only the owner of this node wrote it."""
    return cleaned(said) if ours else fence.around(said)


def cleaned(said: str) -> str:
    """Words of the owner, in one line and in quotes."""
    return json.dumps(preview(said, len(said)), ensure_ascii=False)


def data_parts(parts: Sequence[Part]) -> list[str]:
    """What the parts hold besides text and files, as JSON, one line each."""
    return [
        # Cleaned before it is JSON, where a control character stands as six that are none.
        json.dumps(cleaned_value(part.model_dump(mode="json", by_alias=True, exclude_none=True)), ensure_ascii=False)
        for part in parts
        if part.text is None and part.raw is None and not (part.url or "").startswith("blob:")
    ]


def _words_of_others(task: TaskAnswer, fence: Fence) -> Iterator[str]:
    who = plain(task.agent.name)
    if task.skill:
        yield fence.block(task.skill, f"skill that {who} asks for")
    if task.question:
        yield fence.block(task.question, f"question from {who}")
    if task.progress:
        yield fence.block(task.progress, f"progress from {who}")
    if task.text:
        yield fence.block(task.text, f"{'result' if task.direction == 'sent' else 'request'} from {who}")
    if task.answer:
        yield f"Answered: {fence.around(task.answer)}"
    if data := _data(task.artifacts):
        yield fence.block(data, f"structured results from {who}", ALL_OF_IT.format(task.task_id))
    yield from file_lines(task.files, task.agent, fence)
    if task.error:
        # The sentence is the agent's own when it failed by itself, ours when the message never got there.
        yield fence.block(task.error.message, f"reason, told by {who} or found on the way")
        if task.error.hint and task.state in ENDED:
            yield f"Next: {task.error.hint}"


def _data(artifacts: Sequence[ArtifactView]) -> str:
    return "\n".join(line for artifact in artifacts for line in data_parts(artifact.parts))
