"""The HTTP+JSON binding: a resource per operation, Server-Sent Events for streams (A2A 11)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote

from mcp_a2a.a2a import legacy_rest
from mcp_a2a.a2a.body import A2A_JSON, JSON, Json, Reply, configs, dump, extended_card, page, parse, read, sent
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind, told
from mcp_a2a.a2a.params import ListParams, OnePushParams, PushParams, SendParams, TaskParams
from mcp_a2a.a2a.service import Service, check_service
from mcp_a2a.protocol.model import TaskPushNotificationConfig


@dataclass(frozen=True)
class Call:
    """A request, taken apart."""

    names: Json
    """What the path names."""
    query: Json
    body: bytes

    def json(self) -> Json:
        """The body as an object; an empty one counts as one without members."""
        value = parse(self.body) if self.body.strip() else {}
        if not isinstance(value, dict):
            raise Fault(Kind.INVALID_PARAMS, "The body must be a JSON object.")
        return value


Answer = Callable[[Dispatch, Call, Service], Awaitable[bytes]]
Stream = Callable[[Dispatch, Call, Service], AsyncIterator[bytes]]


@dataclass(frozen=True)
class Route:
    """One operation at one kind of path."""

    method: str
    path: re.Pattern[str]
    answer: Answer | None = None
    stream: Stream | None = None
    media_type: bytes = A2A_JSON


_INTEGERS = frozenset({"pageSize", "historyLength", "page_size", "history_length"})
_BOOLEANS = frozenset({"includeArtifacts", "include_artifacts"})

NO_TENANTS = frozenset({"v1", "mcp"})
"""What paths begin with that are not ours, or those of 0.3."""


def query_of(text: str) -> Json:
    """The query as parameters, numbers and truth values as such."""
    query: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in _INTEGERS and re.fullmatch(r"-?\d{1,9}", value):
            query[name] = int(value)
        elif name in _BOOLEANS and value.lower() in ("true", "false"):
            query[name] = value.lower() == "true"
        else:
            query[name] = value
    return query


async def serve(dispatch: Dispatch, method: str, path: str, call: Call, service: Service) -> tuple[int, Reply]:
    """Answer a request: status and reply."""
    try:
        route, names, tenant = _route(method, path)
        check_service(service)
        call = replace(call, names=names | ({"tenant": tenant} if tenant else {}))
        return 200, await _answered(route, dispatch, call, service)
    except Exception as failure:  # noqa: BLE001  the top of a request
        fault = told(failure)
        # In the format of AIP-193, as plain JSON: so the SDK sends errors, and the conformance kit wants them.
        return fault.kind.value.http, Reply(dump(fault.http_error()), fault=fault.kind)


async def _answered(route: Route, dispatch: Dispatch, call: Call, service: Service) -> Reply:
    if route.stream is not None:
        events = route.stream(dispatch, call, service)
        first = await anext(events)
        return Reply(events=_guarded(events), first=first)
    if route.answer is None:
        raise TypeError("a route answers or streams")
    return Reply(await route.answer(dispatch, call, service), media_type=route.media_type)


async def _guarded(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield event
    except Exception as failure:  # noqa: BLE001  as in `serve`
        yield dump(told(failure).http_error())


def _route(method: str, path: str) -> tuple[Route, Json, str]:
    """The route of a path, with or without a tenant before it."""
    first, _, rest = path.removeprefix("/").partition("/")
    candidates = ((path, ""),) if first in NO_TENANTS else ((path, ""), (f"/{rest}", first))
    wrong_method = False
    for candidate, tenant in candidates:
        for route in ROUTES:
            match = route.path.fullmatch(candidate)
            if match is None:
                continue
            if route.method == method:
                return route, {name: unquote(value) for name, value in match.groupdict().items()}, tenant
            wrong_method = True
    if wrong_method:
        raise Fault(Kind.METHOD_NOT_ALLOWED, f"{method} is not what {path} takes.")
    raise Fault(Kind.METHOD_NOT_FOUND, f"There is no {method} {path}.")


# --- 1.0 -----------------------------------------------------------------------------------------


async def _send(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    return sent(await dispatch.send(read(SendParams, call.json()), service))


async def _get(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    return (await dispatch.get(read(TaskParams, {**call.query, **call.names}), service)).to_json().encode()


async def _list(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    params = read(ListParams, call.query)
    return page(await dispatch.list(params, service), params)


async def _cancel(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    call.json()
    return (await dispatch.cancel(read(TaskParams, call.names), service)).to_json().encode()


async def _set_push(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    config = read(TaskPushNotificationConfig, {**call.json(), "taskId": call.names["task_id"]})
    return (await dispatch.set_push(config, service)).to_json().encode()


async def _get_push(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    return (await dispatch.get_push(read(OnePushParams, call.names), service)).to_json().encode()


async def _list_push(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    return configs(await dispatch.list_push(read(PushParams, call.names), service))


async def _delete_push(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    await dispatch.delete_push(read(OnePushParams, call.names), service)
    return b"{}"


async def _card(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    return await extended_card(service)


async def _stream(dispatch: Dispatch, call: Call, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.stream(read(SendParams, call.json()), service):
        yield event.to_json().encode()


async def _subscribe(dispatch: Dispatch, call: Call, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.subscribe(read(TaskParams, call.names), service):
        yield event.to_json().encode()


# --- 0.3 -----------------------------------------------------------------------------------------


async def _old_send(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    params = read(SendParams, legacy_rest.send_params(call.json()))
    return dump(legacy_rest.answer(await dispatch.send(params, service)))


async def _old_get(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    params = read(TaskParams, {**call.query, **call.names})
    return dump(legacy_rest.task(await dispatch.get(params, service)))


async def _old_cancel(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    return dump(legacy_rest.task(await dispatch.cancel(read(TaskParams, call.names), service)))


async def _old_set_push(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    config = read(TaskPushNotificationConfig, legacy_rest.push_of(call.json(), call.names["task_id"]))
    return dump(legacy_rest.push(await dispatch.set_push(config, service)))


async def _old_get_push(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    return dump(legacy_rest.push(await dispatch.get_push(read(OnePushParams, call.names), service)))


async def _old_list_push(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    listed = await dispatch.list_push(read(PushParams, call.names), service)
    return dump({"configs": [legacy_rest.push(config) for config in listed], "nextPageToken": ""})


async def _old_stream(dispatch: Dispatch, call: Call, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.stream(read(SendParams, legacy_rest.send_params(call.json())), service):
        yield dump(legacy_rest.event(event))


async def _old_subscribe(dispatch: Dispatch, call: Call, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.subscribe(read(TaskParams, call.names), service, to_end=False):
        yield dump(legacy_rest.event(event))


async def _older_card(dispatch: Dispatch, call: Call, service: Service) -> bytes:
    return await extended_card(service, Kind.METHOD_NOT_FOUND)


_TASK = r"/tasks/(?P<id>[^/:]+)"
_PUSH = r"/tasks/(?P<task_id>[^/:]+)/pushNotificationConfigs"
_ONE_PUSH = _PUSH + r"/(?P<id>[^/]+)"


def _at(method: str, path: str, answer: Answer | None = None, stream: Stream | None = None) -> Route:
    plain = path.startswith("/v1/")  # 0.3 knows no other media type
    return Route(method, re.compile(path), answer, stream, JSON if plain else A2A_JSON)


ROUTES: tuple[Route, ...] = (
    _at("POST", "/message:send", _send),
    _at("POST", "/message:stream", stream=_stream),
    _at("GET", _TASK, _get),
    _at("GET", "/tasks", _list),
    _at("POST", _TASK + ":cancel", _cancel),
    # The text of the specification says POST, its proto says GET.
    _at("POST", _TASK + ":subscribe", stream=_subscribe),
    _at("GET", _TASK + ":subscribe", stream=_subscribe),
    _at("POST", _PUSH, _set_push),
    _at("GET", _PUSH, _list_push),
    _at("GET", _ONE_PUSH, _get_push),
    _at("DELETE", _ONE_PUSH, _delete_push),
    _at("GET", "/extendedAgentCard", _card),
    _at("POST", "/v1/message:send", _old_send),
    _at("POST", "/v1/message:stream", stream=_old_stream),
    _at("GET", "/v1" + _TASK, _old_get),
    _at("POST", "/v1" + _TASK + ":cancel", _old_cancel),
    _at("POST", "/v1" + _TASK + ":subscribe", stream=_old_subscribe),
    _at("GET", "/v1" + _TASK + ":subscribe", stream=_old_subscribe),
    _at("POST", "/v1" + _PUSH, _old_set_push),
    _at("GET", "/v1" + _PUSH, _old_list_push),
    _at("GET", "/v1" + _ONE_PUSH, _old_get_push),
    _at("DELETE", "/v1" + _ONE_PUSH, _delete_push),
    _at("GET", "/v1/card", _card),
    Route("GET", re.compile("/agent/authenticatedExtendedCard"), _older_card, media_type=JSON),  # of 0.2
)
