"""A node for tests of the surface: it answers what it was told to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from mcp_a2a.api.a2a import A2ACardRequest, A2ACardView, A2AFollowRequest, A2AFollowView
from mcp_a2a.api.agents import (
    AddPeerRequest,
    AgentDetail,
    AgentView,
    ContactView,
    DiscoverRequest,
    DiscoverView,
    GetAgentRequest,
    PeersRequest,
    PeersView,
    SetTrustRequest,
    SetTrustView,
    SkillView,
)
from mcp_a2a.api.files import SavedFile, SavedFilesView, SaveFilesRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest, InboxItem, InboxView
from mcp_a2a.api.news import NewsRequest, NewsView
from mcp_a2a.api.request import Request
from mcp_a2a.api.status import StatusView
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
from mcp_a2a.api.view import AgentRef, View
from mcp_a2a.protocol.model import AgentCard, AgentSkill, Delivery
from mcp_a2a.protocol.moment import Moment

DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
OTHER_DID = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
WORDS = "apple-river-stone-cloud-maple-tiger-ocean-lamp"


def agent(**changes: object) -> AgentView:
    fields: dict[str, object] = {
        "name": "word-counter",
        "did": DID,
        "words": WORDS,
        "description": "Counts words",
        "skills": (SkillView(id="count_words", name="count words", description="Count the words in a text."),),
        "route": "local",
        "rtt_ms": 0.42,
        "online": True,
        "trust": "own",
    }
    return AgentView.model_validate(fields | changes)


def task(**changes: object) -> TaskView:
    fields: dict[str, object] = {
        "task_id": "task-abc",
        "direction": "sent",
        "state": Moment.COMPLETED,
        "done": True,
        "delivery": Delivery.DELIVERED,
        "route": "local",
        "agent": AgentRef(name="word-counter", did=DID),
        "text": "4",
        "text_total": 1,
        "attempts": 1,
        "created": "2026-11-20T10:00:00.000Z",
        "updated": "2026-11-20T10:00:01.000Z",
        "next": "Done.",
    }
    return TaskView.model_validate(fields | changes)


def leased(**changes: object) -> InboxItem:
    fields: dict[str, object] = {
        "task_id": "task-in",
        "agent": AgentRef(name="planner", did=OTHER_DID),
        "trust": "trusted",
        "skill": None,
        "context_id": None,
        "text": "Please count these words",
        "messages": (),
        "attempt": 1,
        "hop": 0,
        "lease_until": "2026-11-20T10:15:00.000Z",
        "received": "2026-11-20T10:00:00.000Z",
    }
    return InboxItem.model_validate(fields | changes)


def contact(**changes: object) -> ContactView:
    fields: dict[str, object] = {
        "name": "Bob",
        "did": OTHER_DID,
        "words": WORDS,
        "messages": 2,
        "preview": "SECRET-PREVIEW",
        "since": "2026-11-20T10:00:00.000Z",
    }
    return ContactView.model_validate(fields | changes)


def status(**changes: object) -> StatusView:
    fields: dict[str, object] = {
        "version": "0.1.0",
        "identity": "default",
        "name": "me",
        "did": DID,
        "words": WORDS,
        "home": "/home/me/.local/share/mcp-a2a",
        "pid": 1,
        "uptime_seconds": 5.0,
        "listening": ("127.0.0.1:7301",),
        "lookups": {"local": "on", "mdns": "off: no multicast"},
        "agents_online": 1,
        "outbox": 0,
        "inbox": 0,
        "held": 1,
        "accept": "trusted",
    }
    return StatusView.model_validate(fields | changes)


CARD = AgentCard(
    name="word-counter",
    description="Counts words",
    skills=(AgentSkill(id="count_words", name="count words", description="Count the words in a text."),),
)


@dataclass
class StandIn:
    """`NodeApi` whose answers are set by the test: a view, an error to raise, or a function of the request."""

    found: DiscoverView = field(default_factory=lambda: DiscoverView(agents=(agent(),), total=1))
    detail: AgentDetail = field(default_factory=lambda: AgentDetail(agent=agent(), card=CARD))
    known: PeersView = field(default_factory=lambda: PeersView(peers=(), contacts=()))
    change: SetTrustView = field(default_factory=lambda: SetTrustView(agent=agent(), released=2))
    answer: TaskView = field(default_factory=task)
    page: TaskPage = field(default_factory=lambda: TaskPage(tasks=(task(),)))
    inbox: InboxView = field(
        default_factory=lambda: InboxView(items=(leased(),), waiting=0, held=0, next="Answer with answer_task.")
    )
    failure: BaseException | None = None
    hold: anyio.Event | None = None
    """Nothing is answered before this is set."""
    asked: list[View] = field(default_factory=list)
    when_asked: Callable[[], Awaitable[None]] | None = None

    async def call(self, request: Request[View]) -> object:
        """Each question goes to the method that has the name of its operation: tests put their own in its place."""
        return await getattr(self, request.operation)(request)

    async def _hear(self, request: View) -> None:
        self.asked.append(request)
        if self.when_asked is not None:
            await self.when_asked()
        if self.hold is not None:
            await self.hold.wait()
        if self.failure is not None:
            raise self.failure

    async def a2a_follow(self, request: A2AFollowRequest) -> A2AFollowView:
        """Nothing happens on the way."""
        await anyio.sleep_forever()
        raise AssertionError(request)

    async def a2a_card(self, request: A2ACardRequest) -> A2ACardView:
        return A2ACardView(card=request.card)

    async def discover(self, request: DiscoverRequest) -> DiscoverView:
        await self._hear(request)
        return self.found

    async def get_agent(self, request: GetAgentRequest) -> AgentDetail:
        await self._hear(request)
        return self.detail

    async def peers(self, request: PeersRequest) -> PeersView:
        await self._hear(request)
        return self.known

    async def add_peer(self, request: AddPeerRequest) -> AgentView:
        await self._hear(request)
        return agent()

    async def news(self, request: NewsRequest) -> NewsView:
        return NewsView(run="standin", number=0)

    async def set_trust(self, request: SetTrustRequest) -> SetTrustView:
        await self._hear(request)
        return self.change

    async def send_task(self, request: SendTaskRequest) -> TaskView:
        await self._hear(request)
        return self.answer

    async def send_task_by_skill(self, request: SendTaskBySkillRequest) -> TaskView:
        await self._hear(request)
        return self.answer

    async def get_task(self, request: GetTaskRequest) -> TaskView:
        await self._hear(request)
        return self.answer

    async def save_files(self, request: SaveFilesRequest) -> SavedFilesView:
        await self._hear(request)
        file = SavedFile(name="a.txt", path="/home/me/files/a.txt", size=3, sha256="0" * 64)
        return SavedFilesView(task_id=request.task_id, folder="/home/me/files", files=(file,), next="Open it.")

    async def reply_to_task(self, request: ReplyRequest) -> TaskView:
        await self._hear(request)
        return self.answer

    async def cancel_task(self, request: CancelRequest) -> TaskView:
        await self._hear(request)
        return self.answer

    async def list_tasks(self, request: ListTasksRequest) -> TaskPage:
        await self._hear(request)
        return self.page

    async def check_inbox(self, request: CheckInboxRequest) -> InboxView:
        await self._hear(request)
        return self.inbox

    async def answer_task(self, request: AnswerRequest) -> TaskView:
        await self._hear(request)
        return self.answer
