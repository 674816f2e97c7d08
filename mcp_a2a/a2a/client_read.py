"""Reads the answers of other A2A agents into our nouns, and is lenient with their form.

They are at 1.0, at 0.3 or somewhere in between: names in camelCase or snake_case, states and roles spelled either way
or numbered, parts with and without a `kind`, texts where a message belongs, numbers where a text does. Whatever can
only mean one thing is taken for it; what cannot be guessed is said in a sentence (`WebAnswerError`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pydantic import JsonValue
from pydantic.alias_generators import to_camel

from mcp_a2a.a2a.client_parts import Fields, camel_fields, object_or_none, read_parts
from mcp_a2a.errors.web import WebAnswerError
from mcp_a2a.protocol.model import (
    Artifact,
    Message,
    Part,
    Role,
    StreamResponse,
    TaskArtifactUpdateEvent,
    TaskDocument,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from mcp_a2a.protocol.state import INTERRUPTED, is_terminal
from mcp_a2a.protocol.task.artifacts import joined

MAX_ID = 1024

MAX_SAID = 1_024
"""Messages at the end of a history that are looked at."""

_NUMBERED = tuple(TaskState)
"""In the order of the specification's protobuf, where 0 is unspecified."""

_DIGIT = re.compile("[0-9]")

_OTHERWISE = {
    "PENDING": TaskState.SUBMITTED, "QUEUED": TaskState.SUBMITTED, "CREATED": TaskState.SUBMITTED,
    "RUNNING": TaskState.WORKING, "IN_PROGRESS": TaskState.WORKING, "INPROGRESS": TaskState.WORKING,
    "DONE": TaskState.COMPLETED, "SUCCESS": TaskState.COMPLETED, "SUCCEEDED": TaskState.COMPLETED,
    "FINISHED": TaskState.COMPLETED, "ERROR": TaskState.FAILED, "CANCELLED": TaskState.CANCELED,
    "TIMEOUT": TaskState.FAILED, "TIMED_OUT": TaskState.FAILED, "EXPIRED": TaskState.FAILED,
    "ABORTED": TaskState.CANCELED, "DENIED": TaskState.REJECTED, "REFUSED": TaskState.REJECTED,
    "INPUT_NEEDED": TaskState.INPUT_REQUIRED, "NEEDS_INPUT": TaskState.INPUT_REQUIRED,
    "AWAITING_INPUT": TaskState.INPUT_REQUIRED, "WAITING_FOR_INPUT": TaskState.INPUT_REQUIRED,
    "AUTHENTICATION_REQUIRED": TaskState.AUTH_REQUIRED, "AUTHORIZATION_REQUIRED": TaskState.AUTH_REQUIRED,
}  # fmt: skip
"""States of agents that do not know those of A2A."""


# --- answers -------------------------------------------------------------------------------------


def read_answer(value: JsonValue) -> TaskDocument | Message:
    """An agent's answer to a message: a task, or a message of its own.

    Raises:
        WebAnswerError
    """
    fields = camel_fields(value, "its answer")
    if "id" not in fields and "status" not in fields:
        for wrapped, read in (("task", read_task), ("message", read_message), ("msg", read_message)):
            if _is_filled(fields.get(wrapped)):
                return read(fields[wrapped])
    if fields.get("kind") == "message" or ("parts" in fields and "status" not in fields):
        return read_message(value)
    return read_task(value)


def read_event(value: JsonValue) -> StreamResponse | None:
    """An event of a stream; None where it tells of nothing that A2A knows, now or in a later version.

    Raises:
        WebAnswerError
    """
    if not isinstance(value, dict) or not _TELLING & {to_camel(name) for name in value}:
        return None
    fields = camel_fields(value, "an event of its stream")
    for name in ("statusUpdate", "artifactUpdate"):
        if _is_filled(fields.get(name)):
            return _update(camel_fields(fields[name], "an event of its stream"))
    kind = fields.get("kind", fields.get("type"))
    if kind in ("status-update", "artifact-update") or (
        "taskId" in fields and ("status" in fields or "artifact" in fields)
    ):
        return _update(fields)
    answer = read_answer(value)
    return StreamResponse(task=answer) if isinstance(answer, TaskDocument) else StreamResponse(message=answer)


_TELLING = frozenset(
    {"task", "message", "msg", "statusUpdate", "artifactUpdate", "id", "taskId", "status", "state", "artifact", "parts"}
)
"""One of these is in every event of either version."""


def _is_filled(value: JsonValue) -> bool:
    """True if that member of a oneof is the one that is meant: some print the others too, empty."""
    return isinstance(value, dict) and any(item not in (None, "", [], {}) for item in value.values())


def _update(fields: Fields) -> StreamResponse:
    task_id, context_id = _task_id(fields.get("taskId")) or "", _id(fields.get("contextId")) or ""
    if "artifact" not in fields:
        status = _status(fields.get("status"))
        return StreamResponse(
            status_update=TaskStatusUpdateEvent(task_id=task_id, context_id=context_id, status=status)
        )
    return StreamResponse(
        artifact_update=TaskArtifactUpdateEvent(
            task_id=task_id,
            context_id=context_id,
            artifact=_artifact(fields["artifact"], 0),
            append=_truth(fields.get("append")),
            last_chunk=_truth(fields.get("lastChunk")),
        )
    )


