"""The methods of A2A 0.3, and of before: the operations of 1.0 in their words."""

from __future__ import annotations

from collections.abc import AsyncIterator

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.body import Answer, Json, Stream, dump, extended_card, read
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.a2a.params import ListParams, OnePushParams, PushParams, SendParams, TaskParams
from mcp_a2a.a2a.service import Service
from mcp_a2a.protocol.model import TaskPushNotificationConfig


async def _send(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return dump(legacy.answer(await dispatch.send(read(SendParams, legacy.send_params(params)), service)))


async def _get(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return dump(legacy.task(await dispatch.get(read(TaskParams, legacy.task_params(params)), service)))


async def _cancel(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return dump(legacy.task(await dispatch.cancel(read(TaskParams, legacy.task_params(params)), service)))


async def _list(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    asked = read(ListParams, legacy.list_params(params))
    tasks = await dispatch.list(asked.model_copy(update={"include_artifacts": True}), service)
    return dump(
        {
            "tasks": [legacy.task(task) for task in tasks.tasks],
            "nextPageToken": tasks.next_page_token,
            "pageSize": asked.size,
            "totalSize": tasks.total_size,
        }
    )


async def _stream(dispatch: Dispatch, params: Json, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.stream(read(SendParams, legacy.send_params(params)), service):
        yield dump(legacy.event(event))


async def _subscribe(dispatch: Dispatch, params: Json, service: Service) -> AsyncIterator[bytes]:
    async for event in dispatch.subscribe(read(TaskParams, legacy.task_params(params)), service, to_end=False):
        yield dump(legacy.event(event))


def _push_params(params: Json) -> Json:
    task_id = params.get("id") or params.get("taskId") or params.get("task_id")
    return {"taskId": task_id, "id": params.get("pushNotificationConfigId")}


async def _set_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    nested = params.get("pushNotificationConfig")
    config = legacy.push_of(nested if isinstance(nested, dict) else {}, params.get("taskId") or params.get("id"))
    return dump(legacy.push(await dispatch.set_push(read(TaskPushNotificationConfig, config), service)))


async def _get_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    asked = _push_params(params)
    if asked["id"] is not None:
        return dump(legacy.push(await dispatch.get_push(read(OnePushParams, asked), service)))
    listed = await dispatch.list_push(read(PushParams, asked), service)
    if not listed:
        raise Fault(Kind.TASK_NOT_FOUND, "That task has no push configuration.")
    return dump(legacy.push(listed[0]))


async def _list_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    listed = await dispatch.list_push(read(PushParams, _push_params(params)), service)
    return dump([legacy.push(config) for config in listed])


async def _delete_push(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    await dispatch.delete_push(read(OnePushParams, _push_params(params)), service)
    return b"null"


async def _card(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return await service.show_card()


async def _extended_card(dispatch: Dispatch, params: Json, service: Service) -> bytes:
    return await extended_card(service, Kind.NO_EXTENDED_CARD)


ANSWERS: dict[str, Answer] = {
    "message/send": _send,
    "tasks/send": _send,
    "tasks/get": _get,
    "tasks/list": _list,
    "tasks/cancel": _cancel,
    "tasks/pushNotificationConfig/set": _set_push,
    "tasks/pushNotificationConfig/get": _get_push,
    "tasks/pushNotificationConfig/list": _list_push,
    "tasks/pushNotificationConfig/delete": _delete_push,
    "agent/card": _card,
    "agent/getAuthenticatedExtendedCard": _extended_card,
    "agent/authenticatedExtendedCard": _extended_card,  # so the text of 0.3.0 calls it in places
}

STREAMS: dict[str, Stream] = {
    "message/stream": _stream,
    "tasks/sendSubscribe": _stream,
    "tasks/resubscribe": _subscribe,
}
