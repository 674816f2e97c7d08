"""The JSON-RPC binding: one POST endpoint, and Server-Sent Events for streams (A2A 9)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import from_json

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.dispatch import Dispatch, Service, check_service, trimmed
from mcp_a2a.a2a.faults import Fault, Kind, invalid_params, told
from mcp_a2a.a2a.params import ListParams, PushParams, SendParams, TaskParams
from mcp_a2a.exchange import A2AAnswer, A2ATaskPage
from mcp_a2a.protocol.model import StreamResponse, TaskPushNotificationConfig

Json = dict[str, JsonValue]
ParamsT = TypeVar("ParamsT", bound=BaseModel)

Answer = Callable[[Dispatch, Json, Service], Awaitable[bytes]]
"""Answers a method with the JSON of its result."""
Stream = Callable[[Dispatch, Json, Service], AsyncIterator[bytes]]
"""The same for a method that streams."""

MAX_DEPTH = 100
"""How deep a request may nest."""


@dataclass(frozen=True)
class Reply:
    """What is answered: a body at once, events one by one, or nothing."""

    body: bytes | None = None
    events: AsyncIterator[bytes] | None = None
    first: bytes | None = None
    """The first event, which was waited for: what fails before it is an error and no stream."""


def parse(body: bytes) -> JsonValue:
    """The JSON of a request.

    Raises:
        Fault: PARSE
    """
    try:
        value: JsonValue = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Fault(Kind.PARSE, f"The body is not JSON: {error}.") from None
    _check_depth(value)
    return value


def _check_depth(value: JsonValue) -> None:
    level: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise Fault(Kind.INVALID_REQUEST, f"The request nests deeper than {MAX_DEPTH} levels.")


def read(model: type[ParamsT], params: JsonValue) -> ParamsT:
    """Parameters as they should be.

    Raises:
        Fault: INVALID_PARAMS
    """
    try:
        return model.model_validate(params)
    except ValidationError as error:
        raise invalid_params(error) from None


async def serve(dispatch: Dispatch, body: bytes, service: Service) -> Reply:
    """Answer a request."""
    request_id: JsonValue = None
    try:
        request = _request(parse(body))
        request_id = _id(request)
        method, params = _method(request)
        if "id" not in request:
            return Reply()  # a notification: nothing of A2A is one, and nobody reads an answer
        check_service(service)
        if method in STREAMS:
            return await _begin(STREAMS[method](dispatch, params, service), request_id)
        return Reply(result(request_id, await ANSWERS[method](dispatch, params, service)))
    except Exception as failure:  # noqa: BLE001  the top of a request
        return Reply(error(request_id, told(failure)))


def _request(value: JsonValue) -> Json:
    if isinstance(value, dict):
        return value
    what = "Batches are not served (A2A 9)" if isinstance(value, list) else "A request is an object"
    raise Fault(Kind.INVALID_REQUEST, f"{what}; send one request at a time.")


def _id(request: Json) -> JsonValue:
    request_id = request.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | None):
        raise Fault(Kind.INVALID_REQUEST, "The id of a request is a string or a whole number.")
    return request_id


def _method(request: Json) -> tuple[str, Json]:
    method, params = request.get("method"), request.get("params", {})
    if request.get("jsonrpc") != "2.0":
        raise Fault(Kind.INVALID_REQUEST, 'A request has "jsonrpc": "2.0".')
    if not isinstance(method, str):
        raise Fault(Kind.INVALID_REQUEST, "The method of a request is a string.")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise Fault(Kind.INVALID_PARAMS, "The parameters of A2A are an object.")
    if method not in ANSWERS and method not in STREAMS:
        raise Fault(Kind.METHOD_NOT_FOUND, f"There is no method {method[:128]!r}.")
    return method, params


async def _begin(events: AsyncIterator[bytes], request_id: JsonValue) -> Reply:
    """Wait for the first event: a request that fails is answered with an error, not with a stream."""
    first = await anext(events)
    return Reply(events=_wrapped(events, request_id), first=result(request_id, first))


async def _wrapped(events: AsyncIterator[bytes], request_id: JsonValue) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield result(request_id, event)
    except Exception as failure:  # noqa: BLE001  as in `serve`
        yield error(request_id, told(failure))


def result(request_id: JsonValue, value: bytes) -> bytes:
    """A response that succeeds, around the JSON of its result."""
    return b'{"jsonrpc":"2.0","id":' + json.dumps(request_id).encode() + b',"result":' + value + b"}"


def error(request_id: JsonValue, fault: Fault) -> bytes:
    """A response that fails."""
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": fault.rpc_error()}).encode()


def dump(value: JsonValue) -> bytes:
    """JSON as it is sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


# --- the methods of 1.0 --------------------------------------------------------------------------


def sent(answer: A2AAnswer, params: SendParams) -> bytes:
    """What a message is answered with."""
    if answer.reply is not None:
        return b'{"message":' + answer.reply.to_json().encode() + b"}"
    length = params.configuration.history_length if params.configuration is not None else None
    return b'{"task":' + trimmed(answer.task, length).to_json().encode() + b"}"


def page(tasks: A2ATaskPage, params: ListParams) -> bytes:
    """A page of tasks; the token is always there (A2A 3.1.4)."""
    hidden = None if params.include_artifacts else {"artifacts"}
    listed = b",".join(
        task.model_dump_json(by_alias=True, exclude_none=True, exclude=hidden).encode() for task in tasks.tasks
    )
    rest = {
        "nextPageToken": tasks.next_page_token,
        "pageSize": params.page_size or 50,
        "totalSize": tasks.total_size,
    }
    return b'{"tasks":[' + listed + b"]," + json.dumps(rest).encode()[1:]


