"""The inbox as a client or a worker sees it: tasks are leased to it, and it answers them."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest, InboxItem, InboxView
from mcp_a2a.api.tasks import TaskView
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.peers.consent import ConsentBook
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.node.tasks.inbox import Inbox
from mcp_a2a.node.tasks.sending import Sending
from mcp_a2a.node.tasks.shown_tasks import ShownTasks
from mcp_a2a.node.tasks.task_views import inbox_item, standing
from mcp_a2a.plurals import many
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import count_held
from mcp_a2a.store.leases import count_waiting


@dataclass(eq=False)
class Leasing:
    """Answers questions for work, and takes the answers to it."""

    context: Context
    inbox: Inbox
    sending: Sending
    directory: Directory
    trust: TrustBook
    consent: ConsentBook
    files: Files
    views: AgentViews
    shown: ShownTasks

    @answers(CheckInboxRequest)
    async def check_inbox(self, request: CheckInboxRequest) -> InboxView:
        """Lease waiting tasks."""
        records, canceled = await self.inbox.take(request)
        items = tuple(self._item(record) for record in records)
        if request.worker:  # it asks for work, and for nothing else
            return InboxView(items=items, canceled=tuple(canceled), waiting=0, held=0, next="")
        now, read = self.context.clock(), self.context.database.read
        held, waiting = read(count_held), read(lambda connection: count_waiting(connection, now))
        return InboxView(
            items=items, canceled=tuple(canceled), waiting=waiting, held=held, next=next_of_inbox(items, held)
        )

    def _item(self, record: Task) -> InboxItem:
        files = self.files.received(record)
        if record.counterpart != "sealed":  # the owner, or an A2A client that the owner gave a token
            return inbox_item(record, record.peer_name, "trusted" if record.caller else "own", files)
        peer = self.directory.get(PeerId.parse_untrusted(record.peer))
        name = self.views.called(record.peer, peer.name)
        return inbox_item(record, name, self.trust.of(peer), files)

    @answers(AnswerRequest)
    async def answer_task(self, request: AnswerRequest) -> TaskView:
        """Answer a leased task."""
        if request.files and request.consent == "ask":
            await self._check_answer(request)
        change = await self.inbox.answer(request)
        if change.before is not None and change.before.worker:  # it asks for work, and reads no more than that
            return standing(change.task, self.context.clock())
        return self.shown.view(change.task)

    async def _check_answer(self, request: AnswerRequest) -> None:
        """A file with an answer leaves like any other; a client of our A2A server is one that the owner let in."""
        record = self.sending.latest(request.task_id)
        if not record.sent and record.counterpart == "sealed":
            peer = self.directory.get(PeerId.parse_untrusted(record.peer))
            await self.consent.check(peer, request, answering=True)


def next_of_inbox(items: tuple[InboxItem, ...], held: int) -> str:
    """The next step with the leased tasks, in a sentence."""
    strangers = (
        f" {many(held, 'message from strangers waits', 'messages from strangers wait')} for your user's decision: "
        "accept_contact asks for it, or your user runs `mcp-a2a inbox`."
        if held
        else ""
    )
    if items:
        return "Answer with answer_task." + strangers
    return "Nothing to do now. Call check_inbox with wait_seconds to wait for work." + strangers
