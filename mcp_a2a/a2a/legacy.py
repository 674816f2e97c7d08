"""Documents of A2A 0.3, and of the dialects before it, in both of its bindings: read into 1.0's words, and written.

Both ends use it: the server reads requests and writes results, the client writes requests. (What an agent answers is
read by `client_read`, which takes every version at once.)

Reading is lenient: `kind` or `type` or neither, `content` for `text`, `task_id` for `id`, a role in either spelling, a
message without an id, names in snake_case where a proto has them. What is written is exactly 0.3.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic.alias_generators import to_camel

from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.api.a2a import A2AAnswer
from mcp_a2a.protocol.model import (
    Artifact,
    Message,
    Part,
    Role,
    StreamResponse,
    TaskDocument,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from mcp_a2a.protocol.state import at_rest
from mcp_a2a.protocol.text import preview

Json = dict[str, JsonValue]

KINDS = ("text", "file", "data")
"""The kinds of parts in 0.3."""

FILE = {
    "bytes": "raw",
    "fileWithBytes": "raw",
    "uri": "url",
    "fileWithUri": "url",
    "mimeType": "mediaType",
    "name": "filename",
}
"""The names of a file's members in 1.0, by their names in either binding."""

_STATES = {state: state.name.lower().replace("_", "-") for state in TaskState}

