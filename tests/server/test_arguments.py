"""Arguments: null is "not given", and what is wrong with one is said in the words of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from mcp.client import Client
from mcp.types import Tool
from pydantic import JsonValue

from mcp_a2a.protocol.moment import Moment
from mcp_a2a.server.toolset import input_schema
from tests.server.standin import StandIn
from tests.server.test_tools import REQUIRED, text_of

Connect = Callable[..., Client]

PYTHON = re.compile(
    r"\bNone\b|\bTrue\b|\bFalse\b|\bdict\b|\btuple\b|\bstr\b|\bint\b|\bValueError|\bTypeError|NoneType|[Pp]ydantic|"
    r"\bclass\b|Traceback|mcp_a2a\.|ValidationError|Input should|validation error|Resolver|\bkwargs\b"
)
"""Words of Python, of its libraries and of this code."""

WRONG: list[JsonValue] = [None, "", "x", "x" * 5_000, 5, -1, 1e300, True, [], [5], ["x"], {}, {"a": None}, "\x1b[31m"]


def keywords(value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from keywords(inner)
    if isinstance(value, list):
        for inner in value:
            yield from keywords(inner)


async def listed(connect: Connect) -> list[Tool]:
    async with connect() as client:
        return (await client.list_tools()).tools


async def test_no_schema_has_null_a_reference_a_title_or_a_word_of_python(connect: Connect):
    for tool in await listed(connect):
        for schema in (tool.input_schema, tool.output_schema or {}):
            found = list(keywords(schema))
            assert not [name for name, _ in found if name in ("title", "$ref", "$defs", "anyOf", "allOf")], tool.name
            assert not [pair for pair in found if pair[1] is None or pair == ("type", "null")], tool.name
        assert not PYTHON.search(json.dumps(tool.input_schema)), tool.name
        assert not PYTHON.search(tool.description or ""), tool.name


async def test_a_filter_of_states_lists_every_word_and_no_other(connect: Connect):
    (tool,) = [tool for tool in await listed(connect) if tool.name == "list_tasks"]
    assert tool.input_schema["properties"]["state"]["enum"] == list(Moment)


def test_what_a_schema_says_stays():
    slim = input_schema({
        "type": "object", "title": "x", "required": ["a"],
        "$defs": {"Kind": {"enum": ["a", "b"], "title": "Kind", "type": "string", "description": "Of ours."}},
        "properties": {
            "title": {"title": "Title", "type": "string", "default": ""},
            "a": {"anyOf": [{"$ref": "#/$defs/Kind"}, {"type": "null"}], "default": None, "description": "Which."},
            "b": {"anyOf": [{"type": "string"}, {"type": "integer"}], "default": 0},
        },
    })  # fmt: skip
    assert slim == {
        "type": "object",
        "required": ["a"],
        "properties": {
            "title": {"type": "string"},
            "a": {"enum": ["a", "b"], "type": "string", "description": "Which."},
            "b": {"anyOf": [{"type": "string"}, {"type": "integer"}], "default": 0},
        },
    }


async def test_null_is_not_given_for_each_optional_argument_by_itself(connect: Connect, node: StandIn):
    async with connect() as client:
        for tool in (await client.list_tools()).tools:
            required = REQUIRED.get(tool.name, {})
            if tool.name == "accept_contact":
                continue
            for name in tool.input_schema["properties"]:
                if name in required:
                    continue
                node.asked.clear()
                assert not (await client.call_tool(tool.name, required)).is_error
                result = await client.call_tool(tool.name, {**required, name: None})
                assert not result.is_error, (tool.name, name, text_of(result))
                assert node.asked[0] == node.asked[1]


async def test_null_within_the_data_of_a_task_is_data(connect: Connect, node: StandIn):
    async with connect() as client:
        await client.call_tool("send_task", {"agent": "bob", "message": "hi", "data": {"a": None, "b": [None]}})
    (request,) = node.asked
    (part,) = request.parts  # type: ignore[attr-defined]
    assert part.data == {"a": None, "b": [None]}


@pytest.mark.parametrize("value", WRONG, ids=lambda value: ascii(value)[:20])
async def test_a_model_reads_no_word_of_python_whatever_it_gives(connect: Connect, value: JsonValue):
    async with connect() as client:
        for tool in (await client.list_tools()).tools:
            for name in tool.input_schema["properties"]:
                given = {**REQUIRED.get(tool.name, {}), "wait_seconds": 0, name: value}
                given = {key: inner for key, inner in given.items() if key in tool.input_schema["properties"]}
                result = await client.call_tool(tool.name, given)
                assert not PYTHON.search(text_of(result)), (tool.name, name, text_of(result))
                assert not PYTHON.search(json.dumps(result.structured_content)), (tool.name, name)
                if result.is_error:
                    assert name in text_of(result), "it says which argument"


@pytest.mark.parametrize(
    ("tool", "argument", "value", "says"),
    [
        ("discover", "limit", 0, "limit: it should be at least 1 (got 0)"),
        ("discover", "limit", 101, "limit: it should be at most 100 (got 101)"),
        ("discover", "limit", 1.5, "limit: it should be a whole number (got 1.5)"),
        ("send_task", "wait_seconds", "soon", 'wait_seconds: it should be a number (got "soon")'),
        ("send_task", "files", [""], "files.0: it should have at least 1 character"),
        ("list_tasks", "state", "TASK_STATE_WORKING", "state: it should be queued, stored, held, submitted, working,"),
        (
            "answer_task",
            "status",
            "done",
            "status: it should be working, completed, failed, input_required or rejected",
        ),
        ("list_tasks", "direction", "both", "direction: it should be sent or received"),
    ],
)
async def test_what_is_wrong_is_said_with_what_would_be_right(
    connect: Connect, tool: str, argument: str, value: JsonValue, says: str
):
    async with connect() as client:
        result = await client.call_tool(tool, {**REQUIRED.get(tool, {}), argument: value})
    assert says in text_of(result)
