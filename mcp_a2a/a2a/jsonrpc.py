"""The JSON-RPC binding: one POST endpoint, and Server-Sent Events for streams (A2A 9)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from pydantic import JsonValue

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.body import Json, Reply, parse
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind, told
from mcp_a2a.a2a.operations import Answer, Codec, Operations, Stream, legacy_codec
from mcp_a2a.a2a.service import Service, check_service


async def serve(dispatch: Dispatch, body: bytes, service: Service) -> Reply:
    """Answer a request."""
    request_id: JsonValue = None
    try:
        request = _request(parse(body))
        request_id = _id(request)
        method, params = _method(request)
        if "id" not in request:
            return Reply()  # a notification: A2A has none, and its sender reads no answer
        check_service(service)
        if method in STREAMS:
            events = STREAMS[method](dispatch, params, service)
            return await _begin(events, request_id, always=method in _OLDER_STREAMS)
        return Reply(result(request_id, await ANSWERS[method](dispatch, params, service)))
    except Exception as failure:  # noqa: BLE001  the top of a request
        fault = told(failure)
        return Reply(error(request_id, fault), fault=fault.kind)


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


async def _begin(events: AsyncIterator[bytes], request_id: JsonValue, *, always: bool) -> Reply:
    """Wait for the first event: a request that fails is answered with an error, not with a stream.

    0.3 answers with a stream `always`, of which the error is the only event (0.3, section 3.3.1).
    """
    try:
        first = result(request_id, await anext(events))
    except Exception as failure:
        fault = told(failure)
        if not always or fault.kind.value.retry_after is not None:
            raise fault from failure
        first = error(request_id, fault)
    return Reply(events=_wrapped(events, request_id), first=first)


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
    """An error response of JSON-RPC."""
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": fault.rpc_error()}).encode()


# --- methods -------------------------------------------------------------------------------------

_CURRENT = Operations(Codec())
_OLDER = Operations(legacy_codec(legacy.JSON_RPC), no_card=Kind.NO_EXTENDED_CARD)

ANSWERS: dict[str, Answer] = {
    "SendMessage": _CURRENT.send,
    "GetTask": _CURRENT.get,
    "ListTasks": _CURRENT.list,
    "CancelTask": _CURRENT.cancel,
    "CreateTaskPushNotificationConfig": _CURRENT.set_push,
    "GetTaskPushNotificationConfig": _CURRENT.get_push,
    "ListTaskPushNotificationConfigs": _CURRENT.list_push,
    "DeleteTaskPushNotificationConfig": _CURRENT.delete_push,
    "GetExtendedAgentCard": _CURRENT.extended_card,
    # of 0.3, and of before
    "message/send": _OLDER.send,
    "tasks/send": _OLDER.send,
    "tasks/get": _OLDER.get,
    "tasks/list": _OLDER.list,
    "tasks/cancel": _OLDER.cancel,
    "tasks/pushNotificationConfig/set": _OLDER.set_push,
    "tasks/pushNotificationConfig/get": _OLDER.get_any_push,
    "tasks/pushNotificationConfig/list": _OLDER.list_push,
    "tasks/pushNotificationConfig/delete": _OLDER.delete_push,
    "agent/card": _OLDER.card,
    "agent/getAuthenticatedExtendedCard": _OLDER.extended_card,
    "agent/authenticatedExtendedCard": _OLDER.extended_card,  # so the text of 0.3.0 calls it in places
}

_OLDER_STREAMS: dict[str, Stream] = {
    "message/stream": _OLDER.stream,
    "tasks/sendSubscribe": _OLDER.stream,
    "tasks/resubscribe": _OLDER.subscribe,
}

STREAMS: dict[str, Stream] = {
    "SendStreamingMessage": _CURRENT.stream,
    "SubscribeToTask": _CURRENT.subscribe,
    **_OLDER_STREAMS,
}
