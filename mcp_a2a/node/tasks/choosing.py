"""Work for an agent with a skill: the best one is asked, and the next one while none has taken it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from mcp_a2a.api.tasks import SendTaskBySkillRequest
from mcp_a2a.errors.agents import SkillNotFoundError
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.tasks import FileError, TransitionError
from mcp_a2a.errors.web import ExtensionRequiredError
from mcp_a2a.node.agents.selection import Candidate
from mcp_a2a.node.delivery.outcomes import Outcomes
from mcp_a2a.node.files.attaching import Attached, Attaching
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.sending import Draft, Sending, check_agent
from mcp_a2a.node.tasks.task_couriers import TaskCourier
from mcp_a2a.protocol.blob import BlobRef
from mcp_a2a.protocol.model import Delivery, Message
from mcp_a2a.protocol.task.events import Entrusted, Event, Replied, Spoken
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task, task_id_of
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.store.journal import OutboxRow, put_outbox
from mcp_a2a.store.records import get_task, save


@dataclass
class _Choice:
    """One call that chooses, and what it has found so far."""

    request: SendTaskBySkillRequest
    left: list[Candidate]
    """Those that were not tried yet, the best first."""
    deadline: float
    """Until then it is waited for an agent to take the task."""
    tried: list[str]
    """Why no agent has it yet."""
    absent: list[Candidate] = field(default_factory=list)
    barred: FileError | ExtensionRequiredError | None = None
    """Why one that is there cannot be given it."""


@dataclass(eq=False)
class Choosing:
    """Gives a task to an agent that has a skill."""

    context: Context
    sending: Sending
    outcomes: Outcomes
    attaching: Attaching

    def sent_by_skill(self, request: SendTaskBySkillRequest) -> Task | None:
        """The task of an earlier call with the same key, unless an agent at a URL has refused it.

        Raises:
            KeyReusedError: that was another request.
        """
        known = self.sending.opened(self._draft(request, 0), request.files)
        return None if known is None or self._goes_on(known) else known

    def _goes_on(self, task: Task) -> bool:
        """True if the next agent gets a task of its own, since this one has refused its."""
        return task.delivery == Delivery.REFUSED and not self.sending.courier_of(task).retargets

    def _draft(self, request: SendTaskBySkillRequest, attempt: int) -> Draft:
        """The task that a request asks for, after so many agents have refused one."""
        scope = f"skill\0{request.skill}" + (f"\0{attempt}" if attempt else "")
        return Draft.of(request, self.sending.opening_id(request.idempotency_key, scope))

    async def send_by_skill(self, candidates: Sequence[Candidate], request: SendTaskBySkillRequest) -> Task:
        """Send to the best candidate; the next one is tried while none has accepted.

        Args:
            candidates: the best first, all of one kind.
            request: what is asked of them.

        Raises:
            SkillNotFoundError: there is no candidate.
            KeyReusedError: the key names a task that was another request.
            NoRouteError: with `queue` False, when none can be reached.
            FileError: only relays reach them, and no relay takes a file of it.
            ExtensionRequiredError: each of them insists on an extension.
        """
        refused: list[Task] = []
        for attempt in range(len(candidates)):  # what an earlier call with the same key came to
            known = self.sending.opened(self._draft(request, attempt), request.files)
            if known is not None and not self._goes_on(known):
                return known
            refused += [known] if known is not None else []
        if not candidates:
            raise SkillNotFoundError(request.skill)
        asked = {task.peer for task in refused}
        left = [candidate for candidate in candidates if candidate.agent.key not in asked]
        deadline = anyio.current_time() + max(request.wait_seconds, 1.0)
        choice = _Choice(request, left, deadline, [f"{task.peer_name}: refused" for task in refused])
        while choice.left:
            task = await self._offer(choice, self._draft(request, len(refused)), is_first=not refused)
            if task is None:
                break
            if not self._goes_on(task):
                return task
            refused.append(task)
        return refused[-1]

    async def _offer(self, choice: _Choice, draft: Draft, *, is_first: bool) -> Task | None:
        """Offer a task to one agent after the other, as long as it may go to the next; None if none was there.

        With `is_first`, no agent has refused yet, so the task waits for the best one that is away.
        """
        task_id = task_id_of(self.context.me, draft.opening)
        attached = await self.attaching.attach(draft.message.parts, choice.request)
        with self.attaching.given_to(task_id, attached.refs):
            self.outcomes.choosing.append(task_id)
            try:
                task = await self._try_each(choice, draft.with_files(attached), attached)
                if task is None and is_first:
                    task = await self._queue_best(choice, draft.with_files(attached))
            finally:
                with anyio.CancelScope(shield=True):
                    left = await self.outcomes.chosen(task_id)
        return left or task

    async def _try_each(self, choice: _Choice, draft: Draft, attached: Attached) -> Task | None:
        task: Task | None = None
        while choice.left:
            candidate = choice.left.pop(0)
            courier = self.sending.courier_of(candidate.agent)
            if not await _is_there(choice, candidate, courier, attached):
                continue
            if task is None:
                task = await self._open(candidate, draft, choice.tried)
            else:
                task = await self._entrust(courier, task.id, candidate, choice.tried)
            task = self.sending.latest(task.id)
            task = await self.sending.waiting.wait(task, "taken", choice.deadline - anyio.current_time())
            if task.delivery not in (Delivery.REFUSED, Delivery.HELD) or (task.done and courier.retargets):
                return task
            choice.tried.append(f"{candidate.agent.name}: {task.delivery.lower()}")
            if not courier.retargets:
                return task
        return task

    async def _queue_best(self, choice: _Choice, draft: Draft) -> Task:
        if choice.barred is not None and not choice.absent:
            raise choice.barred
        if not choice.request.queue:
            raise NoRouteError(f"No agent with the skill {choice.request.skill!r}", choice.tried)
        return await self._open(choice.absent[0], draft, choice.tried)

    async def _open(self, candidate: Candidate, draft: Draft, tried: Sequence[str]) -> Task:
        change = self.sending.opening(candidate.agent, draft, candidate.chosen, tuple(tried))
        return await self.sending.open(change)

    async def _entrust(self, courier: TaskCourier, task_id: str, candidate: Candidate, tried: Sequence[str]) -> Task:
        """Give the task to this candidate, and withdraw it from one that holds it.

        Returns:
            The task as it is, if its agent has accepted it, or it ended, while the candidate was reached.
        """
        now, reasons = self.context.clock(), tuple(tried)

        def entrust(connection: sqlite3.Connection) -> tuple[Task, Sequence[OutboxRow], Sequence[str]]:
            task = get_task(connection, task_id)
            try:
                change, letters = _entrusted(courier, task, candidate, reasons, now)
            except TransitionError:
                return task, (), ()
            dropped = courier.withdraw(connection, task_id)
            save(connection, change)
            for letter in letters:
                put_outbox(connection, letter)
            return change.task, letters, dropped

        task, letters, dropped = await self.context.database.write(entrust)
        self.sending.outbox.change(letters, dropped)
        self.context.task_changes.notify(task.id, task)
        return task


async def _is_there(choice: _Choice, candidate: Candidate, courier: TaskCourier, attached: Attached) -> bool:
    """True if the candidate can be given the task now; else it is noted why not."""
    agent = candidate.agent
    try:
        check_agent(agent)
        await courier.try_out(agent)
        await courier.check_files(agent, attached)
    except NoRouteError as error:
        choice.tried.extend(error.attempts)
        choice.absent.append(candidate)
        return False
    except (FileError, ExtensionRequiredError) as error:
        choice.tried.append(with_short_urls(error.message))
        choice.barred = error
        return False
    return True


def _entrusted(
    courier: TaskCourier, task: Task, candidate: Candidate, tried: tuple[str, ...], now: float
) -> tuple[Change, list[OutboxRow]]:
    """The change and the messages that give a task to this candidate, with all of its caller's messages.

    Raises:
        TransitionError: its agent has accepted it, or it ended.
    """
    facts, letters = list[Event](), list[OutboxRow]()

    def told(files: tuple[BlobRef, ...] = ()) -> Change:
        return Change.of(task, *facts, now=now, files=files)

    if task.delivery == Delivery.HELD:
        facts.append(Spoken())
        letters.append(courier.cancel(told()))
    request, *more = task.said
    files = _files_of(task.said)
    facts.append(Entrusted(candidate.agent.key, candidate.agent.name, candidate.chosen, tried, request))
    letters.append(courier.opening(told(files)))
    for said in more:
        facts.extend((Replied(said), Spoken()))
        letters.append(courier.message(told(), said))
    return Change.of(task, *facts, now=now, files=files), letters


def _files_of(messages: Sequence[Message]) -> tuple[BlobRef, ...]:
    """The files that messages of ours name, each once."""
    refs = (BlobRef.of_untrusted(part) for message in messages for part in message.parts)
    return tuple({ref.id: ref for ref in refs if ref is not None}.values())
