"""`NodeApi` over a running node: a question goes to the method of the service that answers it, here or elsewhere."""

from __future__ import annotations

import os

import anyio
import anyio.lowlevel
from typing_extensions import TypeVar

from mcp_a2a.api.a2a import (
    A2AAnswer,
    A2ACancelRequest,
    A2ACardRequest,
    A2ACardView,
    A2AFollowRequest,
    A2AFollowView,
    A2AGetRequest,
    A2AListRequest,
    A2APushDeleteRequest,
    A2APushGetRequest,
    A2APushSetRequest,
    A2APushView,
    A2ASendRequest,
    A2ATaskPage,
)
from mcp_a2a.api.agents import AddPeerRequest, AgentDetail, AgentView, GetAgentRequest, PeersRequest, PeersView
from mcp_a2a.api.diagnostics import NetcheckRequest, NetcheckView, PingRequest, PingView
from mcp_a2a.api.files import FilesRequest, FilesView, SavedFilesView, SaveFilesRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest, InboxItem, InboxView
from mcp_a2a.api.networks import NetworksRequest, NetworksView
from mcp_a2a.api.news import NewsRequest, NewsView
from mcp_a2a.api.status import RenameRequest, RenameView, StatusView
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
from mcp_a2a.api.view import Consent
from mcp_a2a.errors import ConfigurationError, HopLimitError, TaskNotFoundError
from mcp_a2a.node.acquaintance import Acquaintance
from mcp_a2a.node.desk import Desk
from mcp_a2a.node.directory import Peer
from mcp_a2a.node.discovery import Discovery
from mcp_a2a.node.entrance import Entrance
from mcp_a2a.node.files import shown
from mcp_a2a.node.forgetting import Forgetting
from mcp_a2a.node.handlers import LocalNode, answers
from mcp_a2a.node.membership import Membership
from mcp_a2a.node.node import Node
from mcp_a2a.node.own_card import sign_own
from mcp_a2a.node.patience import Patience
from mcp_a2a.node.peer_views import addresses_of, skill_views
from mcp_a2a.node.reach import Reach
from mcp_a2a.node.search import Search
from mcp_a2a.node.selection import Selector
from mcp_a2a.node.task_views import Cargo, Way, inbox_item, task_view
from mcp_a2a.node.web_book import ping_web
from mcp_a2a.node.web_peer import WebPeer
from mcp_a2a.plurals import many
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.extensions import check_extensions
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.names import fingerprint_words
from mcp_a2a.protocol.payload import MAX_HOP
from mcp_a2a.protocol.times import iso
from mcp_a2a.protocol.web_url import is_shortened, is_web
from mcp_a2a.store.journal import count_held, count_outbox
from mcp_a2a.store.opening import damage
from mcp_a2a.store.records import (
    Position,
    TaskRecord,
    count_waiting,
    highest_hop,
    list_tasks,
    parse_position,
    position_token,
)
from mcp_a2a.store.web import count_web_letters
from mcp_a2a.version import __version__

RELAY_SECONDS = 1.8
"""How long a list of networks waits for relays that have not answered yet."""


MAIL_SECONDS = 1.5
"""How long a list of tasks waits for relays that may still bring something."""


_Sent = TypeVar("_Sent", SendTaskRequest, SendTaskBySkillRequest)


class LocalApi(LocalNode):
    """The owner's `NodeApi`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        context, directory, networks, trust = node.context, node.directory, node.networks, node.trust
        self._patience = Patience(directory, networks, node.dialer, node.lookups, context.clocks)
        self._search = Search(
            me=context.me,
            directory=directory,
            web=node.web,
            ways=node.ways,
            trust=trust,
            networks=networks,
            introduction=node.introduction,
            patience=self._patience,
            views=node.views,
        )
        discovery = Discovery(
            directory=directory,
            ways=node.ways,
            trust=trust,
            database=context.database,
            lookups=node.lookups,
            patience=self._patience,
            views=node.views,
        )
        self._selector = Selector(directory, trust, node.consent, self._search, self._patience)
        self._acquaintance = Acquaintance(node)
        self._membership = Membership(context, directory, networks, node.introduction, node.outbox)
        node.intake.on_network = self._membership.renewed
        entrance = Entrance(
            context=context,
            directory=directory,
            trust=trust,
            networks=networks,
            membership=self._membership,
            introduction=node.introduction,
            dialer=node.dialer,
            lookups=node.lookups,
        )
        self._reach = Reach(node.dialer, node.introduction, networks, node.lookups)
        node.on_answer = self._reach.answer_received
        self._desk = Desk(node, self._search)
        super().__init__(discovery, self._acquaintance, self._membership, entrance, Forgetting(context))

    # --- agents ----------------------------------------------------------------------------------

    @answers(GetAgentRequest)
    async def get_agent(self, request: GetAgentRequest) -> AgentDetail:
        """One agent; `self` is this node."""
        if request.agent == "self":
            await self._patience.look_up()
            return self._self()
        peer = await self._meant(request.agent, request.consent)
        if isinstance(peer, WebPeer):
            return AgentDetail(agent=self._node.views.view(peer), card=peer.row.card, addresses=peer.addresses)
        await self._patience.look_up((peer,))
        card = (
            peer.advert.card
            if peer.advert
            else self._node.introduction.card.model_copy(
                update={"name": peer.name, "description": "It has not described itself yet.", "skills": ()}
            )
        )
        return AgentDetail(agent=self._node.views.view(peer), card=card, addresses=addresses_of(peer))

    async def _meant(self, asked: str, consent: Consent) -> Peer | WebPeer:
        """The agent that is meant; a URL that was never met is read if that may be."""
        asked = self._node.directory.aliases.meant(asked)
        if is_web(asked) and not is_shortened(asked) and self._node.web.known(asked) is None:
            self._node.consent.check_url(asked, consent)
        return await self._search.meant(asked, meet=True)

    def _self(self) -> AgentDetail:
        node, status = self._node, self._status()
        view = AgentView(
            name=node.introduction.card.name,
            did=str(node.context.me),
            words=fingerprint_words(node.context.me),
            description=node.introduction.card.description,
            skills=skill_views(node.introduction.card.skills),
            route="local",
            online=True,
            trust="self",
        )
        return AgentDetail(agent=view, card=node.introduction.card, addresses=status.listening, node=status)

    def _status(self) -> StatusView:
        node, now = self._node, self._node.context.clock()
        read = node.context.database.read
        return StatusView(
            version=__version__,
            identity=node.parts.identity_name,
            name=node.introduction.card.name,
            did=str(node.context.me),
            words=fingerprint_words(node.context.me),
            home=str(node.parts.home),
            pid=os.getpid(),
            uptime_seconds=round(anyio.current_time() - node.lookups.started, 1),
            listening=tuple(str(address) for address in node.lookups.listening),
            lookups=dict(node.lookups.in_words()),
            clocks=node.views.clock_trouble(),
            damage=read(damage),
            networks=self._membership.all().networks,
            agents_online=len(node.directory.present()),
            outbox=read(count_outbox) + read(count_web_letters),
            inbox=read(lambda connection: count_waiting(connection, now)),
            held=read(count_held),
            kept=node.inbox.kept,
            runs_twice=iso(node.twins.noticed_at) if node.twins.noticed_at is not None else None,
            accept=node.trust.accept,
        )

    @answers(RenameRequest)
    async def rename(self, request: RenameRequest) -> RenameView:
        """Go by the name that is kept."""
        del request
        kept = self._node.rename()
        return RenameView(name=self._node.introduction.card.name, kept=kept, given=self._node.parts.given_name)

    @answers(PeersRequest)
    async def peers(self, request: PeersRequest) -> PeersView:
        """Everybody known by key, and the contact requests."""
        await self._patience.look_up()
        return self.everybody()

    def everybody(self) -> PeersView:
        """The same at once."""
        return self._acquaintance.everybody()

    @answers(AddPeerRequest)
    async def add_peer(self, request: AddPeerRequest) -> AgentView:
        """Dial an address and remember it."""
        if is_web(request.address):
            web = await self._node.web.add(request.address, request.headers)
            peer = self._node.ways.sealed(web)
            if peer is not None:
                await self._patience.await_link(peer)
            return self._node.views.view(web) if peer is None else self._node.views.view(peer)
        return await self._acquaintance.add(request.address)

    @answers(NewsRequest)
    async def news(self, request: NewsRequest) -> NewsView:
        """What happens here, for its owner."""
        return await self._node.news.read(request)

    # --- tasks -----------------------------------------------------------------------------------

    @answers(SendTaskRequest)
    async def send_task(self, request: SendTaskRequest) -> TaskView:
        """Journal, deliver, wait."""
        request = self._counted(request)
        peer = await self._meant(request.agent, request.consent)
        if isinstance(peer, WebPeer):
            record = await self._node.web_sending.send(peer, request)
        else:
            if peer.advert is not None:
                check_extensions(peer.name, peer.advert.card)
            record = await self._node.sending.send(peer, request)
        return await self._settled(record, request.wait_seconds)

    @answers(SendTaskBySkillRequest)
    async def send_task_by_skill(self, request: SendTaskBySkillRequest) -> TaskView:
        """The same for the best agent with the skill."""
        request = self._counted(request)
        deadline = anyio.current_time() + request.wait_seconds
        record = self._node.choosing.sent_by_skill(request)
        if record is None:
            selected = await self._selector.select(request)
            if selected.web:
                record = await self._node.web_sending.send_by_skill(selected.web, request)
            else:
                record = await self._node.choosing.send_by_skill(selected.keys, request)
        return await self._settled(record, max(0.0, deadline - anyio.current_time()))

    def _counted(self, request: _Sent) -> _Sent:
        """The request with its conversation, and the number of times that its work was passed on, as known here.

        Raises:
            HopLimitError, TaskNotFoundError
        """
        hop, holder, now = request.hop, request.holder, self._node.context.clock()
        if holder is not None:
            hop = max(hop, self._node.context.database.read(lambda connection: highest_hop(connection, holder, now)))
        if hop >= MAX_HOP:
            raise HopLimitError(MAX_HOP)
        return request.model_copy(update={"hop": hop, "context_id": self._context_of(request.context_id)})

    def _context_of(self, asked: str | None) -> str | None:
        """The conversation that is meant by its id, or by the id of a task in it.

        Raises:
            TaskNotFoundError, TaskForgottenError: it is written as the id of a task, and there is none.
        """
        if asked is None or not asked.startswith("task-"):
            return asked
        return self._node.sending.latest(asked).context_id

    @answers(GetTaskRequest)
    async def get_task(self, request: GetTaskRequest) -> TaskView:
        """Where a task stands."""
        await self._node.look(self._node.sending.latest(request.task_id))
        record = self._node.sending.latest(request.task_id)
        record = await self._node.sending.settled(record, request.wait_seconds, even_held=request.even_stuck)
        return self._view(record, request.text_offset, request.text_limit)

    def remembered(self, request: GetTaskRequest) -> TaskView:
        """Where a task stands, as far as it is known here."""
        return self._view(self._node.sending.latest(request.task_id), request.text_offset, request.text_limit)

    @answers(ReplyRequest)
    async def reply_to_task(self, request: ReplyRequest) -> TaskView:
        """Answer a question; after the end of a task, open the next one in its context."""
        record = self._node.sending.latest(request.task_id)
        if record.sent and record.done and self._node.sending.turn(record.id, request)[1] is None:
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
        record = await self._node.sender_to(record).reply(record.id, request)
        return await self._settled(record, request.wait_seconds)

    @answers(CancelRequest)
    async def cancel_task(self, request: CancelRequest) -> TaskView:
        """Withdraw a task we sent."""
        record = self._node.sending.latest(request.task_id)
        record = await self._node.sender_to(record).cancel(record.id)
        return self._view(record)

    @answers(ListTasksRequest)
    async def list_tasks(self, request: ListTasksRequest) -> TaskPage:
        """Tasks by newest change; right after a start, with what waited for us at relays."""
        await self._node.networks.wait_settled(MAIL_SECONDS)
        return await self.page(request)

    async def page(self, request: ListTasksRequest) -> TaskPage:
        """The same at once, with what is here."""
        before, now = _cursor(request.cursor), self._node.context.clock()
        records = await self._node.context.database.read_aside(
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
            tasks=tuple(self._view(record, text_limit=500) for record in shown),
            next_cursor=more,
            damage=self._node.context.database.read(damage),
        )

    async def _settled(self, record: TaskRecord, seconds: float) -> TaskView:
        return self._view(await self._node.sending.settled(record, seconds, even_held=True))

    def _view(self, record: TaskRecord, text_offset: int = 0, text_limit: int | None = None) -> TaskView:
        files = self._node.files
        cargo = Cargo(shown(files.received(record)), files.transfer(record))
        name, way = record.peer_name, Way("http", self._node.web_courier.tried(record.id))
        if record.counterpart == "sealed":
            peer = self._node.directory.known(PeerId.parse_untrusted(record.peer))
            name = peer.name if peer else name
            way = Way(
                peer.link.route if peer and peer.link else None,
                self._tried(record, peer) if record.sent else (),
                self._node.outbox.refusal(record.id) if record.delivery == Delivery.QUEUED else None,
            )
        now, name = self._node.context.clock(), self._node.views.called(record.peer, name)
        return task_view(
            record, name=name, way=way, cargo=cargo, now=now, text_offset=text_offset, text_limit=text_limit
        )

    def _tried(self, record: TaskRecord, peer: Peer | None) -> tuple[str, ...]:
        """What stands in the way of a task that is not delivered; or why it goes through a relay."""
        if record.delivery == Delivery.QUEUED:
            return self._node.outbox.tried(PeerId.parse_untrusted(record.peer))
        return peer.tried if peer and peer.link and peer.link.is_relayed else ()

    # --- files -----------------------------------------------------------------------------------

    @answers(FilesRequest)
    async def open_files(self, request: FilesRequest) -> FilesView:
        """How to read the files of a task."""
        record = self._node.sending.latest(request.task_id)
        if request.caller is not None and (record.caller != request.caller or record.id != request.task_id):
            raise TaskNotFoundError(request.task_id)
        return FilesView(files=self._node.files.all(record))

    @answers(SaveFilesRequest)
    async def save_files(self, request: SaveFilesRequest) -> SavedFilesView:
        """Write the files that came with a task."""
        return await self._node.files.save(self._node.sending.latest(request.task_id), request.folder)

    # --- networks --------------------------------------------------------------------------------

    @answers(NetworksRequest)
    async def networks(self, request: NetworksRequest) -> NetworksView:
        """Our networks, once their relays have answered or not."""
        await self._node.networks.wait_settled(RELAY_SECONDS)
        return self.all_networks()

    def all_networks(self) -> NetworksView:
        """The same at once."""
        return self._membership.all()

    @answers(PingRequest)
    async def ping(self, request: PingRequest) -> PingView:
        """A sealed message there and a receipt back."""
        peer = await self._search.meant(request.agent)
        if isinstance(peer, WebPeer):
            return await ping_web(self._node.web, peer, request.timeout_seconds)
        return await self._reach.ping(peer, request.timeout_seconds)

    @answers(NetcheckRequest)
    async def netcheck(self, request: NetcheckRequest) -> NetcheckView:
        """What works from here."""
        return await self._reach.check()

    # --- inbox -----------------------------------------------------------------------------------

    @answers(CheckInboxRequest)
    async def check_inbox(self, request: CheckInboxRequest) -> InboxView:
        """Lease waiting tasks."""
        records, canceled = await self._node.inbox.take(request)
        now, read = self._node.context.clock(), self._node.context.database.read
        items = tuple(self._item(record) for record in records)
        if request.worker:  # it asks for work, and for nothing else
            return InboxView(items=items, canceled=tuple(canceled), waiting=0, held=0, next="")
        held, waiting = read(count_held), read(lambda connection: count_waiting(connection, now))
        return InboxView(
            items=items, canceled=tuple(canceled), waiting=waiting, held=held, next=next_of_inbox(items, held)
        )

    def _item(self, record: TaskRecord) -> InboxItem:
        files = self._node.files.received(record)
        if record.counterpart != "sealed":  # the owner, or an A2A client that the owner gave a token
            return inbox_item(record, record.peer_name, "trusted" if record.caller else "own", files)
        peer = self._node.directory.get(PeerId.parse_untrusted(record.peer))
        name = self._node.views.called(record.peer, peer.name)
        return inbox_item(record, name, self._node.trust.of(peer), files)

    @answers(AnswerRequest)
    async def answer_task(self, request: AnswerRequest) -> TaskView:
        """Answer a leased task."""
        if request.files and request.consent == "ask":
            await self._check_answer(request)
        record = await self._node.inbox.answer(request)
        await anyio.lowlevel.checkpoint()  # whoever waits for the answer goes first
        return self._view(record)

    async def _check_answer(self, request: AnswerRequest) -> None:
        """A file with an answer leaves like any other; a client of our A2A server is one that the owner let in."""
        record = self._node.sending.latest(request.task_id)
        if not record.sent and record.counterpart == "sealed":
            peer = self._node.directory.get(PeerId.parse_untrusted(record.peer))
            await self._node.consent.check(peer, request, answering=True)

    # --- A2A -------------------------------------------------------------------------------------

    @answers(A2ASendRequest)
    async def a2a_send(self, request: A2ASendRequest) -> A2AAnswer:
        """A message to our own agent, or to one behind this node."""
        return await self._desk.send(request)

    @answers(A2AGetRequest)
    async def a2a_get(self, request: A2AGetRequest) -> A2AAnswer:
        """A task of the caller."""
        return await self._desk.get(request)

    @answers(A2AListRequest)
    async def a2a_list(self, request: A2AListRequest) -> A2ATaskPage:
        """Tasks of the caller."""
        return await self._desk.list(request)

    @answers(A2ACancelRequest)
    async def a2a_cancel(self, request: A2ACancelRequest) -> A2AAnswer:
        """Withdraw a task of the caller."""
        return await self._desk.cancel(request)

    @answers(A2AFollowRequest)
    async def a2a_follow(self, request: A2AFollowRequest) -> A2AFollowView:
        """What happens to a task of the caller."""
        return await self._desk.follow(request)

    @answers(A2ACardRequest)
    async def a2a_card(self, request: A2ACardRequest) -> A2ACardView:
        """Sign the card of our own agent."""
        own = self._node.introduction.card
        return A2ACardView(card=sign_own(request.card, own, self._node.context.identity))

    @answers(A2APushSetRequest)
    async def a2a_push_set(self, request: A2APushSetRequest) -> A2APushView:
        """Keep a push configuration."""
        return await self._desk.set_push(request)

    @answers(A2APushGetRequest)
    async def a2a_push_get(self, request: A2APushGetRequest) -> A2APushView:
        """The push configurations of a task."""
        return await self._desk.get_push(request)

    @answers(A2APushDeleteRequest)
    async def a2a_push_delete(self, request: A2APushDeleteRequest) -> A2APushView:
        """Forget a push configuration."""
        return await self._desk.delete_push(request)


def _cursor(text: str | None) -> Position | None:
    try:
        return None if text is None else parse_position(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is not a cursor of list_tasks.", "Use next_cursor of the page before, or none."
        ) from None


def next_of_inbox(items: tuple[InboxItem, ...], held: int) -> str:
    """What to do with what was leased."""
    strangers = (
        f" {many(held, 'message from strangers waits', 'messages from strangers wait')} for your user's decision: "
        "accept_contact asks for it, or your user runs `mcp-a2a inbox`."
        if held
        else ""
    )
    if items:
        return "Answer with answer_task." + strangers
    return "Nothing to do now. Call check_inbox with wait_seconds to wait for work." + strangers
