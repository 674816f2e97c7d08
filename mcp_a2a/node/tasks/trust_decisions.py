"""Decisions of a person about other agents: to trust, block or forget them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from mcp_a2a.api.agents import (
    SetTrustRequest,
    SetTrustView,
)
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import WebPeer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.node.tasks.contact_requests import ContactRequests
from mcp_a2a.node.tasks.inbox import Inbox
from mcp_a2a.node.tasks.news import News
from mcp_a2a.plurals import many
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.naming import kind_of_agent
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Canceled, Rejected
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import OutboxRow, drop_held, drop_outbox_of_task, forget_consents, save_peer
from mcp_a2a.store.records import open_tasks_with, save
from mcp_a2a.store.web import forget_web_agent

_Decision = tuple[int, list[OutboxRow], list[Task]]
"""Messages dropped, messages to send, tasks ended."""


@dataclass(eq=False)
class TrustDecisions:
    """Changes who may send work here. Only ever asked to by a person."""

    context: Context
    directory: Directory
    web: WebBook
    own_advert: OwnAdvert
    outbox: Outbox
    inbox: Inbox
    requests: ContactRequests
    news: News
    views: AgentViews

    @answers(SetTrustRequest)
    async def decide(self, request: SetTrustRequest) -> SetTrustView:
        """Trust, block or forget an agent; what waits for the decision moves in the same transaction.

        Raises:
            PeerNotFoundError, AmbiguousNameError, KeyChangedError
        """
        asked = self.directory.aliases.meant(request.agent)
        known = self.web.known(asked) if kind_of_agent(asked) == "url" else None
        if known is not None:
            return await self._decide_about(known, request)
        peer = self._meant(request.agent)
        row, now = replace(peer.row, trust=request.level), self.context.clock()

        def decide(connection: sqlite3.Connection) -> _Decision:
            save_peer(connection, row)
            if request.level != "trusted":
                forget_consents(connection, row.did)
            match request.level:
                case "trusted":
                    return *self.requests.release(connection, row.did, peer.name, now), []
                case "blocked":
                    ended = open_tasks_with(connection, row.did)
                    connection.execute("DELETE FROM outbox WHERE peer=?", (row.did,))
                    for task in ended:
                        _end_blocked(connection, task, now)
                    return drop_held(connection, row.did), [], ended
                case _:
                    return 0, [], []

        with anyio.CancelScope(shield=True):  # a person's decision is not made by half
            dropped, letters, ended = await self._decided(peer, request.level, decide)
            self._apply(peer, letters, ended)
        self.news.decided(peer, request.level, _what_waited(len(letters), dropped))
        return SetTrustView(agent=self.views.view(peer), released=len(letters), dropped=dropped + len(ended))

    async def _decide_about(self, peer: WebPeer, request: SetTrustRequest) -> SetTrustView:
        """An agent at a URL sends nothing here: it is known, or it is not."""
        if request.level == "trusted":
            return SetTrustView(agent=self.views.view(await self.web.add(peer.url)))
        now = self.context.clock()

        def forget(connection: sqlite3.Connection) -> list[Task]:
            ended = open_tasks_with(connection, peer.url)
            for task in ended:
                drop_outbox_of_task(connection, task.id, "message", "cancel")
                _end_blocked(connection, task, now)
            forget_web_agent(connection, peer.url)
            forget_consents(connection, peer.url)
            return ended

        with anyio.CancelScope(shield=True):
            peer.is_removed = True  # at once: its card, which may be on its way, must not be kept behind this
            try:
                ended = await self.context.database.write(forget)
            except Exception:
                peer.is_removed = False
                raise
            self.web.forget(peer)
            for task in ended:
                self.outbox.drop_task(task.id)
                self.context.task_changes.notify(task.id)
        return SetTrustView(agent=self.views.view(peer), dropped=len(ended))

    async def _decided(self, peer: Peer, level: str, decide: Callable[[sqlite3.Connection], _Decision]) -> _Decision:
        """Decide here and on the disk. At once here, so that what comes in meanwhile is treated accordingly."""
        before = peer.row.trust, peer.row.paired
        peer.row.trust, peer.row.paired = level, peer.row.name if level == "trusted" else ""
        try:
            return await self.context.database.write(decide)
        except Exception:
            peer.row.trust, peer.row.paired = before
            raise

    def _meant(self, asked: str) -> Peer:
        """A person may decide about a key that was never seen, but about a name only if it is one agent's."""
        try:
            return self.directory.resolve(asked)
        except PeerNotFoundError:
            try:
                return self.directory.get(PeerId.parse_untrusted(asked.strip()))
            except RemoteProtocolError:
                raise PeerNotFoundError(asked) from None

    def _apply(self, peer: Peer, letters: list[OutboxRow], ended: list[Task]) -> None:
        for letter in letters:
            self.outbox.push(letter)
        self.inbox.offer()
        if peer.row.trust == "trusted":
            self.own_advert.greet_on(peer.links)
        if peer.row.trust == "blocked":
            self.outbox.drop_peer(peer.peer_id)
            for task in ended:
                self.inbox.withdraw(task)
                self.context.task_changes.notify(task.id)
            for link in list(peer.links):
                link.close("not accepted")
        self.directory.changes.notify()


def _what_waited(released: int, dropped: int) -> str | None:
    count, done = (released, "released") if released else (dropped, "dropped")
    return f"{many(count, 'waiting message')} {done}" if count else None


def _end_blocked(connection: sqlite3.Connection, task: Task, now: float) -> None:
    end = Canceled if task.sent else Rejected
    error = ErrorDetail(code="blocked", message="You blocked this agent.")
    save(connection, Change.of(task, end(error=error), now=now))