_ROLES: dict[str, JsonValue] = {
    "user": "ROLE_USER",
    "agent": "ROLE_AGENT",
    "assistant": "ROLE_AGENT",
    "ROLE_USER": "ROLE_USER",
    "ROLE_AGENT": "ROLE_AGENT",
}


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding of 0.3, which spells the same documents in its own way.

    In JSON-RPC each document says its `kind`. HTTP+JSON is spelled as its proto file: a message's parts are its
    `content`, a file's bytes are `fileWithBytes`, states are in capitals and CANCELLED with two Ls. Clients of it that
    speak by the text of the specification, with `kind`, are understood as well.

    Attributes:
        proto: Whether documents are spelled as in the proto file.
    """

    proto: bool

    # --- reading ---------------------------------------------------------------------------------

    def send_params(self, params: Json) -> Json:
        """Parameters of a message, in 1.0's words.

        Raises:
            Fault: a part says that it is something that we do not know.
        """
        read = _present(params, "metadata", "tenant")
        message = params.get("message", params.get("request") if self.proto else None)
        configuration = params.get("configuration")
        read["message"] = self._message_of(message, params) if isinstance(message, dict) else message
        if isinstance(configuration, dict):
            # In the JSON of a proto, what is false is left out.
            by_proto = self.proto and isinstance(message, dict) and isinstance(message.get("content"), list)
            read["configuration"] = _configuration({"blocking": not by_proto, **_camel(configuration)})
        return read

    def _message_of(self, message: Json, around: Json) -> Json:
        """A message. `around` may name its task and context, as the oldest clients do."""
        read = {name: value for name, value in message.items() if name not in _OTHERWISE}
        read["messageId"] = message.get("messageId") or message.get("message_id") or str(uuid.uuid4())
        role = message.get("role", "user")
        read["role"] = _ROLES.get(role, role) if isinstance(role, str) else role
        parts, content = message.get("parts"), message.get("content")
        listed = content if self.proto and isinstance(content, list) else parts
        if isinstance(listed, list):
            read["parts"] = [self._part_of(part) if isinstance(part, dict) else part for part in listed]
        elif isinstance(content, str):
            read["parts"] = [{"text": content}]
        for name, others in (("taskId", ("task_id",)), ("contextId", ("context_id", "sessionId"))):
            keys = ((holder, key) for holder in (message, around) for key in (name, *others))
            found = next((holder[key] for holder, key in keys if holder.get(key)), None)
            if found is not None:
                read[name] = found
        return read

    def _part_of(self, part: Json) -> Json:
        kind = part.get("kind", part.get("type"))
        if kind is not None and kind not in KINDS:
            raise Fault(
                Kind.INVALID_PARAMS, f"{preview(repr(kind), 40)} is not a kind of part: use text, file or data."
            )
        if any(part.get(name) is not None for name in ("raw", "url")):
            return part
        read = _present(part, "metadata", "filename", "mediaType")
        file, data = part.get("file"), part.get("data")
        if isinstance(file, dict):
            read |= {FILE[name]: value for name, value in _camel(file).items() if name in FILE and value is not None}
        elif isinstance(kind, str) and part.get(kind) is not None:
            read[kind] = part[kind]  # some writers print the others as well, empty
        elif "data" in part and not part.get("text"):
            wrapped = self.proto and kind is None and isinstance(data, dict) and set(data) == {"data"}
            read["data"] = data["data"] if wrapped and isinstance(data, dict) else data
        elif "text" in part:
            read["text"] = part["text"]
        elif "content" in part:
            read["text" if isinstance(part["content"], str) else "data"] = part["content"]
        return read

    def push_params(self, params: Json) -> Json:
        """Parameters that name a push configuration, or those of a task."""
        if self.proto:
            return params
        task_id = params.get("id") or params.get("taskId") or params.get("task_id")
        return {"taskId": task_id, "id": params.get("pushNotificationConfigId")}

    # --- writing ---------------------------------------------------------------------------------

    def answer(self, sent: A2AAnswer) -> Json:
        """The answer to a message."""
        return self.event(StreamResponse(task=sent.task) if sent.reply is None else StreamResponse(message=sent.reply))

    def event(self, noun: StreamResponse) -> Json:
        """An event of a stream: bare in JSON-RPC, in the name of what it is by the proto."""
        name, told = self._told(noun)
        return {to_camel(name.replace("-", "_")): told} if self.proto else {"kind": name, **told}

    def _told(self, noun: StreamResponse) -> tuple[str, Json]:
        if noun.task is not None:
            return "task", self.task(noun.task)
        if noun.message is not None:
            return "message", self.message(noun.message)
        update = noun.status_update or noun.artifact_update
        if update is None:
            raise TypeError("an event is one of four")
        told: Json = {"taskId": update.task_id, "contextId": update.context_id}
        if isinstance(update, TaskStatusUpdateEvent):
            status = update.status
            return "status-update", {**told, "status": self._status(status), "final": at_rest(status.state)}
        told["artifact"] = self._artifact(update.artifact)
        return "artifact-update", {**told, "append": update.append, "lastChunk": update.last_chunk}

    def task(self, noun: TaskDocument) -> Json:
        """A task."""
        written: Json = {"id": noun.id, "contextId": noun.context_id or "", "status": self._status(noun.status)}
        if noun.artifacts:
            written["artifacts"] = [self._artifact(one) for one in noun.artifacts]
        if noun.history:
            written["history"] = [self.message(one) for one in noun.history]
        return self._said("task", written | _given(metadata=noun.metadata))

    def message(self, noun: Message) -> Json:
        """A message."""
        parts: list[JsonValue] = [self._part(one) for one in noun.parts]
        role = "agent" if noun.role == Role.AGENT else "user"
        written: Json = {"messageId": noun.message_id, "role": noun.role.value if self.proto else role}
        more = _given(
            contextId=noun.context_id,
            taskId=noun.task_id,
            metadata=noun.metadata,
            extensions=list(noun.extensions or ()) or None,
            # The proto has no such name, and a reader by the proto refuses a name that it does not know.
            referenceTaskIds=None if self.proto else list(noun.reference_task_ids or ()) or None,
        )
        return self._said("message", {**written, "content" if self.proto else "parts": parts, **more})

    def push(self, noun: TaskPushNotificationConfig) -> Json:
        """A push configuration, nested in the name of its task, or in one that says its task."""
        config = {"url": noun.url} | _given(id=noun.id, token=noun.token)
        if noun.authentication is not None:
            config["authentication"] = {"schemes": [noun.authentication.scheme]}
        name = f"tasks/{noun.task_id}/pushNotificationConfigs/{noun.id}"
        return {**({"name": name} if self.proto else {"taskId": noun.task_id}), "pushNotificationConfig": config}

    def _status(self, noun: TaskStatus) -> Json:
        state = noun.state.value if self.proto else _STATES[noun.state]
        if self.proto and noun.state == TaskState.CANCELED:
            state = "TASK_STATE_CANCELLED"
        message = self.message(noun.message) if noun.message is not None else None
        return {"state": state} | _given(message=message, timestamp=noun.timestamp)

    def _artifact(self, noun: Artifact) -> Json:
        parts: list[JsonValue] = [self._part(one) for one in noun.parts]
        more = _given(
            name=noun.name,
            description=noun.description,
            metadata=noun.metadata,
            extensions=list(noun.extensions or ()) or None,
        )
        return {"artifactId": noun.artifact_id, "parts": parts, **more}

    def _part(self, noun: Part) -> Json:
        """A part: text, file or data. 0.3 has objects as data only, so another value is put into one."""
        kind: str
        value: JsonValue
        if noun.text is not None:
            kind, value = "text", noun.text
        elif noun.raw is not None or noun.url is not None:
            names = ("fileWithBytes", "fileWithUri") if self.proto else ("bytes", "uri")
            content: Json = {names[0]: noun.raw} if noun.raw is not None else {names[1]: noun.url}
            kind, value = "file", content | _given(mimeType=noun.media_type, name=noun.filename)
        else:
            kind, value = "data", noun.data if isinstance(noun.data, dict) else {"value": noun.data}
            value = {"data": value} if self.proto else value
        return self._said(kind, {kind: value, **_given(metadata=noun.metadata)})

    def _said(self, kind: str, written: Json) -> Json:
        return written if self.proto else {"kind": kind, **written}


JSON_RPC, REST = Binding(proto=False), Binding(proto=True)

_OTHERWISE = frozenset({"task_id", "taskId", "context_id", "contextId", "sessionId", "content"})
"""Members of a message that are read under other names."""


def _configuration(configuration: Json) -> Json:
    read = _present(configuration, "acceptedOutputModes", "historyLength")
    if configuration.get("blocking") is False:
        read["returnImmediately"] = True
    push = configuration.get("pushNotification", configuration.get("pushNotificationConfig"))  # the proto's name first
    if isinstance(push, dict):
        read["taskPushNotificationConfig"] = _push_of(push)
    return read


def list_params(params: Json) -> Json:
    """Parameters of a list; before 1.0 there was none, so 1.0's are taken with the states as they were called."""
    named = {name: state.value for state, name in _STATES.items()}
    status = params.get("status")
    return {**params, "status": named.get(status, status)} if isinstance(status, str) else params


