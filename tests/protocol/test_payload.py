from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from mcp_a2a.errors.delivery import UnsendableError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.model import Artifact, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.payload import (
    MAX_HOP,
    MAX_PAYLOAD,
    MAX_TIME,
    AdvertBody,
    Body,
    CancelBody,
    MessageBody,
    Payload,
    PayloadType,
    TaskBody,
    TaskFailure,
    UpdateBody,
)
from tests.protocol.people import ALICE, BOB, EXPIRES, NOW, flip, task

SAMPLE = task().to_bytes()

ids = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)
texts = st.text(max_size=200)
data = st.dictionaries(st.text(max_size=8), st.integers(-9, 9) | st.none() | texts, max_size=4)
parts = st.builds(Part, text=texts) | st.builds(Part, data=data) | st.just(Part(data=None))
messages = st.builds(
    Message,
    message_id=ids,
    role=st.sampled_from(Role),
    parts=st.lists(parts, min_size=1, max_size=3).map(tuple),
)
statuses = st.builds(TaskStatus, state=st.sampled_from(TaskState), message=st.none() | messages, timestamp=st.none())
artifacts = st.builds(Artifact, artifact_id=ids, parts=st.lists(parts, min_size=1, max_size=2).map(tuple))
failures = st.builds(TaskFailure, code=ids, message=texts)
bodies: dict[str, st.SearchStrategy[Body]] = {
    "task": st.builds(TaskBody, message=messages, skill=st.none() | ids),
    "message": st.builds(MessageBody, message=messages),
    "cancel": st.builds(CancelBody, reason=st.none() | texts),
    "update": st.builds(
        UpdateBody,
        status=statuses,
        artifacts=st.lists(artifacts, max_size=2).map(tuple),
        error=st.none() | failures,
        attempt=st.integers(0, 9),
    ),
    "advert": st.builds(AdvertBody, advert=st.text(min_size=1, max_size=100)),
}


@st.composite
def payloads(draw: st.DrawFn) -> Payload:
    kinds: list[PayloadType] = ["task", "message", "cancel", "update", "advert"]
    kind = draw(st.sampled_from(kinds))
    return Payload(
        type=kind,
        id=draw(ids),
        from_=ALICE.peer_id,
        to=BOB.peer_id,
        task=draw(ids),
        re=draw(st.none() | ids),
        seq=draw(st.integers(0, 2**53 - 1)),
        hop=draw(st.integers(0, MAX_HOP)),
        created=draw(st.floats(0, MAX_TIME)),
        expires=draw(st.floats(0, MAX_TIME)),
        body=draw(bodies[kind]),
    )


def fields() -> dict[str, JsonValue]:
    content: dict[str, JsonValue] = json.loads(SAMPLE)
    return content


def read(content: dict[str, JsonValue]) -> Payload:
    return Payload.parse_untrusted(json.dumps(content).encode())


@given(payloads())
def test_a_payload_survives_being_written_and_read(payload: Payload) -> None:
    again = Payload.parse_untrusted(payload.to_bytes())

    assert again == payload
    assert again.to_bytes() == payload.to_bytes()
    assert type(again.body) is type(payload.body)


def test_a_payload_is_spelled_as_the_design_says() -> None:
    assert list(fields()) == [*("v", "type", "id", "from", "to", "task", "seq", "hop", "created", "expires", "body")]
    assert fields()["from"] == str(ALICE.peer_id)


@pytest.mark.parametrize("name", ["v", "type", "id", "from", "to", "created", "expires", "body"])
def test_a_payload_without_one_of_its_fields_is_refused(name: str) -> None:
    content = fields()
    del content[name]

    with pytest.raises(RemoteProtocolError):
        read(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", 2),
        ("v", 0),
        ("v", "1"),
        ("v", True),
        ("v", 1.0),
        ("v", None),
        ("type", "shutdown"),
        ("type", ""),
        ("type", None),
        ("type", ["task"]),
        ("type", "update"),
        ("type", "advert"),
        ("type", "cancel\n"),
        ("id", ""),
        ("id", "x" * 65),
        ("id", "with space"),
        ("id", "new\nline"),
        ("id", "ends\n"),
        ("id", "../../etc/passwd"),
        ("id", 7),
        ("from", "alice"),
        ("from", None),
        ("from", str(ALICE.peer_id).upper()),
        ("from", {"did": str(ALICE.peer_id)}),
        ("to", str(BOB.peer_id) + " "),
        ("task", ""),
        ("task", "x" * 65),
        ("task", "a/b"),
        ("task", None),
        ("re", ""),
        ("re", 5),
        ("seq", -1),
        ("seq", 1.5),
        ("seq", "1"),
        ("seq", 2**53),
        ("hop", -1),
        ("hop", MAX_HOP + 1),
        ("hop", True),
        ("created", -1),
        ("created", "now"),
        ("created", None),
        ("expires", MAX_TIME + 1),
        ("expires", True),
        ("body", None),
        ("body", []),
        ("body", "text"),
        ("body", {}),
        ("body", {"message": {}}),
        ("body", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": []}}),
        ("body", {"message": {"messageId": "m", "role": "ROLE_GOD", "parts": [{"text": "x"}]}}),
        ("body", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{}]}}),
        ("body", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": 7}]}}),
    ],
    ids=str,
)
def test_a_field_that_is_not_what_it_must_be_is_refused(name: str, value: JsonValue) -> None:
    with pytest.raises(RemoteProtocolError):
        read(fields() | {name: value})


