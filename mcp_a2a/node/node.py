"""One running peer: composes the services, and is the `NodeApi` of its identity.

The services: `directory` (who is there), `dialer` (links), `outbox` and `sending` (what we asked), `intake` and
`inbox` (what we are asked), `networks` (who belongs together), `trust`, `settlement`. This module only connects them;
it decides nothing itself.
"""

from __future__ import annotations

import itertools
import logging
import math
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from mcp_a2a.errors import McpA2AError, ProtocolError
from mcp_a2a.node.agent_views import AgentViews
from mcp_a2a.node.attaching import Attaching
from mcp_a2a.node.clocks import Clocks
from mcp_a2a.node.consent import ConsentBook
from mcp_a2a.node.context import Changes, Context, first_number
from mcp_a2a.node.dialer import Dialer
from mcp_a2a.node.directory import Directory, Peer
from mcp_a2a.node.feed import Feed
from mcp_a2a.node.files import Files
from mcp_a2a.node.inbox import Inbox
from mcp_a2a.node.inquiry import Inquiry
from mcp_a2a.node.intake import FORGOTTEN, HELD_SECONDS, Intake
from mcp_a2a.node.introduction import Introduction, keep_card
from mcp_a2a.node.lookups import Lookups
from mcp_a2a.node.networks import Networks
from mcp_a2a.node.news import News
from mcp_a2a.node.outbox import Outbox
from mcp_a2a.node.pushes import Pushes
from mcp_a2a.node.quota import TaskQuota
from mcp_a2a.node.sending import Sending
from mcp_a2a.node.settlement import Settlement
from mcp_a2a.node.trust import TrustBook
from mcp_a2a.node.twins import Twins
from mcp_a2a.node.ways import Ways
from mcp_a2a.node.web_book import WebBook
from mcp_a2a.node.web_courier import WebCourier
from mcp_a2a.node.web_sending import WebSending
from mcp_a2a.ports import AddressLookup, Credentials, Hooks, Link, Sighting, Transport
from mcp_a2a.protocol.advert import MAX_ADDRESSES
from mcp_a2a.protocol.aging import Mark
from mcp_a2a.protocol.bundle import KEEP_SECRET_SECONDS, KeyRing
from mcp_a2a.protocol.control import Answer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link_places import Standing
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr, route_word
from mcp_a2a.protocol.payload import MAX_TIME
from mcp_a2a.protocol.replay import MAX_CLOCK_SKEW_SECONDS, MAX_LIFETIME_SECONDS, Forgotten
from mcp_a2a.relay_ports import Relays
from mcp_a2a.store.aliases import Aliases
from mcp_a2a.store.callers import CallerFolder
from mcp_a2a.store.database import Database, log_failure
from mcp_a2a.store.journal import (
    OutboxRow,
    all_peers,
    expire_held,
    forget_held,
    get_meta,
    held,
    pending_outbox,
    set_meta,
)
from mcp_a2a.store.network_folder import NetworkFolder
from mcp_a2a.store.networks import forget_members
from mcp_a2a.store.own_name import read_name
from mcp_a2a.store.push import drop_orphaned_push
from mcp_a2a.store.records import TaskRecord, forget_finished, note_finished, peers_with_open_tasks, shift_leases
from mcp_a2a.store.schema import drop_copies
from mcp_a2a.store.task_events import trim
from mcp_a2a.web_ports import WebCalls, WebWatch

logger = logging.getLogger(__name__)

LEASE_SECONDS = 900.0
HOUSEKEEPING_SECONDS = 60.0
ADDRESS_SECONDS = 3.0
"""A node that lives longer than that tells its networks where it listens: a command is over before."""

MOVED_SECONDS = 1.5
"""How long the other end of a link has for a sign of life after this machine has moved."""

CLOCK_SECONDS = 5.0
"""So often the wall clock is looked at: what was put off because of a clock goes on once it is set."""

