"""Requests that are wrong, odd or large: each gets the right code, and the server goes on."""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp
import anyio
import pytest

from mcp_a2a.a2a.service import MAX_KEY
from tests.a2a.bindings import Failed, said
from tests.a2a.conftest import Served

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024


async def post(served: Served, body: bytes, path: str = "/", **headers: str) -> tuple[int, Any]:
    data = io.BytesIO(body)
    async with served.web.post(f"{served.url}{path}", data=data, headers={**JSON, **headers}) as response:
        text = await response.read()
    return response.status, json.loads(text) if text else None


def rpc(method: object = "GetTask", params: object = None, **more: object) -> bytes:
    fields = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"id": "x"} if params is None else params}
    return json.dumps(fields | more).encode()


async def alive(served: Served) -> bool:
    return (await served.binding("jsonrpc").task("hello"))["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"not json", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":NaN}}', -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"a","id":"b"}}', -32700),
        (b"[" * 100_000, -32600),
        (b"[]", -32600),
        (b"[" + rpc() + b"]", -32600),
        (b"null", -32600),
        (b"7", -32600),
        (b'"text"', -32600),
        (b"{}", -32600),
        (rpc(jsonrpc="1.0"), -32600),
        (rpc(jsonrpc=2), -32600),
        (rpc(id=1.5), -32600),
        (rpc(id=True), -32600),
        (rpc(id={}), -32600),
        (rpc(id=[]), -32600),
        (rpc(7), -32600),
        (rpc(None), -32600),
        (rpc("Nothing"), -32601),
        (rpc("getTask"), -32601),
        (rpc("rpc.discover"), -32601),
        (rpc(params=[]), -32602),
        (rpc(params="x"), -32602),
        (rpc(params={}), -32602),
        (rpc(params={"id": 7}), -32602),
        (rpc(params={"id": ""}), -32602),
        (rpc(params={"id": None}), -32602),
        (rpc("SendMessage", {}), -32602),
        (rpc("SendMessage", {"message": None}), -32602),
        (rpc("SendMessage", {"message": "hi"}), -32602),
        (rpc("SendMessage", {"message": {"role": "ROLE_USER", "parts": [{"text": "x"}]}}), -32602),
        (rpc("SendMessage", said("x", messageId="")), -32602),
        (rpc("SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": []}}), -32602),
        (rpc("SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{}]}}), -32602),
        (rpc("SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": 7}]}}), -32602),
        (rpc("SendMessage", said("x", parts=[{"text": "a", "url": "b"}])), -32602),
        (rpc("SendMessage", {"message": {"messageId": "m", "role": "ROLE_KING", "parts": [{"text": "x"}]}}), -32602),
        (rpc("SendMessage", {**said("x"), "configuration": {"historyLength": -1}}), -32602),
        (rpc("SendMessage", said("x", parts=[{"text": "a", "data": {"n": 1}}])), -32602),
        (rpc("SendMessage", said("x", parts=[{"text": None, "raw": None}])), -32602),
        (rpc("SendMessage", said("x", parts=[{"text": None}])), -32602),
        (rpc("SendMessage", said("x", parts=[{"raw": "!!!"}])), -32602),
        (rpc("SendMessage", said("x", parts=[{"data": [{"n": "HUGE"}]}])).replace(b'"HUGE"', b"1e400"), -32602),
        (rpc("SendMessage", {**said("x"), "metadata": {"n": "HUGE"}}).replace(b'"HUGE"', b"-1e400"), -32602),
        (rpc("ListTasks", {"status": "TASK_STATE_SLEEPING"}), -32602),
        (rpc("ListTasks", {"pageSize": 0}), -32602),
        (rpc("ListTasks", {"pageSize": "many"}), -32602),
        (rpc("ListTasks", {"statusTimestampAfter": "yesterday"}), -32602),
        (rpc("message/send", {}), -32602),
        (rpc("tasks/get", {}), -32602),
        (rpc("tasks/get", {"id": "x"}), -32001),
    ],
)
async def test_what_is_wrong_gets_its_code(served: Served, body: bytes, code: int) -> None:
    status, answer = await post(served, body)
    assert (status, answer["error"]["code"]) == (200, code)
    assert answer["jsonrpc"] == "2.0"
    assert "id" in answer


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (said("x", parts=None), "message.parts: it should be a list"),
        (said("x", parts=[]), "message.parts: it should have at least 1 item"),
        (said("x", parts=[{}]), "message.parts.0: a part holds exactly one of text, raw, url, data"),
        (said("x", metadata=[1]), "message.metadata: it should be an object"),
        ({"message": "hi"}, "message: it should be an object"),
        ({}, "message: it is required"),
    ],
)
async def test_what_is_wrong_is_said_in_the_words_of_json(
    served: Served, params: dict[str, object], sentence: str
) -> None:
    _, answer = await post(served, rpc("SendMessage", params))
    assert answer["error"]["message"] == f"The parameters are not valid. {sentence}"


async def test_a_notification_gets_no_body(served: Served) -> None:
    status, answer = await post(served, b'{"jsonrpc":"2.0","method":"GetTask","params":{"id":"x"}}')
    assert (status, answer) == (202, None)


