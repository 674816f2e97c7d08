"""Does the work of an inbox: leases tasks, runs a handler for each, answers.

It sees a node only as `NodeApi`, so it works the same in the process that owns the identity and in
one beside it. The flow: one standing `check_inbox` that asks for as many tasks as there are free
slots, and is told of cancellations too; a handler per task; a keeper that renews leases while
handlers work. What is not answered when the worker stops is not lost: its lease ends with the
process, and it is offered again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from mcp_a2a.api.inbox import CheckInboxRequest, InboxItem, InboxView
from mcp_a2a.api.tasks import GetTaskRequest
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.node.runtime.context import pause_after, ticks_of_loop
from mcp_a2a.node.worker.job import GONE, Crashed, Job, Outcome, Reject, is_unsendable
from mcp_a2a.node.worker.reason import reason_of
from mcp_a2a.node.worker.skill_tasks import drop_cancellation, keep_exits_in_tasks
from mcp_a2a.node.worker.task_context import Handler, TaskContext
from mcp_a2a.protocol.backoff import Backoff

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

logger = logging.getLogger(__name__)

STAND_SECONDS = 600.0
PATIENCE_SECONDS = 0.25
"""A worker without a free slot waits so long for one before it only listens for cancellations."""

TICK_SECONDS = 0.5
ASKING_TICK_SECONDS = 5.0
"""Seconds after which a handler that waits for a reply learns of a withdrawal."""

LONG_SECONDS = 1.0
"""A task that runs longer is announced, in the log and to its sender; a shorter one is only reported when it ends."""

RETRIES = 5
"""The number of attempts for an answer that the node refuses for a reason that does not pass."""

TOLD_AGAIN = 30
"""After so many failures the log says it again."""

CHECK = Backoff(0.1, 10.0)
ANSWER = Backoff(0.1, 2.0)
"""A finished answer is tried again at least so often: well within the time in which its lease ends."""

GRACE_SECONDS = 1.0
"""Seconds for which handlers may go on when the worker stops."""


Kind = Literal["working", "completed", "failed", "rejected", "canceled", "input_required", "crashed", "lost"]
"""A state as `protocol.moment` spells it; "crashed" and "lost" are of this attempt, after which the task is offered
again."""


@dataclass(frozen=True)
class TaskEvent:
    """Something happened with a task: for the operator's log."""

    kind: Kind
    item: InboxItem
    seconds: float
    text: str | None = None


