"""What other people's agents answer, read with goodwill."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from mcp_a2a.a2a.client_faults import check_answer
from mcp_a2a.a2a.client_parts import Fields, parse
from mcp_a2a.a2a.client_read import MAX_ID, read_answer, read_event, read_message, read_task
from mcp_a2a.a2a.client_streams import MAX_EVENT, EventReader
from mcp_a2a.errors.web import WebAnswerError
from mcp_a2a.protocol.model import Message, Part, TaskDocument, TaskState

TOO_LONG = "x" * (MAX_ID + 1)

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
    assert isinstance(read, TaskDocument)
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


STREAM = (
    b"\xef\xbb\xbf: hello\r\ndata: one\r\n\r\nevent: message\ndata: two\ndata: lines\n\n"
    b"event: ping\ndata: 2026-11-29\n\n"
    b"data\n\nid: 7\nretry: 5\n\ndata:three\r\rdata: \n\nevent:message\rdata: \xc3\xa9\n\nevent: x\n\ndata: last"
)


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=8))
def test_events_are_the_same_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader()
    told = [data for start, end in pairwise(places) for data in reader.feed(STREAM[start:end])]
    assert told + reader.end() == ["one", "two\nlines", "three", "é", "last"]


def test_a_long_line_that_comes_byte_by_byte_costs_no_more_than_its_bytes() -> None:
    reader, many = EventReader(), 20_000
    long = b"x" * (MAX_EVENT - 2 * many)
    assert reader.feed(b"data: " + long) == []

    started = time.process_time()
    assert [data for _ in range(many) for data in reader.feed(b"y")] == []
    assert time.process_time() - started < 5

    assert reader.feed(b"\n\n") == [long.decode() + "y" * many]


@pytest.mark.parametrize(
    "event",
    [
        {"statusUpdate": {"taskId": TOO_LONG, "status": {"state": "working"}}},
        {"artifactUpdate": {"taskId": TOO_LONG, "artifact": {"artifactId": "a", "parts": [{"text": "x"}]}}},
        {"message": {"taskId": TOO_LONG, "parts": [{"text": "x"}]}},
        {"task": {"id": TOO_LONG, "status": {"state": "working"}}},
    ],
)
def test_the_id_of_a_task_is_no_longer_than_any_id_wherever_an_agent_tells_it(event: dict[str, JsonValue]) -> None:
    with pytest.raises(WebAnswerError, match="longer than any id"):
        read_event(event)


def test_of_other_ids_that_an_agent_tells_no_more_is_kept_than_of_any() -> None:
    named: dict[str, JsonValue] = {"contextId": TOO_LONG, "messageId": TOO_LONG, "parts": [{"text": "x"}]}
    said = read_message(named)
    update = read_event({"statusUpdate": {"taskId": "t", "contextId": TOO_LONG, "status": {"state": "working"}}})
    assert update is not None
    assert update.status_update is not None
    assert {len(text or "") for text in (said.message_id, said.context_id, update.status_update.context_id)} == {MAX_ID}


def test_what_came_before_an_event_without_an_end_is_told() -> None:
    reader = EventReader()
    assert reader.feed(b"data: one\n\ndata: " + b"x" * (MAX_EVENT + 1)) == ["one"]
    with pytest.raises(WebAnswerError, match="does not end"):
        reader.feed(b"x")


@pytest.mark.parametrize(
    ("part", "read"),
    [
        ({"text": "", "data": {"answer": 42}}, [{"data": {"answer": 42}}]),
        ({"text": "", "raw": "", "url": "https://h/f", "data": None}, [{"url": "https://h/f"}]),
        ({"text": "", "raw": "QQ==", "url": ""}, [{"raw": "QQ=="}]),
        ({"text": "hi", "data": {}}, [{"text": "hi"}]),
        ({"text": "hi", "data": {"a": 1}}, [{"text": "hi"}, {"data": {"a": 1}}]),
        ({"text": ""}, [{"text": ""}]),
        ({"data": None}, [{"data": None}]),
        ({"data": 0}, [{"data": 0}]),
        ({"data": False, "text": ""}, [{"data": False}]),
        ({"kind": "file", "text": "", "file": {"bytes": "", "uri": "https://h/f"}}, [{"url": "https://h/f"}]),
        ({"text": "", "content": "said"}, [{"text": ""}]),
        ({"content": "said"}, [{"text": "said"}]),
        ({"kind": "video", "video": "x"}, [{"data": {"kind": "video", "video": "x"}}]),
        ({"text": ["a", "b"]}, [{"data": {"text": ["a", "b"]}}]),
        ({"raw": [104, 105]}, [{"data": {"raw": [104, 105]}}]),
        ({"kind": "video", "metadata": {"a": 1}}, [{"text": ""}]),
        ({"raw": "_-8", "filename": "f"}, [{"raw": "/+8=", "filename": "f"}]),
        (
            {"raw": "!!!", "filename": "f"},
            [{"text": "[A file f is damaged: the agent sent invalid base64.]"}],
        ),
        ({"file": {"bytes": "QQQQQ"}}, [{"text": "[A file is damaged: the agent sent invalid base64.]"}]),
    ],
)
def test_of_a_part_what_is_filled_counts(part: Fields, read: list[Fields]) -> None:
    found = read_message({"role": "agent", "parts": [part]}).parts
    assert [one.model_dump(mode="json", by_alias=True, exclude_unset=True) for one in found] == read


@pytest.mark.parametrize(
    "value",
    [
        {"task": {}, "message": {"parts": [{"text": "said"}], "messageId": "m"}},
        {"task": None, "message": {"parts": [{"text": "said"}]}},
        {"task": {"id": ""}, "message": {"parts": [{"text": "said"}]}},
    ],
)
def test_of_an_answer_what_is_filled_counts(value: Fields) -> None:
    answer = read_answer(value)
    assert isinstance(answer, Message)
    assert answer.text == "said"
    event = read_event({**value, "statusUpdate": {}, "artifactUpdate": {"artifact": None}})
    assert event is not None
    assert event.message is not None


@pytest.mark.parametrize("value", [None, {}, "ping", [], 7, {"heartbeat": True}, {"kind": "heartbeat"}])
def test_an_event_that_tells_of_nothing_is_no_news(value: JsonValue) -> None:
    assert read_event(value) is None


@pytest.mark.parametrize(
    ("history", "state", "said"),
    [
        ([{"role": "user", "parts": [{"text": "q"}]}, {"role": "agent", "parts": [{"text": "a"}]}], "completed", "a"),
        ([{"role": "ROLE_AGENT", "parts": [{"text": "which?"}]}], "TASK_STATE_INPUT_REQUIRED", "which?"),
        ([{"role": 2, "parts": [{"text": "a"}]}], 3, "a"),
        ([{"role": "agent", "parts": [{"text": "a"}]}, {"role": "user", "parts": [{"text": "q"}]}], "completed", None),
        ([{"role": "agent", "parts": [{"text": "thinking"}]}], "working", None),
        (["nonsense"], "completed", None),
    ],
)
def test_an_answer_that_stands_in_the_history_alone_is_the_answer(
    history: list[JsonValue], state: JsonValue, said: str | None
) -> None:
    message = read_task({"id": "t", "status": {"state": state}, "history": history}).status.message
    assert (message.text if message is not None else None) == said


def test_half_a_character_in_an_answer_becomes_its_replacement() -> None:
    assert parse(rb'"cut \ud83d"') == "cut \ufffd"


@pytest.mark.parametrize("answer", [{"task": {"id": "t", "status": {"state": "working"}}}, None])
def test_an_answer_in_an_envelope_without_its_version_is_in_one(answer: JsonValue) -> None:
    body = json.dumps({"id": "request", "result": answer}).encode()
    assert check_answer("https://agent.example/", 200, "application/json", body) == answer


def test_artifacts_of_one_name_are_as_many_as_there_are() -> None:
    same: list[JsonValue] = [{"artifactId": "a", "parts": [{"text": text}]} for text in ("one", "two", "three")]
    assert [one.artifact_id for one in read_task({"id": "t", "artifacts": same}).artifacts] == ["a", "a-2", "a-3"]
    assert len(read_task({"id": "t", "artifacts": same[0]}).artifacts) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("timed-out", TaskState.FAILED),
        ("aborted", TaskState.CANCELED),
        ("Denied", TaskState.REJECTED),
        ("awaiting-input", TaskState.INPUT_REQUIRED),
        ("authentication_required", TaskState.AUTH_REQUIRED),
        ("unknown", TaskState.WORKING),
    ],
)
def test_a_state_of_another_vocabulary_is_taken_for_what_it_means(said: str, meant: TaskState) -> None:
    assert read_task({"id": "t", "status": {"state": said}}).status.state == meant


@pytest.mark.parametrize("state", [3, 3.0, "3", "TASK_STATE_COMPLETED", "completed", "Completed"])
def test_a_state_is_one_however_it_is_numbered(state: JsonValue) -> None:
    assert read_task({"id": "t", "status": {"state": state}}).status.state == TaskState.COMPLETED