SLEPT_SECONDS = 2.0
"""By which the uptime runs ahead of the timers: they stand still while this machine sleeps."""

KEEP_SECONDS = 30 * 86_400.0
"""Finished tasks are kept so long: for people, and well beyond the 7 days in which a message of theirs could be
replayed, because it is their rows that make a replay harmless."""

MARK, HIGHEST = "sound", "clock"
"""Facts of the database: the sound time at the last look, and what the numbers of the newest start began with."""

MAX_SIGHTED = 256
"""Peers that we get acquainted with unasked."""


@dataclass(frozen=True)
class NodeParts:
    """What a node is made of; the composition root chooses."""

    identity: Identity
    identity_name: str
    database: Database
    home: Path
    transports: Sequence[Transport]
    lookups: Sequence[AddressLookup]
    card: AgentCard
    """What it says of itself; its name is given, kept or its own."""
    accept: str
    wall_clock: Callable[[], float]
    uptime: Callable[[], float]
    """Seconds since this machine started, also while it slept."""
    randomness: Callable[[int], bytes]
    own_dids: Callable[[], frozenset[str]]
    relays: Relays
    """One of the transports."""
    networks: NetworkFolder
    own_addresses: Callable[[int], Sequence[DirectAddr]]
    """Where others on our networks may dial a port of ours."""
    near: Callable[[DirectAddr], bool]
    """Whether an address that a member names is worth dialling from here."""
    moved: Callable[[], Awaitable[None]] | None = None
    """Returns when interfaces or addresses of this machine have changed; without it they are looked at every
    `ADDRESS_SECONDS`."""
    given_name: str | None = None
    """The name that its process was started with: it counts as long as that runs."""
    own_name: str = ""
    """What it is called where no name is given or kept."""
    boot: str = ""
    """Names this start of the machine; empty where that is not told."""
    lease_seconds: float = LEASE_SECONDS
    accept_rate: int = 30
    """New tasks a minute from each stranger, where all are accepted."""
    downloads: Path | None = None
    """Where files of others are written on request; `files` in the data folder, where nobody says."""
    hooks: Hooks | None = None
    """Who posts push notifications; nobody does where it is missing."""
    web: WebCalls | None = None
    """Who calls agents at URLs; nobody does where it is missing."""
    web_watch: WebWatch | None = None
    """Who sees A2A agents that announce themselves."""


