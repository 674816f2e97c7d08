"""The nouns of A2A v1.0, spelled as they travel (specification `lf.a2a.v1`, ProtoJSON).

JSON is lowerCamelCase, unset fields are omitted, unknown fields are ignored on reading. Nothing here knows how a
message travels.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

from mcp_a2a.protocol.state import Delivery as Delivery  # noqa: PLC0414  a noun of A2A, for those who use the others
from mcp_a2a.protocol.state import TaskState as TaskState  # noqa: PLC0414  as above


class A2AModel(BaseModel):
    """Base of every A2A noun: frozen, camelCase on the wire, lenient about what it does not know."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> str:
        """The noun as it travels."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def _unset(text: object) -> object:
    return None if text == "" else text


def _is_empty(value: object) -> bool:
    return value is None or value == ()


Repeated = Field(default=None, exclude_if=_is_empty)
"""A repeated field that may be left out: ProtoJSON has no empty lists, also where they came in as such."""


OptionalId = Annotated[str | None, BeforeValidator(_unset)]
"""An id that may be left out; in protobuf an empty one is."""


def _plain_base64(text: str | None) -> str | None:
    if text is None:
        return None
    plain = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    return plain + "=" * (-len(plain) % 4)


Base64 = Annotated[str | None, AfterValidator(_plain_base64)]
"""Base64 as we write it: some have the alphabet of URLs, some leave out the end."""


class Role(StrEnum):
    """The author of a message (A2A 4.1.5)."""

    USER = "ROLE_USER"
    AGENT = "ROLE_AGENT"


class Part(A2AModel):
    """A piece of content: exactly one of `text`, `raw` (base64), `url` or `data`."""

    text: str | None = None
    raw: Base64 = None
    url: str | None = None
    data: JsonValue = None
    filename: str | None = None
    media_type: str | None = None
    metadata: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Part:
        # What is null is absent; only `data` may be JSON null, so there presence counts.
        has_data = "data" in self.__pydantic_fields_set__
        if (self.text is not None) + (self.raw is not None) + (self.url is not None) + has_data != 1:
            raise ValueError("a part holds exactly one of text, raw, url, data")
        return self

    @model_serializer(mode="wrap")
    def _keep_null_data(self, handler: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        # A data part may hold JSON null, which `exclude_none` would drop together with the part's meaning.
        fields: dict[str, JsonValue] = handler(self)
        if self.data is None and "data" in self.__pydantic_fields_set__:
            fields["data"] = None
        return fields


class Message(A2AModel):
    """One turn of a conversation."""

    message_id: str
    role: Role
    parts: tuple[Part, ...] = Field(min_length=1)
    context_id: OptionalId = None
    task_id: OptionalId = None
    metadata: dict[str, JsonValue] | None = None
    extensions: tuple[str, ...] | None = Repeated
    reference_task_ids: tuple[str, ...] | None = Repeated

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return text_of(self.parts)


class Artifact(A2AModel):
    """Something a task produced."""

    artifact_id: str
    parts: tuple[Part, ...] = Field(min_length=1)
    name: str | None = None
    description: str | None = None
    metadata: dict[str, JsonValue] | None = None
    extensions: tuple[str, ...] | None = Repeated


class ArtifactChunk(A2AModel):
    """A piece of an artifact, as it grows: the same as an artifact update without the names of its task."""

    artifact: Artifact
    append: bool = False
    """True if its parts come behind those the artifact has; else they replace it."""
    last_chunk: bool = False


class TaskStatus(A2AModel):
    """A state, since when (ISO 8601 UTC), and what the agent says about it."""

    state: TaskState
    message: Message | None = None
    timestamp: str | None = None


class TaskDocument(A2AModel):
    """A unit of work with an identity: `Task` of A2A. The value from which it is made is `task.Task`."""

    id: str
    status: TaskStatus
    context_id: str | None = None
    artifacts: tuple[Artifact, ...] = Field(default=(), exclude_if=_is_empty)
    history: tuple[Message, ...] = Field(default=(), exclude_if=_is_empty)
    metadata: dict[str, JsonValue] | None = None


class TaskStatusUpdateEvent(A2AModel):
    """A task has moved (A2A 4.2.1)."""

    task_id: str
    context_id: str
    status: TaskStatus
    metadata: dict[str, JsonValue] | None = None


class TaskArtifactUpdateEvent(ArtifactChunk):
    """An artifact has grown (A2A 4.2.2)."""

    task_id: str
    context_id: str
    metadata: dict[str, JsonValue] | None = None


class StreamResponse(A2AModel):
    """One event of a stream: exactly one of them (A2A 3.2.3)."""

    task: TaskDocument | None = None
    message: Message | None = None
    status_update: TaskStatusUpdateEvent | None = None
    artifact_update: TaskArtifactUpdateEvent | None = None


_HEADER_VALUE = r"^[\x20-\x7e]*$"
"""Text that an HTTP header can hold without becoming two headers."""


class AuthenticationInfo(A2AModel):
    """The authentication towards a webhook (A2A 4.3.2)."""

    scheme: str = Field(max_length=64, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    credentials: str | None = Field(default=None, max_length=4096, pattern=_HEADER_VALUE)


class TaskPushNotificationConfig(A2AModel):
    """The webhook to which the events of a task are posted (A2A 4.3.1)."""

    url: str = Field(min_length=1, max_length=2048)
    id: str | None = Field(default=None, max_length=128)
    task_id: str | None = Field(default=None, max_length=128)
    token: str | None = Field(default=None, max_length=4096, pattern=_HEADER_VALUE)
    authentication: AuthenticationInfo | None = None
    tenant: str | None = None
    protocol_version: str | None = Field(default=None, max_length=16)
    """Not a field of A2A: the version in whose words events are posted, 0.3 where the URL was named in those."""


class AgentSkill(A2AModel):
    """Something an agent can do. `input_schema` is our extension: the JSON Schema of a data part."""

    id: str = Field(min_length=1, max_length=128)
    name: str = Field(max_length=256)
    description: str = Field(max_length=4096)
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] | None = Repeated
    input_modes: tuple[str, ...] | None = Repeated
    output_modes: tuple[str, ...] | None = Repeated
    input_schema: dict[str, JsonValue] | None = None
    extended: bool | None = None
    """Not a field of A2A: the skill is in the card for callers that show who they are, and in no other."""


class AgentExtension(A2AModel):
    """A protocol extension that the agent understands, or insists on."""

    uri: str
    description: str | None = None
    required: bool | None = None
    params: dict[str, JsonValue] | None = None


class AgentCapabilities(A2AModel):
    """The optional features that the agent's interfaces support (A2A 4.4.3)."""

    streaming: bool | None = None
    push_notifications: bool | None = None
    extended_agent_card: bool | None = None
    extensions: tuple[AgentExtension, ...] | None = Repeated


