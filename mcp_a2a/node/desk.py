"""The operations of A2A over a node's own tasks, whoever brought them: our own agent's, or those of agents behind us.

A client of our A2A server is no peer: it has no key, it looks for itself, and what it may see is decided by `Within`.
Its task at our own agent goes straight into the inbox; one for an agent behind this node is sent like any other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio

from mcp_a2a.api.a2a import (
    OWN_KEY,
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
from mcp_a2a.errors import (
    ContextMismatchError,
    HopLimitError,
    NotAwaitingReplyError,
    PageTokenError,
    PushNotSupportedError,
    QueueFullError,
    TaskNotFoundError,
    TransitionError,
)
from mcp_a2a.node.document import direct_reply, document
from mcp_a2a.node.events import Beginning, Reading
from mcp_a2a.node.handlers import answers
from mcp_a2a.node.inbox import Order
from mcp_a2a.node.node import Node
from mcp_a2a.node.receive import MAX_OPEN_PER_PEER, too_many_open
from mcp_a2a.node.repeated import check_message, check_opening
from mcp_a2a.node.search import Search
from mcp_a2a.node.sending import Draft, with_files
from mcp_a2a.node.web_peer import WebPeer
from mcp_a2a.protocol.model import Delivery, Message, Role, TaskState
from mcp_a2a.protocol.task.events import Canceled, Opened, Replied, Spoken
from mcp_a2a.protocol.task.ids import task_id_of
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.database import Landing
from mcp_a2a.store.records import (
    Position,
    Within,
    find_task,
    get_task,
    has_task,
    parse_position,
    position_token,
    save,
    tasks_within,
)

SELF = "self"

CALLER = "caller:"
"""The other side of a task at our own agent: a client of our A2A server. `caller:owner` is the owner of this node."""


AHEAD_SECONDS = 1.0
"""Who waits for less wants to hear of the task itself; what nobody waits for is on the disk long before that."""


def caller_peer(caller: str) -> str:
    """Who the other side of a caller's task is."""
    return f"{CALLER}{caller or 'owner'}"