def task_params(params: Json) -> Json:
    """Parameters that name a task."""
    found = [params[name] for name in ("id", "taskId", "task_id") if name in params]
    return {**params, "id": found[0]} if found else params


def push_config(params: Json) -> Json:
    """A push configuration, which 0.3 nests and names otherwise; the proto puts it into the request that makes it."""
    request = _camel(params)
    inner = request.get("config")
    push = (_camel(inner) if isinstance(inner, dict) else request).get("pushNotificationConfig")
    task_id = params.get("taskId") or params.get("id")
    read = {"id": request.get("configId"), **_push_of(push if isinstance(push, dict) else {})}
    return read if task_id is None else {**read, "taskId": task_id}


def _push_of(push: Json) -> Json:
    read: Json = {name: push[name] for name in ("url", "id", "token") if push.get(name) is not None}
    read["protocolVersion"] = "0.3"
    authentication = push.get("authentication")
    if isinstance(authentication, dict) and authentication:
        schemes = authentication.get("schemes")
        scheme = schemes[0] if isinstance(schemes, list) and schemes else authentication.get("scheme", "Bearer")
        read["authentication"] = {"scheme": scheme, "credentials": authentication.get("credentials")}
    return read


def _camel(fields: Json) -> Json:
    """An object with its names in the one spelling; ProtoJSON takes both."""
    return {to_camel(name) if "_" in name else name: value for name, value in fields.items()}


def _present(fields: Json, *names: str) -> Json:
    return {name: fields[name] for name in names if name in fields}


def _given(**fields: JsonValue) -> Json:
    return {name: value for name, value in fields.items() if value is not None}
