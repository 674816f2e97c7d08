"""The operations of A2A 1.0 over a node, for every binding (A2A 3.1).

Rule 1: nothing here knows HTTP or JSON-RPC; parameters come parsed, results leave as nouns.
Rule 2: the caller was authenticated before, and sees what its `Reach` holds, nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.a2a.files import Presenter
from mcp_a2a.a2a.params import ListParams, OnePushParams, PushParams, SendParams, TaskParams
from mcp_a2a.a2a.service import CLIENTS_KEY, Service
from mcp_a2a.api.a2a import (
    HOP,
    A2AAnswer,
    A2ACancelRequest,
    A2AFollowRequest,
    A2AFollowView,
    A2AGetRequest,
    A2AListRequest,
    A2APushDeleteRequest,
    A2APushGetRequest,
    A2APushRequest,
    A2APushSetRequest,
    A2APushView,
    A2ASendRequest,
    A2ATaskPage,
)
from mcp_a2a.api.tasks import MAX_HOP
from mcp_a2a.protocol.model import (
    AgentCard,
    Part,
    StreamResponse,
    TaskArtifactUpdateEvent,
    TaskDocument,
    TaskPushNotificationConfig,
    TaskStatusUpdateEvent,
)
from mcp_a2a.protocol.state import at_rest, is_terminal

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

_Push = TypeVar("_Push", bound=A2APushRequest)

QUICK_SECONDS = 1.0
"""An answer that comes so soon is waited for without a look at whether the caller is still there."""

SLICE_SECONDS = 600.0
"""A wait for an answer is made of such slices."""

UNREACHED_SECONDS = 30.0
"""A task whose agent has not been reached after so long is shown as it is: it is kept, and may take days."""

CANCEL_SECONDS = 10.0
"""Seconds in which an agent must confirm that it has stopped."""

FIRST_WORD_SECONDS = 0.1
"""Seconds that a stream may wait with its task, in case the agent answers with a message and means no task."""


class Dispatch:
    """Every operation of A2A."""

    def __init__(self, node: NodeApi) -> None:
        self._node = node

    # --- sending ---------------------------------------------------------------------------------

    async def send(self, params: SendParams, service: Service) -> A2AAnswer:
        """SendMessage: the task when it has ended or waits for its caller, or the message it is answered with."""
        request = _send_request(params, service)
        if params.configuration is not None and params.configuration.return_immediately:
            answer = await self._node.call(request.model_copy(update={"wait_seconds": 0}))
        else:
            answer = await self._node.call(request)
            if not at_rest(answer.task.status.state):
                answer = await service.wait_connected(self._until_rest(answer, service))
        task = _trimmed(answer.task, params.history_length)
        return await self._presenter(service).answer(answer.model_copy(update={"task": task}))

    def _presenter(self, service: Service) -> Presenter:
        return Presenter(self._node, service.caller, service.file_url)

    async def _until_rest(self, answer: A2AAnswer, service: Service) -> A2AAnswer:
        request = A2AGetRequest(
            agent=service.agent, caller=service.caller, task_id=answer.task.id, wait_seconds=UNREACHED_SECONDS
        )
        answer = await self._node.call(request)
        while not at_rest(answer.task.status.state) and answer.task.metadata is None:
            answer = await self._node.call(request.model_copy(update={"wait_seconds": SLICE_SECONDS}))
        service.check()
        return answer

    async def stream(self, params: SendParams, service: Service) -> AsyncIterator[StreamResponse]:
        """SendStreamingMessage: the task first and what happens to it, or one message (A2A 3.1.2)."""
        request = _send_request(params, service).model_copy(update={"follow": True, "wait_seconds": 0})
        answer = await self._node.call(request)
        if answer.cursor is None:
            raise TypeError("a followed task has a cursor")
        following = _follow_request(service, answer.task.id, answer.cursor)
        view = await self._node.call(following.model_copy(update={"wait_seconds": FIRST_WORD_SECONDS}))
        present = self._presenter(service).event
        service.check()
        if view.reply is not None:
            yield await present(StreamResponse(message=view.reply), answer.task.id)
            return
        length = params.history_length
        yield await present(_shortened(StreamResponse(task=answer.task), length), answer.task.id)
        async for event in self._events(following, view):
            service.check()
            yield await present(_shortened(event, length), answer.task.id)

    async def _events(self, request: A2AFollowRequest, view: A2AFollowView) -> AsyncIterator[StreamResponse]:
        """The events from the cursor until the task rests, for a client that has been told the task."""
        while True:
            for event in (*(retold(view.task) if view.task is not None else ()), *view.events):
                yield event
            if view.over:
                return
            on = {"cursor": view.cursor, "wait_seconds": SLICE_SECONDS}
            view = await self._node.call(request.model_copy(update=on))

    # --- looking ---------------------------------------------------------------------------------

    async def get(self, params: TaskParams, service: Service) -> TaskDocument:
        """GetTask."""
        request = A2AGetRequest(agent=service.agent, caller=service.caller, task_id=params.id)
        task = _trimmed((await self._node.call(request)).task, params.history_length)
        return await self._presenter(service).task(task)

    async def list(self, params: ListParams, service: Service) -> A2ATaskPage:
        """ListTasks; without artifacts unless they are asked for."""
        page = await self._node.call(
            A2AListRequest(
                agent=service.agent,
                caller=service.caller,
                context_id=params.context_id,
                status=params.status,
                page_size=params.size,
                page_token=params.page_token or "",
                status_timestamp_after=_seconds(params.status_timestamp_after),
            )
        )
        page = self._presenter(service).page(page)
        tasks = tuple(_trimmed(task, params.history_length) for task in page.tasks)
        if not params.include_artifacts:
            tasks = tuple(task.model_copy(update={"artifacts": ()}) for task in tasks)
        return page.model_copy(update={"tasks": tasks})

    async def subscribe(
        self, params: TaskParams, service: Service, *, to_end: bool = True
    ) -> AsyncIterator[StreamResponse]:
        """SubscribeToTask: the task first, then what happens to it, until it ends (A2A 3.1.6).

        Without `to_end` only until it waits for its caller, as in 0.3.

        Raises:
            Fault: UNSUPPORTED_OPERATION for a task that has ended.
        """
        request = _follow_request(service, params.id, None).model_copy(update={"to_end": to_end})
        view = await self._node.call(request)
        if view.task is not None and is_terminal(view.task.status.state):
            raise Fault(Kind.UNSUPPORTED_OPERATION, f"The task {params.id} has ended; GetTask shows it.")
        present = self._presenter(service).event
        if view.task is not None:
            service.check()
            yield await present(StreamResponse(task=view.task), params.id)
        async for event in self._events(request, view.model_copy(update={"task": None})):
            service.check()
            yield await present(event, params.id)

    # --- withdrawing -----------------------------------------------------------------------------

    async def cancel(self, params: TaskParams, service: Service) -> TaskDocument:
        """CancelTask."""
        request = A2ACancelRequest(
            agent=service.agent, caller=service.caller, task_id=params.id, wait_seconds=CANCEL_SECONDS
        )
        return await self._presenter(service).task((await self._node.call(request)).task)

    # --- push ------------------------------------------------------------------------------------

    async def set_push(self, config: TaskPushNotificationConfig, service: Service) -> TaskPushNotificationConfig:
        """CreateTaskPushNotificationConfig."""
        request = _push_request(A2APushSetRequest, service, config.task_id or "")
        return _of_a2a(await self._node.call(request.model_copy(update={"config": config})))[0]

    async def get_push(self, params: OnePushParams, service: Service) -> TaskPushNotificationConfig:
        """GetTaskPushNotificationConfig."""
        return _of_a2a(await self._node.call(_push_request(A2APushGetRequest, service, params.task_id, params.id)))[0]

    async def list_push(self, params: PushParams, service: Service) -> tuple[TaskPushNotificationConfig, ...]:
        """ListTaskPushNotificationConfigs."""
        return _of_a2a(await self._node.call(_push_request(A2APushGetRequest, service, params.task_id)))

    async def delete_push(self, params: OnePushParams, service: Service) -> None:
        """DeleteTaskPushNotificationConfig; what is not there is deleted."""
        await self._node.call(_push_request(A2APushDeleteRequest, service, params.task_id, params.id))


def _trimmed(task: TaskDocument, history_length: int | None) -> TaskDocument:
    """The task with at most so many of its newest messages; None is all of them."""
    if history_length is None or len(task.history) <= history_length:
        return task
    return task.model_copy(update={"history": task.history[len(task.history) - history_length :]})


def _shortened(event: StreamResponse, history_length: int | None) -> StreamResponse:
    """The same for the task in an event, if there is one."""
    return event if event.task is None else StreamResponse(task=_trimmed(event.task, history_length))


def _send_request(params: SendParams, service: Service) -> A2ASendRequest:
    _check_modes(params.message.parts, service.card)
    push = params.configuration.task_push_notification_config if params.configuration is not None else None
    if push is not None:
        _check_push(service)
    active = tuple(dict.fromkeys((*(params.message.extensions or ()), *sorted(service.active_extensions))))
    return A2ASendRequest(
        agent=service.agent,
        caller=service.caller,
        message=params.message.model_copy(update={"extensions": active or None}),
        skill=_skill(params),
        hop=_hop(params),
        idempotency_key=f"{CLIENTS_KEY}{service.idempotency_key}" if service.idempotency_key else None,
        push_config=push,
        wait_seconds=QUICK_SECONDS,
    )


def _skill(params: SendParams) -> str | None:
    """The skill that is meant, where the client says it: A2A has no word for it, so it stands in the metadata."""
    for metadata in (params.metadata, params.message.metadata):
        for name in ("skill", "skillId", "skill_id"):
            value = (metadata or {}).get(name)
            if isinstance(value, str) and 0 < len(value) <= 128:
                return value
    return None


def _hop(params: SendParams) -> int:
    """The number of agents that passed the work on, by the client's word. A lie only shortens its own chain."""
    value = (params.message.metadata or {}).get(HOP)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(0, min(int(value), MAX_HOP))


