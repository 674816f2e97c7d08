"""The arguments that several tools share: their types, bounds and descriptions."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.text import preview
from mcp_a2a.server.fence import unwrapped


def without_unset(arguments: Mapping[str, object], schema: Mapping[str, object]) -> dict[str, object]:
    """The arguments of a call, less those by which a model means "not given": null, and "" where no text is meant."""
    properties = schema.get("properties")
    kinds = properties if isinstance(properties, dict) else {}
    return {
        name: value
        for name, value in arguments.items()
        if value is not None and (value != "" or _is_text(kinds.get(name)))
    }


def check_names(what: str, given: Mapping[str, object], known: Collection[str]) -> None:
    """Check that all given names are arguments of `what`. Ignored, a file would stay behind or a limit not be kept.

    Null is "not given". What clients add for themselves is ignored: no model could leave it out.

    Raises:
        ConfigurationError: an argument is given that there is not; the message names it, the hint those that there are.
    """
    odd = [name for name, value in given.items() if name not in known and value is not None and not _is_added(name)]
    if not odd:
        return
    left = [name for name in known if name not in given]
    meant = [*difflib.get_close_matches(odd[0].lower(), left, n=1, cutoff=MISSPELLED)]
    shown = ", ".join(json.dumps(preview(name, NAME_SHOWN), ensure_ascii=False) for name in odd[:NAMES_SHOWN])
    raise ConfigurationError(
        f"{what} was not called: it has no argument {shown}.",
        (f"Call it again with {meant[0]} instead. " if meant else "")
        + (f"Its arguments: {', '.join(known)}." if known else "It takes no arguments."),
    )


def _is_added(name: str) -> bool:
    return name.startswith("_") or name in ADDED


ADDED = frozenset({"toolCallId", "sessionId", "action", "chatInput"})
"""Names that n8n adds to the arguments of its calls. Other clients begin such names with an underscore."""

MISSPELLED = 0.75
"""The likeness (`difflib`) of two argument names above which one means the other: waitSeconds, file, contextid."""

NAME_SHOWN = 60
NAMES_SHOWN = 5


def _is_text(kind: object) -> bool:
    """True if any text may be meant: "" is none of a list of words."""
    return isinstance(kind, dict) and kind.get("type") == "string" and "enum" not in kind


def _without_fence(value: object) -> object:
    """A model may copy an agent's words out of a result together with the tags around them."""
    return unwrapped(value) if isinstance(value, str) else value


# Work-around (mcp), look again 2027-03: https://github.com/modelcontextprotocol/python-sdk/issues/1873
# A plain string with "" for "not given", and not `str | None`: into an optional string the SDK parses JSON, so a text
# that happens to be a JSON object would be refused.
OptionalText: TypeAlias = Annotated[str, BeforeValidator(_without_fence)]

AgentName: TypeAlias = Annotated[
    str,
    BeforeValidator(_without_fence),
    Field(
        min_length=1,
        max_length=512,
        description="Name or did of the agent, as discover shows it; or the https URL of an A2A agent.",
    ),
]
SkillId: TypeAlias = Annotated[
    str,
    BeforeValidator(_without_fence),
    Field(min_length=1, max_length=128, description="Id of the skill, as discover shows it."),
]
Message: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        description="The work in plain words, with all the agent needs: it sees nothing else of this conversation.",
    ),
]
ReplyText: TypeAlias = Annotated[
    str,
    Field(min_length=1, description="The answer to its question, or what the agent should know besides."),
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
    Field(max_length=256, description="task_id of an earlier task, to continue its conversation."),
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
