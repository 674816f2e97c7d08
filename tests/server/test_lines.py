"""Each line of a client is a message, or answered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, RequestId

from mcp_a2a.server.lines import Unreadable, read_line

CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "discover", "id": 3}}
LINE = json.dumps(CALL)


@pytest.mark.parametrize("line", [LINE, f"\ufeff{LINE}", f" {LINE}\r", f"\ufeff {LINE}".replace("\ufeff ", "\ufeff")])
def test_a_message_is_read_with_blanks_and_a_byte_order_mark_around_it(line: str) -> None:
    read = read_line(line)
    assert isinstance(read, SessionMessage)
    assert isinstance(read.message, JSONRPCRequest)
    assert read.message.params == CALL["params"]


@pytest.mark.parametrize("begin", ["", '"\\ud83d":1,'])
def test_a_progress_token_of_null_is_none_and_others_stay(begin: str) -> None:
    for written, kept in [("null", {"a": None}), ("0", {"progressToken": 0, "a": None})]:
        meta = f'{{"progressToken":{written},"a":null}}'
        read = read_line(f'{{{begin}"jsonrpc":"2.0","id":1,"method":"m","params":{{"_meta":{meta}}}}}')
        assert isinstance(read, SessionMessage)
        assert isinstance(read.message, JSONRPCRequest)
        assert read.message.params == {"_meta": kept}


@pytest.mark.parametrize("line", ["", "  ", "\r", "\ufeff"])
def test_a_blank_line_is_nothing(line: str) -> None:
    assert read_line(line) is None


def test_half_of_a_surrogate_pair_is_replaced_and_a_whole_one_is_read() -> None:
    line = '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"x\\ud83d","b":"\\ud83d\\ude00"}}'
    read = read_line(line)
    assert isinstance(read, SessionMessage)
    assert isinstance(read.message, JSONRPCRequest)
    assert read.message.params == {"a": "x\ufffd", "b": "😀"}


@pytest.mark.parametrize(
    ("line", "code", "ids"),
    [
        ('{"jsonrpc":"2.0","id":2,"method":"tools/call","params":', -32700, (2,)),
        ('{"method":"tools/call","params":{"id":9},"id":"a\\"b"', -32700, ('a"b',)),
        ('{"params":{"id":9}', -32700, (None,)),
        ('{"jsonrpc":"2.0","id":2,"method":"m","params":{"n":' + "[" * 100_000, -32700, (2,)),
        ("not JSON", -32700, (None,)),
        ('{"id":1.5,"method":"m"', -32700, (None,)),
        ('{"jsonrpc":"2.0","id":2,"method":"tools/list","params":[]}', -32600, (2,)),
        ('{"jsonrpc":"2.0","id":2,"method":5}', -32600, (2,)),
        ('{"id":2,"method":"tools/list"}', -32600, (2,)),
        ('{"jsonrpc":"2.0","id":{},"method":"tools/list"}', -32600, (None,)),
        ('{"jsonrpc":"2.0","id":true,"method":"tools/list"}', -32600, (None,)),
        ("{}", -32600, (None,)),
        ("42", -32600, (None,)),
        ("null", -32600, (None,)),
        (f"[{LINE},{LINE.replace('2,', '5,')}]", -32600, (2, 5)),
        ("[]", -32600, (None,)),
        # What needs no answer gets none.
        ('{"jsonrpc":"2.0","method":"notifications/progress","params":[]}', -32600, ()),
        ('{"jsonrpc":"2.0","id":2,"result":[]}', -32600, ()),
        ('{"jsonrpc":"2.0","id":2,"result":{"a":', -32700, ()),
        ('{"jsonrpc":"2.0","id":2,"error":{"code":1', -32700, ()),
    ],
)
def test_a_line_that_is_no_message_is_answered_under_its_id(
    line: str, code: int, ids: tuple[RequestId | None, ...]
) -> None:
    read = read_line(line)
    assert isinstance(read, Unreadable)
    assert (read.code, read.ids) == (code, ids)
    assert len(read.answers) == len(ids)
    assert len(read.reason) < 300


_CUT = st.integers(0, len(LINE)).map(lambda cut: LINE[:cut])
_BYTES = st.binary().map(lambda some: some.decode("utf-8", "replace"))


@given(st.one_of(st.text(), _CUT, _BYTES))
def test_no_line_raises(line: str) -> None:
    read = read_line(line)
    if isinstance(read, Unreadable):
        for answer in read.answers:
            json.loads(answer.message.model_dump_json(by_alias=True, exclude_unset=True))


@given(st.integers(min_value=len('{"jsonrpc": "2.0", "id": 2,'), max_value=len(LINE) - 1))
def test_a_request_that_is_cut_anywhere_behind_its_id_is_answered_under_it(cut: int) -> None:
    read = read_line(LINE[:cut])
    assert isinstance(read, Unreadable)
    assert read.ids == (2,)
