"""Whatever fails, a model reads what happened and what to do next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import pytest
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.server.prose import explain


def kinds(kind: type[McpA2AError] = McpA2AError) -> Iterator[type[McpA2AError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from kinds(child)


def failed_with(error: BaseException) -> ToolError:
    failure = ToolError("Error executing tool send_task")
    failure.__cause__ = error
    return failure


@pytest.mark.parametrize("code", sorted({kind.code for kind in kinds()}))
def test_every_error_keeps_its_message_and_its_hint(code: str):
    text = explain("send_task", failed_with(McpA2AError.rebuild(code, "This happened.", "Do that.")))
    assert "This happened." in text
    assert text.endswith("Do that.")


def test_an_error_without_a_hint_is_only_its_message():
    assert explain("send_task", failed_with(ConfigurationError("This happened."))) == "This happened."


def test_an_error_that_a_task_group_wrapped_is_found():
    wrapped = ExceptionGroup("group", [ExceptionGroup("group", [ConfigurationError("This happened.", "Do that.")])])
    assert explain("send_task", failed_with(wrapped)) == "This happened. Do that."


def test_an_error_of_a_kind_that_is_not_known_here_may_quote_anybody():
    text = explain("send_task", failed_with(McpA2AError.rebuild("of_tomorrow", "This happened.", "Do that.")))
    assert re.search(r"<(untrusted-\w{8})>\nThis happened\.\n</\1>\nNext: Do that\.\Z", text)


def test_an_error_said_on_purpose_is_passed_on():
    assert explain("extra", failed_with(ToolError("The tool says no."))) == "The tool says no."


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"flag": None}, "flag: it should be true or false (got null)"),
        ({"files": [{"path": None, "on": True}]}, 'files.0: it should be a text (got {"path": null, "on": true})'),
        ({"files": ["x"] * 3}, 'files: it should have at most 2 items (got ["x", "x", "x"])'),
        ({"text": ""}, 'text: it should have at least 1 character (got "")'),
        ({"text": "é" * 5}, 'text: it should have at most 4 characters (got "ééééé")'),
    ],
)
def test_an_argument_that_does_not_fit_is_told_in_words_of_json(argument: dict[str, object], said: str) -> None:
    class Arguments(BaseModel):
        flag: bool = True
        files: Annotated[tuple[str, ...], Field(max_length=2)] = ()
        text: Annotated[str, BeforeValidator(lambda value: value), Field(min_length=1, max_length=4)] = "x"

    with pytest.raises(ValidationError) as failed:
        Arguments.model_validate(argument)
    assert f" {said}. " in explain("send_task", failed_with(failed.value))
