from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from mcp_a2a.errors.delivery import UnsendableError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.strict_json import (
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_STRING_BYTES,
    JsonLimitError,
    base64url_untrusted,
    check_limits,
    read_json,
    read_untrusted,
    to_base64url,
)

ENOUGH = 4 * 1024 * 1024

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=10,
)


def nested(depth: int) -> str:
    return '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@given(st.dictionaries(st.text(), json_values, max_size=8), st.booleans())
def test_what_the_standard_library_writes_is_read_as_it_was(
    value: dict[str, JsonValue],
    ascii_only: bool,  # noqa: FBT001 - hypothesis passes it
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    assert read_untrusted(text.encode(), ENOUGH) == value
    check_limits(text.encode())


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_protocol_error(data: bytes) -> None:
    for candidate in (data, b'{"a":' + data + b"}", b'{"' + data + b'":1}'):
        try:
            read_untrusted(candidate, ENOUGH)
        except RemoteProtocolError:
            continue


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"{",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":1} x',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":-1e999}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"line\nbreak"}',
        b'{"a":' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        '{"a":"\ud800"}',
    ],
    ids=lambda source: repr(source)[:40],
)
def test_ambiguous_or_broken_json_is_refused(source: bytes | str) -> None:
    with pytest.raises(RemoteProtocolError):
        read_untrusted(source, ENOUGH)


def test_a_pair_of_surrogate_escapes_is_one_character() -> None:
    assert read_untrusted(b'{"a":"\\ud83d\\ude00"}', ENOUGH) == {"a": "😀"}


def test_depth_is_limited_exactly_and_brackets_in_strings_do_not_count() -> None:
    assert read_untrusted(nested(MAX_DEPTH), ENOUGH)
    with pytest.raises(RemoteProtocolError, match="deeper than 32"):
        read_untrusted(nested(MAX_DEPTH + 1), ENOUGH)
    assert read_untrusted(json.dumps({"a": "[" * 1000 + '\\"{'}), ENOUGH)
    assert read_untrusted(json.dumps({"a": [{}] * 1000}), ENOUGH)


def test_members_are_limited_exactly_and_commas_in_strings_do_not_count() -> None:
    # The object, its array, and what is in it.
    at_limit = {"a": [1] * (MAX_MEMBERS - 1)}
    beyond = {"a": [1] * MAX_MEMBERS}

    assert read_untrusted(json.dumps(at_limit), ENOUGH) == at_limit
    with pytest.raises(RemoteProtocolError, match="10,000 members"):
        read_untrusted(json.dumps(beyond), ENOUGH)
    assert read_untrusted(json.dumps({"a": "," * 50_000}), ENOUGH)


@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
def test_a_string_is_limited_in_bytes_exactly(letter: str) -> None:
    size = len(letter.encode())
    at_limit = letter * (MAX_STRING_BYTES // size)
    filler = "x" * (MAX_STRING_BYTES - len(at_limit.encode()))

    assert read_untrusted(json.dumps({"a": [at_limit + filler]}), ENOUGH)
    for ascii_only in (True, False):
        beyond = json.dumps({"a": [at_limit + filler + "x"]}, ensure_ascii=ascii_only)
        with pytest.raises(RemoteProtocolError, match="longer than 1,000,000 bytes"):
            read_untrusted(beyond, ENOUGH)
    with pytest.raises(RemoteProtocolError, match="longer than 1,000,000 bytes"):
        read_untrusted(json.dumps({at_limit + filler + "x": 1}), ENOUGH)


def test_each_caller_has_its_own_depth_and_a_web_page_is_no_nested_json() -> None:
    for depth in (2, 48, 100):
        assert read_json(nested(depth), max_depth=depth)
        with pytest.raises(JsonLimitError, match=f"deeper than {depth}"):
            read_json(nested(depth + 1), max_depth=depth)
    for page in ("<script>" + "{" * 200, "x" + "{}," * MAX_MEMBERS):
        with pytest.raises(json.JSONDecodeError):
            read_json(page, max_depth=100)


def test_what_a_careless_writer_sends_is_mended_where_that_is_asked_for() -> None:
    sent = b'\xef\xbb\xbf{"\\udc00": "cut \\ud83d", "whole": "\\ud83d\\ude00"}'
    assert read_json(sent, max_depth=1, mend=True) == {"\ufffd": "cut \ufffd", "whole": "😀"}
    for source in (sent, sent[3:]):
        with pytest.raises(ValueError, match=r"not UTF-8|Expecting value"):
            read_json(source, max_depth=1)
    for broken in (b'{"a":1,"a":2}', b'"\xff"', b"NaN", b"1" * 5000):
        with pytest.raises(ValueError, match=r"twice|not UTF-8|not JSON|too large"):
            read_json(broken, max_depth=1, mend=True, infinite=True)


def test_a_number_that_overflows_is_infinite_only_where_that_is_asked_for() -> None:
    assert read_json("[1e400]", max_depth=1, infinite=True) == [float("inf")]
    with pytest.raises(ValueError, match="too large"):
        read_json("[1e400]", max_depth=1, mend=True)


def test_size_is_limited_before_anything_is_read() -> None:
    assert read_untrusted(b'{"a":1}', 7) == {"a": 1}
    with pytest.raises(RemoteProtocolError, match="at most 6"):
        read_untrusted(b'{"a":1}', 6)


def test_a_hostile_megabyte_takes_no_time() -> None:
    # Each of these once made some JSON reader or pattern quadratic. Processor time, not wall time.
    size = 1024 * 1024
    hostile = [b'"' * size, b'{"a":"' + b'\\"' * (size // 2), b"\\" * size, b'{"a":' * (size // 5)]

    started = time.process_time()
    for source in hostile:
        with pytest.raises(RemoteProtocolError):
            read_untrusted(source, ENOUGH)

    assert time.process_time() - started < 5


def test_our_own_content_beyond_the_limits_is_unsendable_and_says_why() -> None:
    check_limits(nested(MAX_DEPTH).encode())
    with pytest.raises(UnsendableError, match="deeper than 32"):
        check_limits(nested(MAX_DEPTH + 1).encode())
    with pytest.raises(UnsendableError, match="10,000 members"):
        check_limits(json.dumps({"a": [1] * MAX_MEMBERS}).encode())
    with pytest.raises(UnsendableError, match="1,000,000 bytes"):
        check_limits(json.dumps({"a": "x" * (MAX_STRING_BYTES + 1)}).encode())


@given(st.binary(max_size=100))
def test_bytes_survive_base64url(raw: bytes) -> None:
    assert base64url_untrusted(to_base64url(raw)) == raw


@pytest.mark.parametrize("text", ["A", "AA", "AA=", "AB==", "AA==\n", "A A=", "+/==", "é===", "===="])
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        base64url_untrusted(text)


@given(st.text())
def test_no_text_raises_anything_but_a_protocol_error_as_base64url(text: str) -> None:
    try:
        raw = base64url_untrusted(text)
    except RemoteProtocolError:
        return

    assert to_base64url(raw) == text