def test_fields_that_are_not_known_yet_are_ignored() -> None:
    content = fields() | {"later": {"a": [1]}}
    body = content["body"]
    assert isinstance(body, dict)
    body["later"] = 1

    assert read(content) == Payload.parse_untrusted(SAMPLE)


def test_whole_seconds_may_be_written_as_integers() -> None:
    assert read(fields() | {"created": int(NOW)}).created == NOW


def test_a_body_is_read_by_its_type_and_never_as_another() -> None:
    content = fields() | {"type": "message"}

    assert isinstance(read(content).body, MessageBody)


def test_a_body_of_another_type_is_our_bug() -> None:
    with pytest.raises(ValidationError, match="update does not come with a CancelBody"):
        Payload(
            type="update",
            id="p-1",
            from_=ALICE.peer_id,
            to=BOB.peer_id,
            task="task-1",
            created=NOW,
            expires=EXPIRES,
            body=CancelBody(),
        )


def test_only_an_advert_is_about_no_task() -> None:
    content = fields() | {"type": "advert", "task": "", "body": {"advert": "x"}}

    assert read(content).task == ""


def test_the_largest_payload_is_read_and_one_byte_more_is_not() -> None:
    padded = SAMPLE + b" " * (MAX_PAYLOAD - len(SAMPLE))

    assert Payload.parse_untrusted(padded).id == "p-1"
    with pytest.raises(RemoteProtocolError, match="1,048,508"):
        Payload.parse_untrusted(padded + b" ")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (b'"hop":0', b'"hop":0,"hop":0'),
        (b'"hop":0', b'"hop":NaN'),
        (b'"created":1790000000.0', b'"created":Infinity'),
        (b'"created":1790000000.0', b'"created":1e999'),
        (b'"text":"', b'"text":"\\ud800'),
        (b'"text":"', b'"text":"\xff'),
        (b'"seq":0', b'"seq":0,"deep":' + b"[" * 33 + b"]" * 33),
        (b'"seq":0', b'"seq":0,"wide":[' + b"1," * 10_000 + b"1]"),
        (b'"seq":0', b'"seq":0,"long":"' + b"x" * 1_000_001 + b'"'),
    ],
    ids=lambda source: source[:24].decode(errors="replace"),
)
def test_json_beyond_the_limits_is_refused(source: bytes, target: bytes) -> None:
    assert source in SAMPLE
    with pytest.raises(RemoteProtocolError):
        Payload.parse_untrusted(SAMPLE.replace(source, target, 1))


def test_content_that_no_peer_would_accept_is_not_sent() -> None:
    deep: JsonValue = 1
    for _ in range(40):
        deep = [deep]
    body = TaskBody(message=Message(message_id="m", role=Role.USER, parts=(Part(data=deep),)))

    with pytest.raises(UnsendableError, match="deeper than 32"):
        task().model_copy(update={"body": body}).to_bytes()
    with pytest.raises(UnsendableError, match="1,000,000 bytes"):
        task("x" * 1_000_001).to_bytes()
    assert Payload.parse_untrusted(task("x" * 1_000_000).to_bytes()).id == "p-1"


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_but_a_protocol_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Payload.parse_untrusted(data)


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists), st.sampled_from([*fields()]))
def test_no_json_raises_anything_but_a_protocol_error(value: JsonValue, name: str) -> None:
    try:
        read(fields() | {name: value})
    except RemoteProtocolError:
        return


@given(st.integers(0, len(SAMPLE) * 8 - 1))
def test_no_flipped_bit_raises_anything_but_a_protocol_error(bit: int) -> None:
    try:
        Payload.parse_untrusted(flip(SAMPLE, bit))
    except RemoteProtocolError:
        return


def test_a_cut_payload_is_refused() -> None:
    for length in range(len(SAMPLE)):
        with pytest.raises(RemoteProtocolError):
            Payload.parse_untrusted(SAMPLE[:length])


def test_an_error_never_quotes_the_content() -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        read(fields() | {"id": "canary with space"})

    assert "canary" not in str(refused.value)
