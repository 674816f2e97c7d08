"""A2A 0.3 and what was spoken before it, on the same URLs: what is read, and what is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.a2a.conftest import Served, serving

JSON = {"Content-Type": "application/json"}


async def call(served: Served, method: str, params: Any, path: str = "/") -> Any:
    body = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
    async with served.web.post(f"{served.url}{path}", json=body) as response:
        return await response.json()


def kind_text(text: str, **more: Any) -> dict[str, Any]:
    return {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": text}], **more}


async def test_a_message_of_0_3_is_answered_in_0_3(served: Served) -> None:
    task = (await call(served, "message/send", {"message": kind_text("hello")}))["result"]
    assert (task["kind"], task["status"]["state"]) == ("task", "completed")
    assert task["artifacts"][0]["parts"] == [{"kind": "text", "text": "HELLO"}]
    assert task["history"][0]["role"] == "user"
    again = (await call(served, "tasks/get", {"id": task["id"], "historyLength": 0}))["result"]
    assert again["id"] == task["id"]
    assert "history" not in again


async def test_states_and_errors_of_0_3(served: Served) -> None:
    asked = (await call(served, "message/send", {"message": kind_text("ask")}))["result"]
    assert asked["status"]["state"] == "input-required"
    canceled = (await call(served, "tasks/cancel", {"id": asked["id"]}))["result"]
    assert canceled["status"]["state"] == "canceled"
    assert (await call(served, "tasks/cancel", {"id": asked["id"]}))["error"]["code"] == -32002
    assert (await call(served, "tasks/get", {"id": "nothing"}))["error"]["code"] == -32001
    assert (await call(served, "tasks/pushNotificationConfig/list", {"id": asked["id"]}))["error"]["code"] == -32003


async def test_what_is_not_to_be_waited_for_returns_at_once(served: Served) -> None:
    params = {"message": kind_text("wait"), "configuration": {"blocking": False}}
    task = (await call(served, "message/send", params))["result"]
    assert task["status"]["state"] in ("submitted", "working")
    await call(served, "tasks/cancel", {"id": task["id"]})


async def test_a_stream_of_0_3_ends_with_its_final_event(served: Served) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": {"message": kind_text("stream")}}
    async with served.web.post(f"{served.url}/", json=body) as response:
        events = [json.loads(line[6:])["result"] async for line in response.content if line.startswith(b"data: ")]
    assert events[0]["kind"] == "task"
    assert [event["kind"] for event in events[1:]].count("artifact-update") == 3
    assert [event.get("final") for event in events if event["kind"] == "status-update"][-1] is True
    assert events[-1]["status"]["state"] == "completed"


async def test_files_and_data_of_0_3(served: Served) -> None:
    parts = [
        {"kind": "text", "text": "mirror"},
        {"kind": "data", "data": {"n": 7}},
        {"kind": "data", "data": {"metadata": None}},
    ]
    with_null = [parts[0], {**parts[1], "raw": None, "url": None}, parts[2]]
    task = (await call(served, "message/send", {"message": kind_text("", parts=with_null)}))["result"]
    assert task["artifacts"][0]["parts"] == parts[1:]


@pytest.mark.parametrize("path", ["/", "/a2a/jsonrpc"])
@pytest.mark.parametrize(
    "message",
    [
        {"parts": [{"type": "text", "content": "hello"}]},
        {"parts": [{"type": "text", "text": "hello"}]},
        {"role": "user", "parts": [{"kind": "text", "text": "hello"}]},
        {"role": "user", "content": "hello"},
    ],
)
async def test_the_bodies_of_older_guides_work_verbatim(served: Served, path: str, message: Any) -> None:
    task = (await call(served, "message/send", {"message": message}, path))["result"]
    assert task["artifacts"][0]["parts"][0]["text"] == "HELLO"
    again = (await call(served, "tasks/get", {"task_id": task["id"]}, path))["result"]
    assert again["status"]["state"] == "completed"


async def test_tasks_send_of_the_first_version_names_no_id_of_ours(served: Served) -> None:
    params = {"id": "theirs", "message": {"role": "user", "parts": [{"type": "text", "text": "hello"}]}}
    task = (await call(served, "tasks/send", params))["result"]
    assert task["status"]["state"] == "completed"
    assert task["id"] != "theirs"


async def test_the_routes_of_older_systems(served: Served) -> None:
    async with served.web.get(f"{served.url}/health") as response:
        assert await response.json() == {"ok": True}
    async with served.web.get(f"{served.url}/a2a/peers") as response:
        assert "peers" in await response.json()
    async with served.web.post(f"{served.url}/a2a/send", json={"target": "nobody", "message": "x"}) as response:
        assert (await response.json())["ok"] is False
    async with served.web.post(f"{served.url}/a2a/send", json={}) as response:
        assert response.status == 400
    card = (await call(served, "agent/card", {}))["result"]
    assert card["name"] == "behaving"
    listed = (await call(served, "tasks/list", {"status": "completed"}))["result"]
    assert (listed["nextPageToken"], listed["pageSize"]) == ("", 50)
    assert {task["status"]["state"] for task in listed["tasks"]} <= {"completed"}
    assert (await call(served, "tasks/list", {"status": "running"}))["error"]["code"] == -32602


async def test_a_part_of_a_kind_that_nobody_knows_is_refused_and_not_read_as_text(served: Served) -> None:
    for part in ({"kind": "hologram", "text": "x"}, {"type": "hologram", "text": "x"}, {"kind": ["text"], "text": "x"}):
        message = {**kind_text("x"), "parts": [part]}
        assert (await call(served, "message/send", {"message": message}))["error"]["code"] == -32602


async def test_the_extended_card_that_0_3_asks_for_is_not_configured(served: Served) -> None:
    assert (await call(served, "agent/getAuthenticatedExtendedCard", {}))["error"]["code"] == -32007


async def test_of_the_push_configurations_of_0_3_one_is_seen_without_an_id_and_none_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path, a2a_push=True) as served:
        params = {"message": kind_text("wait"), "configuration": {"blocking": False}}
        task_id = (await call(served, "message/send", params))["result"]["id"]
        push = "tasks/pushNotificationConfig"
        assert (await call(served, f"{push}/get", {"id": task_id}))["error"]["code"] == -32001
        hook = {"taskId": task_id, "pushNotificationConfig": {"id": "a", "url": "https://hook.invalid/"}}
        assert (await call(served, f"{push}/set", hook))["result"] == hook
        assert (await call(served, f"{push}/delete", {"id": task_id}))["error"]["code"] == -32602
        assert (await call(served, f"{push}/get", {"id": task_id}))["result"] == hook
        named = {"id": task_id, "pushNotificationConfigId": "a"}
        assert (await call(served, f"{push}/get", named))["result"] == hook
        current = await served.binding("rest").call("GetTaskPushNotificationConfig", {"taskId": task_id, "id": "a"})
        assert current == {"taskId": task_id, "id": "a", "url": "https://hook.invalid/"}
        assert (await call(served, f"{push}/delete", named))["result"] is None
        assert (await call(served, f"{push}/list", {"id": task_id}))["result"] == []
        await call(served, "tasks/cancel", {"id": task_id})


@pytest.mark.parametrize(
    "message",
    [
        kind_text("hello"),
        {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hello"}]},
    ],
)
async def test_rest_of_0_3_is_spelled_as_its_proto(served: Served, message: Any) -> None:
    body = json.dumps({"message": message})
    async with served.web.post(f"{served.url}/v1/message:send", data=body, headers=JSON) as response:
        assert response.content_type == "application/json"  # 0.3 knows no other
        task = (await response.json())["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["history"][0]["content"] == [{"text": "hello"}]
    async with served.web.get(f"{served.url}/v1/tasks/{task['id']}") as response:
        assert (await response.json())["id"] == task["id"]


@pytest.mark.parametrize("name", ["content", "parts"])
async def test_the_parts_of_rest_of_0_3_are_read_under_either_name_and_in_either_spelling(
    served: Served, name: str
) -> None:
    file = {"mime_type": "text/plain", "file_with_bytes": "aGk=", "name": "a.txt"}
    parts = [{"text": "hello"}, {"data": {"data": {"a": 1}}}, {"file": file}]
    body = {"message": {"message_id": "m", "role": "ROLE_USER", name: parts}}
    async with served.web.post(f"{served.url}/v1/message:send", json=body) as response:
        task = (await response.json())["task"]
    text, data, read = task["history"][0]["content"]
    assert (text, data) == ({"text": "hello"}, {"data": {"data": {"a": 1}}})
    assert read["file"] == {"mimeType": "text/plain", "fileWithBytes": "aGk=", "name": "a.txt"}


@pytest.mark.parametrize("path", ["/v1/message:send", "/v1/message:stream"])
async def test_rest_of_0_3_has_no_name_that_its_proto_does_not_have(served: Served, path: str) -> None:
    message = {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "stream"}], "referenceTaskIds": ["t"]}
    async with served.web.post(f"{served.url}{path}", json={"message": message}) as response:
        told = await response.text()
    assert "one " in told
    assert "referenceTaskIds" not in told


async def test_behind_a_tenant_0_3_is_0_3_as_well(served: Served) -> None:
    body = {"message": {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hello"}]}}
    async with served.web.post(f"{served.url}/tenant-7/v1/message:send", json=body) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert (await response.json())["task"]["history"][0]["content"] == [{"text": "hello"}]


async def test_a_stream_of_0_3_that_fails_is_a_stream_with_the_error(served: Served) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tasks/resubscribe", "params": {"id": "nothing"}}
    async with served.web.post(f"{served.url}/", json=body) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        events = [json.loads(line[6:]) async for line in response.content if line.startswith(b"data: ")]
    assert [event["error"]["code"] for event in events] == [-32001]


@pytest.mark.parametrize("sent_as", ["request", "spelled otherwise", "configuration"])
async def test_push_configurations_of_rest_of_0_3(tmp_path: Path, sent_as: str) -> None:
    async with serving(tmp_path, a2a_push=True) as served:
        task_id = (await served.binding("rest").task("ask"))["id"]
        name, url = f"tasks/{task_id}/pushNotificationConfigs", "https://hook.invalid/"
        config = {"name": f"{name}/a", "pushNotificationConfig": {"id": "a", "url": url}}
        inner = {"pushNotificationConfig": {"url": url}}
        body = {
            "request": {"parent": f"tasks/{task_id}", "configId": "a", "config": inner},
            "spelled otherwise": {
                "parent": f"tasks/{task_id}",
                "config_id": "a",
                "config": {"push_notification_config": {"url": url, "authentication": {}}},
            },
            "configuration": config,
        }[sent_as]
        for method, path, sent, answer in (
            ("POST", name, json.dumps(body), config),
            ("GET", f"{name}/a", None, config),
            ("GET", name, None, {"configs": [config], "nextPageToken": ""}),
            ("DELETE", f"{name}/a", None, {}),
            ("GET", name, None, {"configs": [], "nextPageToken": ""}),
        ):
            async with served.web.request(method, f"{served.url}/v1/{path}", data=sent, headers=JSON) as response:
                assert (response.status, await response.json(content_type=None)) == (200, answer)


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/extendedAgentCard", "/mcp/tasks", "/mcp/v1/tasks/x"])
async def test_neither_mcp_nor_a_version_is_a_tenant(served: Served, path: str) -> None:
    async with served.web.get(f"{served.url}{path}") as response:
        assert response.status == 404


async def test_a_tenant_may_stand_before_every_path(served: Served) -> None:
    client = served.binding("rest", "/tenant-7")
    task = await client.task("hello")
    assert (await client.get(task["id"]))["id"] == task["id"]


async def test_both_cards_are_one_and_a_dual_card_has_the_keys_of_0_3(served: Served) -> None:
    cards = []
    for name in ("agent-card.json", "agent.json"):
        async with served.web.get(f"{served.url}/.well-known/{name}") as response:
            cards.append(await response.json())
    assert cards[0] == cards[1]
    assert {"url", "preferredTransport", "protocolVersion", "additionalInterfaces"} <= set(cards[0])