class Node:
    """A running peer. Make it with `run_node`."""

    def __init__(self, parts: NodeParts, context: Context, ring: KeyRing) -> None:
        self.parts = parts
        self.context = context
        self.ring = ring
        self.trust = TrustBook(str(context.me), parts.own_dids, parts.accept)
        self.directory = Directory(context.me, self.trust, Aliases(parts.home))
        self.dialer = Dialer(context, self.directory, parts.transports)
        self.outbox = Outbox(context, self.directory, self.dialer, Settlement(context))
        downloads = parts.downloads or parts.home / "files"
        self.files = Files(context, downloads)
        self.attaching = Attaching(context, downloads, parts.home)
        self.web = WebBook(context, parts.web, self.directory.changes)
        self.consent = ConsentBook(context, self.trust, self.directory, self.web, self.attaching)
        self.sending = Sending(context, self.dialer, self.outbox, self.attaching, self.consent)
        self.web_courier = WebCourier(context, self.web, self.files)
        self.web_sending = WebSending(context, self.web, self.web_courier, self.attaching, self.sending, self.consent)
        self.feed = Feed(context)
        self.pushes = Pushes(
            context, self.feed, parts.hooks, CallerFolder(parts.home / "identities" / parts.identity_name)
        )
        self.inbox = Inbox(context, self.outbox, self.attaching, parts.lease_seconds)
        self.intake = Intake(
            context, self.directory, self.trust, ring, (self.inbox, self.outbox), TaskQuota(parts.accept_rate)
        )
        self.inquiry = Inquiry(context, self.directory, self.dialer, self.outbox)
        self.introduction = Introduction(context, ring, parts.card)
        self.networks = Networks(context, self.directory, self.introduction, parts.relays, parts.networks, parts.near)
        self.networks.on_member = self._let_in
        self.ways = Ways(context.me, self.directory, self.web, self.trust)
        self.lookups = Lookups(parts.lookups, parts.own_addresses)
        self.views = AgentViews(self.directory, self.trust, self.networks, self.outbox, self.ways, context.clocks)
        self.news = News(context, self.intake, self.networks, self.views.called)
        self.networks.on_vouched = lambda peer_id: self.introduction.greet_on(self.directory.get(peer_id).links)
        self.networks.on_relay = self.outbox.route_opened
        self.trust.is_member = self.networks.is_member
        self.twins = Twins(context, self.directory, self.introduction.greet)
        self.networks.on_doubled = self.twins.notice
        self.introduction.run, self.introduction.met = self.twins.run, self.twins.runs_of
        self.intake.on_run, self.intake.on_files_gone = (
            self.twins.introduced,
            self.inquiry.files_are_gone,
        )
        self.introduction.vouch = self.networks.vouchers
        self.intake.on_vouchers = self.networks.vouched
        self.on_answer: Callable[[Link, Answer], None] = lambda *_: None
        """Called with every answer, beside the outbox."""
        context.clocks.on_jump = self._clock_set
        context.clocks.on_testimony = self._clock_heard

    # --- LinkHandler -----------------------------------------------------------------------------

    def standing(self, peer: PeerId) -> Standing:
        """Who a peer is to us."""
        return self.trust.standing(peer, self.directory.known(peer))

    def link_opened(self, link: Link) -> None:
        """A peer is there: introduce ourselves, and send what waits for it."""
        peer = self.directory.link_opened(link, self.context.clock())
        _note_arrival(peer)
        logger.info("link opened to %s via %s: %s", link.peer, route_word(link.route), link.address)
        if peer.row.trust == "blocked":
            link.close("not accepted")
            return
        for older in peer.links[:-1]:
            if not (link.is_relayed or older.is_relayed):
                older.probe(MOVED_SECONDS)  # it comes anew: what it had before may be cut
        if not (link.is_relayed and self.networks.is_member(link.peer)):
            self.introduction.greet(link)  # a member behind a relay has read our entry
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
        self.twins.link_closed(link)
        self.outbox.link_closed(link, reason)
        if not goodbye and peer.is_near:
            self.dialer.court(peer)

    # --- LookupHandler ---------------------------------------------------------------------------

    def sighted(self, sighting: Sighting) -> None:
        """A peer was seen: get acquainted, so that it is found with its skills, and deliver what waits for it."""
        if not self._has_room_for(sighting.peer):
            return
        peer = self.directory.sighted(sighting)
        if peer is not None and peer.row.trust != "blocked":
            _note_arrival(peer)
            self._doubt_links(peer)
            self.dialer.court(peer)
            self.outbox.sighted(peer)

    def _has_room_for(self, peer_id: PeerId) -> bool:
        """A stranger needs a place beside all that are seen near here; who is one of them may move."""
        known = self.directory.known(peer_id)
        if (known is not None and known.is_near) or self.trust.standing(peer_id, known) is not Standing.STRANGER:
            return True
        return sum(peer.is_near for peer in self.directory) < MAX_SIGHTED

    def _doubt_links(self, peer: Peer) -> None:
        """Ask links on our networks for a sign of life whose other end is at an address that is no longer named.

        Only ask: what names it is no proof, and a link that answers is better than any word about it.
        """
        named = {_host_of(address) for seen in peer.sightings.values() for address in seen.addresses}
        for link in peer.links:
            if link.route == "lan" and _host_of(link.address) not in named:
                link.probe(MOVED_SECONDS)

    def lost(self, peer: PeerId, provenance: str) -> None:
        """A lookup no longer sees a peer. An open link outweighs that."""
        self.directory.lost(peer, provenance)

    async def look(self, record: TaskRecord) -> None:
        """Somebody looks at a task: ask its agent about it, for a moment. What the caller knew of it is old then."""
        if record.counterpart == "http":
            await self.web_courier.glance(record)
        else:
            await self.inquiry.question(record)

    def sender_to(self, record: TaskRecord) -> Sending | WebSending:
        """Who sends to the other side of a task."""
        return self.web_sending if record.counterpart == "http" else self.sending

    # --- networks --------------------------------------------------------------------------------

    def _let_in(self, peer_id: PeerId) -> None:
        """Somebody turned out to be a member: what was held of it need not wait for a person any more."""
        peer, database = self.directory.get(peer_id), self.context.database
        self.outbox.sighted(peer)
        if not self.trust.admits(peer) or not database.read(lambda c: held(c, peer.row.did)):
            return
        now = self.context.clock()

        def released(outcome: tuple[int, list[OutboxRow]] | Exception) -> None:
            if not isinstance(outcome, Exception):
                self.introduction.greet_on(peer.links)
                for letter in outcome[1]:
                    self.outbox.push(letter)
                self.inbox.offer()

        database.enqueue(lambda c: self.intake.release(c, peer.row.did, peer.name, now), released)

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
            self.outbox.load(self.context.database.read(pending_outbox))
            self.outbox.expect(self.context.database.read(peers_with_open_tasks))
            self.web_courier.start()
            self.pushes.load()
            self.context.tasks.start_soon(self.inbox.clock.run)
            self.context.tasks.start_soon(self._keep_house)
            self.context.tasks.start_soon(self._watch_addresses)
            self.context.tasks.start_soon(self._watch_clock)
            self.context.tasks.start_soon(self.networks.watch_folder)
            yield

    async def _watch_web(self, stack: AsyncExitStack) -> None:
        if self.parts.web_watch is not None:
            try:
                await stack.enter_async_context(self.parts.web_watch.open(self.web.sighted, self.web.lost))
            except OSError as error:
                logger.warning("A2A agents of this network are not found: %s", error)

    async def _keep_house(self) -> None:
        """Rotate keys, remember how late it is, forget what is long over."""
        saved = True
        while True:
            if _turn(self.ring, self.context):
                saved = False
            if not saved:
                saved = await self._save_ring()
            self._keep_books()
            self.networks.forget_lapsed()
            self.networks.publish_again()
            self.files.tidy()
            drop_copies(self.context.database.path, self.context.clocks.aged() - KEEP_SECRET_SECONDS)
            self.feed.drop_idle()
            await anyio.sleep(HOUSEKEEPING_SECONDS)

    def _keep_books(self) -> None:
        """Note how late it is, and forget some of what is long over; then some more, until nothing of it is left."""

        def kept(outcome: object) -> None:
            if outcome is True:
                self._keep_books()
            else:
                log_failure(outcome)

        self.context.database.enqueue_lazily(_bookkeeping(self.context.clocks), kept)

    async def _watch_clock(self) -> None:
        """Notice a wall clock that is set while nothing else reads it, and that this machine has slept."""
        ahead = self.parts.uptime() - anyio.current_time()
        while True:
            self.context.clocks.now()
            before, ahead = ahead, self.parts.uptime() - anyio.current_time()
            if ahead - before > SLEPT_SECONDS:
                self._wake_up()
            await anyio.sleep(CLOCK_SECONDS)

    def _wake_up(self) -> None:
        """Others have given up the links of a machine that slept, and have come and gone meanwhile."""
        logger.info("this machine has slept: links are tried, and others are looked for")
        self._probe_links()
        self.lookups.look_now()

    def _clock_heard(self, peer_id: PeerId) -> None:
        self.outbox.clock_heard(peer_id)
        self.directory.changes.notify()

    def _clock_set(self, seconds: float) -> None:
        """The wall clock jumped: what was refused because of it may be welcome now, and others should hear of it."""
        logger.warning("the clock of this machine was set by %.0f s", seconds)
        self.context.database.enqueue(lambda connection: shift_leases(connection, seconds), lambda _: None)
        if _turn(self.ring, self.context):
            self.context.tasks.start_soon(self._save_ring)
        else:
            self.introduction.greet_all(self.directory)
        self.networks.clock_set()
        self.outbox.clock_set()

    async def _watch_addresses(self) -> None:
        """When this machine has moved, see which links still work, and tell members where we are now."""
        before: Sequence[DirectAddr] | None = None
        await anyio.sleep(ADDRESS_SECONDS)
        while True:
            here = tuple(self.lookups.own_addresses)
            if before is not None and here != before:
                self._probe_links()
            before = here
            self._tell_addresses()
            await (anyio.sleep(ADDRESS_SECONDS) if self.parts.moved is None else self.parts.moved())

    def _probe_links(self) -> None:
        for peer in self.directory:
            for link in peer.links:
                link.probe(MOVED_SECONDS)
        self.networks.relays.probe(MOVED_SECONDS)

    def _tell_addresses(self) -> None:
        """Members learn where we listen, anew when this machine has moved."""
        addresses = tuple(str(address) for address in self.lookups.own_addresses if not address.is_zoned)[
            :MAX_ADDRESSES
        ]
        if addresses != self.introduction.addresses:
            self.introduction.addresses = addresses
            self.networks.publish_everywhere()

    def rename(self) -> str | None:
        """Go by the name that was kept, and tell everybody, unless this process was given one; returns what is kept."""
        kept = read_name(self.folder)
        name = self.parts.given_name or kept or self.parts.own_name
        card = self.introduction.card
        if name and name != card.name:
            self.introduction.card = card.model_copy(update={"name": name})
            keep_card(self.context.database, self.introduction.card)
            self.introduction.greet_all(self.directory)
            self.networks.publish_everywhere()
            self.directory.changes.notify()
        return kept

    @property
    def folder(self) -> Path:
        """The folder of this identity."""
        return self.parts.home / "identities" / self.parts.identity_name

    async def _save_ring(self) -> bool:
        """Store our keys, and tell everybody the newest; False when the disk does not take them now."""
        kept = self.ring.dump()
        try:
            await self.context.database.write(lambda connection: set_meta(connection, "ring", kept))
        except McpA2AError as error:
            # What is sealed to a key that a crash takes is sealed again by its sender: nothing is lost by going on.
            logger.warning("our new keys could not be stored: %s", error)
            return False
        self.introduction.greet_all(self.directory)
        self.networks.publish_everywhere()
        return True


