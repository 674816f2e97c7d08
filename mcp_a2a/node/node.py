"""One running peer: puts its services together, and hands each of them what links and lookups report.

The services: `directory` (who is there), `dialer` (links), `outbox` and `sending` (what we asked), `intake` and
`inbox` (what we are asked), `networks` (who belongs together), `trust`, `outcomes`. `node.running` runs it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from mcp_a2a.node.address_change import Moves
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.clock_watch import ClockWatch
from mcp_a2a.node.delivery.inquiry import Inquiry
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.delivery.outcomes import Outcomes
from mcp_a2a.node.files.attaching import Attaching
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.housekeeping import Housekeeping
from mcp_a2a.node.networks.listings import Listings
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.peers.consent import ConsentBook
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.duplicate_keys import DuplicateKeys
from mcp_a2a.node.peers.keyed_urls import Ways
from mcp_a2a.node.peers.lookups import Lookups
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.parts import NodeParts
from mcp_a2a.node.tasks.choosing import Choosing
from mcp_a2a.node.tasks.events import Events
from mcp_a2a.node.tasks.inbox import Inbox
from mcp_a2a.node.tasks.intake import Intake
from mcp_a2a.node.tasks.news import News
from mcp_a2a.node.tasks.pushes import Pushes
from mcp_a2a.node.tasks.quota import TaskQuota
from mcp_a2a.node.tasks.sending import Sending
from mcp_a2a.node.tasks.task_couriers import HttpTasks, SealedTasks, TaskCouriers
from mcp_a2a.node.tasks.waiting import Waiting
from mcp_a2a.ports import Credentials, Link, Sighting
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import Answer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope
from mcp_a2a.protocol.link_places import Standing
from mcp_a2a.protocol.paths import route_word
from mcp_a2a.store.aliases import Aliases
from mcp_a2a.store.callers import CallerFolder
from mcp_a2a.store.journal import (
    OutboxRow,
    held,
    pending_outbox,
)
from mcp_a2a.store.records import peers_with_open_tasks

logger = logging.getLogger(__name__)

MAX_SIGHTED = 256
"""Peers that we get acquainted with unasked."""


class Node:
    """A running peer. Make it with `run_node`."""

    def __init__(self, parts: NodeParts, context: Context, ring: KeyRing) -> None:
        self.parts = parts
        self.context = context
        self.ring = ring
        self.trust = TrustBook(str(context.me), parts.own_dids, parts.accept)
        self.directory = Directory(context.me, self.trust, Aliases(parts.home))
        self.dialer = Dialer(context, self.directory, parts.transports)
        self.outcomes = Outcomes(context)
        self.files = Files(context, parts.files_folder)
        self.web = WebBook(context, parts.web, self.directory.changes)
        self.outbox = Outbox(context, self.directory, self.dialer, self.outcomes, self.web, self.files)
        self.directory.on_attended = self.outbox.attended
        self.attaching = Attaching(context, parts.files_folder, parts.home)
        self.consent = ConsentBook(context, self.trust, self.directory, self.web, self.attaching)
        self.inquiry = Inquiry(context, self.directory, self.dialer, self.outbox)
        self.couriers: TaskCouriers = {
            "sealed": SealedTasks(context, self.directory, self.dialer, self.outbox, self.inquiry),
            "http": HttpTasks(context, self.web, self.outbox),
        }
        self.sending = Sending(
            context, self.couriers, self.outbox, self.attaching, self.consent, Waiting(context, self.outbox)
        )
        self.choosing = Choosing(context, self.sending, self.outcomes, self.attaching)
        self.events = Events(context)
        self.pushes = Pushes(context, self.events, parts.hooks, CallerFolder(parts.folder))
        self.inbox = Inbox(context, self.outbox, self.attaching, parts.lease_seconds)
        self.intake = Intake(
            context, self.directory, self.trust, ring, (self.inbox, self.outbox), TaskQuota(parts.accept_rate)
        )
        self.own_advert = OwnAdvert(context, ring, parts.card)
        self.networks = Networks(context, self.directory, parts.relays, parts.networks, parts.near)
        self.publishing = Publishing(context, self.own_advert, self.networks)
        self.listings = Listings(context, self.directory, self.networks, self.publishing)
        self.ways = Ways(context.me, self.directory, self.web, self.trust)
        self.lookups = Lookups(parts.lookups, parts.own_addresses)
        self.views = AgentViews(self.directory, self.trust, self.networks, self.outbox, self.ways, context.clocks)
        self.news = News(context, self.intake, self.networks, self.views.called)
        self.duplicate_keys = DuplicateKeys(context, self.directory, self.own_advert.greet)
        self.on_answer: Callable[[Link, Answer], None] = lambda *_: None
        """Called with every answer, beside the outbox."""
        self._housekeeping = Housekeeping(
            context, ring, self.directory, self.own_advert, self.networks, self.publishing, self.files
        )
        self._moves = Moves(self.directory, self.own_advert, self.networks, self.publishing, self.lookups, parts.moved)
        self._clock_watch = ClockWatch(
            context, parts.uptime, self.directory, self.outbox, self.listings, self.own_advert, self._housekeeping,
            self._moves, self.lookups,
        )  # fmt: skip
        self._connect()

    def _connect(self) -> None:
        """Tell services what happens in services that do not know them."""
        self.networks.on_member = self._let_in
        self.networks.on_vouched = lambda peer_id: self.own_advert.greet_on(self.directory.get(peer_id).links)
        self.listings.on_relay = self.outbox.route_opened
        self.trust.is_member = self.networks.is_member
        self.listings.on_doubled = self.duplicate_keys.notice
        self.own_advert.run, self.own_advert.met = self.duplicate_keys.run, self.duplicate_keys.runs_of
        self.intake.on_run = self.duplicate_keys.introduced
        self.intake.on_files_gone = self.inquiry.files_are_gone
        self.own_advert.vouch = self.publishing.vouchers
        self.intake.on_vouchers = self.networks.vouched
        self.context.clocks.on_jump = self._clock_watch.clock_set
        self.context.clocks.on_testimony = self._clock_watch.clock_heard

    # --- LinkHandler -----------------------------------------------------------------------------

    def standing(self, peer: PeerId) -> Standing:
        """The standing of a peer with us."""
        return self.trust.standing(peer, self.directory.known(peer))

    def link_opened(self, link: Link) -> None:
        """A peer is there: introduce ourselves, and send what waits for it."""
        peer = self.directory.link_opened(link, self.context.clock())
        _note_arrival(peer)
        logger.info("link opened to %s via %s: %s", link.peer, route_word(link.route), link.address)
        if peer.row.trust == "blocked":
            link.close("not accepted")
            return
        self._moves.came_anew(peer)
        if not (link.is_relayed and self.networks.is_member(link.peer)):
            self.own_advert.greet(link)  # a member behind a relay has read our entry
        self.outbox.link_opened(link)
        self.inquiry.link_opened(link)

    def envelope_received(self, link: Link, envelope: Envelope) -> None:
        """Something for us."""
        self.intake.envelope_received(link, envelope)

    def answer_received(self, link: Link, answer: Answer) -> None:
        """The fate of something we sent."""
        peer = self.directory.known(link.peer)
        if peer is not None:
            peer.learn_bundle(link.bundle)
        self.outbox.answer_received(link, answer)
        self.on_answer(link, answer)

    def link_closed(self, link: Link, reason: str, *, goodbye: bool) -> None:
        """A peer is gone, or only the wire to it."""
        logger.info("link to %s closed: %s", link.peer, reason)
        peer = self.directory.link_closed(link, self.context.clock(), goodbye=goodbye)
        self.directory.remember(self.context.database, peer)
        self.duplicate_keys.link_closed(link)
        self.outbox.link_closed(link, reason)
        if not goodbye and peer.is_near:
            self.dialer.keep_dialing(peer)

    # --- LookupHandler ---------------------------------------------------------------------------

    def sighted(self, sighting: Sighting) -> None:
        """A peer was seen: get acquainted, so that it is found with its skills, and deliver what waits for it."""
        if not self._has_room_for(sighting.peer):
            return
        peer = self.directory.sighted(sighting)
        if peer is not None and peer.row.trust != "blocked":
            _note_arrival(peer)
            self._moves.doubt_links(peer)
            self.dialer.keep_dialing(peer)
            self.outbox.sighted(peer)

    def _has_room_for(self, peer_id: PeerId) -> bool:
        """A stranger needs a place beside all that are seen near here; who is one of them may move."""
        known = self.directory.known(peer_id)
        if (known is not None and known.is_near) or self.trust.standing(peer_id, known) is not Standing.STRANGER:
            return True
        return sum(peer.is_near for peer in self.directory) < MAX_SIGHTED

    def lost(self, peer: PeerId, provenance: str) -> None:
        """A lookup no longer sees a peer. An open link outweighs that."""
        self.directory.lost(peer, provenance)

    # --- networks --------------------------------------------------------------------------------

    def _let_in(self, peer_id: PeerId) -> None:
        """Take in what was held of a new member of our networks: no person has to decide about it any more."""
        peer, database = self.directory.get(peer_id), self.context.database
        self.outbox.sighted(peer)
        if not self.trust.admits(peer) or not database.read(lambda c: held(c, peer.row.did)):
            return
        now = self.context.clock()

        def released(outcome: tuple[int, list[OutboxRow]] | Exception) -> None:
            if not isinstance(outcome, Exception):
                self.own_advert.greet_on(peer.links)
                for letter in outcome[1]:
                    self.outbox.push(letter)
                self.inbox.offer()

        database.enqueue(lambda c: self.intake.contacts.release(c, peer.row.did, peer.name, now), released)

    # --- running ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def online(self) -> AsyncIterator[None]:
        """Listen, announce, look around and deliver until the context ends."""
        self.files.sweep()  # before anything can come in
        async with AsyncExitStack() as stack:
            credentials = Credentials(
                self.context.identity, lambda: self.ring.current, self.context.clock, self.context.randomness
            )
            self.networks.load()
            self.web.load()
            for transport in self.parts.transports:
                self.lookups.listening += await stack.enter_async_context(transport.open(credentials, self))
            await self.lookups.open(stack, self.context.me, self)
            await self._watch_web(stack)
            self.outcomes.load()
            self.outbox.load(self.context.database.read(pending_outbox))
            self.outbox.expect(self.context.database.read(peers_with_open_tasks))
            self.outbox.http.start()
            self.pushes.load()
            self.context.tasks.start_soon(self.inbox.clock.run)
            self.context.tasks.start_soon(self._housekeeping.run)
            self.context.tasks.start_soon(self._moves.watch)
            self.context.tasks.start_soon(self._clock_watch.run)
            self.context.tasks.start_soon(self.networks.watch_folder)
            yield

    async def _watch_web(self, stack: AsyncExitStack) -> None:
        if self.parts.web_watch is not None:
            try:
                await stack.enter_async_context(self.parts.web_watch.open(self.web.sighted, self.web.lost))
            except OSError as error:
                logger.warning("A2A agents of this network are not found: %s", error)


def _note_arrival(peer: Peer) -> None:
    if len(peer.links) + len(peer.sightings) == 1:
        peer.came_at = anyio.current_time()