class AgentProvider(A2AModel):
    """The organization that offers the agent (A2A 4.4.2)."""

    url: str
    organization: str


class AgentCardSignature(A2AModel):
    """A JWS over the card without its signatures (A2A 8.4)."""

    protected: str
    signature: str
    header: dict[str, JsonValue] | None = None


class AgentInterface(A2AModel):
    """One URL at which an agent speaks one binding."""

    url: str
    protocol_binding: str
    protocol_version: str
    tenant: str | None = None


class AgentCard(A2AModel):
    """An agent's description of itself (A2A 4.4.1). A peer-to-peer agent needs no interface URL."""

    name: str = Field(min_length=1, max_length=128)
    description: str = Field(max_length=4096)
    version: str = "0.0.0"
    supported_interfaces: tuple[AgentInterface, ...] = ()
    capabilities: AgentCapabilities = AgentCapabilities()
    default_input_modes: tuple[str, ...] = ("text/plain",)
    default_output_modes: tuple[str, ...] = ("text/plain",)
    skills: tuple[AgentSkill, ...] = Field(default=(), max_length=256)
    documentation_url: str | None = None
    icon_url: str | None = None
    provider: AgentProvider | None = None
    security_schemes: dict[str, JsonValue] | None = None
    security_requirements: tuple[dict[str, JsonValue], ...] | None = Repeated
    signatures: tuple[AgentCardSignature, ...] | None = Repeated


def words_of(message: Message) -> str:
    """The words of a message for a person: its text, or else its data as JSON."""
    if said := message.text:
        return said
    return "\n".join(json.dumps(part.data, ensure_ascii=False) for part in message.parts if part.data is not None)


def text_of(parts: tuple[Part, ...]) -> str:
    """The text parts, joined by newlines."""
    return "\n".join(part.text for part in parts if part.text is not None)


def text_of_result(artifacts: tuple[Artifact, ...]) -> str:
    """Their texts, each part on lines of its own: pieces of a stream are one part by then."""
    texts = (part.text for artifact in artifacts for part in artifact.parts)
    return "\n".join(text for text in texts if text)
