"""The operations of A2A, the same in each version and binding: read parameters, ask a node, write the result.

A codec says how a version spells parameters and results.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from typing_extensions import override

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.body import Json, dump, extended_card, read
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.a2a.params import ListParams, OnePushParams, PushParams, SendParams, TaskParams
from mcp_a2a.a2a.service import Service
from mcp_a2a.api.a2a import A2AAnswer, A2ATaskPage
from mcp_a2a.protocol.model import StreamResponse, TaskDocument, TaskPushNotificationConfig

Answer = Callable[[Dispatch, Json, Service], Awaitable[bytes]]
"""Answers a method with the JSON of its result."""
Stream = Callable[[Dispatch, Json, Service], AsyncIterator[bytes]]
"""The same for a method that streams."""


class Codec:
    """A2A 1.0: parameters are read as they are, and results are our nouns."""

    to_end = True
    """True if a subscription goes on when the task waits for its caller."""

    def send_params(self, params: Json) -> Json:
        """Parameters of a message in 1.0's words, as those below."""
        return params

    def task_params(self, params: Json) -> Json:
        """Parameters that name a task."""
        return params

    def push_params(self, params: Json) -> Json:
        """Parameters that name a push configuration, or those of a task."""
        return params

    def push_config(self, params: Json) -> Json:
        """Parameters that are a push configuration."""
        return params

    def list_params(self, params: Json) -> ListParams:
        """Parameters of a list."""
        return read(ListParams, params)

    def answer(self, sent: A2AAnswer) -> bytes:
        """The answer to a message."""
        if sent.reply is not None:
            return b'{"message":' + sent.reply.to_json().encode() + b"}"
        return b'{"task":' + sent.task.to_json().encode() + b"}"

    def task(self, task: TaskDocument) -> bytes:
        """A task."""
        return task.to_json().encode()

    def event(self, event: StreamResponse) -> bytes:
        """An event of a stream."""
        return event.to_json().encode()

    def page(self, page: A2ATaskPage, asked: ListParams) -> bytes:
        """A page of tasks; the token is always there (A2A 3.1.4)."""
        hidden = None if asked.include_artifacts else {"artifacts"}
        tasks = (task.model_dump_json(by_alias=True, exclude_none=True, exclude=hidden) for task in page.tasks)
        return b'{"tasks":[' + ",".join(tasks).encode() + b"]," + json.dumps(_rest_of(page, asked)).encode()[1:]

    def push(self, config: TaskPushNotificationConfig) -> bytes:
        """A push configuration."""
        return config.to_json().encode()

    def pushes(self, configs: Sequence[TaskPushNotificationConfig]) -> bytes:
        """All push configurations of a task."""
        return b'{"configs":[' + b",".join(map(self.push, configs)) + b'],"nextPageToken":""}'


def _rest_of(page: A2ATaskPage, asked: ListParams) -> Json:
    return {"nextPageToken": page.next_page_token, "pageSize": asked.size, "totalSize": page.total_size}


@dataclass(frozen=True)
class LegacyCodec(Codec):
    """A2A 0.3 in one of its bindings."""

    binding: legacy.Binding

    to_end = False

    @override
    def send_params(self, params: Json) -> Json:
        return self.binding.send_params(params)

    @override
    def task_params(self, params: Json) -> Json:
        return legacy.task_params(params)

    @override
    def push_params(self, params: Json) -> Json:
        return self.binding.push_params(params)

    @override
    def push_config(self, params: Json) -> Json:
        return legacy.push_config(params)

    @override
    def list_params(self, params: Json) -> ListParams:
        return read(ListParams, legacy.list_params(params)).model_copy(update={"include_artifacts": True})

    @override
    def answer(self, sent: A2AAnswer) -> bytes:
        return dump(self.binding.answer(sent))

    @override
    def task(self, task: TaskDocument) -> bytes:
        return dump(self.binding.task(task))

    @override
    def event(self, event: StreamResponse) -> bytes:
        return dump(self.binding.event(event))

    @override
    def page(self, page: A2ATaskPage, asked: ListParams) -> bytes:
        return dump({"tasks": [self.binding.task(task) for task in page.tasks], **_rest_of(page, asked)})

    @override
    def push(self, config: TaskPushNotificationConfig) -> bytes:
        return dump(self.binding.push(config))

    @override
    def pushes(self, configs: Sequence[TaskPushNotificationConfig]) -> bytes:
        listed = super().pushes(configs)
        return listed if self.binding.proto else dump([self.binding.push(config) for config in configs])


@dataclass(frozen=True)
class Operations:
    """The operations of an agent, by methods that are all `Answer` or `Stream`.

    Attributes:
        codec: How parameters and results are spelled.
        nothing: The result of an operation that has none.
        no_card: What a request is refused with that asks for an extended card where there is none.
    """

    codec: Codec
    nothing: bytes = b"null"
    no_card: Kind = Kind.UNSUPPORTED_OPERATION

    async def send(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Send a message."""
        return self.codec.answer(await dispatch.send(read(SendParams, self.codec.send_params(params)), service))

    async def get(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Read a task."""
        return self.codec.task(await dispatch.get(read(TaskParams, self.codec.task_params(params)), service))

    async def list(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Read a page of the tasks."""
        asked = self.codec.list_params(params)
        return self.codec.page(await dispatch.list(asked, service), asked)

    async def cancel(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Cancel a task."""
        return self.codec.task(await dispatch.cancel(read(TaskParams, self.codec.task_params(params)), service))

    async def set_push(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Make a push configuration."""
        config = read(TaskPushNotificationConfig, self.codec.push_config(params))
        return self.codec.push(await dispatch.set_push(config, service))

    async def get_push(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Read a push configuration."""
        asked = self.codec.push_params(params)
        return self.codec.push(await dispatch.get_push(read(OnePushParams, asked), service))

    async def get_any_push(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Read a push configuration; the first one of the task where none is named, as in 0.3."""
        asked = self.codec.push_params(params)
        if asked["id"] is not None:
            return await self.get_push(dispatch, params, service)
        listed = await dispatch.list_push(read(PushParams, asked), service)
        if not listed:
            raise Fault(Kind.TASK_NOT_FOUND, "That task has no push configuration.")
        return self.codec.push(listed[0])

    async def list_push(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Read all push configurations of a task."""
        asked = read(PushParams, self.codec.push_params(params))
        return self.codec.pushes(await dispatch.list_push(asked, service))

    async def delete_push(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Delete a push configuration."""
        await dispatch.delete_push(read(OnePushParams, self.codec.push_params(params)), service)
        return self.nothing

    async def card(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Read the card that is there for all callers."""
        return await service.show_card()

    async def extended_card(self, dispatch: Dispatch, params: Json, service: Service) -> bytes:
        """Read the card for callers that have shown who they are."""
        return await extended_card(service, self.no_card)

    async def stream(self, dispatch: Dispatch, params: Json, service: Service) -> AsyncIterator[bytes]:
        """Send a message, and hear what becomes of it."""
        async for event in dispatch.stream(read(SendParams, self.codec.send_params(params)), service):
            yield self.codec.event(event)

    async def subscribe(self, dispatch: Dispatch, params: Json, service: Service) -> AsyncIterator[bytes]:
        """Hear what becomes of a task."""
        asked = read(TaskParams, self.codec.task_params(params))
        async for event in dispatch.subscribe(asked, service, to_end=self.codec.to_end):
            yield self.codec.event(event)