async def test_deep_nesting_is_refused_and_harmless(served: Served) -> None:
    for depth in (150, 5_000, 50_000):
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        body = b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":' + nested + b"}"
        _, answer = await post(served, body)
        assert answer["error"]["code"] in (-32600, -32700)
    assert await alive(served)


async def test_integers_stay_integers(served: Served) -> None:
    for name in ("jsonrpc", "rest"):
        sent = {"integer": 12345678901234567, "one": 1, "float": 1.5, "whole": 2.0, "null": None}
        task = await served.binding(name).task("mirror", parts=[{"text": "mirror"}, {"data": sent}])
        (part,) = task["artifacts"][0]["parts"]
        assert part["data"] == sent
        assert json.dumps(part["data"]) == json.dumps(sent)
        bare = await served.binding(name).task("mirror", parts=[{"text": "mirror"}, {"data": None}, {"data": 7}])
        assert bare["artifacts"][0]["parts"] == [{"data": None}, {"data": 7}]


@pytest.mark.parametrize("name", ["jsonrpc", "rest"])
async def test_an_idempotency_key_is_as_long_as_it_may_be(served: Served, name: str) -> None:
    client = served.binding(name, **{"Idempotency-Key": name * 200})
    with pytest.raises(Failed) as caught:
        await client.task("hello")
    assert caught.value.reason == "INVALID_PARAMS"
    assert f"{MAX_KEY} characters" in caught.value.message
    client.headers["Idempotency-Key"] = (name * 200)[:MAX_KEY]
    assert (await client.task("hello"))["id"] == (await client.task("hello"))["id"]
    with pytest.raises(Failed) as caught:
        await client.task("another question")
    assert caught.value.reason == "INVALID_PARAMS"
    assert "belongs to task-" in caught.value.message


@pytest.mark.parametrize("name", ["jsonrpc", "rest"])
async def test_null_empty_and_unspecified_are_absent(served: Served, name: str) -> None:
    client = served.binding(name)
    parts = [{"text": "hello", "raw": None, "url": None}]
    task = await client.task("hello", parts=parts, taskId="", contextId="")
    assert task["contextId"]
    assert task["artifacts"][0]["parts"] == [{"text": "HELLO"}]
    listed = await client.list(status="TASK_STATE_UNSPECIFIED", contextId=task["contextId"])
    assert [one["id"] for one in listed["tasks"]] == [task["id"]]


EMPTY: dict[str, Any] = {"text": "", "raw": "", "url": "", "filename": "", "mediaType": ""}


@pytest.mark.parametrize("name", ["jsonrpc", "rest"])
@pytest.mark.parametrize(
    ("part", "read"),
    [
        (EMPTY | {"text": "hello", "data": None}, {"text": "MIRROR\nHELLO"}),
        (EMPTY | {"text": "hello", "data": {}}, {"text": "MIRROR\nHELLO"}),
        (EMPTY | {"data": {"n": 0}}, {"data": {"n": 0}, "filename": "", "mediaType": ""}),
        (EMPTY | {"data": 0}, {"data": 0, "filename": "", "mediaType": ""}),
        ({"text": None, "raw": None, "url": None, "data": None}, {"data": None}),
        ({"text": "", "data": None}, {"text": "MIRROR\n"}),
    ],
)
async def test_of_a_part_that_prints_all_it_could_be_what_is_filled_counts(
    served: Served, name: str, part: dict[str, Any], read: dict[str, Any]
) -> None:
    task = await served.binding(name).task("mirror", parts=[{"text": "mirror"}, part])
    assert task["artifacts"][0]["parts"] == [read]


async def test_two_contents_in_one_part_are_none_that_counts(served: Served) -> None:
    with pytest.raises(Failed) as caught:
        await served.binding("jsonrpc").task("x", parts=[{"text": "x", "url": "https://agents.example/"}])
    assert "exactly one" in caught.value.message


async def test_an_old_text_beside_an_empty_data_is_a_text(served: Served) -> None:
    part = {"kind": "text", "text": "hello", "data": None, "file": None}
    message = {"kind": "message", "messageId": "old", "role": "user", "parts": [part]}
    status, answer = await post(served, rpc("message/send", {"message": message}))
    assert (status, answer["result"]["artifacts"][0]["parts"][0]["text"]) == (200, "HELLO")


@pytest.mark.parametrize("path", ["/", "/message:send"])
async def test_half_a_character_becomes_its_replacement(served: Served, path: str) -> None:
    message = {"messageId": f"half{len(path)}", "role": "ROLE_USER", "parts": [{"text": "cut \ud83d, \U0001f600"}]}
    body = rpc("SendMessage", {"message": message}) if path == "/" else json.dumps({"message": message}).encode()
    status, answer = await post(served, body, path)
    task = answer.get("result", answer)["task"]
    assert (status, task["artifacts"][0]["parts"]) == (200, [{"text": "CUT \ufffd, \U0001f600"}])


