"""What other people's A2A agents answer, read with goodwill into our nouns.

They are at 1.0, at 0.3 or somewhere in between: names in camelCase or snake_case, states and roles spelled either way
or numbered, parts with and without a `kind`, texts where a message belongs, numbers where a text does. Whatever can
only mean one thing is taken for it; what cannot be guessed is said in a sentence (`WebAnswerError`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from mcp_a2a.a2a.client_json import Fields
from mcp_a2a.errors import WebAnswerError
from mcp_a2a.protocol.model import (
    Artifact,
    Message,
    Part,
    Role,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

MAX_ID = 1024

_NUMBERED = (
    TaskState.SUBMITTED, TaskState.WORKING, TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED,
    TaskState.INPUT_REQUIRED, TaskState.REJECTED, TaskState.AUTH_REQUIRED,
)  # fmt: skip
"""In the order of the specification's protobuf, where 0 is unspecified."""

_OTHERWISE = {
    "PENDING": TaskState.SUBMITTED, "QUEUED": TaskState.SUBMITTED, "CREATED": TaskState.SUBMITTED,
    "RUNNING": TaskState.WORKING, "IN_PROGRESS": TaskState.WORKING, "INPROGRESS": TaskState.WORKING,
    "DONE": TaskState.COMPLETED, "SUCCESS": TaskState.COMPLETED, "SUCCEEDED": TaskState.COMPLETED,
    "FINISHED": TaskState.COMPLETED, "ERROR": TaskState.FAILED, "CANCELLED": TaskState.CANCELED,
}  # fmt: skip
"""What agents say that do not know the states of A2A."""


# --- answers -------------------------------------------------------------------------------------


def read_answer(value: JsonValue) -> Task | Message:
    """What an agent makes of a message: a task, or a message of its own.

    Raises:
        WebAnswerError
    """
    fields = _camel(value, "its answer")
    if "id" not in fields and "status" not in fields:
        for wrapped, read in (("task", read_task), ("message", read_message), ("msg", read_message)):
            if isinstance(fields.get(wrapped), dict):
                return read(fields[wrapped])
    if fields.get("kind") == "message" or ("parts" in fields and "status" not in fields):
        return read_message(value)
    return read_task(value)


def read_event(value: JsonValue) -> StreamResponse:
    """An event of a stream.

    Raises:
        WebAnswerError
    """
    fields = _camel(value, "an event of its stream")
    for name in ("statusUpdate", "artifactUpdate"):
        if isinstance(fields.get(name), dict):
            return _update(_camel(fields[name], "an event of its stream"))
    kind = fields.get("kind", fields.get("type"))
    if kind in ("status-update", "artifact-update") or (
        "taskId" in fields and ("status" in fields or "artifact" in fields)
    ):
        return _update(fields)
    answer = read_answer(value)
    return StreamResponse(task=answer) if isinstance(answer, Task) else StreamResponse(message=answer)


def _update(fields: Fields) -> StreamResponse:
    task_id, context_id = _text(fields.get("taskId")) or "", _text(fields.get("contextId")) or ""
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
            append=fields.get("append") is True,
            last_chunk=fields.get("lastChunk") is True,
        )
    )


def read_task(value: JsonValue) -> Task:
    """A task; the least that it needs is an id.

    Raises:
        WebAnswerError
    """
    fields = _camel(value, "its answer")
    task_id = _text(fields.get("id")) or _text(fields.get("taskId"))
    if not task_id:
        raise WebAnswerError("the task that it answers with has no id")
    if len(task_id) > MAX_ID:
        raise WebAnswerError("the id of its task is longer than any id")
    return Task(
        id=task_id,
        context_id=(_text(fields.get("contextId")) or _text(fields.get("sessionId")) or "")[:MAX_ID] or None,
        status=_status(fields.get("status", fields.get("state"))),
        artifacts=tuple(_artifact(item, number) for number, item in enumerate(_list(fields.get("artifacts")))),
    )


def read_message(value: JsonValue) -> Message:
    """A message.

    Raises:
        WebAnswerError
    """
    if isinstance(value, str):
        return Message(message_id="", role=Role.AGENT, parts=(Part(text=value),))
    fields = _camel(value, "its message")
    content = fields.get("parts", fields.get("content", fields.get("text")))
    return Message(
        message_id=_text(fields.get("messageId")) or "",
        role=Role.AGENT,
        parts=_parts(content),
        metadata=_object(fields.get("metadata")),
        context_id=_text(fields.get("contextId")),
        task_id=_text(fields.get("taskId")),
    )


