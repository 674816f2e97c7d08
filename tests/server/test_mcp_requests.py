"""Requests of MCP over HTTP: bounded before they are read, and answered in the form that the client accepts."""

from __future__ import annotations

import json
import time

import httpx2
import pytest

from mcp_a2a.a2a.asgi import A2AApp, Offer
from mcp_a2a.protocol.unicode import unicode_json
from tests.server.standin import StandIn
from tests.server.test_http import HELLO, Web, serving

MIB = 1024 * 1024
MODERN = {
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/list",
}
LIST_MODERN = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        },
    }
).encode()


@pytest.fixture
def a2a() -> A2AApp:
    return A2AApp(StandIn(), Offer())


async def posted(web: Web, body: bytes, *headers: tuple[str, str]) -> tuple[int, str, bytes]:
    """Status, media type and body of the answer to a POST."""
    status, kind, received = await web.read("POST", "/mcp", [("Content-Type", "application/json"), *headers], body)
    return status, kind.partition(";")[0], received


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, ""),
        ("", ""),
        ("*/*", ""),
        ("text/html, *; q=.2", ""),
        ("application/json, text/event-stream", ""),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("application/json, text/event-stream;q=0", "application/json"),
        ("*/*, text/event-stream; q=0.0", "application/json"),
        ("Application/JSON;charset=utf-8", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("text/*;q=0.5", "text/event-stream"),
        ("application/json;q=0, */*", "text/event-stream"),
    ],
)
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_an_answer_has_the_form_that_is_accepted(accept: str | None, form: str, era: str) -> None:
    headers = [("Accept", accept)] if accept is not None else []
    headers += list(MODERN.items()) if era == "modern" else []
    async with serving() as web:
        status, kind, body = await posted(web, LIST_MODERN if era == "modern" else HELLO, *headers)
    assert status == 200
    assert kind == (form or kind)
    assert kind in ("application/json", "text/event-stream")
    text = body.decode()
    data = text if kind == "application/json" else text.partition("data: ")[2]
    assert json.loads(data)["id"] == 1


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "*/*;q=0"])
async def test_who_accepts_neither_form_hears_which_there_are(accept: str) -> None:
    async with serving() as web:
        status, _, body = await posted(web, HELLO, ("Accept", accept))
    assert status == 406
    assert b"text/event-stream" in body


@pytest.mark.parametrize(
    ("body", "code", "request_id"),
    [
        (b"{}", -32600, None),
        (b"[]", -32600, None),
        (b"[{}]", -32600, None),
        (b"null", -32600, None),
        (b"7", -32600, None),
        (b'{"id":1}', -32600, 1),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":1}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":"x","method":7}', -32600, "x"),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":2,"method":"tools/list","params":[]}', -32602, 2),
        (b'{"jsonrpc":"2.0","id":2,"error":"x"}', -32600, 2),
        (b'{"jsonrpc":"2.0","id":2,"error":{"code":true,"message":"x"}}', -32600, 2),
        (b'{"jsonrpc":"2.0","id":2,"error":{"code":1}}', -32600, 2),
        (b'{"jsonrpc":"2.0","id":2,"result":"x"}', -32600, 2),
        (b'{"jsonrpc":"2.0","result":{}}', -32600, None),
        (b"{", -32700, None),
        (b"", -32700, None),
        (b"\xff", -32700, None),
        (b"[" * 100_000, -32600, None),
        (b"[" * 5_000, -32700, None),
    ],
)
@pytest.mark.parametrize("era", [{}, MODERN], ids=["legacy", "modern"])
async def test_what_is_no_request_is_said_in_a_sentence(
    body: bytes, code: int, request_id: object, era: dict[str, str]
) -> None:
    async with serving() as web:
        status, kind, received = await posted(web, body, *era.items())
    answer = json.loads(received)
    assert (status, kind, answer["error"]["code"], answer["id"]) == (400, "application/json", code, request_id)
    assert answer["error"]["message"].endswith((".", "}"))
    assert len(answer["error"]["message"]) < 200


async def test_blanks_around_a_header_are_no_part_of_it() -> None:
    async with serving() as web:
        status, _, _ = await posted(web, LIST_MODERN, *((name, f" {value} \t ") for name, value in MODERN.items()))
    assert status == 200


async def test_null_parameters_are_none() -> None:
    async with serving() as web:
        status, _, received = await posted(web, b'{"jsonrpc":"2.0","id":2,"method":"ping","params":null}')
    assert status == 200
    assert b'"result"' in received


async def test_a_progress_token_of_null_is_none() -> None:
    async with serving() as web:
        status, _, received = await posted(
            web, b'{"jsonrpc":"2.0","id":2,"method":"ping","params":{"_meta":{"progressToken":null}}}'
        )
    assert status == 200
    assert b'"result"' in received


MANY = {
    "objects": b"{}," * (MIB + MIB // 3),
    "strings": b'"",' * (MIB + MIB // 3),
    "numbers": b"1," * (2 * MIB - 64),
    "lists": b"[]," * (MIB + MIB // 3),
}


@pytest.mark.parametrize("kind", MANY)
@pytest.mark.parametrize("path", ["/mcp", "/"])
async def test_a_million_members_are_refused_before_they_are_read(kind: str, path: str, a2a: A2AApp) -> None:
    most = 4 * MIB
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":[' + MANY[kind]
    body = body[: most - 4] + b"1]}}"
    async with serving(a2a=a2a) as web:
        await web.hello()
        begun = time.process_time()
        status, _, received = await web.read("POST", path, [("Content-Type", "application/json")], body)
        spent = time.process_time() - begun
    assert json.loads(received)["error"]["code"] == -32600
    assert "10,000 members" in json.loads(received)["error"]["message"]
    assert status == (400 if path == "/mcp" else 200)
    assert spent < 1.0  # of this process, client and all; it was 5.5 s


@pytest.mark.parametrize(("count", "status"), [(9_990, 200), (10_001, 400)])
async def test_ten_thousand_members_are_read(count: int, status: int) -> None:
    body = json.loads(HELLO)
    body["params"]["capabilities"] = {"experimental": {"x": {"many": [0] * count}}}
    members = json.dumps(body).count(",") + json.dumps(body).count("{") + json.dumps(body).count("[")
    body["params"]["capabilities"]["experimental"]["x"]["many"] = [0] * (2 * count - members)
    async with serving() as web:
        assert (await posted(web, json.dumps(body).encode()))[0] == status


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
async def test_half_a_character_and_a_byte_order_mark_refuse_no_request(before: bytes) -> None:
    call = {"name": "discover \ud83d", "arguments": {}}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).encode()
    async with serving() as web:
        status, _, body = await posted(web, before + request, ("Accept", "application/json"))
    assert status == 200
    assert json.loads(body)["error"]["message"] == "Unknown tool: discover \ufffd"


def test_a_long_text_of_halves_is_made_unicode_at_once() -> None:
    body = b'"' + rb"\ud83d" * 600_000 + b'"'
    begun = time.process_time()
    assert json.loads(unicode_json(body)) == "\ufffd" * 600_000
    assert time.process_time() - begun < 5


async def test_a_stream_that_a_client_resumes_begins_anew() -> None:
    headers = {"Accept": "text/event-stream", "MCP-Protocol-Version": "2025-06-18", "Last-Event-ID": "7"}
    async with (
        serving() as web,
        httpx2.AsyncClient(timeout=60) as connection,
        connection.stream("GET", web.url, headers=headers) as response,
    ):
        assert response.status_code == 200