def _check_modes(parts: tuple[Part, ...], card: AgentCard) -> None:
    """Refuse what the agent does not read (A2A 3.3.2). Text and data need no word for what they are."""
    allowed = {mode.lower() for mode in card.default_input_modes}
    for skill in card.skills:
        allowed |= {mode.lower() for mode in skill.input_modes or ()}
    for part in parts:
        mode = (part.media_type or "").partition(";")[0].strip().lower()
        if mode and not _matches(mode, allowed):
            raise Fault(
                Kind.CONTENT_TYPE,
                f"The content type {mode} is not supported by this agent. It reads {', '.join(sorted(allowed))}.",
                mediaType=mode,
            )


def _matches(mode: str, allowed: set[str]) -> bool:
    return not allowed or mode in allowed or "*/*" in allowed or f"{mode.partition('/')[0]}/*" in allowed


def _follow_request(service: Service, task_id: str, cursor: str | None) -> A2AFollowRequest:
    return A2AFollowRequest(agent=service.agent, caller=service.caller, task_id=task_id, cursor=cursor)


def _of_a2a(view: A2APushView) -> tuple[TaskPushNotificationConfig, ...]:
    """The configurations without the version in which they were named: A2A has no such field."""
    return tuple(config.model_copy(update={"protocol_version": None}) for config in view.configs)