@pytest.mark.parametrize(("written", "meant"), [("YWI", "YWI="), ("-_-_", "+/+/"), ("-_8", "+/8="), ("YWI=", "YWI=")])
async def test_base64_may_have_the_alphabet_of_urls_and_no_end(served: Served, written: str, meant: str) -> None:
    parts = [{"text": "mirror"}, {"raw": written, "mediaType": "application/octet-stream"}]
    task = await served.binding("jsonrpc").task("mirror", parts=parts)
    assert task["artifacts"][0]["parts"][0]["raw"] == meant


@pytest.mark.parametrize("size", [MIB, 4 * MIB])
async def test_a_large_body_is_taken_up_to_the_limit(served: Served, size: int) -> None:
    head, tail = b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"x","metadata":"', b'"}}'
    body = head + b"a" * (size - len(head) - len(tail)) + tail
    assert len(body) == size
    status, answer = await post(served, body)
    assert (status, answer["error"]["code"]) == (200, -32001)
    status, answer = await post(served, body + b" " * (4 * MIB + 1 - size))
    assert status == 413
    assert "error" in answer
    assert await alive(served)


async def test_a_megabyte_of_text_is_answered(served: Served) -> None:
    text = "x" * (MIB - 1_000)
    task = await served.binding("jsonrpc").task(text)
    assert task["artifacts"][0]["parts"][0]["text"] == text.upper()


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
async def test_another_content_type_is_refused(served: Served, kind: str) -> None:
    status, answer = await post(served, rpc(), **{"Content-Type": kind})
    assert status == 415
    assert answer["error"]["code"] == -32005
    async with served.web.post(f"{served.url}/message:send", data=b"{}", headers={"Content-Type": kind}) as response:
        assert (response.status, response.content_type) == (400, "application/json")
        assert (await response.json())["error"]["details"][0]["reason"] == "CONTENT_TYPE_NOT_SUPPORTED"
    assert (await post(served, rpc(), **{"Content-Type": "application/json; charset=utf-8"}))[0] == 200


@pytest.mark.parametrize("path", ["/", "/message:send", "/tasks", "/.well-known/agent-card.json", "/a/x/", "/health"])
async def test_another_host_or_origin_is_refused_everywhere(served: Served, path: str) -> None:
    for headers, status in (({"Host": "evil.example"}, 421), ({"Origin": "https://evil.example"}, 403)):
        async with served.web.get(f"{served.url}{path}", headers=headers) as response:
            assert response.status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/tasks", 405),
        ("DELETE", "/tasks/x", 405),
        ("GET", "/message:send", 405),
        ("GET", "/", 405),
        ("PUT", "/", 405),
        ("GET", "/a/nobody-of-that-name/tasks", 404),
        ("GET", "/a/nobody-of-that-name/.well-known/agent-card.json", 404),
        ("GET", "/tasks/%00", 404),
        ("GET", "/tasks/..%2f..%2fetc", 404),
        ("GET", "/a2a/nothing", 404),
    ],
)
async def test_what_is_not_there_is_said_in_json(served: Served, method: str, path: str, status: int) -> None:
    url = f"{served.url}{path}"
    data = b"{}" if method in ("POST", "PUT") else None
    async with served.web.request(method, aiohttp.client.URL(url, encoded=True), data=data, headers=JSON) as response:
        assert response.status == status
        assert "error" in await response.json(content_type=None)


async def test_who_speaks_json_rpc_is_told_in_json_rpc_that_an_agent_is_not_there(served: Served) -> None:
    ann, stranger = {"X-API-Key": served.callers.add("ann")}, {"Origin": "https://evil.example"}
    for path in ("/a/nobody/", "/a/nobody", "/a/nobody/a2a/jsonrpc", "/a/https:%2F%2Fnobody.invalid/"):
        url = aiohttp.client.URL(f"{served.url}{path}", encoded=True)
        for headers, status, code in ((ann, 404, -32601), (stranger, 403, -32600)):
            async with served.web.post(url, data=rpc(), headers={**JSON, **headers}) as response:
                answer = await response.json()
            assert (response.status, answer["error"]["code"]) == (status, code)
            assert (answer["jsonrpc"], answer["id"]) == ("2.0", None)


async def test_a_client_that_hangs_up_leaves_nothing_behind(served: Served) -> None:
    client = served.binding("rest")
    task = await client.task("wait", {"returnImmediately": True})
    for _ in range(20):
        async with client.events("SubscribeToTask", {"id": task["id"]}) as events:
            await anext(events)
    assert await alive(served)
    await client.cancel(task["id"])


async def test_a_body_that_does_not_come_whole_does_nothing(served: Served) -> None:
    client = served.binding("rest")
    task = await client.task("wait", {"returnImmediately": True})
    where = aiohttp.client.URL(served.url)
    head = f"POST /tasks/{task['id']}:cancel HTTP/1.1\r\nHost: {where.authority}\r\nContent-Type: application/json\r\n"
    async with await anyio.connect_tcp(str(where.host), where.port or 0) as stream:
        await stream.send(f"{head}Content-Length: 50\r\n\r\n".encode())
        await stream.send_eof()
        with anyio.fail_after(60), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
    assert (await client.get(task["id"]))["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
    await client.cancel(task["id"])
