"""Tasks in words a model can act on: facts first, then the fenced words of others, then what to do next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.text import cleaned_value, preview
from mcp_a2a.server.fence import Fence, label
from mcp_a2a.server.files import file_lines, transfer_line
from mcp_a2a.server.room import fitting
from mcp_a2a.views import ArtifactView, TaskErrorView, TaskView

LISTED_CHARS = 280
LISTED_WEIGHT = 420
"""How much of a text a list shows; `get_task_status` has the rest."""
SKILL_CHARS = 64

FILES_LISTED = 32
"""Files of a task that are listed; save_files writes all of them."""

ALL_OF_IT = "Your user, or you where you have a shell, can read all of it: mcp-a2a task {} --json"

_TRIED_SHOWN = 8
_OFFERED_AGAIN = 2


def one_page(view: TaskView, offset: int = 0) -> TaskView:
    """The task with at most a page of its text, which begins at `offset`, and how to read on.

    Files are listed, not quoted.
    """
    view = _without_content(view).model_copy(update={"files": view.files[:FILES_LISTED]})
    end = fitting(view.text or "")
    if view.text is None or len(view.text) <= end:
        return view
    following = f"The text goes on: call get_task_status with text_offset={offset + end}."
    # A page of the node says already, and otherwise, where it goes on.
    return _cut(view, end, following if view.text_next is not None else f"{following} {view.next}", offset)


def _without_content(view: TaskView) -> TaskView:
    if all(part.raw is None for artifact in view.artifacts for part in artifact.parts):
        return view
    artifacts = (
        artifact.model_copy(update={"parts": tuple(part for part in artifact.parts if part.raw is None)})
        for artifact in view.artifacts
    )
    return view.model_copy(update={"artifacts": tuple(artifact for artifact in artifacts if artifact.parts)})


def in_short(view: TaskView) -> TaskView:
    """The task as a list shows it: of what was said the last word only."""
    asked = view.question or view.progress
    short = view.model_copy(
        update={
            "artifacts": (),
            "files": (),
            "tried": (),
            "chosen": None,
            "put_off": None,
            "skill": view.skill and preview(view.skill, SKILL_CHARS),
            "question": _beginning(view.question),
            "progress": None if view.question else _beginning(view.progress),
            "text": None if asked else view.text,
            "error": _in_one_line(view.error),
        }
    )
    end = fitting(short.text or "", LISTED_CHARS, LISTED_WEIGHT)
    return short if len(short.text or "") <= end else _cut(short, end, view.next)


def task_lines(view: TaskView, fence: Fence) -> Iterator[str]:
    """The text of a result about one task."""
    yield headline(view, fence)
    if view.chosen:
        yield fence.block(view.chosen, "why this agent was chosen; names are the agents' own")
    if view.tried:
        tried = "; ".join(preview(attempt, 160) for attempt in view.tried[-_TRIED_SHOWN:])
        yield fence.block(f"Tried: {tried}", "what was tried, with words that other agents chose")
    yield transfer_line(view.transfer)
    if view.put_off:
        yield fence.block(view.put_off, "why it is not taken now; it is tried again")
    yield from _words_of_others(view, fence)
    yield f"Next: {view.next}"


def headline(view: TaskView, fence: Fence) -> str:
    """Where the task stands, in one line of facts."""
    who = label(view.agent.name, view.agent.did)
    facts = [str(view.state)]
    facts.append(f"{'to' if view.direction == 'sent' else 'from'} {who}")
    if view.route:
        facts.append(f"route {view.route}")
    if view.context_id and view.direction == "sent":
        facts.append(f"context_id {fence.token(view.context_id, view.agent.did)}")
    if view.attempts >= _OFFERED_AGAIN:
        facts.append(f"attempt {view.attempts}")
    return f"{view.task_id}: {', '.join(facts)}."


def data_parts(parts: Sequence[Part]) -> list[str]:
    """What the parts hold besides text and files, as JSON, one line each."""
    return [
        # Cleaned before it is JSON, where a control character stands as six that are none.
        json.dumps(cleaned_value(part.model_dump(mode="json", by_alias=True, exclude_none=True)), ensure_ascii=False)
        for part in parts
        if part.text is None and part.raw is None and not (part.url or "").startswith("blob:")
    ]


def _words_of_others(view: TaskView, fence: Fence) -> Iterator[str]:
    did = view.agent.did
    who = label(view.agent.name, did)
    if view.question:
        yield fence.block(view.question, f"a question from {who}", did)
    if view.progress:
        yield fence.block(view.progress, f"progress reported by {who}", did)
    if view.text:
        yield fence.block(view.text, f"the {'result' if view.direction == 'sent' else 'request'} from {who}", did)
    if data := _data(view.artifacts):
        yield fence.block(data, f"structured results from {who}", did, ALL_OF_IT.format(view.task_id))
    yield from file_lines(view.files, view.agent, fence)
    if view.error:
        # The sentence is the agent's own when it failed by itself, ours when the message never got there.
        why = f"{view.error.code}: {view.error.message} {view.error.hint}"
        yield fence.block(why, f"why it did not succeed ({who})", did)


def _data(artifacts: Sequence[ArtifactView]) -> str:
    return "\n".join(line for artifact in artifacts for line in data_parts(artifact.parts))


def _cut(view: TaskView, limit: int, following: str, offset: int = 0) -> TaskView:
    assert view.text is not None  # noqa: S101  both callers measured it
    return view.model_copy(
        update={
            "text": view.text[:limit],
            "text_total": view.text_total or len(view.text),
            "text_next": offset + limit,
            "next": following,
        }
    )


def _in_one_line(error: TaskErrorView | None) -> TaskErrorView | None:
    if error is None:
        return None
    return error.model_copy(update={"code": preview(error.code, SKILL_CHARS), "message": _beginning(error.message)})


def _beginning(text: str | None) -> str | None:
    if text is None:
        return None
    short = preview(text, LISTED_CHARS)
    return short[: fitting(short, LISTED_CHARS, LISTED_WEIGHT)]