def configs(listed: tuple[TaskPushNotificationConfig, ...]) -> bytes:
    """All push configurations of a task."""
    return b'{"configs":[' + b",".join(config.to_json().encode() for config in listed) + b'],"nextPageToken":""}'


async def _send(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    read_params = read(SendParams, params)
    return sent(await dispatch.send(read_params, service), read_params)


async def _get(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    asked = read(TaskParams, params)
    return trimmed(await dispatch.get(asked, service), asked.history_length).to_json().encode()


async def _list(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    asked = read(ListParams, params)
    return page(await dispatch.list(asked, service), asked)


async def _cancel(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return (await dispatch.cancel(read(TaskParams, params), service)).to_json().encode()


async def _set_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return (await dispatch.set_push(read(TaskPushNotificationConfig, params), service)).to_json().encode()


async def _get_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return (await dispatch.get_push(read(PushParams, params), service)).to_json().encode()


async def _list_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return configs(await dispatch.list_push(read(PushParams, params), service))


async def _delete_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    await dispatch.delete_push(read(PushParams, params), service)
    return b"null"


async def _stream(dispatch: Dispatch, params: Json, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.stream(read(SendParams, params), service):
        yield event.to_json().encode()


async def _subscribe(dispatch: Dispatch, params: Json, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.subscribe(read(TaskParams, params), service):
        yield event.to_json().encode()


async def _extended_card(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return await extended_card(service)


async def extended_card(service: Service) -> bytes:
    """The card for callers that have shown who they are.

    Raises:
        Fault: there is none.
    """
    if not service.has_extended_card:
        raise Fault(Kind.UNSUPPORTED_OPERATION, "This agent has no extended card.")
    return await service.show_card()


# --- the methods of 0.3, and of before ------------------------------------------------------------


async def _old_send(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    asked = read(SendParams, legacy.send_params(params))
    length = asked.configuration.history_length if asked.configuration is not None else None
    return dump(legacy.answer(await dispatch.send(asked, service), length))


async def _old_get(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    asked = read(TaskParams, legacy.task_params(params))
    return dump(legacy.task(trimmed(await dispatch.get(asked, service), asked.history_length)))


async def _old_cancel(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return dump(legacy.task(await dispatch.cancel(read(TaskParams, legacy.task_params(params)), service)))


async def _old_list(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    asked = read(ListParams, params)
    tasks = await dispatch.list(asked.model_copy(update={"include_artifacts": True}), service)
    return dump(
        {
            "tasks": [legacy.task(task) for task in tasks.tasks],
            "nextPageToken": tasks.next_page_token,
            "totalSize": tasks.total_size,
        }
    )


async def _old_stream(dispatch: Dispatch, params: Json, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.stream(read(SendParams, legacy.send_params(params)), service):
        yield dump(legacy.event(event))


async def _old_subscribe(dispatch: Dispatch, params: Json, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.subscribe(read(TaskParams, legacy.task_params(params)), service):
        yield dump(legacy.event(event))


def _old_push_params(params: Json) -> Json:
    task_id = params.get("id") or params.get("taskId") or params.get("task_id")
    return {"taskId": task_id, "id": params.get("pushNotificationConfigId")}


async def _old_set_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    nested = params.get("pushNotificationConfig")
    config = legacy.push_of(nested if isinstance(nested, dict) else {}, params.get("taskId") or params.get("id"))
    return dump(legacy.push(await dispatch.set_push(read(TaskPushNotificationConfig, config), service)))


async def _old_get_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return dump(legacy.push(await dispatch.get_push(read(PushParams, _old_push_params(params)), service)))


async def _old_list_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    listed = await dispatch.list_push(read(PushParams, _old_push_params(params)), service)
    return dump([legacy.push(config) for config in listed])


async def _old_delete_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    await dispatch.delete_push(read(PushParams, _old_push_params(params)), service)
    return b"null"


async def _card(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return await service.show_card()


ANSWERS: dict[str, Answer] = {
    "SendMessage": _send,
    "GetTask": _get,
    "ListTasks": _list,
    "CancelTask": _cancel,
    "CreateTaskPushNotificationConfig": _set_push,
    "GetTaskPushNotificationConfig": _get_push,
    "ListTaskPushNotificationConfigs": _list_push,
    "DeleteTaskPushNotificationConfig": _delete_push,
    "GetExtendedAgentCard": _extended_card,
    "message/send": _old_send,
    "tasks/send": _old_send,
    "tasks/get": _old_get,
    "tasks/list": _old_list,
    "tasks/cancel": _old_cancel,
    "tasks/pushNotificationConfig/set": _old_set_push,
    "tasks/pushNotificationConfig/get": _old_get_push,
    "tasks/pushNotificationConfig/list": _old_list_push,
    "tasks/pushNotificationConfig/delete": _old_delete_push,
    "agent/getAuthenticatedExtendedCard": _extended_card,
    "agent/card": _card,
}

STREAMS: dict[str, Stream] = {
    "SendStreamingMessage": _stream,
    "SubscribeToTask": _subscribe,
    "message/stream": _old_stream,
    "tasks/sendSubscribe": _old_stream,
    "tasks/resubscribe": _old_subscribe,
}

__all__ = ["Reply", "StreamResponse", "error", "extended_card", "parse", "read", "serve"]
