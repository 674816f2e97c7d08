"""The HTTP+JSON binding: a resource per operation, Server-Sent Events for streams (A2A 11)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.body import A2A_JSON, JSON, Json, Reply, dump, parse
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind, told
from mcp_a2a.a2a.operations import Answer, Codec, Operations, Stream, legacy_codec
from mcp_a2a.a2a.service import Service, check_service


@dataclass(frozen=True)
class Call:
    """A request, taken apart."""

    names: Json
    """The names in the path."""
    query: Json
    body: bytes

    def params(self, method: str) -> Json:
        """The parameters: what the path names, before what else the query or the body of a POST says."""
        return {**(self._json() if method == "POST" else self.query), **self.names}

    def _json(self) -> Json:
        """The body as an object; an empty one counts as one without members."""
        value = parse(self.body) if self.body.strip() else {}
        if not isinstance(value, dict):
            raise Fault(Kind.INVALID_PARAMS, "The body must be a JSON object.")
        return value


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
"""First segments of paths that are not ours, or those of 0.3."""


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
    params = call.params(route.method)
    if route.stream is not None:
        events = route.stream(dispatch, params, service)
        first = await anext(events)
        return Reply(events=_guarded(events), first=first)
    if route.answer is None:
        raise TypeError("a route answers or streams")
    return Reply(await route.answer(dispatch, params, service), media_type=route.media_type)


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


# --- routes --------------------------------------------------------------------------------------

_CURRENT = Operations(Codec(), nothing=b"{}")
_OLDER = Operations(legacy_codec(legacy.REST), nothing=b"{}")
_OLDEST = Operations(Codec(), no_card=Kind.METHOD_NOT_FOUND)

_TASK = r"/tasks/(?P<id>[^/:]+)"
_PUSH = r"/tasks/(?P<taskId>[^/:]+)/pushNotificationConfigs"
_ONE_PUSH = _PUSH + r"/(?P<id>[^/]+)"


def _at(method: str, path: str, answer: Answer | None = None, stream: Stream | None = None) -> Route:
    plain = path.startswith("/v1/")  # 0.3 knows no other media type
    return Route(method, re.compile(path), answer, stream, JSON if plain else A2A_JSON)


def _both(prefix: str, operations: Operations) -> tuple[Route, ...]:
    return (
        _at("POST", f"{prefix}/message:send", operations.send),
        _at("POST", f"{prefix}/message:stream", stream=operations.stream),
        _at("GET", prefix + _TASK, operations.get),
        _at("POST", f"{prefix}{_TASK}:cancel", operations.cancel),
        # The text of the specification says POST, its proto says GET.
        _at("POST", f"{prefix}{_TASK}:subscribe", stream=operations.subscribe),
        _at("GET", f"{prefix}{_TASK}:subscribe", stream=operations.subscribe),
        _at("POST", prefix + _PUSH, operations.set_push),
        _at("GET", prefix + _PUSH, operations.list_push),
        _at("GET", prefix + _ONE_PUSH, operations.get_push),
        _at("DELETE", prefix + _ONE_PUSH, operations.delete_push),
    )


ROUTES: tuple[Route, ...] = (
    *_both("", _CURRENT),
    _at("GET", "/tasks", _CURRENT.list),
    _at("GET", "/extendedAgentCard", _CURRENT.extended_card),
    *_both("/v1", _OLDER),
    _at("GET", "/v1/card", _OLDER.extended_card),
    Route("GET", re.compile("/agent/authenticatedExtendedCard"), _OLDEST.extended_card, media_type=JSON),  # of 0.2
)