class Worker:
    """Answers the tasks of one identity with one handler, several at a time.

    `holder` names it towards the node, and starts with the process number. `renew_seconds` should be a
    third of a lease: two renewals may fail before the task is offered to another worker.
    """

    def __init__(
        self,
        node: NodeApi,
        handler: Handler,
        *,
        holder: str,
        concurrency: int,
        renew_seconds: float = 300.0,
        log: Callable[[TaskEvent], None] = lambda _: None,
    ) -> None:
        self._node = node
        self._handler = handler
        self._holder = holder
        self._concurrency = concurrency
        self._renew_seconds = renew_seconds
        self._log = log
        self._jobs: dict[str, Job] = {}
        self._busy = 0
        self._slot_freed: anyio.Event | None = None
        """Set when a slot is free."""
        self._job_begun = anyio.Event()
        self._listening: anyio.CancelScope | None = None
        self._own_context = copy_context()
        """Without the variables that a skill sets."""
        self._ticks = anyio.current_time
        self._question = cache(
            lambda limit: CheckInboxRequest(wait_seconds=STAND_SECONDS, limit=limit, holder=holder, worker=True)
        )

    async def run(self, stopping: anyio.Event) -> None:
        """Work until `stopping` is set; handlers under way then get `GRACE_SECONDS` to finish."""
        self._own_context, self._ticks = copy_context(), ticks_of_loop()
        async with anyio.create_task_group() as tasks:
            collecting = anyio.CancelScope()
            tasks.start_soon(self._collect, tasks, collecting)
            tasks.start_soon(self._keep)
            await stopping.wait()
            collecting.cancel()
            with anyio.move_on_after(GRACE_SECONDS):
                while self._busy:
                    await self._wait_for_slot()
            tasks.cancel_scope.cancel()

    # --- taking tasks ----------------------------------------------------------------------------

    async def _collect(self, tasks: TaskGroup, scope: anyio.CancelScope) -> None:
        failures = 0
        with scope:
            while True:
                try:
                    view = await self._check(await self._room())
                except McpA2AError as error:
                    failures += 1
                    logger.warning("the inbox could not be read (%s); trying again", error)
                    await anyio.sleep(pause_after(failures, CHECK))
                    continue
                failures = 0
                self._take(tasks, view)
                await anyio.lowlevel.checkpoint()  # the work begins before more of it is looked for

    async def _room(self) -> int:
        """The number of free slots; waits a moment when there is none, and then returns 0."""
        if self._busy >= self._concurrency:
            with anyio.move_on_after(PATIENCE_SECONDS):
                await self._wait_for_slot()
                await anyio.lowlevel.checkpoint()  # others that end in this very moment free theirs too
        # More are at work than there are slots, where a question failed and its skill goes on without the answer.
        return max(0, min(100, self._concurrency - self._busy))

    async def _check(self, limit: int) -> InboxView | None:
        request = self._question(limit)
        if limit:
            return await self._node.call(request)
        # Only listening for cancellations: a freed slot ends that, for then it can take work.
        with anyio.CancelScope() as listening:
            self._listening = listening
            try:
                return await self._node.call(request)
            finally:
                self._listening = None
        return None

    def _take(self, tasks: TaskGroup, view: InboxView | None) -> None:
        if view is None:
            return
        for item in view.items:
            self._begin(tasks, item)
        for task_id in view.canceled:
            if task_id in self._jobs:
                self._jobs[task_id].scope.cancel("its sender withdrew the task")

    def _begin(self, tasks: TaskGroup, item: InboxItem) -> None:
        job = self._jobs.get(item.task_id)
        if job is not None and job.resumed is not None:
            job.resume(item)
            return
        if job is not None and job.closed:
            job.item = item  # its work is done, and only waits to be stored: that is the answer to this attempt, too
            return
        if job is not None:
            job.scope.cancel("its lease ended; it was offered again")
        now = self._ticks()

        def soon(job: Job, seconds: float) -> None:
            tasks.start_soon(self._flush_soon, job, seconds)

        job = Job(item, self._holder, self._node, self._pause, self._regain, soon, started=now, renewed=now)
        self._jobs[item.task_id] = job
        self._busy += 1
        self._job_begun.set()
        tasks.start_soon(self._work, tasks, job)

    def _pause(self, job: Job) -> None:
        self._tell(job, "input_required")
        self._free_slot()

    def _regain(self, _job: Job) -> None:
        self._busy += 1

    async def _wait_for_slot(self) -> None:
        if self._slot_freed is None or self._slot_freed.is_set():
            self._slot_freed = anyio.Event()
        await self._slot_freed.wait()

    def _free_slot(self) -> None:
        self._busy -= 1
        if self._slot_freed is not None:
            self._slot_freed.set()
        if self._listening is not None:
            self._listening.cancel()

    # --- working ---------------------------------------------------------------------------------

    async def _work(self, tasks: TaskGroup, job: Job) -> None:
        """Call the handler. Another task answers: what a skill cancels, now or later, is no more than this one."""
        outcome: Outcome | None = None
        try:
            with job.scope:
                outcome = await self._called(job)
            if outcome is None:
                self._tell(job, "canceled")
        finally:
            if outcome is None:
                self._end(job)
            else:
                self._own_context.run(self._begin_answer, tasks, job, outcome)
                await drop_cancellation()

    def _begin_answer(self, tasks: TaskGroup, job: Job, outcome: Outcome) -> None:
        tasks.start_soon(self._answer, job, outcome)

    async def _answer(self, job: Job, outcome: Outcome) -> None:
        try:
            await self._conclude(job, outcome)
        finally:
            self._end(job)

    def _end(self, job: Job) -> None:
        if self._jobs.get(job.item.task_id) is job:
            del self._jobs[job.item.task_id]
        if job.resumed is None:
            self._free_slot()  # one that waits for a reply has none

    async def _called(self, job: Job) -> Outcome:
        keep_exits_in_tasks()
        try:
            return await self._handler(TaskContext(job))
        except Reject as refusal:
            words = reason_of(refusal)
            return Outcome("rejected", words if words != type(refusal).__name__ else "It will not do that.")
        except Crashed as crash:
            return Outcome("crashed", reason_of(crash))
        except BaseException as error:
            # A cancellation of ours is raised again here; any other one, as of a task that the skill awaited, is
            # a failure of the skill, and so is whatever else would end the process and every other task in it.
            await anyio.lowlevel.checkpoint_if_cancelled()
            # The traceback is for the skill's author; the sender reads the message alone.
            logger.exception("the skill failed on %s", job.item.task_id)
            return Outcome("failed", reason_of(error))

    async def _conclude(self, job: Job, outcome: Outcome) -> None:
        """Answer. What is finished is kept until the node has stored it, or says that the task is no longer ours."""
        await job.close()
        failures = 0
        while True:
            try:
                await job.answer(outcome.status, outcome.text, outcome.parts, outcome.files, direct=outcome.direct)
            except GONE as error:
                logger.warning("the answer to %s came too late: %s", job.item.task_id, error)
                return self._tell(job, "lost", error.message)
            except McpA2AError as error:
                failures += 1
                passes = error.retryable or isinstance(error, ConfigurationError)  # the disk, or the owner of the node
                if failures >= RETRIES and not passes:
                    return self._tell(job, "lost", f"its answer could not be stored: {error.message}")
                outcome = _instead(outcome, error)
                if failures == 1 or failures % TOLD_AGAIN == 0:
                    logger.warning("the answer to %s is kept, and not stored yet: %s", job.item.task_id, error)
                await anyio.sleep(pause_after(failures, ANSWER))
            except Exception as error:
                failures += 1
                if failures >= RETRIES:
                    return self._tell(job, "lost", f"its answer cannot be stored: {reason_of(error)}")
                logger.exception("the answer to %s cannot be stored as it is", job.item.task_id)
                outcome = Outcome("failed", f"The result cannot be sent: {reason_of(error)}")
            else:
                return self._tell(job, outcome.status, outcome.text)

    def _tell(self, job: Job, kind: Kind, text: str | None = None) -> None:
        self._log(TaskEvent(kind, job.item, self._ticks() - job.started, text))

    # --- keeping leases --------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            if not self._jobs:
                self._job_begun = anyio.Event()
                await self._job_begun.wait()
            await anyio.sleep(TICK_SECONDS if self._busy else ASKING_TICK_SECONDS)
            for job in list(self._jobs.values()):
                try:
                    await self._tend(job)
                except McpA2AError as error:
                    logger.warning("the lease of %s could not be renewed: %s", job.item.task_id, error)
                except Exception:
                    logger.exception("what %s has said cannot be sent", job.item.task_id)

    async def _flush_soon(self, job: Job, seconds: float) -> None:
        await anyio.sleep(seconds)
        if not job.flushing:
            return  # it went with something else
        try:
            await job.flush()
        except McpA2AError as error:
            logger.warning("what %s has streamed could not be sent yet: %s", job.item.task_id, error)
        except Exception:
            logger.exception("what %s has streamed cannot be sent", job.item.task_id)

    async def _tend(self, job: Job) -> None:
        now = self._ticks()
        if job.resumed is not None:
            if now - job.renewed >= ASKING_TICK_SECONDS:
                job.renewed = now
                await self._check_withdrawn(job)
            return
        untold = False
        if not job.announced and now - job.started >= LONG_SECONDS:
            job.announced = True
            self._tell(job, "working")
            untold = not job.has_told  # its sender is to read the same word as the log has
        if untold or job.pending is not None or job.chunks or now - job.renewed >= self._renew_seconds:
            await job.flush()

    async def _check_withdrawn(self, job: Job) -> None:
        # A task in INPUT_REQUIRED has no holder, so its cancellation reaches no worker.
        view = await self._node.call(GetTaskRequest(task_id=job.item.task_id, text_limit=1))
        if view.done:
            job.scope.cancel("its sender withdrew the task")


def _instead(outcome: Outcome, error: McpA2AError) -> Outcome:
    """The outcome to send in place of one that cannot be sent; without it the sender would wait for ever."""
    if is_unsendable(error):
        return Outcome("failed", f"The result cannot be sent. {error}")
    return outcome
