"""Work for an agent with a skill: the best one is asked, and the next one while none has taken it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import anyio

from mcp_a2a.api.tasks import SendTaskBySkillRequest
from mcp_a2a.errors import FileError, NoRouteError, SkillNotFoundError
from mcp_a2a.node.attaching import Attached, Attaching
from mcp_a2a.node.context import Context, delivery_of
from mcp_a2a.node.dialer import Dialer
from mcp_a2a.node.letters import cancel_letter, task_letter
from mcp_a2a.node.outbox import Outbox
from mcp_a2a.node.repeated import check_opening
from mcp_a2a.node.selection import Candidate
from mcp_a2a.node.sending import Draft, Sending, draft_of, no_relay_takes, with_files
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.task.ids import task_id_of
from mcp_a2a.store.journal import OutboxRow, drop_outbox_of_task, put_outbox
from mcp_a2a.store.records import TaskRecord, get_task, save_task


class Choosing:
    """Gives a task to an agent that has a skill."""

    def __init__(
        self, context: Context, sending: Sending, dialer: Dialer, outbox: Outbox, attaching: Attaching
    ) -> None:
        self._context = context
        self._sending = sending
        self._dialer = dialer
        self._outbox = outbox
        self._attaching = attaching

    def sent_by_skill(self, request: SendTaskBySkillRequest) -> TaskRecord | None:
        """What an earlier call with the same key came to, unless an agent at a URL has refused it.

        Raises:
            KeyReusedError: that was another request.
        """
        opening = self._sending.opening_id(request.idempotency_key, f"skill\0{request.skill}")
        record = self._sending.find(task_id_of(self._context.me, opening))
        if record is None:
            return None
        check_opening(record, draft_of(request, opening).message, request.skill, request.files)
        return None if record.counterpart == "http" and record.delivery == Delivery.REFUSED else record

    async def send_by_skill(self, candidates: Sequence[Candidate], request: SendTaskBySkillRequest) -> TaskRecord:
        """Send to the best candidate; the next one is tried while nobody has accepted.

        Raises:
            SkillNotFoundError: there is no candidate.
            KeyReusedError: the key names a task that was another request.
            ConsentNeededError, ConsentDeclinedError: a person has to allow it first.
            NoRouteError: with `queue` False, when none can be reached.
            FileError: only relays reach them, and no relay takes a file of it.
        """
        opening = self._sending.opening_id(request.idempotency_key, f"skill\0{request.skill}")
        task_id = task_id_of(self._context.me, opening)
        draft = draft_of(request, opening)
        existing = self._sending.find(task_id)
        if existing is not None:
            check_opening(existing, draft.message, draft.skill, request.files)
            return existing
        attached = await self._sending.attach(draft, request)
        with self._attaching.given_to(task_id, attached.refs):
            return await self._send_to_best(candidates, request, with_files(draft, attached), attached)

    async def _send_to_best(
        self, candidates: Sequence[Candidate], request: SendTaskBySkillRequest, draft: Draft, attached: Attached
    ) -> TaskRecord:
        tried: list[str] = []
        absent: list[Candidate] = []
        barred: FileError | None = None
        deadline = anyio.current_time() + max(request.wait_seconds, 1.0)
        record: TaskRecord | None = None
        for candidate in candidates:
            try:
                link = await self._dialer.connect(candidate.peer)
            except NoRouteError as error:
                tried.extend(error.attempts)
                absent.append(candidate)
                continue
            if attached.needs_direct and link.is_relayed:
                barred = no_relay_takes(candidate.peer, attached)
                tried.append(barred.message)
                continue
            record = await self._entrust(record, candidate, draft, tuple(tried))
            record = await self._accepted(record.id, deadline - anyio.current_time())
            if record.delivery not in (Delivery.REFUSED, Delivery.HELD):
                return record
            tried.append(f"{candidate.peer.name}: {record.delivery.lower()}")
        if record is None and barred is not None and not absent:
            raise barred
        return record or await self._queue_best(absent, request, draft, tried)

    async def _queue_best(
        self, candidates: Sequence[Candidate], request: SendTaskBySkillRequest, draft: Draft, tried: list[str]
    ) -> TaskRecord:
        if not candidates:
            raise SkillNotFoundError(request.skill)
        if not request.queue:
            raise NoRouteError(f"No agent with the skill {request.skill!r}", tried)
        return await self._entrust(None, candidates[0], draft, tuple(tried))

    async def _entrust(
        self, record: TaskRecord | None, candidate: Candidate, draft: Draft, tried: tuple[str, ...]
    ) -> TaskRecord:
        """Journal the task for this candidate; withdraw it from the one before, unless that one has accepted it."""
        fresh = self._sending.new_record(candidate.peer, draft)
        fresh.chosen, fresh.tried = f"{candidate.peer.name}: {candidate.why}", tried
        if record is None:
            return await self._sending.open(fresh)
        fresh.created, fresh.context_id = record.created, record.context_id
        row = task_letter(self._context, fresh, self._context.clock())

        def retarget(connection: sqlite3.Connection) -> tuple[list[str], OutboxRow | None] | None:
            current = get_task(connection, fresh.id)
            if current.delivery != Delivery.REFUSED and (current.delivery != Delivery.HELD or current.done):
                return None  # accepted, or canceled, while the next agent was being reached
            dropped = drop_outbox_of_task(connection, fresh.id, "task", "blob")
            withdrawal = None
            if record.delivery == Delivery.HELD:
                record.seq_out += 1
                withdrawal = cancel_letter(self._context, record, fresh.updated)
                put_outbox(connection, withdrawal)
            save_task(connection, fresh)
            put_outbox(connection, row)
            return dropped, withdrawal

        moved = await self._context.database.write(retarget)
        if moved is None:
            return self._sending.latest(fresh.id)
        dropped, withdrawal = moved
        self._outbox.drop(dropped)
        for letter in filter(None, (withdrawal, row)):
            self._outbox.push(letter)
        return fresh

    async def _accepted(self, task_id: str, seconds: float) -> TaskRecord:
        """Wait until the recipient has said anything at all about the task."""
        with anyio.move_on_after(max(0.0, seconds)):
            while True:
                changed = self._context.task_changes.event(delivery_of(task_id))
                record = self._sending.find(task_id)
                if record is not None and record.delivery != Delivery.QUEUED:
                    return record
                await changed.wait()
        return self._sending.latest(task_id)
