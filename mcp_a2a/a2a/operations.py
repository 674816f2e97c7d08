"""The operations of A2A, the same in each version and binding: read parameters, ask a node, write the result."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.body import Json, dump, extended_card, read
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.a2a.params import ListParams, OnePushParams, PushParams, SendParams, TaskParams
from mcp_a2a.a2a.service import Service
from mcp_a2a.api.a2a import A2AAnswer, A2ATaskPage
from mcp_a2a.protocol.model import A2AModel, StreamResponse, TaskDocument, TaskPushNotificationConfig

Answer = Callable[[Dispatch, Json, Service], Awaitable[bytes]]
"""Answers a method with the JSON of its result."""
Stream = Callable[[Dispatch, Json, Service], AsyncIterator[bytes]]
"""The same for a method that streams."""


def _same(params: Json) -> Json:
    return params


def _list_params(params: Json) -> ListParams:
    return read(ListParams, params)


def _json(noun: A2AModel) -> bytes:
    return noun.to_json().encode()


def _answer(sent: A2AAnswer) -> bytes:
    if sent.reply is not None:
        return b'{"message":' + _json(sent.reply) + b"}"
    return b'{"task":' + _json(sent.task) + b"}"


def _page(page: A2ATaskPage, asked: ListParams) -> bytes:
    """A page of tasks; the token is always there (A2A 3.1.4)."""
    hidden = None if asked.include_artifacts else {"artifacts"}
    tasks = (task.model_dump_json(by_alias=True, exclude_none=True, exclude=hidden) for task in page.tasks)
    return b'{"tasks":[' + ",".join(tasks).encode() + b"]," + json.dumps(_rest_of(page, asked)).encode()[1:]


def _rest_of(page: A2ATaskPage, asked: ListParams) -> Json:
    return {"nextPageToken": page.next_page_token, "pageSize": asked.size, "totalSize": page.total_size}


def _pushes(configs: Sequence[TaskPushNotificationConfig]) -> bytes:
    return b'{"configs":[' + b",".join(map(_json, configs)) + b'],"nextPageToken":""}'


@dataclass(frozen=True)
class Codec:
    """How a version spells parameters and results; those of A2A 1.0 are read as they are, and are our nouns."""

    send_params: Callable[[Json], Json] = _same
    """Parameters of a message in 1.0's words, as those below."""
    task_params: Callable[[Json], Json] = _same
    """Parameters that name a task."""
    push_params: Callable[[Json], Json] = _same
    """Parameters that name a push configuration, or those of a task."""
    push_config: Callable[[Json], Json] = _same
    """Parameters that are a push configuration."""
    list_params: Callable[[Json], ListParams] = _list_params
    answer: Callable[[A2AAnswer], bytes] = _answer
    """What a message is answered with."""
    task: Callable[[TaskDocument], bytes] = _json
    event: Callable[[StreamResponse], bytes] = _json
    """An event of a stream."""
    push: Callable[[TaskPushNotificationConfig], bytes] = _json
    page: Callable[[A2ATaskPage, ListParams], bytes] = _page
    pushes: Callable[[Sequence[TaskPushNotificationConfig]], bytes] = _pushes
    """All push configurations of a task."""
    to_end: bool = True
    """True if a subscription goes on when the task waits for its caller."""


def legacy_codec(binding: legacy.Binding) -> Codec:
    """A2A 0.3 in one of its bindings."""

    def list_params(params: Json) -> ListParams:
        return read(ListParams, legacy.list_params(params)).model_copy(update={"include_artifacts": True})

    def page(page: A2ATaskPage, asked: ListParams) -> bytes:
        return dump({"tasks": [binding.task(task) for task in page.tasks], **_rest_of(page, asked)})

    def pushes(configs: Sequence[TaskPushNotificationConfig]) -> bytes:
        listed: list[JsonValue] = [binding.push(config) for config in configs]
        return dump({"configs": listed, "nextPageToken": ""} if binding.proto else listed)

    return Codec(
        send_params=binding.send_params,
        task_params=legacy.task_params,
        push_params=binding.push_params,
        push_config=legacy.push_config,
        list_params=list_params,
        answer=lambda sent: dump(binding.answer(sent)),
        task=lambda task: dump(binding.task(task)),
        event=lambda event: dump(binding.event(event)),
        push=lambda config: dump(binding.push(config)),
        page=page,
        pushes=pushes,
        to_end=False,
    )


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
