"""A2A 0.3 and the dialects before it, as converters from and to the nouns of 1.0.

Reading is lenient: `kind` or `type` or neither, `content` for `text`, `task_id` for `id`, a role in either spelling, a
message without an id. What is written is exactly 0.3.
"""

from __future__ import annotations

import uuid

from pydantic import JsonValue

from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.api.a2a import A2AAnswer
from mcp_a2a.protocol.model import (
    Artifact,
    Message,
    Part,
    StreamResponse,
    TaskDocument,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
)
from mcp_a2a.protocol.state import at_rest
from mcp_a2a.protocol.text import preview

Json = dict[str, JsonValue]

KINDS = ("text", "file", "data")
"""Of parts."""

_STATES = {state: state.name.lower().replace("_", "-") for state in TaskState}

_ROLES: dict[str, JsonValue] = {
    "user": "ROLE_USER",
    "agent": "ROLE_AGENT",
    "assistant": "ROLE_AGENT",
    "ROLE_USER": "ROLE_USER",
    "ROLE_AGENT": "ROLE_AGENT",
}

# --- reading -------------------------------------------------------------------------------------


def send_params(params: Json) -> Json:
    """Parameters of `message/send` and `message/stream`, and of `tasks/send` before them, in 1.0's words."""
    read: Json = {name: params[name] for name in ("metadata", "tenant") if name in params}
    message = params.get("message")
    read["message"] = message_of(message, params) if isinstance(message, dict) else message
    configuration = params.get("configuration")
    if isinstance(configuration, dict):
        read["configuration"] = _configuration(configuration)
    return read


def _configuration(configuration: Json) -> Json:
    read: Json = {
        name: configuration[name] for name in ("acceptedOutputModes", "historyLength") if name in configuration
    }
    if configuration.get("blocking") is False:
        read["returnImmediately"] = True
    push = configuration.get("pushNotificationConfig")
    if isinstance(push, dict):
        read["taskPushNotificationConfig"] = push_of(push)
    return read


def message_of(message: Json, around: Json | None = None) -> Json:
    """A message in 1.0's words. `around` may name its task and context, as the oldest clients do."""
    around = around or {}
    read: Json = dict(message)
    read["messageId"] = message.get("messageId") or message.get("message_id") or str(uuid.uuid4())
    role = message.get("role", "user")
    read["role"] = _ROLES.get(role, role) if isinstance(role, str) else role
    parts = message.get("parts")
    if isinstance(parts, list):
        read["parts"] = [part_of(part) if isinstance(part, dict) else part for part in parts]
    elif isinstance(message.get("content"), str):
        read["parts"] = [{"text": message["content"]}]
    for name, others in (("taskId", ("task_id",)), ("contextId", ("context_id", "sessionId"))):
        found = next((message[key] for key in (name, *others) if message.get(key)), None)
        found = found or next((around[key] for key in (name, *others) if around.get(key)), None)
        read.pop(name, None)
        for key in others:
            read.pop(key, None)
        if found is not None:
            read[name] = found
    return read


def part_of(part: Json) -> Json:
    """A part in 1.0's words.

    Raises:
        Fault: it says that it is something that we do not know.
    """
    kind = part.get("kind", part.get("type"))
    if kind is not None and kind not in KINDS:
        raise Fault(Kind.INVALID_PARAMS, f"{preview(repr(kind), 40)} is not a kind of part: use text, file or data.")
    if any(part.get(name) is not None for name in ("raw", "url")):
        return part
    read: Json = {name: part[name] for name in ("metadata", "filename", "mediaType") if name in part}
    file = part.get("file")
    if isinstance(file, dict):
        for name, key in (("bytes", "raw"), ("uri", "url"), ("mimeType", "mediaType"), ("name", "filename")):
            if file.get(name) is not None:
                read[key] = file[name]
    elif isinstance(kind, str) and part.get(kind) is not None:
        read[kind] = part[kind]  # some writers print the others as well, empty
    elif "data" in part and not part.get("text"):
        read["data"] = part["data"]
    elif "text" in part:
        read["text"] = part["text"]
    elif "content" in part:
        content = part["content"]
        read["text" if isinstance(content, str) else "data"] = content
    return read


def list_params(params: Json) -> Json:
    """Parameters of a list; before 1.0 there was none, so 1.0's are taken with the states as they were called."""
    named = {name: state.value for state, name in _STATES.items()}
    status = params.get("status")
    return {**params, "status": named.get(status, status)} if isinstance(status, str) else params


def task_params(params: Json) -> Json:
    """Parameters that name a task."""
    read = dict(params)
    if "id" not in read:
        for name in ("task_id", "taskId"):
            if name in read:
                read["id"] = read[name]
    return read