def read_task(value: JsonValue) -> TaskDocument:
    """A task; the least that it needs is an id. Its `history` is what the agent said since, if its status says nothing.

    Raises:
        WebAnswerError
    """
    fields = camel_fields(value, "its answer")
    task_id = _task_id(fields.get("id")) or _task_id(fields.get("taskId"))
    if not task_id:
        raise WebAnswerError("the task that it answers with has no id")
    status = _status(fields.get("status", fields.get("state")))
    artifacts = tuple(_distinct(_artifact(item, number) for number, item in enumerate(_list(fields.get("artifacts")))))
    said = _said_since(_list(fields.get("history"))) if status.message is None else ()
    rests = status.state in INTERRUPTED or (is_terminal(status.state) and not artifacts)
    if said and rests:
        status = status.model_copy(update={"message": said[-1]})
    return TaskDocument(
        id=task_id,
        context_id=_id(fields.get("contextId")) or _id(fields.get("sessionId")),
        status=status,
        artifacts=artifacts,
        history=said,
    )


def unwrapped(value: JsonValue) -> JsonValue:
    """A bare task, also where an agent wraps it as in an answer to a message."""
    if isinstance(value, dict) and isinstance(value.get("task"), dict) and "id" not in value:
        return value["task"]
    return value


def _said_since(history: list[JsonValue]) -> tuple[Message, ...]:
    """The agent's messages behind our last one, if they stand nowhere else."""
    said: list[Message] = []
    for item in reversed(history[-MAX_SAID:]):
        if not isinstance(item, dict) or str(item.get("role")).upper().removeprefix("ROLE_") not in ("AGENT", "2"):
            break
        said.append(read_message(item))
    return tuple(reversed(said))


def read_message(value: JsonValue) -> Message:
    """A message.

    Raises:
        WebAnswerError
    """
    if isinstance(value, str):
        return Message(message_id="", role=Role.AGENT, parts=(Part(text=value),))
    fields = camel_fields(value, "its message")
    content = fields.get("parts", fields.get("content", fields.get("text")))
    return Message(
        message_id=_id(fields.get("messageId")) or "",
        role=Role.AGENT,
        parts=read_parts(content),
        metadata=object_or_none(fields.get("metadata")),
        context_id=_id(fields.get("contextId")),
        task_id=_task_id(fields.get("taskId")),
    )


# --- what they consist of ------------------------------------------------------------------------


def _status(value: JsonValue) -> TaskStatus:
    if not isinstance(value, dict):
        return TaskStatus(state=_state(value))
    fields = camel_fields(value, "its status")
    said = fields.get("message")
    timestamp = _text(fields.get("timestamp"))
    return TaskStatus(
        state=_state(fields.get("state")),
        message=read_message(said) if said else None,
        timestamp=timestamp[:40] if timestamp else None,
    )


def _state(value: JsonValue) -> TaskState:
    """The task state of this name; an unknown one counts as TASK_STATE_WORKING."""
    number = int(value) if isinstance(value, float) or (isinstance(value, str) and _DIGIT.fullmatch(value)) else value
    if isinstance(number, int) and number is not True and 0 < number <= len(_NUMBERED):
        return _NUMBERED[number - 1]
    name = str(value).upper().replace("-", "_").removeprefix("TASK_STATE_")
    if name in TaskState.__members__:
        return TaskState[name]
    return _OTHERWISE.get(name, TaskState.WORKING)


def _artifact(value: JsonValue, number: int) -> Artifact:
    fields = camel_fields(value, "its artifact") if not isinstance(value, str | list) else {"parts": value}
    return Artifact(
        artifact_id=(_text(fields.get("artifactId")) or _text(fields.get("id")) or f"artifact-{number}")[:MAX_ID],
        parts=_as_streamed(read_parts(fields.get("parts", fields.get("content", fields.get("text"))))),
        name=_text(fields.get("name")),
        description=_text(fields.get("description")),
        metadata=object_or_none(fields.get("metadata")),
    )


def _as_streamed(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of an artifact: some agents keep each piece of a stream as one, others join them. It is one text."""
    return joined((), parts) if any(part.text for part in parts) else parts


def _distinct(artifacts: Iterable[Artifact]) -> Iterator[Artifact]:
    """The artifacts of a task, each with an id of its own: some call all of theirs the same."""
    taken: set[str] = set()
    for artifact in artifacts:
        artifact_id, number = artifact.artifact_id, 2
        while artifact_id in taken:
            artifact_id, number = f"{artifact.artifact_id}-{number}", number + 1
        taken.add(artifact_id)
        yield artifact.model_copy(update={"artifact_id": artifact_id})


def _text(value: JsonValue) -> str | None:
    """A text; numbers are what some agents have for one."""
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return None
    return str(value)


def _id(value: JsonValue) -> str | None:
    """An id, cut to the length that is kept."""
    return (_text(value) or "")[:MAX_ID] or None


def _task_id(value: JsonValue) -> str | None:
    """The same of a task, which its agent must know again.

    Raises:
        WebAnswerError
    """
    text = _text(value) or None
    if text is not None and len(text) > MAX_ID:
        raise WebAnswerError("the id of its task is longer than any id")
    return text


def _truth(value: JsonValue) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []
