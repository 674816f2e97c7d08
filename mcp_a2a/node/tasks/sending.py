"""Tasks that we sent: journalled before anything leaves, answered only by the key they were sent to."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

from mcp_a2a.api.files import Attachments
from mcp_a2a.api.tasks import ReplyRequest, SendTaskBySkillRequest, SendTaskRequest
from mcp_a2a.api.view import Consent
from mcp_a2a.errors.delivery import NoRouteError, QueueFullError
from mcp_a2a.errors.tasks import FileError, NotAwaitingReplyError, NotSentError, SelfSendError
from mcp_a2a.node.delivery.letters import cancel_letter, message_letter, task_letter
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.files.attaching import MIB, Attached, Attaching
from mcp_a2a.node.peers.consent import ConsentBook
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.repeated import check_message, check_opening, check_turn
from mcp_a2a.node.tasks.waiting import Waiting
from mcp_a2a.protocol.blob import MAX_RELAYED_SIZE, BlobRef
from mcp_a2a.protocol.model import Delivery, Message, Part, Role
from mcp_a2a.protocol.task.events import Opened, Replied, Spoken
from mcp_a2a.protocol.task.ids import task_id_of
from mcp_a2a.protocol.task.machine import Change, withdrawal
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import OutboxRow, drop_outbox_of_task, put_outbox
from mcp_a2a.store.records import find_task, get_task, save

MAX_OUTBOX = 10_000
"""Undelivered messages of one identity."""


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


def opening(
    context: Context,
    peer: str,
    peer_name: str,
    draft: Draft,
    chosen: str | None = None,
    tried: tuple[str, ...] = (),
) -> Change:
    """The change that opens a task at `peer` with this message. It has its letter, number 0."""
    context_id = draft.message.context_id or f"ctx-{context.fresh_id()}"
    message = draft.message.model_copy(update={"context_id": context_id, "role": Role.USER})
    event = Opened(
        id=task_id_of(context.me, draft.opening), direction="sent", peer=peer, peer_name=peer_name, skill=draft.skill,
        context_id=context_id, hop=draft.hop, message=message, caller=draft.caller, opening=draft.opening,
        delivery=Delivery.QUEUED, chosen=chosen, tried=tried,
    )  # fmt: skip
    return Change.opening(event, now=context.clock(), files=draft.files)


def no_relay_takes(peer: Peer, attached: Attached) -> FileError:
    """Why a file cannot go to an agent that only a relay reaches."""
    return FileError(
        f"Only a relay reaches {peer.name}, and the largest file is {attached.largest / MIB:.1f} MiB: "
        f"at most {MAX_RELAYED_SIZE // MIB} MiB may go through one.",
        "Send it when you are on one network with that agent, or split it.",
    )


def draft_of(request: SendTaskRequest | SendTaskBySkillRequest, opening: str) -> Draft:
    """The task that a request asks for."""
    parts = (Part(text=request.message), *request.parts)
    message = Message(message_id=opening, role=Role.USER, parts=parts, context_id=request.context_id)
    return Draft(message, opening, request.skill, request.hop)


def with_files(draft: Draft, attached: Attached) -> Draft:
    """The task with what was attached to it."""
    message = draft.message.model_copy(update={"parts": attached.parts})
    return replace(draft, message=message, files=attached.refs)


class Sending:
    """Opens, continues and withdraws tasks at other agents."""

    def __init__(
        self, context: Context, dialer: Dialer, outbox: Outbox, attaching: Attaching, consent: ConsentBook
    ) -> None:
        self._context = context
        self._consent = consent
        self._attaching = attaching
        self._dialer = dialer
        self._outbox = outbox
        self.waiting = Waiting(context, outbox)

    # --- sending to one agent --------------------------------------------------------------------

    async def send(self, peer: Peer, request: SendTaskRequest) -> Task:
        """Journal a task and set it on its way; a known idempotency key is the task it named before.

        Raises:
            NoRouteError: with `queue` False, and the agent cannot be reached; nothing was kept.
            ConsentNeededError, ConsentDeclinedError: a person has to allow it first.
            KeyReusedError: the key names a task that was another request.
            QueueFullError, TooLargeError, UnsendableError, StorageFullError
        """
        opening = self.opening_id(request.idempotency_key, peer.row.did)
        draft = draft_of(request, opening)
        existing = self.find(task_id_of(self._context.me, opening))
        if existing is not None:
            check_opening(existing, draft.message, draft.skill, request.files)
            return existing
        await self._consent.check(peer, request)
        if not request.queue:
            await self._reach(peer)
        return await self._open_with_files(peer, draft, await self.attach(draft, request), lambda _: None)

    async def send_message(self, peer: Peer, draft: Draft, follow: Callable[[Task], None], consent: Consent) -> Task:
        """The same for a caller that has a message already; `follow` sees the task before anything can happen to it.

        Raises:
            ConsentNeededError, ConsentDeclinedError: a person has to allow it first.
            KeyReusedError: the key names a task that was another request.
            QueueFullError, TooLargeError, UnsendableError, StorageFullError
        """
        existing = self.find(task_id_of(self._context.me, draft.opening))
        if existing is not None:
            check_opening(existing, draft.message, draft.skill)
        else:
            await self._consent.check(peer, Attachments(consent=consent), draft.message.parts)
        return await self._open_with_files(peer, draft, await self._attaching.attach(draft.message.parts), follow)

    async def attach(self, draft: Draft, request: SendTaskRequest | SendTaskBySkillRequest) -> Attached:
        """What a request attaches to its task."""
        return await self._attaching.attach(draft.message.parts, request)

    async def _open_with_files(
        self, peer: Peer, draft: Draft, attached: Attached, follow: Callable[[Task], None]
    ) -> Task:
        with self._attaching.given_to(task_id_of(self._context.me, draft.opening), attached.refs):
            if attached.needs_direct:
                await self._reach_directly(peer, attached)
            change = self.opening(peer, with_files(draft, attached))
            follow(change.task)
            return await self.open(change)

    async def _reach_directly(self, peer: Peer, attached: Attached) -> None:
        """A file that no relay takes waits for an absent agent, but not for one that only a relay reaches.

        Raises:
            FileError: that is so.
        """
        try:
            link = await self._dialer.connect(peer)
        except NoRouteError:
            return
        if link.is_relayed:
            raise no_relay_takes(peer, attached)

    async def _reach(self, peer: Peer) -> None:
        """Make sure that the peer is there itself, not only its mailbox.

        Raises:
            NoRouteError
        """
        link = await self._dialer.connect(peer)
        if link.is_relayed and not peer.online:
            raise NoRouteError(peer.name, [*peer.tried, f"relay {link.address}: it is not connected there"])

    def find(self, task_id: str) -> Task | None:
        """A task by its whole id."""
        return self._context.database.read(lambda connection: find_task(connection, task_id))

    def opening_id(self, idempotency_key: str | None, scope: str) -> str:
        """The id that opens a task: a fresh one, or with a key the same each time."""
        if idempotency_key is None:
            return self._context.fresh_id()
        return hashlib.sha256(f"{scope}\0{idempotency_key}".encode()).hexdigest()[:32]

    def opening(self, peer: Peer, draft: Draft, chosen: str | None = None, tried: tuple[str, ...] = ()) -> Change:
        """The change that opens a task at this agent.

        Raises:
            SelfSendError
        """
        if peer.peer_id == self._context.me:
            raise SelfSendError(peer.name)
        return opening(self._context, peer.row.did, peer.name, draft, chosen, tried)

    async def open(self, change: Change) -> Task:
        """Journal a task that was made, and set it on its way.

        Raises:
            KeyReusedError: another call has opened another task under the same key meanwhile.
            QueueFullError, TooLargeError, UnsendableError, StorageFullError
        """
        task = change.task
        row = task_letter(self._context, change)
        full = len(self._outbox) >= MAX_OUTBOX

        def journal(connection: sqlite3.Connection) -> Task | None:
            if not save(connection, change):
                return find_task(connection, task.id)
            if full:
                raise QueueFullError("outbox", MAX_OUTBOX)
            put_outbox(connection, row)
            return None

        existing = await self._context.database.write(journal, lambda: self._outbox.seal_ahead(row))
        if existing is not None:
            check_message(existing, task.messages[0], task.skill)
            return existing
        self._outbox.push(row)
        return task

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
        """What a reply says; and the task, where it was said there before.

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
            TaskNotFoundError, NotAwaitingReplyError, ConversationFullError, TooLargeError, UnsendableError, FileError
        """
        more = with_it or Attachments()
        peer = await self._check(task_id, message, more)
        attached = await self._attaching.attach(message.parts, more)
        with self._attaching.given_to(task_id, attached.refs):
            if peer is not None and attached.needs_direct:  # refused here, or the whole task would end of it
                await self._reach_directly(peer, attached)
            return await self._go_on(task_id, message.model_copy(update={"parts": attached.parts}), attached)

    async def _check(self, task_id: str, message: Message, more: Attachments) -> Peer | None:
        """Check that what is new in a task may leave for its agent; returns that agent, None where nothing leaves."""
        record = self.find(task_id)
        if record is None or not record.sent or record.has_heard(message):
            return None
        peer = self._consent.meant(record.peer)
        if not isinstance(peer, Peer):
            return None
        await self._consent.check(peer, more, message.parts)
        return peer

    async def _go_on(self, task_id: str, message: Message, attached: Attached) -> Task:
        now = self._context.clock()

        def go_on(connection: sqlite3.Connection) -> tuple[Task, OutboxRow | None]:
            task = get_task(connection, task_id)
            if task.has_heard(message):
                return task, None
            if not task.sent or task.is_declined or not can(task.state, Replied):
                raise NotAwaitingReplyError(task.id, task.state)
            said = message.model_copy(update={"context_id": task.context_id, "task_id": task.id})
            change = Change.of(task, Replied(said), Spoken(), now=now, files=attached.refs)
            row = message_letter(self._context, change, said)
            save(connection, change)
            put_outbox(connection, row)
            return change.task, row

        task, row = await self._context.database.write(go_on)
        if row is not None:
            self._outbox.push(row)
            self._context.task_changes.notify(task.id, task)
        return task

    async def cancel(self, task_id: str) -> Task:
        """Withdraw a task. Undelivered it ends here; delivered it ends when its agent says so.

        Raises:
            TaskNotFoundError, NotSentError
        """
        now = self._context.clock()

        def cancel(connection: sqlite3.Connection) -> tuple[Task, OutboxRow | None, list[str]]:
            task = get_task(connection, task_id)
            if not task.sent:
                raise NotSentError(task.id)
            if task.done:
                return task, None, []
            dropped = drop_outbox_of_task(connection, task.id, "task", "message", "blob")
            change = Change.of(task, withdrawal(task), Spoken(), now=now)
            # Sent in any case: the task may have arrived although its receipt has not.
            row = cancel_letter(self._context, change)
            save(connection, change)
            put_outbox(connection, row)
            return change.task, row, dropped

        task, row, dropped = await self._context.database.write(cancel)
        self._outbox.drop(dropped)
        if row is not None:
            self._outbox.push(row)
        self._context.task_changes.notify(task.id, task)
        return task

    # --- looking ---------------------------------------------------------------------------------

    def latest(self, task_id: str) -> Task:
        """A task by its id or a unique part of it.

        Raises:
            TaskNotFoundError
        """
        return self._context.database.read(lambda connection: get_task(connection, task_id))
