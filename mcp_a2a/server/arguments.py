"""The arguments that several tools share: their types, bounds and descriptions."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field


def _blank_for_none(value: object) -> object:
    return "" if value is None else value


# A plain string with "" for "not given", and not `str | None`: into an optional string the SDK parses JSON, so a text
# that happens to be a JSON object would be refused. Models that send null for what they leave out are understood.
OptionalText: TypeAlias = Annotated[str, BeforeValidator(_blank_for_none)]

AgentName: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="Name or did:key of the agent, as discover shows it; or the https URL of an A2A agent.",
    ),
]
Message: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        description="The work in plain words, with all the agent needs: it sees nothing else of this conversation.",
    ),
]
Data: TypeAlias = Annotated[
    dict[str, object] | None,
    Field(description="Structured input, where the skill has an input_schema."),
]
SendWait: TypeAlias = Annotated[
    float,
    Field(
        ge=0,
        le=45,
        description="Seconds to wait for the answer; after them the task goes on.",
    ),
]
PollWait: TypeAlias = Annotated[
    float,
    Field(ge=0, le=45, description="Seconds to wait for news; 0 answers at once."),
]
ContextId: TypeAlias = Annotated[
    OptionalText,
    Field(max_length=256, description="context_id of an earlier task, to continue that conversation."),
]
IdempotencyKey: TypeAlias = Annotated[
    OptionalText,
    Field(
        max_length=256,
        description="Any string of yours. Calling again with it is the same task, not a second.",
    ),
]
TaskId: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=256, description="The task_id, or an unambiguous beginning of it."),
]
