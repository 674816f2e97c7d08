from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from mcp_a2a.protocol.model import Message, Part, Role, words_of


def said(*parts: Part) -> str:
    return words_of(Message(message_id="1", role=Role.AGENT, parts=parts))


def test_a_message_says_its_text_and_its_data_only_where_it_has_none() -> None:
    assert said(Part(text="one"), Part(data={"x": 1}), Part(text="two")) == "one\ntwo"
    assert said(Part(text=""), Part(data={"x": 1})) == '{"x": 1}'
    assert said(Part(text=""), Part(raw="AA==")) == ""


@pytest.mark.parametrize("data", [{"ü": [1, None]}, [], {}, 0, False, "plain", "two\nlines"])
def test_data_alone_is_said_as_json_that_reads_back(data: JsonValue) -> None:
    assert json.loads(said(Part(data=data))) == data


def test_each_data_part_is_one_line() -> None:
    assert said(Part(data={"a": "x\ny"}), Part(url="https://a.example/"), Part(data=2)) == '{"a": "x\\ny"}\n2'
