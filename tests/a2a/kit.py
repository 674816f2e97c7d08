"""A client as conformance kits have one: it says exactly what it means, in either binding, and believes nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

Json = dict[str, object]

VERSION = {"A2A-Version": "1.0"}

REST = {
    "SendMessage": ("POST", "message:send"),
    "SendStreamingMessage": ("POST", "message:stream"),
    "GetTask": ("GET", "tasks/{id}"),
    "ListTasks": ("GET", "tasks"),
    "CancelTask": ("POST", "tasks/{id}:cancel"),
    "SubscribeToTask": ("POST", "tasks/{id}:subscribe"),
}


@dataclass(frozen=True)
class Refused(Exception):  # noqa: N818  a fact about an answer
    """An error, as the binding says it."""

    http: int
    code: int
    reason: str


@dataclass(frozen=True)
class Kit:
    """Calls one server in one binding."""

    session: aiohttp.ClientSession
    url: str
    binding: str

    async def call(self, method: str, **params: object) -> Json:
        """The result of an operation.

        Raises:
            Refused
        """
        async with self._request(method, params) as response:
            body = json.loads(await response.read())
            if self.binding == "rest":
                assert response.content_type == f"application/{'a2a+json' if response.status == 200 else 'json'}"
            return self._result(response.status, body)

    async def stream(self, method: str, **params: object) -> AsyncGenerator[Json]:
        """The events of a streaming operation.

        Raises:
            Refused
        """
        async with self._request(method, params) as response:
            if response.content_type != "text/event-stream":
                self._result(response.status, json.loads(await response.read()))
                raise AssertionError(f"{method} was answered without a stream and without an error")
            async for line in response.content:
                if line.startswith(b"data:"):
                    yield self._result(response.status, json.loads(line.removeprefix(b"data:")))

    def _request(
        self, method: str, params: Mapping[str, object]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self.binding == "jsonrpc":
            body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
            return self.session.post(self.url, json=body, headers=VERSION)
        verb, path = REST[method]
        rest = dict(params)
        if "{id}" in path:
            path = path.format(id=rest.pop("id"))
        if verb == "GET":
            query = urlencode(
                {name: str(value).lower() if value in (True, False) else value for name, value in rest.items()}
            )
            return self.session.get(f"{self.url}{path}?{query}", headers=VERSION)
        return self.session.post(f"{self.url}{path}", json=rest, headers=VERSION)

    def _result(self, status: int, body: Json) -> Json:
        error = body.get("error")
        if self.binding == "jsonrpc":
            assert (body["jsonrpc"], body["id"]) == ("2.0", 7)
        if isinstance(error, dict):
            details = error.get("data") or error.get("details") or [{}]
            raise Refused(status, error["code"], details[0].get("reason", ""))
        result = body["result"] if self.binding == "jsonrpc" else body
        assert isinstance(result, dict)
        return result


def user_message(message_id: str, text: str = "Hello from TCK", **more: object) -> Json:
    """A message as kits send it."""
    return {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": text}], **more}