def _note_arrival(peer: Peer) -> None:
    if len(peer.links) + len(peer.sightings) == 1:
        peer.came_at = anyio.current_time()


def _host_of(address: TransportAddr | str) -> str:
    return str(address).rpartition(":")[0]


def _turn(ring: KeyRing, context: Context) -> bool:
    """Rotate and drop our keys where that is due; True if they must be stored."""
    clocks = context.clocks
    return ring.handle_timeout(context.clock(), context.randomness, stamp=clocks.stamp(), aged=clocks.aged())


def _bookkeeping(clocks: Clocks) -> Callable[[sqlite3.Connection], bool]:
    """What is to be noted and forgotten by the clocks as they are now; whether there is more to forget."""
    return partial(_keep_books, mark=clocks.mark(), stamp=clocks.stamp(), aged=clocks.aged(), now=clocks.now())


def _keep_books(connection: sqlite3.Connection, mark: Mark, stamp: float, aged: float, now: float) -> bool:
    before = Mark.parse(get_meta(connection, MARK))
    set_meta(connection, MARK, mark.to_text())
    note_finished(connection, before.sound if before else 0.0, stamp)
    dropped = forget_finished(connection, aged, KEEP_SECONDS)
    drop_orphaned_push(connection)
    trim(connection, now)
    forget_members(connection, aged)
    expire_held(connection, aged - HELD_SECONDS)
    dates = dropped.dates + forget_held(connection, aged - MAX_LIFETIME_SECONDS - MAX_CLOCK_SKEW_SECONDS)
    if dates:
        forgotten = Forgotten.load(get_meta(connection, FORGOTTEN))
        forgotten.add(dates)
        set_meta(connection, FORGOTTEN, forgotten.dump())
    return dropped.is_more_left