def _push_request(kind: type[_Push], service: Service, task_id: str, config_id: str | None = None) -> _Push:
    _check_push(service)
    return kind(agent=service.agent, caller=service.caller, task_id=task_id, config_id=config_id)


def _check_push(service: Service) -> None:
    if not service.push:
        raise Fault(Kind.PUSH_NOT_SUPPORTED, "Push notifications are not supported by this agent.")


def _seconds(timestamp: str | None) -> float | None:
    if not timestamp:
        return None
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Fault(Kind.INVALID_PARAMS, "statusTimestampAfter must be an ISO 8601 time in UTC, ending in Z.")
    return at.timestamp()


# A task as it is, for a client that follows it and has missed how it came to be so.
#
# A stream begins with a task, and clients take no second one in it: the official SDK for A2A 0.3 ends with an error.


def retold(task: TaskDocument) -> Iterator[StreamResponse]:
    """The updates that make of whatever a client has of a task the task as it is."""
    context_id = task.context_id or ""
    for artifact in task.artifacts:
        made = TaskArtifactUpdateEvent(
            task_id=task.id, context_id=context_id, artifact=artifact, append=False, last_chunk=True
        )
        yield StreamResponse(artifact_update=made)
    moved = TaskStatusUpdateEvent(task_id=task.id, context_id=context_id, status=task.status)
    yield StreamResponse(status_update=moved)
