"""Tasks that this node sends: journalled before anything leaves, one service for agents of every kind.

What differs between an agent with a key and one at a URL is asked of its courier (`task_courier`).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mcp_a2a.api.files import Attachments, FileArg
from mcp_a2a.api.tasks import ReplyRequest, SendTaskBySkillRequest, SendTaskRequest
from mcp_a2a.api.view import Consent
from mcp_a2a.errors.delivery import QueueFullError
from mcp_a2a.errors.tasks import NotAwaitingReplyError, NotSentError, SelfSendError
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.files.attaching import Attached, Attaching
from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.consent import ConsentBook
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.repeated import check_message, check_opening, check_turn
from mcp_a2a.node.tasks.task_couriers import TaskCourier, TaskCouriers
from mcp_a2a.node.tasks.waiting import Waiting
from mcp_a2a.protocol.blob import BlobRef
from mcp_a2a.protocol.extensions import check_extensions
from mcp_a2a.protocol.model import Delivery, Message, Part, Role
from mcp_a2a.protocol.naming import counterpart_of
from mcp_a2a.protocol.task.artifacts import size_of
from mcp_a2a.protocol.task.events import Opened, Replied, Spoken
from mcp_a2a.protocol.task.machine import Change, withdrawal
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import Task, task_id_of
from mcp_a2a.store.journal import OutboxRow, put_outbox
from mcp_a2a.store.records import find_task, get_task, save


@dataclass(frozen=True)
class Draft:
    """A task to be opened by a message."""

    message: Message
    opening: str
    """From this its id is derived."""
    skill: str | None = None
    hop: int = 0
    caller: str = ""
    files: tuple[BlobRef, ...] = ()
    """Those of its parts that travel beside."""

    @staticmethod
    def of(request: SendTaskRequest | SendTaskBySkillRequest, opening: str) -> Draft:
        """The task that a request asks for."""
        parts = (Part(text=request.message), *request.parts)
        message = Message(message_id=opening, role=Role.USER, parts=parts, context_id=request.context_id)
        return Draft(message, opening, request.skill, request.hop)

    def with_files(self, attached: Attached) -> Draft:
        """The task with what was attached to it."""
        if not attached.refs and attached.parts is self.message.parts:
            return self
        return replace(self, message=self.message.model_copy(update={"parts": attached.parts}), files=attached.refs)

    def opened(
        self, context: Context, peer: str, peer_name: str, chosen: str | None = None, tried: tuple[str, ...] = ()
    ) -> Change:
        """The change that opens the task: at another agent, or for a caller at ours."""
        is_ours, context_id = counterpart_of(peer) == "caller", self.message.context_id or f"ctx-{context.fresh_id()}"
        message = self.message.model_copy(update={"context_id": context_id, "role": Role.USER})
        event = Opened(
            id=task_id_of(context.me, self.opening), direction="received" if is_ours else "sent", peer=peer,
            peer_name=peer_name, skill=self.skill, context_id=context_id, hop=self.hop, message=message,
            caller=self.caller, opening=self.opening, delivery=Delivery.DELIVERED if is_ours else Delivery.QUEUED,
            chosen=chosen, tried=tried,
        )  # fmt: skip
        return Change.opening(event, now=context.clock(), files=self.files)


MAX_OUTBOX = 10_000
"""Undelivered messages of one identity."""


@dataclass(eq=False)
class Sending:
    """Opens, continues and withdraws tasks at other agents."""

    context: Context
    couriers: TaskCouriers
    outbox: Outbox
    attaching: Attaching
    consent: ConsentBook
    waiting: Waiting

    # --- sending to one agent --------------------------------------------------------------------

    async def send(self, agent: RemoteAgent, request: SendTaskRequest) -> Task:
        """Journal a task and set it on its way; a known idempotency key is the task it named before.

        Waits as long as the request says, but for the first news of the task at most.

        Raises:
            NoRouteError: with `queue` False, and the agent cannot be reached; nothing was kept.
            WebError: with `queue` False, and something is wrong there; or the agent insists on an extension.
            ConsentNeededError, ConsentDeclinedError: a person has to allow it first.
            KeyReusedError: the key names a task that was another request.
            QueueFullError, FileError, TooLargeError, UnsendableError, StorageFullError
        """
        draft = Draft.of(request, self.opening_id(request.idempotency_key, agent.key))
        existing = self.opened(draft, request.files)
        if existing is not None:
            return existing
        check_agent(agent)
        await self.consent.check(agent, request)
        if not request.queue:
            await self.courier_of(agent).reach(agent)
        attached = await self.attaching.attach(draft.message.parts, request)
        return await self._open_with_files(agent, draft, attached, seconds=request.wait_seconds)

    async def send_message(
        self, agent: RemoteAgent, draft: Draft, follow: Callable[[Task], None], consent: Consent
    ) -> Task:
        """The same for a caller that has a message already; `follow` sees the task before anything can happen to it.

        Raises:
            ExtensionRequiredError: the agent insists on an extension that the message does not name.
            ConsentNeededError, ConsentDeclinedError: a person has to allow it first.
            KeyReusedError: the key names a task that was another request.
            QueueFullError, FileError, TooLargeError, UnsendableError, StorageFullError
        """
        if self.opened(draft) is None:
            check_agent(agent, draft.message.extensions or ())
            await self.consent.check(agent, Attachments(consent=consent), draft.message.parts)
        return await self._open_with_files(agent, draft, await self.attaching.attach(draft.message.parts), follow)

    async def _open_with_files(
        self,
        agent: RemoteAgent,
        draft: Draft,
        attached: Attached,
        follow: Callable[[Task], None] = lambda _: None,
        seconds: float = 0.0,
    ) -> Task:
        if not attached.refs:
            return await self._open_draft(agent, draft.with_files(attached), follow, seconds)
        with self.attaching.given_to(task_id_of(self.context.me, draft.opening), attached.refs):
            await self.courier_of(agent).check_files(agent, attached)
            return await self._open_draft(agent, draft.with_files(attached), follow, seconds)

    async def _open_draft(
        self, agent: RemoteAgent, draft: Draft, follow: Callable[[Task], None], seconds: float
    ) -> Task:
        change = self.opening(agent, draft)
        follow(change.task)
        return await self.open(change, seconds)

    def courier_of(self, other: RemoteAgent | Task) -> TaskCourier:
        """The courier for an agent, or for the agent of a task that was sent."""
        return self.couriers[other.counterpart]

    def find(self, task_id: str) -> Task | None:
        """A task by its whole id."""
        return self.context.database.read(lambda connection: find_task(connection, task_id))

    def opening_id(self, idempotency_key: str | None, scope: str) -> str:
        """The id that opens a task: a fresh one, or with a key the same each time."""
        if idempotency_key is None:
            return self.context.fresh_id()
        return hashlib.sha256(f"{scope}\0{idempotency_key}".encode()).hexdigest()[:32]

    def opened(self, draft: Draft, files: Sequence[FileArg] = ()) -> Task | None:
        """The task that was opened by this very draft before.

        Raises:
            KeyReusedError: its key opened a task that was another request.
        """
        known = self.find(task_id_of(self.context.me, draft.opening))
        if known is not None:
            check_opening(known, draft.message, draft.skill, files)
        return known

    def opening(
        self, agent: RemoteAgent, draft: Draft, chosen: str | None = None, tried: tuple[str, ...] = ()
    ) -> Change:
        """The change that opens a task at this agent.

        Raises:
            SelfSendError
        """
        if agent.peer_id == self.context.me:
            raise SelfSendError(agent.name)
        return draft.opened(self.context, agent.key, agent.name, chosen, tried)

    async def open(self, change: Change, seconds: float = 0.0) -> Task:
        """Journal a task that was made, and set it on its way; wait so long for its first news.

        Raises:
            KeyReusedError: another call has opened another task under the same key meanwhile.
            QueueFullError, TooLargeError, UnsendableError, StorageFullError
        """
        task, is_full = change.task, len(self.outbox) >= MAX_OUTBOX
        row = self.courier_of(task).opening(change)

        def journal(connection: sqlite3.Connection) -> Task | None:
            if not save(connection, change):
                return find_task(connection, task.id)
            if is_full:
                raise QueueFullError("outbox", MAX_OUTBOX)
            put_outbox(connection, row)
            return None

        known, is_new = await self.waiting.first_news(
            task, journal, lambda: self.outbox.push(row), lambda: self.outbox.seal_ahead(row), seconds
        )
        if not is_new:
            check_message(known, task.messages[0], task.skill)
        return known

    # --- going on --------------------------------------------------------------------------------

    async def reply(self, task_id: str, request: ReplyRequest) -> Task:
        """A further message in an open task; with a key that was used before, nothing new.

        Raises:
            KeyReusedError: with that key, something else was said.
            TaskNotFoundError, NotAwaitingReplyError, ConversationFullError, TooLargeError, UnsendableError, FileError
        """
        message, before = self.turn(task_id, request)
        return before or await self.go_on(task_id, message, request)

    def turn(self, task_id: str, request: ReplyRequest) -> tuple[Message, Task | None]:
        """The message of a reply; and the task, if it has that message already.

        Raises:
            KeyReusedError: with its key, something else was said in this task.
        """
        message_id = self.opening_id(request.idempotency_key, task_id)
        message = Message(message_id=message_id, role=Role.USER, parts=(Part(text=request.message),))
        record = self.find(task_id)
        was_said = record is not None and check_turn(record, message, request.files)
        return message, record if was_said else None

    async def go_on(self, task_id: str, message: Message, with_it: Attachments | None = None) -> Task:
        """Say something more in an open task; a message that it has already is not said again.

        Raises:
            CardError, WebError: its agent made room for others meanwhile, and cannot be met again.
            TaskNotFoundError, NotAwaitingReplyError, ConversationFullError, TooLargeError, UnsendableError, FileError
        """
        task, more = self.latest(task_id), with_it or Attachments()
        if task.has_heard(message):
            return task
        if not task.sent or task.done:
            raise NotAwaitingReplyError(task.id, task.state)
        courier = self.courier_of(task)
        agent = await courier.find(task.peer)
        await self.consent.check(agent, more, message.parts)
        attached = await self.attaching.attach(message.parts, more)
        with self.attaching.given_to(task.id, attached.refs):
            await courier.check_files(agent, attached)  # refused here, or the whole task would end of it
            said = message.model_copy(update={"parts": attached.parts})
            return await self._go_on(courier, task.id, said, attached)

    async def _go_on(self, courier: TaskCourier, task_id: str, message: Message, attached: Attached) -> Task:
        now = self.context.clock()

        def go_on(connection: sqlite3.Connection) -> tuple[Task, OutboxRow | None]:
            task = get_task(connection, task_id)
            if task.has_heard(message):
                return task, None
            if task.is_declined or not can(task.state, Replied):
                raise NotAwaitingReplyError(task.id, task.state)
            # Its agent must be able to tell it from the others, and so must we.
            is_used = any(known.message_id == message.message_id for known in task.messages)
            message_id = self.context.fresh_id() if is_used else message.message_id
            named = {"message_id": message_id, "context_id": task.context_id, "task_id": task.id}
            said = message.model_copy(update=named)
            replied = Replied(said, made=size_of(task.artifacts))
            change = Change.of(task, replied, Spoken(), now=now, files=attached.refs)
            row = courier.message(change, said)
            save(connection, change)
            put_outbox(connection, row)
            return change.task, row

        task, row = await self.context.database.write(go_on)
        if row is not None:
            self.outbox.push(row)
            self.context.task_changes.notify(task.id, task)
        return task

    async def cancel(self, task_id: str) -> Task:
        """Withdraw a task. Undelivered it ends here; delivered it ends when its agent says so.

        Raises:
            TaskNotFoundError, NotSentError
        """
        task = self.latest(task_id)
        if not task.sent:
            raise NotSentError(task.id)
        courier, now = self.courier_of(task), self.context.clock()

        def cancel(connection: sqlite3.Connection) -> tuple[Task, Sequence[OutboxRow], Sequence[str]]:
            latest = get_task(connection, task.id)
            if latest.done:
                return latest, (), ()
            dropped = courier.withdraw(connection, latest.id)
            change = Change.of(latest, withdrawal(latest), Spoken(), now=now)
            row = courier.cancel(change)
            save(connection, change)
            put_outbox(connection, row)
            return change.task, (row,), dropped

        ended, rows, dropped = await self.context.database.write(cancel)
        self.outbox.change(rows, dropped)
        self.context.task_changes.notify(ended.id, ended)
        return ended

    # --- looking ---------------------------------------------------------------------------------

    def latest(self, task_id: str) -> Task:
        """A task by its id or a unique part of it.

        Raises:
            TaskNotFoundError
        """
        return self.context.database.read(lambda connection: get_task(connection, task_id))

    async def look(self, task: Task) -> None:
        """Ask the agent of a task about it, for a moment. What the caller knew of the task is old then."""
        courier = self.couriers.get(task.counterpart)
        if courier is not None:
            await courier.look(task)


def check_agent(agent: RemoteAgent, known: Sequence[str] = ()) -> None:
    """Refuse to send to an agent that insists on an extension which is not among those `known`.

    Raises:
        ExtensionRequiredError
    """
    if agent.card is not None and agent.card.capabilities.extensions:
        check_extensions(agent.name, agent.card, known)
