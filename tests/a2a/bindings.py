"""A client as plain as can be: what goes over the wire is what the test says, in either binding."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = dict[str, Any]


@dataclass
class Failed(Exception):  # noqa: N818  what a client is answered with
    """The server answered with an error."""

    code: int
    http: int
    reason: str
    message: str

    @classmethod
    def of(cls, http: int, error: Json) -> Failed:
        details = error.get("data", error.get("details")) or [{}]
        assert details[0].get("@type") == "type.googleapis.com/google.rpc.ErrorInfo", error
        assert details[0]["domain"] == "a2a-protocol.org"
        return cls(error["code"], http, details[0]["reason"], error["message"])


@dataclass
class Binding(ABC):
    """The operations of A2A 1.0."""

    web: aiohttp.ClientSession
    url: str
    headers: Json = field(default_factory=dict)

    @abstractmethod
    async def call(self, operation: str, params: Json) -> Any:
        """Its result."""

    @abstractmethod
    def events(self, operation: str, params: Json) -> Any:
        """What it streams, as an asynchronous context manager."""

    async def send(self, text: str, configuration: Json | None = None, **message: Any) -> Json:
        return await self.call("SendMessage", {**said(text, **message), "configuration": configuration or {}})

    async def task(self, text: str, configuration: Json | None = None, **message: Any) -> Json:
        return (await self.send(text, configuration, **message))["task"]

    async def get(self, task_id: str, **more: Any) -> Json:
        return await self.call("GetTask", {"id": task_id, **more})

    async def cancel(self, task_id: str) -> Json:
        return await self.call("CancelTask", {"id": task_id})

    async def list(self, **params: Any) -> Json:
        return await self.call("ListTasks", params)

    async def stream(self, text: str, **message: Any) -> list[Json]:
        async with self.events("SendStreamingMessage", said(text, **message)) as events:
            return [event async for event in events]


def said(text: str, **message: Any) -> Json:
    """The parameters of a message with this text."""
    return {"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}], **message}}


async def sse(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    assert response.headers["content-type"].startswith("text/event-stream")
    async for line in response.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


class JsonRpc(Binding):
    """JSON-RPC: one URL."""

    def _request(self, operation: str, params: Json) -> Any:
        body = {"jsonrpc": "2.0", "id": 7, "method": operation, "params": params}
        return self.web.post(f"{self.url}/", json=body, headers={"A2A-Version": "1.0", **self.headers})

    async def call(self, operation: str, params: Json) -> Any:
        async with self._request(operation, params) as response:
            answer = await response.json()
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
        if "error" in answer:
            raise Failed.of(response.status, answer["error"])
        return answer["result"]

    @asynccontextmanager
    async def events(self, operation: str, params: Json) -> AsyncIterator[AsyncIterator[Json]]:
        async with self._request(operation, params) as response:
            if not response.headers["content-type"].startswith("text/event-stream"):
                raise Failed.of(response.status, (await response.json())["error"])

            async def results() -> AsyncIterator[Json]:
                async for answer in sse(response):
                    assert answer["id"] == 7
                    if "error" in answer:
                        raise Failed.of(response.status, answer["error"])
                    yield answer["result"]

            yield results()


class Rest(Binding):
    """HTTP+JSON: a resource per operation."""

    def _request(self, operation: str, params: Json) -> Any:
        rest = dict(params)
        task = rest.pop("id", rest.pop("taskId", None))
        method, path, body = {
            "SendMessage": ("POST", "/message:send", params),
            "SendStreamingMessage": ("POST", "/message:stream", params),
            "GetTask": ("GET", f"/tasks/{task}", None),
            "ListTasks": ("GET", "/tasks", None),
            "CancelTask": ("POST", f"/tasks/{task}:cancel", {}),
            "SubscribeToTask": ("POST", f"/tasks/{task}:subscribe", None),
            "CreateTaskPushNotificationConfig": ("POST", f"/tasks/{task}/pushNotificationConfigs", rest),
            "ListTaskPushNotificationConfigs": ("GET", f"/tasks/{task}/pushNotificationConfigs", None),
            "GetTaskPushNotificationConfig": (
                "GET",
                f"/tasks/{params.get('taskId')}/pushNotificationConfigs/{task}",
                None,
            ),
            "DeleteTaskPushNotificationConfig": (
                "DELETE",
                f"/tasks/{params.get('taskId')}/pushNotificationConfigs/{task}",
                None,
            ),
            "GetExtendedAgentCard": ("GET", "/extendedAgentCard", None),
        }[operation]
        query = {} if body is not None else {name: _plain(value) for name, value in rest.items()}
        headers = {"A2A-Version": "1.0", **self.headers}
        if body is not None:
            headers["Content-Type"] = "application/a2a+json"
        data = json.dumps(body) if body is not None else None
        return self.web.request(method, f"{self.url}{path}", params=query, data=data, headers=headers)

    async def call(self, operation: str, params: Json) -> Any:
        async with self._request(operation, params) as response:
            answer = await response.json(content_type=None)
        if response.status != 200:
            raise Failed.of(response.status, answer["error"])
        assert response.headers["content-type"] == "application/a2a+json"
        return answer

    @asynccontextmanager
    async def events(self, operation: str, params: Json) -> AsyncIterator[AsyncIterator[Json]]:
        async with self._request(operation, params) as response:
            if response.status != 200:
                raise Failed.of(response.status, (await response.json(content_type=None))["error"])
            yield sse(response)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
