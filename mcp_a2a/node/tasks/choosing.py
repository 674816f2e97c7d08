"""Work for an agent with a skill: the best one is asked, and the next one while none has taken it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import anyio

from mcp_a2a.api.tasks import SendTaskBySkillRequest
from mcp_a2a.errors.agents import SkillNotFoundError
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.tasks import FileError, TransitionError
from mcp_a2a.node.agents.selection import Candidate
from mcp_a2a.node.delivery.letters import cancel_letter, message_letter, task_letter
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.delivery.outcomes import Outcomes
from mcp_a2a.node.files.attaching import Attached, Attaching
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.repeated import check_opening
from mcp_a2a.node.tasks.sending import Draft, Sending, draft_of, no_relay_takes, with_files
from mcp_a2a.protocol.blob import BlobRef
from mcp_a2a.protocol.model import Delivery, Message
from mcp_a2a.protocol.task.events import Entrusted, Event, Replied, Spoken
from mcp_a2a.protocol.task.ids import task_id_of
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import OutboxRow, drop_outbox_of_task, put_outbox
from mcp_a2a.store.records import get_task, save


class Choosing:
    """Gives a task to an agent that has a skill."""

    def __init__(
        self,
        context: Context,
        sending: Sending,
        dialer: Dialer,
        outbox: Outbox,
        outcomes: Outcomes,
        attaching: Attaching,
    ) -> None:
        self._context = context
        self._sending = sending
        self._dialer = dialer
        self._outbox = outbox
        self._outcomes = outcomes
        self._attaching = attaching

    def sent_by_skill(self, request: SendTaskBySkillRequest) -> Task | None:
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

    async def send_by_skill(self, candidates: Sequence[Candidate], request: SendTaskBySkillRequest) -> Task:
        """Send to the best candidate; the next one is tried while none has accepted.

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
    ) -> Task:
        task_id = task_id_of(self._context.me, draft.opening)
        self._outcomes.choosing.append(task_id)
        try:
            task = await self._try_each(candidates, request, draft, attached)
        finally:
            with anyio.CancelScope(shield=True):
                left = await self._outcomes.chosen(task_id)
        return left or task

    async def _try_each(
        self, candidates: Sequence[Candidate], request: SendTaskBySkillRequest, draft: Draft, attached: Attached
    ) -> Task:
        tried: list[str] = []
        absent: list[Candidate] = []
        barred: FileError | None = None
        deadline = anyio.current_time() + max(request.wait_seconds, 1.0)
        task: Task | None = None
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
            if task is None:
                task = await self._open(candidate, draft, tried)
            else:
                task = await self._entrust(task.id, candidate, tried)
            task = self._sending.latest(task.id)
            task = await self._sending.waiting.wait(task, "taken", deadline - anyio.current_time())
            if task.done or task.delivery not in (Delivery.REFUSED, Delivery.HELD):
                return task
            tried.append(f"{candidate.peer.name}: {task.delivery.lower()}")
        if task is None and barred is not None and not absent:
            raise barred
        return task or await self._queue_best(absent, request, draft, tried)

    async def _queue_best(
        self, candidates: Sequence[Candidate], request: SendTaskBySkillRequest, draft: Draft, tried: list[str]
    ) -> Task:
        if not candidates:
            raise SkillNotFoundError(request.skill)
        if not request.queue:
            raise NoRouteError(f"No agent with the skill {request.skill!r}", tried)
        return await self._open(candidates[0], draft, tried)

    async def _open(self, candidate: Candidate, draft: Draft, tried: list[str]) -> Task:
        return await self._sending.open(self._sending.opening(candidate.peer, draft, candidate.chosen, tuple(tried)))

    async def _entrust(self, task_id: str, candidate: Candidate, tried: list[str]) -> Task:
        """Give the task to this candidate, and withdraw it from one that holds it.

        Returns:
            The task as it is, if its agent has accepted it, or it ended, while the candidate was reached.
        """
        now, reasons = self._context.clock(), tuple(tried)

        def entrust(connection: sqlite3.Connection) -> tuple[Task, list[OutboxRow], list[str]]:
            task = get_task(connection, task_id)
            try:
                change, letters = self._entrusted(task, candidate, reasons, now)
            except TransitionError:
                return task, [], []
            dropped = drop_outbox_of_task(connection, task_id, "task", "message", "blob")
            save(connection, change)
            for letter in letters:
                put_outbox(connection, letter)
            return change.task, letters, dropped

        task, letters, dropped = await self._context.database.write(entrust)
        self._outbox.drop(dropped)
        for letter in letters:
            self._outbox.push(letter)
        self._context.task_changes.notify(task.id, task)
        return task

    def _entrusted(
        self, task: Task, candidate: Candidate, tried: tuple[str, ...], now: float
    ) -> tuple[Change, list[OutboxRow]]:
        """What gives the task to this candidate: all that its caller has said, the request first.

        Raises:
            TransitionError: its agent has accepted it, or it ended.
        """
        facts, letters = list[Event](), list[OutboxRow]()

        def told(files: tuple[BlobRef, ...] = ()) -> Change:
            return Change.of(task, *facts, now=now, files=files)

        if task.delivery == Delivery.HELD:
            facts.append(Spoken())
            letters.append(cancel_letter(self._context, told()))
        request, *more = task.said
        files = _files_of(task.said)
        facts.append(Entrusted(candidate.peer.row.did, candidate.peer.name, candidate.chosen, tried, request))
        letters.append(task_letter(self._context, told(files)))
        for said in more:
            facts.extend((Replied(said), Spoken()))
            letters.append(message_letter(self._context, told(), said))
        return Change.of(task, *facts, now=now, files=files), letters


def _files_of(messages: Sequence[Message]) -> tuple[BlobRef, ...]:
    """The files that messages of ours name, each once."""
    refs = (BlobRef.of_untrusted(part) for message in messages for part in message.parts)
    return tuple({ref.id: ref for ref in refs if ref is not None}.values())