class Desk:
    """Serves A2A clients."""

    def __init__(self, node: Node, search: Search) -> None:
        self._node = node
        self._search = search
        self._context = node.context
        self._entrusted: set[str] = set()
        """Tasks that are worked on, and not stored yet."""

    # --- sending ---------------------------------------------------------------------------------

    @answers(A2ASendRequest)
    async def send(self, request: A2ASendRequest) -> A2AAnswer:
        """See `A2ASendRequest`."""
        message = request.message.model_copy(update={"role": Role.USER})
        if request.push_config is not None:
            self._node.pushes.check(request.push_config)
        if message.task_id is not None:
            return await self._go_on(request, message, message.task_id)
        return await self._open(request, message)

    async def _open(self, request: A2ASendRequest, message: Message) -> A2AAnswer:
        if request.hop >= MAX_HOP:
            raise HopLimitError(MAX_HOP)
        if request.push_config is not None and self._is_new(request):
            self._node.pushes.check_room(request.push_config, "", request.caller)
        begun: list[Beginning] = []

        def follow(record: Task) -> None:
            if request.follow or request.push_config is not None:
                begun.append(self._node.events.begin(record))

        if request.agent == SELF:
            record = await self._take_in(request, message, follow)
        else:
            peer = await self._search.meant(request.agent)
            opening = self._opening(request)
            draft = Draft(message, opening, request.skill, request.hop, caller=request.caller)
            if isinstance(peer, WebPeer):
                record = await self._node.web_sending.send_message(peer, draft, follow, request.consent)
            else:
                record = await self._node.sending.send_message(peer, draft, follow, request.consent)
        return await self._answer(record, request, *begun)

    def _opening(self, request: A2ASendRequest) -> str:
        scope = f"{request.agent}\0{request.caller}"
        return self._node.sending.opening_id(request.idempotency_key, scope)

    def _is_new(self, request: A2ASendRequest) -> bool:
        return self._node.sending.find(task_id_of(self._context.me, self._opening(request))) is None

    async def _take_in(self, request: A2ASendRequest, message: Message, follow: Callable[[Task], None]) -> Task:
        """A task for our own agent: stored, and leased at once where somebody waits for one."""
        peer = caller_peer(request.caller)
        draft = Draft(message, self._opening(request), request.skill, caller=request.caller)
        known = self._node.sending.find(task_id_of(self._context.me, draft.opening))
        if known is not None:
            check_opening(known, message, request.skill)
        attached = await self._node.attaching.attach(message.parts)
        change = self._opening_of(request, peer, with_files(draft, attached))
        with self._node.attaching.given_to(change.task.id, attached.refs):
            return await self._store(request, change, follow)

    def _opening_of(self, request: A2ASendRequest, peer: str, draft: Draft) -> Change:
        """The change that opens a caller's task."""
        context_id = draft.message.context_id or f"ctx-{self._context.fresh_id()}"
        message = draft.message.model_copy(update={"context_id": context_id, "role": Role.USER})
        event = Opened(
            id=task_id_of(self._context.me, draft.opening), direction="received", peer=peer,
            peer_name=peer.removeprefix(CALLER), skill=draft.skill, context_id=context_id, hop=request.hop + 1,
            message=message, opening=draft.opening, delivery=Delivery.DELIVERED, caller=draft.caller,
        )  # fmt: skip
        return Change.opening(event, now=self._context.clock(), files=draft.files)

    async def _store(self, request: A2ASendRequest, change: Change, follow: Callable[[Task], None]) -> Task:
        task = change.task
        follow(task)
        order = self._node.inbox.reserve()
        if order is None:
            fresh = await self._context.database.write(partial(_insert, change))
            self._node.inbox.offer()
        elif self._may_go_ahead(request, change):
            return await self._entrust(change, order, request.wait_seconds)
        else:
            fresh = await self._lease(change, order)
        if fresh is None:  # another call was faster
            known = self._node.sending.latest(task.id)
            check_message(known, task.messages[0], task.skill)
            return known
        self._node.news.task_received(fresh)
        return fresh

    async def _lease(self, change: Change, order: Order) -> Task | None:
        """Store a task, leased to a holder that waits for one; None where it was stored before."""
        fresh: Task | None = None
        try:
            fresh = await self._context.database.write(partial(_insert, self._leased(change, order)))
        finally:
            self._node.inbox.filled(order, fresh)
        return fresh

    def _leased(self, change: Change, order: Order) -> Change:
        return change.then(self._node.inbox.lease(order, change.at))

    def _may_go_ahead(self, request: A2ASendRequest, change: Change) -> bool:
        """True if the task is waited for, surely new, and not one too many."""
        record = change.task
        if request.wait_seconds < AHEAD_SECONDS or request.follow or request.push_config or change.files:
            return False
        if self._context.database.read(lambda connection: too_many_open(connection, record.peer, more=1)):
            return False
        if (request.idempotency_key or "").startswith(OWN_KEY) and not request.again:
            return True
        known = self._context.database.read(lambda connection: has_task(connection, record.id))
        return not known and record.id not in self._entrusted

    async def _entrust(self, change: Change, order: Order, seconds: float) -> Task:
        """The same ahead of the disk: work and commit go on side by side, and a quick answer shares the commit.

        Nobody has been told of the task by then: who sent it hears nothing before both are stored.
        """
        task = change.task
        self._entrusted.add(task.id)
        self._node.news.task_received(task)
        landing: Landing[object] = Landing()

        def landed(outcome: object) -> None:
            self._entrusted.discard(task.id)
            landing.land(outcome)
            if isinstance(outcome, Exception):
                self._context.task_changes.notify(task.id)

        leased = self._leased(change, order)
        self._node.inbox.filled(order, leased.task)
        self._context.database.enqueue_lazily(lambda connection: save(connection, leased), landed)
        try:
            return await self._node.sending.waiting.wait(leased.task, "rest", seconds)
        finally:
            await landing.landed()

    async def _go_on(self, request: A2ASendRequest, message: Message, task_id: str) -> A2AAnswer:
        record = await self._mine(request, task_id)
        if message.context_id is not None and message.context_id != record.context_id:
            raise ContextMismatchError(task_id)
        if record.done:
            raise NotAwaitingReplyError(task_id, record.state)
        if request.push_config is not None:
            self._node.pushes.check_room(request.push_config, task_id, request.caller)
        if record.sent:
            record = await self._node.sender_to(record).go_on(task_id, message, Attachments(consent=request.consent))
        else:
            record = await self._hear(task_id, message)
        # Without a pause between the two: what comes after this is told, and nothing before it twice.
        begun = self._node.events.begin(record)
        return await self._answer(record, request, begun)

    async def _hear(self, task_id: str, message: Message) -> Task:
        """A caller says something more to our own agent."""
        now = self._context.clock()

        attached = await self._node.attaching.attach(message.parts)
        message = message.model_copy(update={"parts": attached.parts})

        def hear(connection: sqlite3.Connection) -> Task:
            task = get_task(connection, task_id)
            if task.has_heard(message):
                return task
            if not can(task.state, Replied):
                raise NotAwaitingReplyError(task_id, task.state)
            change = Change.of(task, Replied(message, seq=task.seq_in + 1), now=now, files=attached.refs)
            save(connection, change)
            return change.task

        with self._node.attaching.given_to(task_id, attached.refs):
            record = await self._context.database.write(hear)
        self._context.task_changes.notify(record.id, record)
        self._node.inbox.offer()
        return record

    async def _answer(self, record: Task, request: A2ASendRequest, begun: Beginning | None = None) -> A2AAnswer:
        if begun is not None and request.push_config is not None:
            await self._node.pushes.set(record, request.push_config, begun.cursor)
        if begun is not None and request.follow:
            return A2AAnswer(task=document(begun.whole), cursor=begun.cursor)
        return await self._rested(record, request.wait_seconds)

    async def _rested(self, record: Task, seconds: float) -> A2AAnswer:
        record = await self._node.sending.waiting.wait(record, "rest", seconds)
        return A2AAnswer(task=document(record), reply=direct_reply(record))

    # --- looking ---------------------------------------------------------------------------------

    @answers(A2AGetRequest)
    async def get(self, request: A2AGetRequest) -> A2AAnswer:
        """See `A2AGetRequest`."""
        await self._node.look(await self._mine(request, request.task_id))
        record = self._node.sending.latest(request.task_id)
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
        records, total = await self._context.database.read_aside(
            lambda connection: tasks_within(connection, within, before, request.page_size + 1)
        )
        shown = records[: request.page_size]
        token = position_token(shown[-1].status_at, shown[-1]) if len(records) > len(shown) else ""
        return A2ATaskPage(tasks=tuple(document(record) for record in shown), next_page_token=token, total_size=total)

    @answers(A2AFollowRequest)
    async def follow(self, request: A2AFollowRequest) -> A2AFollowView:
        """See `A2AFollowRequest`."""
        await self._node.look(await self._mine(request, request.task_id))
        seconds = request.wait_seconds
        reading = await self._node.events.read(request.task_id, request.cursor, seconds, to_end=request.to_end)
        return _follow_view(reading)

    # --- withdrawing -----------------------------------------------------------------------------

    @answers(A2ACancelRequest)
    async def cancel(self, request: A2ACancelRequest) -> A2AAnswer:
        """See `A2ACancelRequest`."""
        record = await self._mine(request, request.task_id)
        if record.done:
            raise TransitionError(record.state, TaskState.CANCELED)
        if not record.sent:
            return A2AAnswer(task=document(await self._stop(record.id)))
        record = await self._node.sender_to(record).cancel(record.id)
        return await self._rested(record, request.wait_seconds)

    async def _stop(self, task_id: str) -> Task:
        """A caller no longer wants what our own agent does."""
        now = self._context.clock()

        def stop(connection: sqlite3.Connection) -> Change:
            task = get_task(connection, task_id)
            change = Change.of(task, Canceled(), Spoken(), now=now)
            save(connection, change)
            return change

        with anyio.CancelScope(shield=True):
            change = await self._context.database.write(stop)
            if change.before is not None:
                self._node.inbox.withdraw(change.before)
            self._context.task_changes.notify(task_id, change.task)
        return change.task

    # --- push ------------------------------------------------------------------------------------

    @answers(A2APushSetRequest)
    async def set_push(self, request: A2APushSetRequest) -> A2APushView:
        """See `A2APushSetRequest`."""
        record = await self._mine(request, request.task_id)
        if request.config is None:
            raise PushNotSupportedError
        return A2APushView(configs=(await self._node.pushes.set(record, request.config),))

    @answers(A2APushGetRequest)
    async def get_push(self, request: A2APushGetRequest) -> A2APushView:
        """See `A2APushGetRequest`."""
        record = await self._mine(request, request.task_id)
        return A2APushView(configs=self._node.pushes.get(record.id, request.config_id))

    @answers(A2APushDeleteRequest)
    async def delete_push(self, request: A2APushDeleteRequest) -> A2APushView:
        """See `A2APushDeleteRequest`."""
        record = await self._mine(request, request.task_id)
        await self._node.pushes.delete(record.id, request.config_id)
        return A2APushView()

    # --- who may see what ------------------------------------------------------------------------

    async def _within(self, reach: Reach) -> Within:
        if reach.agent == SELF:
            return Within("received", caller_peer(reach.caller), reach.caller)
        return Within("sent", await self._peer_of(reach.agent), reach.caller)

    async def _peer_of(self, agent: str) -> str:
        if agent.startswith("did:"):
            return agent
        peer = await self._search.meant(agent)
        return peer.url if isinstance(peer, WebPeer) else peer.row.did

    async def _mine(self, reach: Reach, task_id: str) -> Task:
        """A task in reach; what is not there and what is not the caller's look the same."""
        within = await self._within(reach)
        record = self._context.database.read(lambda connection: find_task(connection, task_id))
        if record is None or record.forgotten is not None or not within.holds(record):
            raise TaskNotFoundError(task_id)
        return record


def _insert(change: Change, connection: sqlite3.Connection) -> Task | None:
    """Store a caller's task; None where it was stored before.

    Raises:
        QueueFullError
    """
    if not save(connection, change):
        return None
    if too_many_open(connection, change.task.peer):
        raise QueueFullError("inbox", MAX_OPEN_PER_PEER)
    return change.task


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