def _load_ring(parts: NodeParts) -> KeyRing:
    kept = parts.database.read(lambda connection: get_meta(connection, "ring"))
    try:
        return KeyRing.load(parts.identity, kept) if kept else KeyRing(parts.identity)
    except (ProtocolError, ValueError) as error:
        logger.error("THE ENCRYPTION KEYS ARE DAMAGED, so new ones are made; peers are told, and seal anew. %s", error)  # noqa: TRY400  one line is enough
        return KeyRing(parts.identity)


async def _start_clocks(parts: NodeParts) -> tuple[Clocks, float]:
    """The clocks, and a number of seconds that is higher than at any start before."""
    wall = parts.wall_clock()

    def start(connection: sqlite3.Connection) -> tuple[Mark | None, float]:
        highest, mark = _highest(get_meta(connection, HIGHEST)), Mark.parse(get_meta(connection, MARK))
        if mark is None and get_meta(connection, FORGOTTEN) is None:
            # Of a version that noted nothing: what was here long before may be forgotten.
            over = min(highest, wall) - KEEP_SECONDS
            set_meta(connection, FORGOTTEN, Forgotten([(0.0, max(0.0, over + MAX_LIFETIME_SECONDS))]).dump())
        started = max(wall, highest + 1.0)
        set_meta(connection, HIGHEST, str(started))
        return mark, started

    mark, started = await parts.database.write(start)
    return Clocks(parts.wall_clock, parts.uptime, mark, parts.boot), started


