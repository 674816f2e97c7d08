"""The operations of A2A over a node's own tasks, for A2A clients: tasks of our own agent and of agents behind it.

A client of our A2A server is no peer: it has no key, it polls or subscribes, and `Within` decides what it may see.
Its task at our own agent goes straight into the inbox; one for an agent behind this node is sent like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mcp_a2a.api.a2a import (
    A2AAnswer,
    A2ACancelRequest,
    A2AFollowRequest,
    A2AFollowView,
    A2AGetRequest,
    A2AListRequest,
    A2APushDeleteRequest,
    A2APushGetRequest,
    A2APushSetRequest,
    A2APushView,
    A2ASendRequest,
    A2ATaskPage,
    Reach,
)
from mcp_a2a.api.files import Attachments
from mcp_a2a.api.tasks import MAX_HOP
from mcp_a2a.errors.tasks import (
    ContextMismatchError,
    HopLimitError,
    NotAwaitingReplyError,
    PageTokenError,
    PushNotSupportedError,
    TaskNotFoundError,
    TransitionError,
)
from mcp_a2a.node.agents.search import Search
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.node.tasks.document import direct_reply, document
from mcp_a2a.node.tasks.events import Beginning, Events, Reading
from mcp_a2a.node.tasks.own_tasks import OwnTasks, caller_peer
from mcp_a2a.node.tasks.pushes import Pushes
from mcp_a2a.node.tasks.sending import Draft, Sending
from mcp_a2a.protocol.model import Message, Role, TaskState
from mcp_a2a.protocol.naming import kind_of_agent
from mcp_a2a.protocol.task.task import Task, task_id_of
from mcp_a2a.store.records import find_task
from mcp_a2a.store.task_lists import Position, Within, parse_position, position_token, tasks_within

SELF = "self"


@dataclass(eq=False)
class A2ATasks:
    """Serves A2A clients."""

    context: Context
    search: Search
    own: OwnTasks
    sending: Sending
    events: Events
    pushes: Pushes

    # --- sending ---------------------------------------------------------------------------------

    @answers(A2ASendRequest)
    async def send(self, request: A2ASendRequest) -> A2AAnswer:
        """See `A2ASendRequest`."""
        message = request.message.model_copy(update={"role": Role.USER})
        if request.push_config is not None:
            self.pushes.check(request.push_config)
        if message.task_id is not None:
            return await self._go_on(request, message, message.task_id)
        return await self._open(request, message)

    async def _open(self, request: A2ASendRequest, message: Message) -> A2AAnswer:
        if request.hop >= MAX_HOP:
            raise HopLimitError(MAX_HOP)
        if request.push_config is not None and self._is_new(request):
            self.pushes.check_room(request.push_config, "", request.caller)
        begun: list[Beginning] = []

        def follow(record: Task) -> None:
            if request.follow or request.push_config is not None:
                begun.append(self.events.begin(record))

        is_ours = request.agent == SELF
        draft = Draft(message, self._opening(request), request.skill, request.hop + is_ours, request.caller)
        if is_ours:
            record = await self.own.open(request, draft, follow)
        else:
            peer = await self.search.meant(request.agent)
            record = await self.sending.send_message(peer, draft, follow, request.consent)
        return await self._answer(record, request, *begun)

    def _opening(self, request: A2ASendRequest) -> str:
        scope = f"{request.agent}\0{request.caller}"
        return self.sending.opening_id(request.idempotency_key, scope)

    def _is_new(self, request: A2ASendRequest) -> bool:
        return self.sending.find(task_id_of(self.context.me, self._opening(request))) is None

    async def _go_on(self, request: A2ASendRequest, message: Message, task_id: str) -> A2AAnswer:
        record = await self._mine(request, task_id)
        if message.context_id is not None and message.context_id != record.context_id:
            raise ContextMismatchError(task_id)
        if record.done:
            raise NotAwaitingReplyError(task_id, record.state)
        if request.push_config is not None:
            self.pushes.check_room(request.push_config, task_id, request.caller)
        if record.sent:
            record = await self.sending.go_on(task_id, message, Attachments(consent=request.consent))
        else:
            record = await self.own.hear(task_id, message)
        # Without a pause between the two: what comes after this is told, and nothing before it twice.
        begun = self.events.begin(record)
        return await self._answer(record, request, begun)

    async def _answer(self, record: Task, request: A2ASendRequest, begun: Beginning | None = None) -> A2AAnswer:
        if begun is not None and request.push_config is not None:
            await self.pushes.set(record, request.push_config, begun.cursor)
        if begun is not None and request.follow:
            return A2AAnswer(task=document(begun.whole), cursor=begun.cursor)
        return await self._rested(record, request.wait_seconds)

    async def _rested(self, record: Task, seconds: float) -> A2AAnswer:
        record = await self.sending.waiting.wait(record, "rest", seconds)
        return A2AAnswer(task=document(record), reply=direct_reply(record))

    # --- looking ---------------------------------------------------------------------------------

    @answers(A2AGetRequest)
    async def get(self, request: A2AGetRequest) -> A2AAnswer:
        """See `A2AGetRequest`."""
        await self.sending.look(await self._mine(request, request.task_id))
        record = self.sending.latest(request.task_id)
        return await self._rested(record, request.wait_seconds)

    @answers(A2AListRequest)
    async def list(self, request: A2AListRequest) -> A2ATaskPage:
        """See `A2AListRequest`."""
        within = replace(
            await self._within(request),
            context_id=request.context_id,
            state=request.status,
            after=request.status_timestamp_after,
        )
        before = _position(request.page_token)
        records, total = await self.context.database.read_aside(
            lambda connection: tasks_within(connection, within, before, request.page_size + 1)
        )
        shown = records[: request.page_size]
        token = position_token(shown[-1].status_at, shown[-1]) if len(records) > len(shown) else ""
        return A2ATaskPage(tasks=tuple(document(record) for record in shown), next_page_token=token, total_size=total)

    @answers(A2AFollowRequest)
    async def follow(self, request: A2AFollowRequest) -> A2AFollowView:
        """See `A2AFollowRequest`."""
        await self.sending.look(await self._mine(request, request.task_id))
        seconds = request.wait_seconds
        reading = await self.events.read(request.task_id, request.cursor, seconds, to_end=request.to_end)
        return _follow_view(reading)

    # --- withdrawing -----------------------------------------------------------------------------

    @answers(A2ACancelRequest)
    async def cancel(self, request: A2ACancelRequest) -> A2AAnswer:
        """See `A2ACancelRequest`."""
        record = await self._mine(request, request.task_id)
        if record.done:
            raise TransitionError(record.state, TaskState.CANCELED)
        if not record.sent:
            return A2AAnswer(task=document(await self.own.stop(record.id)))
        record = await self.sending.cancel(record.id)
        return await self._rested(record, request.wait_seconds)

    # --- push ------------------------------------------------------------------------------------

    @answers(A2APushSetRequest)
    async def set_push(self, request: A2APushSetRequest) -> A2APushView:
        """See `A2APushSetRequest`."""
        record = await self._mine(request, request.task_id)
        if request.config is None:
            raise PushNotSupportedError
        return A2APushView(configs=(await self.pushes.set(record, request.config),))

    @answers(A2APushGetRequest)
    async def get_push(self, request: A2APushGetRequest) -> A2APushView:
        """See `A2APushGetRequest`."""
        record = await self._mine(request, request.task_id)
        return A2APushView(configs=self.pushes.get(record.id, request.config_id))

    @answers(A2APushDeleteRequest)
    async def delete_push(self, request: A2APushDeleteRequest) -> A2APushView:
        """See `A2APushDeleteRequest`."""
        record = await self._mine(request, request.task_id)
        await self.pushes.delete(record.id, request.config_id)
        return A2APushView()

    # --- who may see what ------------------------------------------------------------------------

    async def _within(self, reach: Reach) -> Within:
        if reach.agent == SELF:
            return Within("received", caller_peer(reach.caller), reach.caller)
        return Within("sent", await self._peer_of(reach.agent), reach.caller)

    async def _peer_of(self, agent: str) -> str:
        return agent if kind_of_agent(agent) == "did" else (await self.search.meant(agent)).key

    async def _mine(self, reach: Reach, task_id: str) -> Task:
        """A task in reach; what is not there and what is not the caller's look the same."""
        within = await self._within(reach)
        record = self.context.database.read(lambda connection: find_task(connection, task_id))
        if record is None or record.forgotten is not None or not within.holds(record):
            raise TaskNotFoundError(task_id)
        return record


def _follow_view(reading: Reading) -> A2AFollowView:
    return A2AFollowView(
        task=document(reading.whole) if reading.whole is not None else None,
        reply=direct_reply(reading.direct) if reading.direct is not None else None,
        events=reading.events,
        cursor=reading.cursor,
        over=reading.over,
    )


def _position(token: str) -> Position | None:
    try:
        return parse_position(token) if token else None
    except ValueError:
        raise PageTokenError from None
