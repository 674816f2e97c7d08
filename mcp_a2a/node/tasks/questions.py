"""The tasks of the owner: sent, read, answered, withdrawn, listed, with their files."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from typing_extensions import TypeVar

from mcp_a2a.api.files import FilesRequest, FilesView, SavedFilesView, SaveFilesRequest
from mcp_a2a.api.tasks import (
    CancelRequest,
    GetTaskRequest,
    ListTasksRequest,
    ReplyRequest,
    SendTaskBySkillRequest,
    SendTaskRequest,
    TaskPage,
    TaskView,
)
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.tasks import HopLimitError, TaskNotFoundError
from mcp_a2a.node.agents.questions import Agents
from mcp_a2a.node.agents.selection import Selector
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.node.tasks.choosing import Choosing
from mcp_a2a.node.tasks.sending import Sending
from mcp_a2a.node.tasks.shown_tasks import ShownTasks
from mcp_a2a.protocol.payload import MAX_HOP
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.leases import highest_hop
from mcp_a2a.store.opening import damage
from mcp_a2a.store.task_lists import Position, list_tasks, parse_position, position_token

MAIL_SECONDS = 1.5
"""Seconds that a list of tasks waits for relays that may still bring updates."""

_Sent = TypeVar("_Sent", SendTaskRequest, SendTaskBySkillRequest)


@dataclass(eq=False)
class Tasks:
    """Answers what the owner asks about tasks."""

    context: Context
    agents: Agents
    selector: Selector
    networks: Networks
    sending: Sending
    choosing: Choosing
    files: Files
    shown: ShownTasks

    @answers(SendTaskRequest)
    async def send_task(self, request: SendTaskRequest) -> TaskView:
        """Journal, deliver, wait."""
        request = self._counted(request)
        peer = await self.agents.meant(request.agent, request.consent)
        deadline = self.sending.waiting.ticks() + request.wait_seconds
        record = await self.sending.send(peer, request)
        return await self._settled(record, max(0.0, deadline - self.sending.waiting.ticks()))

    @answers(SendTaskBySkillRequest)
    async def send_task_by_skill(self, request: SendTaskBySkillRequest) -> TaskView:
        """The same for the best agent with the skill."""
        request = self._counted(request)
        deadline = anyio.current_time() + request.wait_seconds
        record = self.choosing.sent_by_skill(request)
        if record is None:
            record = await self.choosing.send_by_skill(await self.selector.select(request), request)
        return await self._settled(record, max(0.0, deadline - anyio.current_time()))

    def _counted(self, request: _Sent) -> _Sent:
        """The request with its conversation, and the number of times that its work was passed on, as known here.

        Raises:
            HopLimitError, TaskNotFoundError
        """
        hop, holder = request.hop, request.holder
        if holder is not None:
            now = self.context.clock()
            hop = max(hop, self.context.database.read(lambda connection: highest_hop(connection, holder, now)))
        if hop >= MAX_HOP:
            raise HopLimitError(MAX_HOP)
        context_id = self._context_of(request.context_id)
        if hop == request.hop and context_id == request.context_id:
            return request
        return request.model_copy(update={"hop": hop, "context_id": context_id})

    def _context_of(self, asked: str | None) -> str | None:
        """The conversation that is meant by its id, or by the id of a task in it.

        Raises:
            TaskNotFoundError, TaskForgottenError: it is written as the id of a task, and there is none.
        """
        if asked is None or not asked.startswith("task-"):
            return asked
        return self.sending.latest(asked).context_id

    @answers(GetTaskRequest)
    async def get_task(self, request: GetTaskRequest) -> TaskView:
        """The state of a task."""
        await self.sending.look(self.sending.latest(request.task_id))
        record = self.sending.latest(request.task_id)
        record = await self.sending.waiting.wait(record, request.until, request.wait_seconds)
        return self.shown.view(record, request.text_offset, request.text_limit)

    def remembered(self, request: GetTaskRequest) -> TaskView:
        """The state of a task, as far as it is known here."""
        return self.shown.view(self.sending.latest(request.task_id), request.text_offset, request.text_limit)

    @answers(ReplyRequest)
    async def reply_to_task(self, request: ReplyRequest) -> TaskView:
        """Answer a question; after the end of a task, open the next one in its context."""
        record = self.sending.latest(request.task_id)
        if record.sent and record.done and self.sending.turn(record.id, request)[1] is None:
            return await self.send_task(
                SendTaskRequest(
                    hop=request.hop,
                    holder=request.holder,
                    agent=record.peer,
                    message=request.message,
                    skill=record.skill,
                    context_id=record.context_id,
                    wait_seconds=request.wait_seconds,
                    idempotency_key=request.idempotency_key,
                    files=request.files,
                    roots=request.roots,
                    consent=request.consent,
                )
            )
        record = await self.sending.reply(record.id, request)
        return await self._settled(record, request.wait_seconds)

    @answers(CancelRequest)
    async def cancel_task(self, request: CancelRequest) -> TaskView:
        """Withdraw a task we sent."""
        record = self.sending.latest(request.task_id)
        record = await self.sending.cancel(record.id)
        return self.shown.view(record)

    @answers(ListTasksRequest)
    async def list_tasks(self, request: ListTasksRequest) -> TaskPage:
        """Tasks by newest change; right after a start, with what waited for us at relays."""
        await self.networks.wait_settled(MAIL_SECONDS)
        return await self.page(request)

    async def page(self, request: ListTasksRequest) -> TaskPage:
        """The same at once, with what is here."""
        before, now = _cursor(request.cursor), self.context.clock()
        records = await self.context.database.read_aside(
            lambda connection: list_tasks(
                connection,
                state=request.state,
                direction=request.direction,
                before=before,
                limit=request.limit + 1,
                now=now,
            )
        )
        shown = records[: request.limit]
        more = position_token(shown[-1].updated, shown[-1]) if len(records) > request.limit else None
        return TaskPage(
            tasks=tuple(self.shown.view(record, text_limit=500) for record in shown),
            next_cursor=more,
            damage=self.context.database.read(damage),
        )

    async def _settled(self, record: Task, seconds: float) -> TaskView:
        return self.shown.view(await self.sending.waiting.wait(record, "held_up", seconds))

    # --- files -----------------------------------------------------------------------------------

    @answers(FilesRequest)
    async def open_files(self, request: FilesRequest) -> FilesView:
        """Access to the files of a task."""
        record = self.sending.latest(request.task_id)
        if request.caller is not None and (record.caller != request.caller or record.id != request.task_id):
            raise TaskNotFoundError(request.task_id)
        return FilesView(files=self.files.all(record))

    @answers(SaveFilesRequest)
    async def save_files(self, request: SaveFilesRequest) -> SavedFilesView:
        """Write the files that came with a task."""
        return await self.files.save(self.sending.latest(request.task_id), request.folder)


def _cursor(text: str | None) -> Position | None:
    try:
        return None if text is None else parse_position(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is not a cursor of a list of tasks.", "Use next_cursor of the page before, or none."
        ) from None
