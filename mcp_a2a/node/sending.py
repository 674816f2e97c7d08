"""Tasks that we sent: journalled before anything leaves, answered only by the key they were sent to."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass

import anyio

from mcp_a2a.errors import NoRouteError, NotAwaitingReplyError, QueueFullError, SelfSendError, SkillNotFoundError
from mcp_a2a.node.context import Context, delivery_of, wait_until
from mcp_a2a.node.dialer import Dialer
from mcp_a2a.node.directory import Peer
from mcp_a2a.node.letters import cancel_letter, message_letter, task_letter
from mcp_a2a.node.outbox import Outbox
from mcp_a2a.node.present import iso
from mcp_a2a.protocol.model import Delivery, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.task import INTERRUPTED, task_id_of
from mcp_a2a.store.journal import OutboxRow, drop_outbox_of_task, put_outbox
from mcp_a2a.store.records import TaskRecord, find_task, get_task, insert_task, save_task
from mcp_a2a.views import SendTaskBySkillRequest, SendTaskRequest, TaskErrorView

MAX_OUTBOX = 10_000
"""Undelivered messages of one identity (limit L15)."""


@dataclass(frozen=True)
class Candidate:
    """An agent that has the skill, and why it is where it is in the list."""

    peer: Peer
    why: str


class Sending:
    """Opens, continues and withdraws tasks at other agents."""

    def __init__(self, context: Context, dialer: Dialer, outbox: Outbox) -> None:
        self._context = context
        self._dialer = dialer
        self._outbox = outbox

    # --- sending to one agent --------------------------------------------------------------------

    async def send(self, peer: Peer, request: SendTaskRequest) -> TaskRecord:
        """Journal a task and set it on its way; a known idempotency key is the task it named before.

        Raises:
            NoRouteError: with `queue` False and nobody reachable; nothing was kept.
            QueueFullError, TooLargeError, UnsendableError, StorageFullError
        """
        record = self._new_record(peer, request, self._message_id(request.idempotency_key, peer.row.did))
        if not request.queue and self.find(record.id) is None:
            await self._reach(peer)
        return await self._journal(record)

    async def _reach(self, peer: Peer) -> None:
        """Make sure that the peer is there itself, not only its mailbox.

        Raises:
            NoRouteError
        """
        link = await self._dialer.connect(peer)
        if link.is_relayed and not peer.online:
            raise NoRouteError(peer.name, [*peer.tried, f"relay {link.address}: it is not connected there"])

    def find(self, task_id: str) -> TaskRecord | None:
        """A task by its whole id."""
        return self._context.database.read(lambda connection: find_task(connection, task_id))

    def _message_id(self, idempotency_key: str | None, scope: str) -> str:
        if idempotency_key is None:
            return self._context.fresh_id()
        return hashlib.sha256(f"{scope}\0{idempotency_key}".encode()).hexdigest()[:32]

    def _new_record(self, peer: Peer, request: SendTaskRequest | SendTaskBySkillRequest, message_id: str) -> TaskRecord:
        if peer.peer_id == self._context.me:
            raise SelfSendError(peer.name)
        now = self._context.clock()
        task_id = task_id_of(self._context.me, message_id)
        context_id = request.context_id or f"ctx-{self._context.fresh_id()}"
        message = Message(
            message_id=message_id,
            role=Role.USER,
            parts=(Part(text=request.message), *request.parts),
            context_id=context_id,
        )
        return TaskRecord(
            id=task_id, direction="sent", peer=peer.row.did, peer_name=peer.name, skill=request.skill,
            context_id=context_id, hop=request.hop, state=TaskState.SUBMITTED, delivery=Delivery.QUEUED,
            seq_out=0, seq_in=-1, attempts=0, holder=None, worker=False, lease_until=None, messages=(message,),
            status=TaskStatus(state=TaskState.SUBMITTED, timestamp=iso(now)), artifacts=(), error=None, tried=(),
            chosen=None, created=now, updated=now,
        )  # fmt: skip

    async def _journal(self, record: TaskRecord) -> TaskRecord:
        row = task_letter(self._context, record, record.created)
        full = len(self._outbox) >= MAX_OUTBOX

        def journal(connection: sqlite3.Connection) -> TaskRecord | None:
            if not insert_task(connection, record):
                return find_task(connection, record.id)
            if full:
                raise QueueFullError("outbox", MAX_OUTBOX)
            put_outbox(connection, row)
            return None

        existing = await self._context.database.write(journal, lambda _: self._outbox.seal_ahead(row))
        if existing is not None:
            return existing
        self._outbox.push(row)
        return record

    # --- sending to a skill ----------------------------------------------------------------------

    async def send_by_skill(self, candidates: list[Candidate], request: SendTaskBySkillRequest) -> TaskRecord:
        """Send to the best candidate; the next one is tried while nobody has accepted.

        Raises:
            SkillNotFoundError: there is no candidate.
            NoRouteError: with `queue` False, when none can be reached.
        """
        message_id = self._message_id(request.idempotency_key, f"skill\0{request.skill}")
        existing = self.find(task_id_of(self._context.me, message_id))
        if existing is not None:
            return existing
        tried: list[str] = []
        deadline = anyio.current_time() + max(request.wait_seconds, 1.0)
        record: TaskRecord | None = None
        for candidate in candidates:
            try:
                await self._dialer.connect(candidate.peer)
            except NoRouteError as error:
                tried.extend(error.attempts)
                continue
            record = await self._entrust(record, candidate, request, message_id, tuple(tried))
            record = await self._accepted(record.id, deadline - anyio.current_time())
            if record.delivery not in (Delivery.REFUSED, Delivery.HELD):
                return record
            tried.append(f"{candidate.peer.name}: {record.delivery.lower()}")
        return record or await self._queue_best(candidates, request, message_id, tried)

    async def _queue_best(
        self, candidates: list[Candidate], request: SendTaskBySkillRequest, message_id: str, tried: list[str]
    ) -> TaskRecord:
        if not candidates:
            raise SkillNotFoundError(request.skill)
        if not request.queue:
            raise NoRouteError(f"No agent with the skill {request.skill!r}", tried)
        return await self._entrust(None, candidates[0], request, message_id, tuple(tried))

    async def _entrust(
        self,
        record: TaskRecord | None,
        candidate: Candidate,
        request: SendTaskBySkillRequest,
        message_id: str,
        tried: tuple[str, ...],
    ) -> TaskRecord:
        """Journal the task for this candidate; withdraw it from the one before, who has not accepted it."""
        fresh = self._new_record(candidate.peer, request, message_id)
        fresh.chosen, fresh.tried = f"{candidate.peer.name}: {candidate.why}", tried
        if record is None:
            return await self._journal(fresh)
        fresh.created, fresh.context_id = record.created, record.context_id
        row = task_letter(self._context, fresh, self._context.clock())

        def retarget(connection: sqlite3.Connection) -> tuple[list[str], OutboxRow | None]:
            dropped = drop_outbox_of_task(connection, fresh.id, "task")
            withdrawal = None
            if record.delivery == Delivery.HELD:
                record.seq_out += 1
                withdrawal = cancel_letter(self._context, record, fresh.updated)
                put_outbox(connection, withdrawal)
            save_task(connection, fresh)
            put_outbox(connection, row)
            return dropped, withdrawal

        dropped, withdrawal = await self._context.database.write(retarget)
        self._outbox.drop(dropped)
        for letter in filter(None, (withdrawal, row)):
            self._outbox.push(letter)
        return fresh

    async def _accepted(self, task_id: str, seconds: float) -> TaskRecord:
        """Wait until the recipient has said anything at all about the task."""
        with anyio.move_on_after(max(0.0, seconds)):
            while True:
                changed = self._context.task_changes.event(delivery_of(task_id))
                record = self.find(task_id)
                if record is not None and record.delivery != Delivery.QUEUED:
                    return record
                await changed.wait()
        return self.latest(task_id)

    # --- going on --------------------------------------------------------------------------------

    async def reply(self, task_id: str, text: str, idempotency_key: str | None) -> TaskRecord:
        """A further message in an open task; with a key that was used before, nothing new.

        Raises:
            TaskNotFoundError, NotAwaitingReplyError, TooLargeError, UnsendableError
        """
        now = self._context.clock()
        message_id = self._message_id(idempotency_key, task_id)

        def reply(connection: sqlite3.Connection) -> tuple[TaskRecord, OutboxRow | None]:
            record = get_task(connection, task_id)
            if any(message.message_id == message_id for message in record.messages):
                return record, None
            if not record.sent or record.done:
                raise NotAwaitingReplyError(record.id, record.state)
            message = Message(
                message_id=message_id,
                role=Role.USER,
                parts=(Part(text=text),),
                context_id=record.context_id,
                task_id=record.id,
            )
            record.seq_out += 1
            record.messages = (*record.messages, message)
            record.updated = now
            if record.state in INTERRUPTED:
                record.state, record.status = TaskState.SUBMITTED, TaskStatus(state=TaskState.SUBMITTED)
            row = message_letter(self._context, record, message, now)
            save_task(connection, record)
            put_outbox(connection, row)
            return record, row

        record, row = await self._context.database.write(reply)
        if row is not None:
            self._outbox.push(row)
        return record

    async def cancel(self, task_id: str) -> TaskRecord:
        """Withdraw a task. Undelivered it ends here; delivered it ends when the worker says so.

        Raises:
            TaskNotFoundError, NotAwaitingReplyError
        """
        now = self._context.clock()

        def cancel(connection: sqlite3.Connection) -> tuple[TaskRecord, OutboxRow | None, list[str]]:
            record = get_task(connection, task_id)
            if not record.sent:
                raise NotAwaitingReplyError(record.id, record.state)
            if record.done:
                return record, None, []
            dropped = drop_outbox_of_task(connection, record.id, "task")
            dropped += drop_outbox_of_task(connection, record.id, "message")
            if record.delivery != Delivery.DELIVERED:
                record.state, record.status = TaskState.CANCELED, TaskStatus(state=TaskState.CANCELED)
                record.error = TaskErrorView(code="canceled", message="You withdrew it before it was accepted.")
            record.seq_out += 1
            record.updated = now
            # Sent in any case: the task may have arrived although its receipt has not.
            row = cancel_letter(self._context, record, now)
            save_task(connection, record)
            put_outbox(connection, row)
            return record, row, dropped

        record, row, dropped = await self._context.database.write(cancel)
        self._outbox.drop(dropped)
        if row is not None:
            self._outbox.push(row)
        self._context.task_changes.notify(record.id)
        return record

    # --- waiting ---------------------------------------------------------------------------------

    async def settled(self, record: TaskRecord, seconds: float, *, even_held: bool) -> TaskRecord:
        """The task when there is something to tell about it, or as it is after so many seconds.

        `record` is how the caller knows it, and must not have waited for anything since.
        """
        deadline = anyio.current_time() + seconds
        while not (record.done or record.state in INTERRUPTED or (even_held and self._is_stuck(record))):
            changed = self._context.task_changes.event(record.id)
            if not await wait_until(changed, deadline - anyio.current_time()):
                return self.latest(record.id)
            record = changed.record or self.latest(record.id)
        return record

    def _is_stuck(self, record: TaskRecord) -> bool:
        """Whether whoever has just sent it should hear at once why nothing happens."""
        if record.delivery == Delivery.QUEUED:
            return self._outbox.refusal(record.id) is not None
        return record.delivery == Delivery.HELD

    def latest(self, task_id: str) -> TaskRecord:
        """A task by its id or a unique part of it.

        Raises:
            TaskNotFoundError
        """
        return self._context.database.read(lambda connection: get_task(connection, task_id))
