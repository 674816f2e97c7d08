"""Webhooks of this machine and of private networks: where a person has allowed them, and nothing else with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from mcp_a2a.a2a.push import WebHooks
from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.protocol.model import StreamResponse, TaskDocument, TaskPushNotificationConfig, TaskState, TaskStatus
from tests.a2a.conftest import Served, serving
from tests.a2a.test_push import Hook


@asynccontextmanager
async def near() -> AsyncIterator[Hook]:
    """A webhook on this machine, without TLS."""
    hook, app = Hook(""), web.Application()
    app.router.add_post("/{path:.*}", hook.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    try:
        yield hook
    finally:
        await runner.cleanup()


LOCAL = {"a2a_push": True, "a2a_push_local": True}
PART = {"kind": "text", "text": "hello"}
OLDER = {"message": {"kind": "message", "messageId": "m", "role": "user", "parts": [PART]}}
CURRENT = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}}
OF_PROTO = {"request": {"message_id": "m", "role": "ROLE_USER", "content": [{"text": "hello"}]}}
WAYS: dict[str, tuple[str, str | None, dict[str, Any], str]] = {
    "JSON-RPC 1.0": ("/", "SendMessage", CURRENT, "taskPushNotificationConfig"),
    "HTTP+JSON 1.0": ("/message:send", None, CURRENT, "taskPushNotificationConfig"),
    "JSON-RPC 0.3": ("/", "message/send", OLDER, "pushNotificationConfig"),
    "HTTP+JSON 0.3": ("/v1/message:send", None, OLDER, "pushNotificationConfig"),
    "HTTP+JSON of the proto of 0.3": ("/v1/message:send", None, OF_PROTO, "pushNotification"),
    "HTTP+JSON of the proto of 0.3 in snake_case": ("/v1/message:send", None, OF_PROTO, "push_notification"),
}


async def asked(served: Served, way: str, url: str) -> int:
    path, method, message, name = WAYS[way]
    params = {**message, "configuration": {name: {"url": url}}}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params} if method else params
    async with served.web.post(f"{served.url}{path}", json=body) as response:
        answer = await response.json(content_type=None)
    return 200 if response.status == 200 and "error" not in answer else 400


@pytest.mark.parametrize("way", list(WAYS))
async def test_a_hook_of_this_machine_is_told_in_the_words_in_which_it_was_named(tmp_path: Path, way: str) -> None:
    async with near() as hook, serving(tmp_path, **LOCAL) as served:
        assert await asked(served, way, hook.url) == 200
        last = (await hook.until("completed"))[-1]
        kinds = {headers["Content-Type"] for headers, _ in hook.got}
    if "0.3" in way:
        assert (kinds, last["kind"], last["status"]["state"]) == ({"application/json"}, "task", "completed")
    else:
        assert kinds == {"application/a2a+json"}
        assert last["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("way", list(WAYS))
async def test_without_the_switch_a_hook_of_this_machine_is_refused(tmp_path: Path, way: str) -> None:
    async with near() as hook, serving(tmp_path, a2a_push=True) as served:
        assert await asked(served, way, hook.url) == 400
    assert hook.got == []


NEAR = ("http://10.1.2.3/", "http://192.168.1.9:8080/", "https://172.16.0.1/", "http://[fd12::1]/", "http://[::1]:9/")
ELSEWHERE = (
    "http://93.184.216.34/", "http://169.254.169.254/latest", "http://[fe80::1]/", "http://[fd00:ec2::254]/",
    "http://100.100.100.200/", "http://0.0.0.0/", "http://2130706433/", "http://user:p@127.0.0.1/", "ftp://127.0.0.1/",
    "http://224.0.0.1/", "http://[::ffff:169.254.169.254]/", "http://[64:ff9b::7f00:1]/", "http://198.18.0.1/",
)  # fmt: skip


async def test_the_switch_opens_this_machine_and_private_networks_and_nothing_else() -> None:
    async with WebHooks(near=True) as hooks, WebHooks() as closed:
        for url in (*NEAR, "https://93.184.216.34/", "http://localhost/", "http://printer.lan/"):
            hooks.check(url)
        for url in ELSEWHERE:
            with pytest.raises(AddressNotAllowedError):
                hooks.check(url)
        for url in (*NEAR, *ELSEWHERE):
            with pytest.raises(AddressNotAllowedError):
                closed.check(url)


@pytest.mark.parametrize("leads", ["169.254.169.254", "93.184.216.34"])
async def test_a_name_without_tls_leads_to_what_is_near_and_nowhere_else(tmp_path: Path, leads: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [leads]

    async with WebHooks(near=True, resolve=resolve) as hooks:
        with pytest.raises(AddressNotAllowedError):
            await hooks.post(TaskPushNotificationConfig(url="http://hooks.example/"), EVENT)


async def test_a_hook_that_was_allowed_is_not_called_once_the_switch_is_off(tmp_path: Path) -> None:
    async with near() as hook:
        async with serving(tmp_path, **LOCAL) as served:
            client = served.binding("jsonrpc")
            task = await client.task("ask", {"taskPushNotificationConfig": {"url": hook.url}})
            await hook.until("input_required")
        told = len(hook.got)
        async with serving(tmp_path, a2a_push=True) as served:
            await served.binding("jsonrpc").cancel(task["id"])
            with anyio.fail_after(30):
                while (await served.binding("jsonrpc").get(task["id"]))["status"]["state"] != "TASK_STATE_CANCELED":
                    await anyio.lowlevel.checkpoint()
        assert len(hook.got) == told


@pytest.mark.parametrize("older", [True, False])
async def test_a_hook_is_told_in_its_words_also_by_the_next_process(tmp_path: Path, *, older: bool) -> None:
    way = "message/send" if older else "SendMessage"
    async with near() as hook:
        name = "pushNotificationConfig" if older else "taskPushNotificationConfig"
        message = OLDER if older else CURRENT
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": way,
            "params": {**message, "configuration": {name: {"url": hook.url}}},
        }
        body["params"]["message"] = {**message["message"], "parts": [{**PART, "text": "ask"}]}
        async with (
            serving(tmp_path, **LOCAL) as served,
            served.web.post(served.url, json=body) as response,
        ):
            result = (await response.json())["result"]
            task_id = result["id"] if older else result["task"]["id"]
            await hook.until("input-required" if older else "input_required")
        async with serving(tmp_path, **LOCAL) as served:
            await served.binding("jsonrpc").cancel(task_id)
            last = (await hook.until("canceled"))[-1]
    assert ("kind" in last) == older


EVENT = StreamResponse(task=TaskDocument(id="t", status=TaskStatus(state=TaskState.WORKING)))
