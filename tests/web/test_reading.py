"""What other people's agents answer, read with goodwill."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from mcp_a2a.a2a.client_json import parse
from mcp_a2a.a2a.client_read import read_answer, read_event
from mcp_a2a.a2a.sse import EventReader
from mcp_a2a.errors import WebAnswerError
from mcp_a2a.protocol.model import Message, Part, Task, TaskState

TASKS: dict[str, JsonValue] = {
    "1.0": {"task": {"id": "t", "status": {"state": "TASK_STATE_COMPLETED"}}},
    "0.3": {"kind": "task", "id": "t", "status": {"state": "completed"}},
    "0.3 without its kind": {"id": "t", "contextId": "c", "status": {"state": "completed"}},
    "snake case": {"task": {"id": "t", "context_id": "c", "status": {"state": "TASK_STATE_COMPLETED"}}},
    "an id that is a number": {"id": 5, "status": {"state": "completed"}},
    "a state that is a number": {"id": "t", "status": {"state": 3}},
    "a state for a status": {"id": "t", "status": "completed"},
    "a word of its own": {"task": {"id": "t", "status": {"state": "done"}}},
    "nulls": {
        "task": {"id": "t", "artifacts": None, "history": None, "status": {"state": "completed", "message": None}}
    },
}


@pytest.mark.parametrize("shape", list(TASKS))
def test_a_finished_task_is_one_however_it_is_written(shape: str) -> None:
    read = read_answer(TASKS[shape])
    assert isinstance(read, Task)
    assert read.status.state == TaskState.COMPLETED


PARTS: dict[str, tuple[JsonValue, Part]] = {
    "text": ({"text": "x"}, Part(text="x")),
    "a text alone": ("x", Part(text="x")),
    "the seeds' own": ({"type": "text", "content": "x"}, Part(text="x")),
    "0.3 file": (
        {"kind": "file", "file": {"bytes": "-_8", "mimeType": "a/b", "name": "n"}},
        Part(raw="+/8=", media_type="a/b", filename="n"),
    ),
    "0.3 link": ({"kind": "file", "file": {"uri": "http://x"}}, Part(url="http://x")),
    "data": ({"data": {"n": 12345678901234567}}, Part(data={"n": 12345678901234567})),
    "null": ({"data": None}, Part(data=None)),
}


@pytest.mark.parametrize("shape", list(PARTS))
def test_a_part_is_one_however_it_is_written(shape: str) -> None:
    written, part = PARTS[shape]
    read = read_answer({"message": {"messageId": "m", "role": "agent", "parts": [written]}})
    assert isinstance(read, Message)
    assert read.parts == (part,)


NAMES = st.sampled_from(
    [
        "task",
        "message",
        "id",
        "status",
        "state",
        "parts",
        "artifacts",
        "artifact",
        "text",
        "data",
        "file",
        "kind",
        "taskId",
        "statusUpdate",
        "artifactUpdate",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
)


@given(JSON)
def test_nothing_that_is_json_breaks_the_reader(value: JsonValue) -> None:
    for read in (read_answer, read_event):
        with suppress(WebAnswerError):
            read(value)


@given(st.binary(max_size=200))
def test_nothing_that_is_bytes_breaks_the_parser(body: bytes) -> None:
    with suppress(ValueError):
        parse(body)


STREAM = b": hello\r\ndata: one\r\n\r\nevent: x\ndata: two\ndata: lines\n\ndata:three\r\rdata: \xc3\xa9\n\n"


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=8))
def test_events_are_the_same_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader()
    told = [data for start, end in pairwise(places) for data in reader.feed(STREAM[start:end])]
    assert told + reader.end() == ["one", "two\nlines", "three", "é"]