# --- what they consist of ------------------------------------------------------------------------


def _status(value: JsonValue) -> TaskStatus:
    if not isinstance(value, dict):
        return TaskStatus(state=_state(value))
    fields = _camel(value, "its status")
    said = fields.get("message")
    timestamp = _text(fields.get("timestamp"))
    return TaskStatus(
        state=_state(fields.get("state")),
        message=read_message(said) if said else None,
        timestamp=timestamp[:40] if timestamp else None,
    )


def _state(value: JsonValue) -> TaskState:
    """A state; one that nobody knows is work that goes on."""
    if isinstance(value, int) and 0 < value <= len(_NUMBERED):
        return _NUMBERED[value - 1]
    name = str(value).upper().replace("-", "_").removeprefix("TASK_STATE_")
    if name in TaskState.__members__:
        return TaskState[name]
    return _OTHERWISE.get(name, TaskState.WORKING)


def _artifact(value: JsonValue, number: int) -> Artifact:
    fields = _camel(value, "its artifact") if not isinstance(value, str | list) else {"parts": value}
    return Artifact(
        artifact_id=(_text(fields.get("artifactId")) or _text(fields.get("id")) or f"artifact-{number}")[:MAX_ID],
        parts=_parts(fields.get("parts", fields.get("content", fields.get("text")))),
        name=_text(fields.get("name")),
        description=_text(fields.get("description")),
        metadata=_object(fields.get("metadata")),
    )


def _parts(value: JsonValue) -> tuple[Part, ...]:
    items = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(filter(None, map(_part, items))) or (Part(text=""),)


def _part(value: JsonValue) -> Part | None:
    """A part of either version; one of no kind that we know is left out."""
    if isinstance(value, str):
        return Part(text=value)
    if not isinstance(value, dict):
        return None
    fields = _camel(value, "a part")
    inner = fields.get("file")
    file = _camel(inner, "a file") if isinstance(inner, dict) else {}
    name = _first(fields, file, "filename", "name")
    rest: Fields = {
        "filename": name,
        "mediaType": _first(fields, file, "mediaType", "mimeType"),
        "metadata": _object(fields.get("metadata")),
    }
    content = _content(fields, file)
    if content is None:
        return None
    try:
        return Part.model_validate({name: item for name, item in rest.items() if item is not None} | content)
    except ValidationError:
        return None


def _content(fields: Fields, file: Fields) -> Fields | None:
    """The one content of a part, under the name that 1.0 has for it."""
    for holder, names in ((fields, ("text", "raw", "url")), (file, ("bytes", "fileWithBytes", "uri", "fileWithUri"))):
        for name in names:
            found = holder.get(name)
            if isinstance(found, str) and not found.startswith("blob:"):  # that is how we name files of our own
                kind = "text" if name == "text" else "raw" if name in ("raw", "bytes", "fileWithBytes") else "url"
                return {kind: found}
    if "data" in fields:
        return {"data": fields["data"]}
    if "content" in fields:
        content = fields["content"]
        return {"text": content} if isinstance(content, str) else {"data": content}
    return None


def _first(fields: Fields, file: Fields, *names: str) -> str | None:
    found: Iterable[JsonValue] = (holder.get(name) for name in names for holder in (fields, file))
    return next((item for item in found if isinstance(item, str)), None)


def _camel(value: JsonValue, what: str) -> Fields:
    """An object with its names as JSON has them in 1.0; what is null is not there."""
    if not isinstance(value, dict):
        raise WebAnswerError(f"{what} is {_kind(value)} and no object")
    return dict(_named(value))


def _named(value: Fields) -> Iterator[tuple[str, JsonValue]]:
    for name, item in value.items():
        if item is not None or name == "data":
            yield (to_camel(name) if "_" in name else name), item


def _kind(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool() | int() | float():
            return "a number" if not isinstance(value, bool) else "true or false"
        case str():
            return "a text"
        case _:
            return "a list"


def _text(value: JsonValue) -> str | None:
    """A text; numbers are what some agents have for one."""
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return None
    return str(value)


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _object(value: JsonValue) -> Fields | None:
    return value if isinstance(value, dict) else None
