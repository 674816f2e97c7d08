"""A task in three lines: its request, its sender's last message, and its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mcp_a2a.node.tasks.result import is_said
from mcp_a2a.protocol.blob import safe_name
from mcp_a2a.protocol.model import Message, Part, TaskState
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.text import clean, preview

LINE_CHARS = 160
"""Characters of a line; the whole text is in the messages and artifacts of the task."""

_SCANNED_CHARS = 64 * LINE_CHARS
"""Characters of a text in which its first line is looked for."""


def request_of(record: Task) -> str:
    """The request, in one line."""
    said = record.said
    return _line(said[0].parts) if said else ""


def reply_of(record: Task) -> str | None:
    """The sender's last message, if it is not the request: an answer to a question, or a further message."""
    said = record.said
    return _line(said[-1].parts) if len(said) > 1 else None


def answer_of(record: Task) -> str | None:
    """The result so far; before there is one the question, the progress or the reason."""
    message = record.status.message
    made = tuple(part for artifact in record.artifacts for part in artifact.parts)
    if message is None or (record.state == TaskState.COMPLETED and not is_said(record)):
        return _line(made) or _of_status(message) or _reason(record)
    return _of_status(message) or _line(made) or _reason(record)


def _of_status(message: Message | None) -> str | None:
    return (_line(message.parts) or None) if message is not None else None


def _reason(record: Task) -> str | None:
    return preview(record.error.message, LINE_CHARS) if record.error is not None else None


def _line(parts: tuple[Part, ...]) -> str:
    """The first line of a text, else the names of files, else the data as JSON."""
    for part in parts:
        if part.text and (line := _first_line(part.text)):
            return preview(line, LINE_CHARS)
    others = (", ".join(_files(parts)), *map(_data, parts))
    return next((preview(line, LINE_CHARS) for line in others if line), "")


def _first_line(text: str) -> str:
    text = clean(text[:_SCANNED_CHARS])
    first = next(filter(None, map(str.strip, text.splitlines())), "")
    # A line of marks alone, as the brace above JSON, says nothing of what follows it.
    return first if any(map(str.isalnum, first)) else " ".join(text.split())


def _files(parts: tuple[Part, ...]) -> Iterator[str]:
    for part in parts:
        if part.raw is not None or part.url is not None:
            yield safe_name(part.filename, part.media_type or "a file")


def _data(part: Part) -> str:
    return json.dumps(part.data, ensure_ascii=False)[:_SCANNED_CHARS] if "data" in part.model_fields_set else ""
