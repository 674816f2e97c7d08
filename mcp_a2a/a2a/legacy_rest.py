"""A2A 0.3 over HTTP+JSON: the same nouns as in its JSON-RPC, spelled as its proto file spells them.

A message's parts are its `content`, a file's bytes are `fileWithBytes`, states are in capitals and CANCELLED with two
Ls. Clients that speak by the text of the specification, with `kind`, are understood as well.
"""

from __future__ import annotations

from typing import overload

from pydantic import JsonValue
from pydantic.alias_generators import to_camel

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.legacy import Json
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

# --- reading -------------------------------------------------------------------------------------


def send_params(body: Json) -> Json:
    """Parameters of a message in 1.0's words."""
    message = body.get("message", body.get("request"))
    if not isinstance(message, dict):
        return legacy.send_params({**body, "message": message})
    content, configuration = message.get("content"), body.get("configuration")
    if isinstance(configuration, dict):
        body = {**body, "configuration": _configuration(configuration, of_proto=isinstance(content, list))}
    parts = content if isinstance(content, list) else message.get("parts")
    if isinstance(parts, list):
        message = {name: value for name, value in message.items() if name != "content"}
        message["parts"] = [_part_of(part) if isinstance(part, dict) else part for part in parts]
    return legacy.send_params({**body, "message": message})


def _configuration(configuration: Json, *, of_proto: bool) -> Json:
    """How a message is to be answered, as 0.3 has it elsewhere."""
    read = _camel(configuration)
    if "pushNotification" in read:  # so the proto calls it
        read["pushNotificationConfig"] = read["pushNotification"]
    # In the JSON of a proto, what is false is left out.
    return {"blocking": False, **read} if of_proto else read


def _part_of(part: Json) -> JsonValue:
    """A part as 0.3 has it elsewhere. One that says its kind is so already."""
    if "kind" in part or "type" in part:
        return part
    file, data = _camel(part.get("file")), part.get("data")
    if isinstance(file, dict):
        read = {name: value for name, value in file.items() if name in ("mimeType", "name")}
        for name, key in (("fileWithBytes", "bytes"), ("fileWithUri", "uri")):
            if name in file:
                read[key] = file[name]
        return {**part, "file": read}
    if isinstance(data, dict) and set(data) == {"data"}:
        return {**part, "data": data["data"]}
    return part


def push_of(body: Json, task_id: JsonValue) -> Json:
    """A push configuration; the proto file puts it into the request that makes it."""
    request = _camel(body)
    inner = _camel(request.get("config"))
    around = inner if isinstance(inner, dict) else request
    push = around.get("pushNotificationConfig")
    read = legacy.push_of(push if isinstance(push, dict) else {}, task_id)
    return {"id": request.get("configId"), **read}


@overload
def _camel(value: Json) -> Json: ...
@overload
def _camel(value: JsonValue) -> JsonValue: ...
def _camel(value: JsonValue) -> JsonValue:
    """An object of the proto with its names in the one spelling; ProtoJSON takes both."""
    return {to_camel(name): inner for name, inner in value.items()} if isinstance(value, dict) else value


# --- writing -------------------------------------------------------------------------------------


def answer(sent: A2AAnswer) -> Json:
    """What a message is answered with."""
    return {"message": message(sent.reply)} if sent.reply is not None else {"task": task(sent.task)}


def task(noun: TaskDocument) -> Json:
    """A task."""
    written: Json = {"id": noun.id, "contextId": noun.context_id or "", "status": status(noun.status)}
    if noun.artifacts:
        written["artifacts"] = [artifact(one) for one in noun.artifacts]
    if noun.history:
        written["history"] = [message(one) for one in noun.history]
    if noun.metadata is not None:
        written["metadata"] = noun.metadata
    return written


def status(noun: TaskStatus) -> Json:
    """A status."""
    written: Json = {"state": _state(noun.state)}
    if noun.message is not None:
        written["message"] = message(noun.message)
    if noun.timestamp is not None:
        written["timestamp"] = noun.timestamp
    return written


def _state(state: TaskState) -> str:
    return "TASK_STATE_CANCELLED" if state == TaskState.CANCELED else state.value


def message(noun: Message) -> Json:
    """A message."""
    written: Json = {
        "messageId": noun.message_id,
        "role": noun.role.value,
        "content": [part(one) for one in noun.parts],
    }
    # Its protobuf has no `referenceTaskIds`, and whoever reads by that refuses a name that it does not know.
    return written | legacy.around(noun.model_copy(update={"reference_task_ids": None}))


def artifact(noun: Artifact) -> Json:
    """An artifact."""
    return {**legacy.artifact(noun), "parts": [part(one) for one in noun.parts]}


def part(noun: Part) -> Json:
    """A part."""
    written = {name: value for name, value in legacy.part(noun).items() if name != "kind"}
    file = written.get("file")
    if isinstance(file, dict):
        for name, key in (("bytes", "fileWithBytes"), ("uri", "fileWithUri")):
            if name in file:
                file[key] = file.pop(name)
    elif "data" in written:
        written["data"] = {"data": written["data"]}
    return written


def push(noun: TaskPushNotificationConfig) -> Json:
    """A push configuration, whose name says its task."""
    config = legacy.push(noun)["pushNotificationConfig"]
    return {"name": f"tasks/{noun.task_id}/pushNotificationConfigs/{noun.id}", "pushNotificationConfig": config}


def event(noun: StreamResponse) -> Json:
    """An event of a stream."""
    if noun.task is not None:
        return {"task": task(noun.task)}
    if noun.message is not None:
        return {"message": message(noun.message)}
    if noun.status_update is not None:
        update = noun.status_update
        told: Json = {"taskId": update.task_id, "contextId": update.context_id, "status": status(update.status)}
        return {"statusUpdate": {**told, "final": at_rest(update.status.state)}}
    if noun.artifact_update is None:
        raise TypeError("an event is one of four")
    grown = noun.artifact_update
    return {
        "artifactUpdate": {
            "taskId": grown.task_id,
            "contextId": grown.context_id,
            "artifact": artifact(grown.artifact),
            "append": grown.append,
            "lastChunk": grown.last_chunk,
        }
    }
