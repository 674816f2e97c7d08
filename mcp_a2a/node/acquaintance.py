"""What a person decides about others: adding, trusting, blocking; and whom there is to decide about."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import anyio

from mcp_a2a.api.agents import (
    AgentView,
    ConsentRequest,
    ConsentView,
    ContactView,
    PeersView,
    SetTrustRequest,
    SetTrustView,
)
from mcp_a2a.errors import PeerNotFoundError, RemoteProtocolError
from mcp_a2a.node.consent import key_of, shown_key
from mcp_a2a.node.directory import Peer
from mcp_a2a.node.handlers import answers
from mcp_a2a.node.node import Node
from mcp_a2a.node.web_peer import WebPeer
from mcp_a2a.plurals import many
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.payload import Payload, TaskBody
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Canceled, Rejected
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.times import iso
from mcp_a2a.protocol.web_url import is_web
from mcp_a2a.store.consents import forget_consents
from mcp_a2a.store.journal import HeldRow, OutboxRow, drop_held, held, save_peer
from mcp_a2a.store.records import open_tasks_with, save
from mcp_a2a.store.web import drop_web_letters, forget_web_agent

DESCRIBE_SECONDS = 3.0
"""How long an agent that was just reached may take to say who it is."""

_Decision = tuple[int, list[OutboxRow], list[Task]]
"""Messages dropped, messages to send, tasks ended."""


class Acquaintance:
    """Changes who may send work here. Only ever asked to by a person."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def everybody(self) -> PeersView:
        """Everybody known by key, and the strangers who wait."""
        peers = sorted(self._node.directory, key=lambda peer: (not peer.online, peer.name, peer.row.did))
        known = {peer.row.did for peer in peers}
        alone = [web for web in self._node.ways.alone() if web.key not in known]
        web = sorted(alone, key=lambda peer: (bool(peer.trouble), peer.name, peer.url))
        views = (*(self._view(peer) for peer in peers), *(self._node.views.view(peer) for peer in web))
        return PeersView(peers=views, contacts=self._contacts(), aliases=dict(self._node.directory.aliases.all()))

    def _view(self, peer: Peer) -> AgentView:
        return self._node.views.view(peer)

    def _contacts(self) -> tuple[ContactView, ...]:
        by_sender: dict[str, list[HeldRow]] = defaultdict(list)
        for row in self._node.context.database.read(held):
            by_sender[row.sender].append(row)
        return tuple(self._contact(rows) for rows in by_sender.values())

    def _contact(self, rows: list[HeldRow]) -> ContactView:
        peer = self._node.directory.get(PeerId.parse_untrusted(rows[0].sender))
        return ContactView(
            name=peer.name,  # the question to the person says that it calls itself so
            did=peer.row.did,
            words=peer.words,
            messages=len(rows),
            preview=_preview(rows[0]),
            since=iso(rows[0].received),
        )

    async def add(self, address: str) -> AgentView:
        """Dial an address and remember whoever answers.

        Raises:
            NoRouteError, ConfigurationError
        """
        link = await self._node.dialer.dial_address(address)
        peer = self._node.directory.get(link.peer)
        before = peer.row.addresses
        if address not in before:
            peer.row.addresses = (*before, address)
        row = replace(peer.row)
        try:
            await self._node.context.database.write(lambda connection: save_peer(connection, row))
        except Exception:
            peer.row.addresses = before  # it was not added, so nothing goes there unasked
            raise
        with anyio.move_on_after(DESCRIBE_SECONDS):
            while peer.advert is None and peer.links:
                await self._node.directory.changes.event().wait()
        return self._view(peer)

    @answers(ConsentRequest)
    async def consent(self, request: ConsentRequest) -> ConsentView:
        """What may be sent to an agent unasked; keeps what a person answered.

        Raises:
            PeerNotFoundError: no agent has this key or URL.
            CardError, WebError, AddressNotAllowedError: it is a URL that was to be read and cannot be.
        """
        consent = self._node.consent
        agent = consent.meant(request.agent)
        if isinstance(agent, str) and request.meet:
            agent = await self._node.web.find(agent)
        key = agent if isinstance(agent, str) else key_of(agent)
        if request.answer is not None:
            await consent.answer(agent, request.answer, files=request.files)
        shown = shown_key(key)
        if isinstance(agent, str):
            view = AgentView(name=shown, did=key, words="")
            return ConsentView(agent=view, key=shown, text=consent.url_allowed(key), files=False)
        view = self._node.views.view(agent) if isinstance(agent, WebPeer) else self._view(agent)
        allowed = consent.text(agent) == "allowed", consent.files(agent) == "allowed"
        return ConsentView(agent=view, key=shown, text=allowed[0], files=allowed[1])

    @answers(SetTrustRequest)
    async def decide(self, request: SetTrustRequest) -> SetTrustView:
        """Trust, block or forget an agent; what waits for the decision moves in the same transaction.

        Raises:
            PeerNotFoundError, AmbiguousNameError, KeyChangedError
        """
        asked = self._node.directory.aliases.meant(request.agent)
        known = self._node.web.known(asked) if is_web(asked) else None
        if known is not None:
            return await self._decide_about(known, request)
        peer = self._meant(request.agent)
        row, now = replace(peer.row, trust=request.level), self._node.context.clock()

        def decide(connection: sqlite3.Connection) -> _Decision:
            save_peer(connection, row)
            if request.level != "trusted":
                forget_consents(connection, row.did)
            match request.level:
                case "trusted":
                    return *self._node.intake.contacts.release(connection, row.did, peer.name, now), []
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
        self._node.news.decided(peer, request.level, _what_waited(len(letters), dropped))
        return SetTrustView(agent=self._view(peer), released=len(letters), dropped=dropped + len(ended))

    async def _decide_about(self, peer: WebPeer, request: SetTrustRequest) -> SetTrustView:
        """An agent at a URL sends nothing here: it is known, or it is not."""
        if request.level == "trusted":
            return SetTrustView(agent=(await self._node.web.add(peer.url)).view())
        now = self._node.context.clock()

        def forget(connection: sqlite3.Connection) -> list[Task]:
            ended = open_tasks_with(connection, peer.url)
            for task in ended:
                drop_web_letters(connection, task.id)
                _end_blocked(connection, task, now)
            forget_web_agent(connection, peer.url)
            forget_consents(connection, peer.url)
            return ended

        with anyio.CancelScope(shield=True):
            peer.is_removed = True  # at once: its card, which may be on its way, must not be kept behind this
            try:
                ended = await self._node.context.database.write(forget)
            except Exception:
                peer.is_removed = False
                raise
            self._node.web.forget(peer)
            for task in ended:
                self._node.web_courier.kick(task.id)
                self._node.context.task_changes.notify(task.id)
        return SetTrustView(agent=peer.view(), dropped=len(ended))

    async def _decided(self, peer: Peer, level: str, decide: Callable[[sqlite3.Connection], _Decision]) -> _Decision:
        """Decide here and on the disk. At once here, so that what comes in meanwhile is treated accordingly."""
        before = peer.row.trust, peer.row.paired
        peer.row.trust, peer.row.paired = level, peer.row.name if level == "trusted" else ""
        try:
            return await self._node.context.database.write(decide)
        except Exception:
            peer.row.trust, peer.row.paired = before
            raise

    def _meant(self, asked: str) -> Peer:
        """A person may decide about a key that was never seen, but about a name only if it is one agent's."""
        try:
            return self._node.directory.resolve(asked)
        except PeerNotFoundError:
            try:
                return self._node.directory.get(PeerId.parse_untrusted(asked.strip()))
            except RemoteProtocolError:
                raise PeerNotFoundError(asked) from None

    def _apply(self, peer: Peer, letters: list[OutboxRow], ended: list[Task]) -> None:
        for letter in letters:
            self._node.outbox.push(letter)
        self._node.inbox.offer()
        if peer.row.trust == "trusted":
            self._node.introduction.greet_on(peer.links)
        if peer.row.trust == "blocked":
            self._node.outbox.drop_peer(peer.peer_id)
            for task in ended:
                self._node.inbox.withdraw(task)
                self._node.context.task_changes.notify(task.id)
            for link in list(peer.links):
                link.close("not accepted")
        self._node.directory.changes.notify()


def _what_waited(released: int, dropped: int) -> str | None:
    count, done = (released, "released") if released else (dropped, "dropped")
    return f"{many(count, 'waiting message')} {done}" if count else None


def _preview(row: HeldRow) -> str:
    try:
        body = Payload.parse_untrusted(row.payload).body
    except RemoteProtocolError:
        return ""
    return preview(body.message.text, 64) if isinstance(body, TaskBody) else ""


def _end_blocked(connection: sqlite3.Connection, task: Task, now: float) -> None:
    end = Canceled if task.sent else Rejected
    error = ErrorDetail(code="blocked", message="You blocked this agent.")
    save(connection, Change.of(task, end(error=error), now=now))
