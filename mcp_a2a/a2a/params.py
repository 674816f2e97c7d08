"""The parameters of the operations of A2A 1.0, as ProtoJSON has them: either spelling of a name, null is absent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue

from mcp_a2a.protocol.model import A2AModel, Message, OptionalId, Role, TaskPushNotificationConfig, TaskState

Id = Annotated[str, Field(min_length=1, max_length=256)]


_STATES = (None, *TaskState)
_ROLES: tuple[Role | None, ...] = (None, *Role)
"""Values of the enumerations by their numbers in the specification's protobuf; 0 is unspecified."""


def _enum(value: object, values: Sequence[object]) -> object:
    """The value that a number stands for: a parser of ProtoJSON takes either."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(values):
        return value
    return values[value]


def _state(state: object) -> object:
    """A state by name or number; in a query, a number is a text."""
    if state == "TASK_STATE_UNSPECIFIED":
        return None
    return _enum(int(state) if isinstance(state, str) and state in "012345678" and state else state, _STATES)


def _message(message: object) -> object:
    if not isinstance(message, dict):
        return message
    read = dict(message)
    if "role" in read:
        read["role"] = _enum(read["role"], _ROLES)
    if isinstance(read.get("parts"), list):
        read["parts"] = [_part(part) for part in read["parts"]]
    return read


_CONTENTS = ("text", "raw", "url", "data")


def _part(part: object) -> object:
    """The content that is meant: what is null is absent, and some writers print the others of the oneof too, empty."""
    if not isinstance(part, dict):
        return part
    named = [name for name in _CONTENTS if name in part]
    filled = [name for name in named if part[name] not in (None, "", {}, [])]
    if len(named) < 2 or len(filled) > 1:
        return part
    meant = (filled or [name for name in named if part[name] is not None] or named[-1:])[0]
    return {name: value for name, value in part.items() if name not in _CONTENTS or name == meant}


class Params(A2AModel):
    """Base of all parameters."""

    model_config = ConfigDict(
        alias_generator=A2AModel.model_config["alias_generator"], populate_by_name=True, frozen=True, extra="ignore"
    )

    tenant: str | None = None


class SendConfiguration(A2AModel):
    """The form in which a message is to be answered (A2A 3.2.2)."""

    accepted_output_modes: tuple[str, ...] | None = None
    task_push_notification_config: TaskPushNotificationConfig | None = None
    history_length: int | None = Field(default=None, ge=0)
    return_immediately: bool | None = None


def _identified(message: Message) -> Message:
    if not message.message_id:
        raise ValueError("a message has a messageId")
    return message


class SendParams(Params):
    """SendMessage, SendStreamingMessage."""

    message: Annotated[Message, BeforeValidator(_message), AfterValidator(_identified)]
    configuration: SendConfiguration | None = None
    metadata: dict[str, JsonValue] | None = None

    @property
    def history_length(self) -> int | None:
        """As in `TaskParams`: how much of the history is asked for."""
        return self.configuration.history_length if self.configuration is not None else None


class TaskParams(Params):
    """GetTask, CancelTask, SubscribeToTask."""

    id: Id
    history_length: int | None = Field(default=None, ge=0)


DEFAULT_PAGE = 50
"""Tasks of a list whose request gives no page size (A2A 3.1.4)."""


class ListParams(Params):
    """ListTasks."""

    context_id: OptionalId = None
    status: Annotated[TaskState | None, BeforeValidator(_state)] = None
    page_size: int | None = Field(default=None, ge=1, le=100)
    page_token: str | None = None
    history_length: int | None = Field(default=None, ge=0)
    status_timestamp_after: str | None = None
    include_artifacts: bool | None = None

    @property
    def size(self) -> int:
        """Tasks at most."""
        return self.page_size or DEFAULT_PAGE


class PushParams(Params):
    """Push configurations of a task."""

    task_id: Id


class OnePushParams(PushParams):
    """One of them, by its id."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
