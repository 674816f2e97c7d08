"""Type hints become the input schema, and what a task brings becomes the arguments, or a sentence about why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from mcp_a2a.agent.signature import ArgumentsError, Signature
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.node.worker.task_context import TaskContext


class Order(BaseModel):
    """What is bought."""

    item: str
    count: int = 1


@dataclass
class Point:
    """A place."""

    x: float
    y: float


def of(function: object) -> Signature:
    return Signature.of("do-it", function)  # type: ignore[arg-type]


def test_one_text_parameter_gets_the_text_as_it_is() -> None:
    def skill(text: str) -> None: ...

    signature = of(skill)
    assert signature.schema is None
    assert signature.bind('{"text": "not parsed"}', []) == {"text": '{"text": "not parsed"}'}
    assert signature.bind("", []) == {"text": ""}


def test_one_text_parameter_may_be_given_by_name_as_data() -> None:
    def skill(text: str) -> None: ...

    assert of(skill).bind("", [{"text": "hello"}]) == {"text": "hello"}
    assert of(skill).bind("", ["hello"]) == {"text": "hello"}


def test_a_parameter_without_a_hint_is_text() -> None:
    def skill(text) -> None: ...  # type: ignore[no-untyped-def]

    assert of(skill).bind("hello", []) == {"text": "hello"}


@pytest.mark.parametrize("hint", [str, str | None, Annotated[str, Field(max_length=9)]])
def test_optional_and_annotated_text_is_text_too(hint: object) -> None:
    def skill(text: object) -> None: ...

    skill.__annotations__["text"] = hint
    assert of(skill).text_parameter == "text"


def test_a_list_of_texts_is_no_text() -> None:
    def skill(words: list[str]) -> None: ...

    assert of(skill).text_parameter is None
    assert of(skill).bind('["a", "b"]', []) == {"words": ["a", "b"]}


def test_several_parameters_come_from_data_or_from_json_text() -> None:
    def skill(text: str, times: int) -> None: ...

    signature = of(skill)
    assert signature.bind("", [{"text": "a", "times": 2}]) == {"text": "a", "times": 2}
    assert signature.bind('{"text": "a", "times": 2}', []) == {"text": "a", "times": 2}


def test_plain_text_goes_to_the_only_required_text_parameter() -> None:
    def skill(text: str, language: str = "en", loud: bool = False) -> None: ...  # noqa: FBT001, FBT002

    signature = of(skill)
    assert signature.bind("hello", []) == {"text": "hello", "language": "en", "loud": False}
    assert signature.bind("42", [])["text"] == "42"
    assert signature.bind('{"text": "hello", "language": "de"}', [])["language"] == "de"
    assert signature.bind('{"other": 1}', [])["text"] == '{"other": 1}'


def test_a_text_that_begins_like_endless_json_is_a_text() -> None:
    def skill(text: str, language: str = "en") -> None: ...

    def other(times: int) -> None: ...

    endless = "[" * 100_000
    assert of(skill).bind(endless, []) == {"text": endless, "language": "en"}
    with pytest.raises(ArgumentsError):
        of(other).bind(endless, [])


def test_null_for_what_may_be_left_out_is_not_given_unless_it_can_be_null() -> None:
    def skill(a: int, b: int = 2, c: int | None = 3) -> None: ...

    assert of(skill).bind("", [{"a": 1, "b": None, "c": None}]) == {"a": 1, "b": 2, "c": None}
    assert of(skill).bind('{"a": 1, "b": null}', []) == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(ArgumentsError, match="a: it should be a whole number"):
        of(skill).bind("", [{"a": None, "b": None}])


def test_a_task_that_brings_nothing_leaves_the_defaults() -> None:
    def several(width: int = 640, height: int = 480) -> None: ...

    def one(times: int = 3) -> None: ...

    def text(name: str = "World") -> None: ...

    def optional(count: int | None = 3) -> None: ...

    for data in ([], [None]):
        assert of(several).bind("", data) == {"width": 640, "height": 480}
        assert of(one).bind("", data) == {"times": 3}
        assert of(text).bind("", data) == {"name": "World"}
    assert of(optional).bind("", []) == {"count": 3}
    assert of(optional).bind("", [None]) == {"count": None}
    with pytest.raises(ArgumentsError, match='It got the text "wide"'):
        of(several).bind("wide", [])


@pytest.mark.parametrize(("text", "data"), [("{}", []), ("", [{}]), ('{"options": {}}', []), ("", [{"options": {}}])])
def test_an_empty_object_may_be_the_value_of_a_single_parameter(text: str, data: list[dict[str, object]]) -> None:
    def skill(options: dict[str, int]) -> None: ...

    def needless(options: dict[str, int] = {"a": 1}) -> None: ...  # noqa: B006

    assert of(skill).bind(text, data) == {"options": {}}  # type: ignore[arg-type]
    named = "options" in text or any(data)
    assert of(needless).bind(text, data) == {"options": {} if named else {"a": 1}}  # type: ignore[arg-type]


def test_the_schema_names_types_descriptions_and_defaults() -> None:
    def skill(text: str, times: Annotated[int, Field(ge=1, description="How often.")] = 1) -> None: ...

    schema = of(skill).schema
    assert schema is not None
    assert schema["required"] == ["text"]
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == ["text", "times"]
    assert properties["times"] == {
        "default": 1,
        "description": "How often.",
        "minimum": 1,
        "title": "times",
        "type": "integer",
    }


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"item": "tea", "count": 2}', []),
        ("", [{"order": {"item": "tea", "count": 2}}]),
        ("", [{"item": "tea", "count": 2}]),
    ],
)
def test_a_model_may_be_given_by_name_or_by_itself(text: str, data: list[dict[str, object]]) -> None:
    def skill(order: Order) -> None: ...

    assert of(skill).bind(text, data) == {"order": Order(item="tea", count=2)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (int, "42", 42),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (date, "2026-11-21", date(2026, 11, 21)),
        (Literal["red", "blue"], "red", "red"),
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (list[int], "[1, 2]", [1, 2]),
    ],
)
def test_a_single_value_may_be_the_text(hint: object, text: str, expected: object) -> None:
    def skill(value: object) -> None: ...

    skill.__annotations__["value"] = hint
    assert of(skill).bind(text, []) == {"value": expected}


def test_names_that_pydantic_uses_itself_are_names_like_others() -> None:
    def skill(json: str, copy: int, model_config: int, _private: int = 1) -> None: ...

    given = {"json": "a", "copy": 1, "model_config": 2}
    assert of(skill).bind("", [given]) == {**given, "_private": 1}


def test_a_task_context_is_no_input() -> None:
    def skill(task: TaskContext, text: str) -> None: ...

    signature = of(skill)
    assert signature.task_parameter == "task"
    assert signature.bind("hello", []) == {"text": "hello"}


def test_a_function_without_inputs_takes_anything() -> None:
    def skill() -> None: ...

    assert of(skill).bind("whatever", [1]) == {}


@pytest.mark.parametrize(
    ("text", "data", "says"),
    [
        ("hello", [], 'It got the text "hello".'),
        ("", [], "It got nothing."),
        ("", [7], "It got the data 7."),
        ("", [{"text": "a"}], "times: it is required"),
        ("", [{"text": "a", "times": "many"}], "times: it should be a whole number"),
        ("", [{"text": "a", "times": 1, "more": 1}], "more: there is no such field"),
        ('{"text": "a", "tines": 1}', [], "times: it is required; tines: there is no such field"),
    ],
)
def test_wrong_arguments_are_told_what_was_expected_and_what_is_wrong(text: str, data: list[object], says: str) -> None:
    def skill(text: str, times: int) -> None: ...

    with pytest.raises(ArgumentsError) as caught:
        of(skill).bind(text, data)  # type: ignore[arg-type]
    assert str(caught.value).startswith("do-it takes {text: string, times: integer}: a data part, or a text")
    assert says in str(caught.value)


def test_a_parameter_without_a_name_is_refused_when_the_skill_is_made() -> None:
    def skill(*words: str) -> None: ...

    with pytest.raises(ConfigurationError, match=r"\*words.*'do-it' has no name that a task could give"):
        of(skill)


def test_a_type_that_cannot_travel_is_refused_when_the_skill_is_made() -> None:
    class Socket: ...

    def skill(socket: object) -> None: ...

    skill.__annotations__["socket"] = Socket
    with pytest.raises(ConfigurationError, match="'do-it' cannot come from a task"):
        of(skill)


def test_a_hint_that_cannot_be_found_is_refused_with_what_to_do() -> None:
    def skill(order: object) -> None: ...

    skill.__annotations__["order"] = "Missing"
    with pytest.raises(ConfigurationError, match="not under TYPE_CHECKING"):
        of(skill)