def _highest(kept: str | None) -> float:
    try:
        highest = float(kept or 0.0)
    except ValueError:
        highest = math.nan
    return highest if 0 <= highest <= MAX_TIME else 0.0


@asynccontextmanager
async def run_node(parts: NodeParts) -> AsyncIterator[Node]:
    """Run a peer until the context ends; then it says goodbye, and what is journalled waits for the next start."""
    async with anyio.create_task_group() as tasks:
        clocks, started = await _start_clocks(parts)
        numbers = itertools.count(first_number(started))
        context = Context(
            parts.identity, parts.database, clocks.now, clocks, started, parts.randomness, tasks, numbers, Changes()
        )
        ring = _load_ring(parts)
        # A key that was not stored must never be published: what is sealed to it could not be opened after a crash.
        if _turn(ring, context):
            kept = ring.dump()
            await parts.database.write(lambda connection: set_meta(connection, "ring", kept))
        node = Node(parts, context, ring)
        node.directory.load(parts.database.read(all_peers), clocks.aged())
        try:
            async with node.online():
                yield node
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def rest_node(parts: NodeParts) -> AsyncIterator[Node]:
    """A peer that remembers and does nothing: for looking at what it knows while no process runs it."""
    mark = Mark.parse(parts.database.read(lambda connection: get_meta(connection, MARK)))
    clocks = Clocks(parts.wall_clock, parts.uptime, mark, parts.boot)
    async with anyio.create_task_group() as tasks:
        numbers, started = itertools.count(), parts.wall_clock()
        context = Context(
            parts.identity, parts.database, clocks.now, clocks, started, parts.randomness, tasks, numbers, Changes()
        )
        node = Node(parts, context, _load_ring(parts))
        node.directory.load(parts.database.read(all_peers), clocks.aged())
        node.networks.load()
        node.web.load()
        try:
            yield node
        finally:
            tasks.cancel_scope.cancel()


__all__ = ["Node", "NodeParts", "Peer", "rest_node", "run_node"]