def push_of(push: Json, task_id: JsonValue = None) -> Json:
    """A push configuration, which 0.3 nests and names otherwise."""
    read: Json = {name: push[name] for name in ("url", "id", "token") if push.get(name) is not None}
    read["protocolVersion"] = "0.3"
    authentication = push.get("authentication")
    if isinstance(authentication, dict) and authentication:
        schemes = authentication.get("schemes")
        scheme = schemes[0] if isinstance(schemes, list) and schemes else authentication.get("scheme", "Bearer")
        read["authentication"] = {"scheme": scheme, "credentials": authentication.get("credentials")}
    if task_id is not None:
        read["taskId"] = task_id
    return read


# --- writing -------------------------------------------------------------------------------------


def answer(sent: A2AAnswer) -> Json:
    """What `message/send` is answered with: the task or the message, bare."""
    return message(sent.reply) if sent.reply is not None else task(sent.task)


def task(noun: TaskDocument) -> Json:
    """A task."""
    written: Json = {"kind": "task", "id": noun.id, "contextId": noun.context_id or "", "status": status(noun.status)}
    if noun.artifacts:
        written["artifacts"] = [artifact(one) for one in noun.artifacts]
    if noun.history:
        written["history"] = [message(one) for one in noun.history]
    if noun.metadata is not None:
        written["metadata"] = noun.metadata
    return written


def status(noun: TaskStatus) -> Json:
    """A status."""
    written: Json = {"state": _STATES[noun.state]}
    if noun.message is not None:
        written["message"] = message(noun.message)
    if noun.timestamp is not None:
        written["timestamp"] = noun.timestamp
    return written


def message(noun: Message) -> Json:
    """A message."""
    written: Json = {
        "kind": "message",
        "messageId": noun.message_id,
        "role": "agent" if noun.role == "ROLE_AGENT" else "user",
        "parts": [part(one) for one in noun.parts],
    }
    return written | around(noun)


def around(noun: Message) -> Json:
    """What a message says beside its parts, the same in both bindings of 0.3; empty lists are left out."""
    written: Json = {
        name: value
        for name, value in (("contextId", noun.context_id), ("taskId", noun.task_id), ("metadata", noun.metadata))
        if value is not None
    }
    for name, values in (("extensions", noun.extensions), ("referenceTaskIds", noun.reference_task_ids)):
        if values:
            written[name] = list(values)
    return written


def artifact(noun: Artifact) -> Json:
    """An artifact."""
    written: Json = {"artifactId": noun.artifact_id, "parts": [part(one) for one in noun.parts]}
    for name, value in (("name", noun.name), ("description", noun.description), ("metadata", noun.metadata)):
        if value is not None:
            written[name] = value
    if noun.extensions:
        written["extensions"] = list(noun.extensions)
    return written


def part(noun: Part) -> Json:
    """A part: text, file or data. 0.3 has objects as data only, so another value is put into one."""
    written: Json
    if noun.text is not None:
        written = {"kind": "text", "text": noun.text}
    elif noun.raw is not None or noun.url is not None:
        file: Json = {"bytes": noun.raw} if noun.raw is not None else {"uri": noun.url}
        if noun.media_type is not None:
            file["mimeType"] = noun.media_type
        if noun.filename is not None:
            file["name"] = noun.filename
        written = {"kind": "file", "file": file}
    else:
        written = {"kind": "data", "data": noun.data if isinstance(noun.data, dict) else {"value": noun.data}}
    if noun.metadata is not None:
        written["metadata"] = noun.metadata
    return written


def event(noun: StreamResponse) -> Json:
    """An event of a stream."""
    if noun.task is not None:
        return task(noun.task)
    if noun.message is not None:
        return message(noun.message)
    if noun.status_update is not None:
        update = noun.status_update
        return {
            "kind": "status-update",
            "taskId": update.task_id,
            "contextId": update.context_id,
            "status": status(update.status),
            "final": at_rest(update.status.state),
        }
    if noun.artifact_update is None:
        raise TypeError("an event is one of four")
    grown = noun.artifact_update
    return {
        "kind": "artifact-update",
        "taskId": grown.task_id,
        "contextId": grown.context_id,
        "artifact": artifact(grown.artifact),
        "append": grown.append,
        "lastChunk": grown.last_chunk,
    }


def push(noun: TaskPushNotificationConfig) -> Json:
    """A push configuration, nested in the name of its task."""
    config: Json = {"url": noun.url}
    if noun.id is not None:
        config["id"] = noun.id
    if noun.token is not None:
        config["token"] = noun.token
    if noun.authentication is not None:
        config["authentication"] = {"schemes": [noun.authentication.scheme]}
    return {"taskId": noun.task_id, "pushNotificationConfig": config}
