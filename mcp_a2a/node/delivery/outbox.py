"""Carries what was journalled to its recipients, until each has signed for it: the shell of the `DeliveryQueue`.

The queue decides, a courier carries (`SealedCourier` to agents with a key, `HttpCourier` to agents at URLs), and
`Outcomes` records in the journal and in the task what became of a message. This module hands values from one to the
other, and keeps the one timer. A message leaves the journal only by the recipient's signed receipt (of an agent at a
URL: its answer), a signed refusal for good, or expiry: a lost link, a restart or a lost answer only means that the same
id is sent again, and a relay that has stored it, or refuses to, changes nothing.

An open task that we sent is a reason to hold a link as well: its answer may only reach us over one that we open. All
the open tasks at one agent are one reason.
"""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial

import anyio
import anyio.lowlevel

from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.delivery.courier import Courier
from mcp_a2a.node.delivery.events import (
    CheckWanted,
    DestinationBlocked,
    DialWanted,
    Event,
    LookGivenUp,
    LookWanted,
    MergeWanted,
    MessageDelivered,
    MessageDropped,
    MessageExpired,
    MessageFate,
    MessageHeld,
    MessagePutOff,
    MessageRefused,
    MessageStored,
    ProbeWanted,
    RedateWanted,
)
from mcp_a2a.node.delivery.http import HttpCourier
from mcp_a2a.node.delivery.letters import redated
from mcp_a2a.node.delivery.merging import merge_updates
from mcp_a2a.node.delivery.model import At, Hurry, Kind, Outgoing, StoredCopy
from mcp_a2a.node.delivery.outbox_views import OutboxViews
from mcp_a2a.node.delivery.outcomes import Outcomes
from mcp_a2a.node.delivery.queue import SLICE, DeliveryQueue
from mcp_a2a.node.delivery.sealed import SealedCourier
from mcp_a2a.node.delivery.words import REFUSALS
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.runtime.context import Context, ticks_of_loop, wait_until
from mcp_a2a.ports import Link
from mcp_a2a.protocol.blob import piece_of
from mcp_a2a.protocol.control import Answer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.naming import counterpart_of
from mcp_a2a.protocol.receipt import envelope_id_of
from mcp_a2a.protocol.replay import stale_difference
from mcp_a2a.store.journal import OutboxRow, drop_outbox, redate_outbox
from mcp_a2a.store.records import has_open_sent

logger = logging.getLogger(__name__)

ASKING = frozenset({"task", "message"})
"""Messages after which an answer is awaited."""


KINDS = {kind.value: kind for kind in Kind}
"""By the types of the journal: to look one up costs less than to make it."""


class Outbox(OutboxViews):
    """The sending half of a node's delivery."""

    def __init__(
        self, context: Context, directory: Directory, dialer: Dialer, outcomes: Outcomes, web: WebBook, files: Files
    ) -> None:
        rows: dict[str, OutboxRow] = {}
        queue = DeliveryQueue(
            lambda destination: self._courier_to(destination).patience,
            random.random,  # spreads load; nothing secret depends on it
            context.first_number,
            context.clocks.since(),
        )
        self._courier = SealedCourier(context, directory, dialer, queue, rows=rows, at=self._at, reported=self._advance)
        self.http = HttpCourier(
            context, web, files, queue, rows, at=self._at, reported=self._advance, dropped=self.drop_task
        )
        super().__init__(context, directory, queue, rows, self._courier.limits)
        self._outcomes = outcomes
        outcomes.on_letter = self.push
        self._ticks = ticks_of_loop()
        self._moment: At | None = None
        """While decisions of the queue are carried out: the clocks when that began."""
        self._wake = anyio.Event()
        self._asleep_until = 0.0
        """The next look of the timer, by the event loop's clock; 0 while it does not wait."""
        self._is_running = False

    def _at(self) -> At:
        """All clocks; while decisions of the queue are carried out, as they were when that began."""
        return self._moment or At(self._ticks(), *self._context.clocks.all())

    def _courier_to(self, destination: str) -> Courier:
        return self._courier if counterpart_of(destination) == "sealed" else self.http

    # --- what the node asks for ------------------------------------------------------------------

    def load(self, rows: Iterable[OutboxRow]) -> None:
        """Go on with what an earlier process had journalled."""
        for row in rows:
            self.push(row)

    def expect(self, peers: Iterable[str]) -> None:
        """These have tasks of ours that are not finished: look for them."""
        for did in peers:
            if counterpart_of(did) == "sealed":
                self._queue.attend(did, self._at(), wanted=True)
        self._advance()

    def seek(self, peer_id: PeerId) -> None:
        """A caller asks about a task that this peer has: dial it now, not after the pause."""
        self._queue.attend(str(peer_id), self._at(), wanted=True)
        self._hurry(str(peer_id), Hurry.SIGHTED)

    def seal_ahead(self, row: OutboxRow) -> None:
        """Seal a message while its journal entry is on its way to the disk. It is not sent before `push`.

        In a crowd it is better to seal at a message's turn.
        """
        if _is_sealed(row) and not row.pieces and not self._queue.waiting(row.peer):
            self._courier.seal_ahead(row)

    def push(self, row: OutboxRow) -> None:
        """Deliver a message that is in the journal, and before it the pieces of its files."""
        at = self._at()
        for one in (*row.pieces, row):
            self._enqueue(one, at)
        if row.type in ASKING and _is_sealed(row):
            self._queue.attend(row.peer, at, wanted=True)
        self._advance(at)

    def change(self, rows: Iterable[OutboxRow], dropped: Iterable[str]) -> None:
        """Deliver messages that are in the journal in place of others that are no longer."""
        self.drop(dropped)
        for row in rows:
            self.push(row)

    def _enqueue(self, row: OutboxRow, at: At) -> None:
        if row.id in self._rows:
            return
        self._rows[row.id] = row
        copy = None
        if row.relay is not None and row.postmark is not None:
            copy = StoredCopy(row.relay, envelope_id_of(row.postmark))
            self._courier.note_copy(row, row.postmark)
        is_piece = row.type == Kind.PIECE
        some = Outgoing(
            row.id,
            row.n,
            row.peer if _is_sealed(row) else row.task,
            row.task,
            KINDS[row.type],
            row.created,
            row.expires,
            row.kept,
            file=piece_of(row.id)[0] if is_piece else "",
            pieces=row.seq if is_piece else 0,
        )
        self._queue.enqueue(some, at, copy)

    def drop(self, message_ids: Iterable[str]) -> None:
        """These messages need no more sending; the journal knows it already."""
        if not (some := [one for one in message_ids if one in self._rows]):
            return
        at = self._at()  # it may show that the clock was set, and that a message is over
        gone = [one for one in some if one in self._rows]
        self._queue.withdraw(gone, at)
        for message_id in gone:
            self._forget(message_id)
        self._advance(at)

    def drop_peer(self, peer_id: PeerId) -> None:
        """Nothing is sent to this peer any more."""
        self._queue.attend(str(peer_id), self._at(), wanted=False)
        self.drop([row.id for row in self._rows.values() if row.peer == str(peer_id)])

    def drop_task(self, task_id: str) -> None:
        """Nothing more is told of a task to its agent at a URL."""
        self.drop([one.message.id for one in self._queue.pending(task_id)])
        self.http.leave_off(task_id)
        self._advance()

    def offer_held(self, peer_id: PeerId) -> None:
        """This peer shows itself: what its owner had not allowed yet may be welcome now."""
        self._hurry(str(peer_id), Hurry.GREETED)

    def sighted(self, peer: Peer) -> None:
        """A peer was seen somewhere: try now, not after the pause."""
        self._hurry(str(peer.peer_id), Hurry.SIGHTED)

    def route_opened(self, url: str) -> None:
        """A relay can be reached again: try now what may go through it."""
        for did in {row.peer for row in self._rows.values() if _is_sealed(row)}:
            peer = self._directory.get(PeerId.parse_untrusted(did))
            if any(str(where) == url for seen in peer.sightings.values() for where in seen.addresses):
                self._queue.hurry(did, Hurry.SIGHTED, self._at())
        self._advance()

    def clock_set(self) -> None:
        """Our clock was set: what was put off because of a clock is offered again at once."""
        self._hurry(None, Hurry.CLOCK)

    def clock_heard(self, peer_id: PeerId) -> None:
        """The clock of this peer was set, or is known now."""
        self._hurry(str(peer_id), Hurry.CLOCK)

    def _hurry(self, destination: str | None, why: Hurry) -> None:
        self._queue.hurry(destination, why, self._at())
        self._advance()

    # --- what links report -----------------------------------------------------------------------

    def link_opened(self, link: Link) -> None:
        """Everything that waits for this peer goes out."""
        self._courier.link_opened(link)
        self._advance()

    def link_closed(self, link: Link, reason: str) -> None:
        """Send messages that were under way again on the next link: they may be lost with this one."""
        self._queue.attend(str(link.peer), self._at(), wanted=self._expects(str(link.peer)))
        self._courier.link_closed(link, reason)
        self._advance()

    def attended(self, peer: Peer) -> None:
        """A relay has said whether this peer is connected to it."""
        self._courier.attended(peer)
        self._advance()

    def answer_received(self, link: Link, answer: Answer) -> None:
        """Apply an answer about envelopes of ours.

        Only the recipient's own signature over an envelope ends our duty to deliver it. The word of a relay, which
        has no such signature, can only delay an envelope.
        """
        at = self._at()
        self._courier.answer_received(link, answer, at)
        self._advance(at)

    def _expects(self, did: str) -> bool:
        """True if an answer of this peer is awaited."""
        if self._directory.get(PeerId.parse_untrusted(did)).row.trust == "blocked":
            return False
        try:
            return self._context.database.read(lambda connection: has_open_sent(connection, did))
        except McpA2AError as error:  # asked again before the next attempt: delivery goes on without the disk
            logger.warning("whether an answer is awaited of %s cannot be read: %s", did, error)
            return True

    # --- the machine -----------------------------------------------------------------------------

    def _advance(self, at: At | None = None) -> None:
        """Carry out what the queue has decided: its events, and a few messages at once; the timer goes on with more."""
        if self._moment is not None:
            return  # what an event causes is carried out after it
        more = self._step(at or self._at())
        if not self._is_running:
            self._is_running = True
            self._context.tasks.start_soon(self._run)
        elif more or self._queue.next_timeout() < self._asleep_until:
            self._wake.set()

    def _step(self, at: At) -> bool:
        """Carry out events until there are none, and send a slice of messages; whether there may be more to send."""
        self._moment, left = at, SLICE
        try:
            for _ in range(SLICE):
                self._react_to_all()
                sends = self._queue.messages_to_send(at, left)
                for send in sends:
                    self._courier_to(send.destination).carry(send)
                left -= len(sends)
                if not left:
                    break
                if not (sends or self._queue.happened):
                    return False  # a message that got other dates, or was merged, would have gone
            self._react_to_all()
            return True
        finally:
            self._moment = None

    def _react_to_all(self) -> None:
        """Carry out events until there are none."""
        while self._queue.happened:
            for event in self._queue.events():
                self._react(event)

    async def _run(self) -> None:
        """Send what is due in slices, and look again when something becomes due."""
        while True:
            self._wake = anyio.Event()
            self._asleep_until = 0.0
            self._queue.handle_timeout(self._at())
            while self._step(self._at()):
                # Between slices the wire gets its turn, so that the other side works while we go on sealing.
                await anyio.lowlevel.checkpoint()
            self._asleep_until = self._queue.next_timeout()
            await wait_until(self._wake, max(0.0, self._asleep_until - self._ticks()))

    def _react(self, event: Event) -> None:
        match event:
            case RedateWanted(message_id):
                self._redate(message_id)
            case MergeWanted():
                self._merge(event)
            case ProbeWanted(destination, route):
                self._courier_to(destination).probe(destination, route)
            case CheckWanted(destination, route, tokens):
                self._courier_to(destination).check(destination, route, tokens)
            case DialWanted(destination):
                self._dial(destination)
            case LookWanted(destination):
                self._courier_to(destination).look(destination)
            case LookGivenUp(task_id, fault):
                self.http.look_given_up(task_id, fault)
            case DestinationBlocked():
                pass  # `tried` shows why a destination gets nothing
            case _:
                self._record(event)

    def _record(self, event: MessageFate) -> None:
        """Record the outcome of a message in the journal and in its task."""
        row = self._rows.get(event.id)
        if row is None:
            return  # it was dropped meanwhile
        if not _is_sealed(row):
            if not isinstance(event, MessagePutOff):
                self._forget(row.id)
            self.http.record(event, row)
        else:
            self._record_sealed(event, row)

    def _record_sealed(self, event: MessageFate, row: OutboxRow) -> None:
        match event:
            case MessageDelivered():
                self._outcomes.delivered(self._forget(row.id))
            case MessageStored(_, address):
                if row.type == Kind.PIECE:
                    self._courier.drop_envelope(row.id)
                self._outcomes.stored(row, address, self._courier.postmark(row.id))
            case MessageHeld():
                self._outcomes.held(row)
            case MessagePutOff():
                self._outcomes.put_off(row)
            case MessageRefused():
                self._refuse(event, row)
            case MessageExpired():
                self._outcomes.expired(self._forget(row.id), self._name(row.peer))
            case MessageDropped():
                pass  # only an agent at a URL goes on without a message

    def _forget(self, message_id: str) -> OutboxRow:
        self._courier.forget(message_id)
        return self._rows.pop(message_id)

    def _name(self, did: str) -> str:
        return self._directory.get(PeerId.parse_untrusted(did)).name

    def _dial(self, destination: str) -> None:
        """Dial a peer; not one of which nothing is awaited any more."""
        if counterpart_of(destination) != "sealed":
            self.http.dial(destination)
        elif not self._queue.needs_route(destination) and not self._expects(destination):
            self._queue.attend(destination, self._at(), wanted=False)
            self._queue.unreachable(destination, (), self._at())
        else:
            self._courier.dial(destination)

    def _refuse(self, event: MessageRefused, row: OutboxRow) -> None:
        code = event.code
        for message_id in event.ids:
            self._forget(message_id)
        if stale_difference(code)[0]:
            why = self._context.clocks.blame(PeerId.parse_untrusted(row.peer))
            code = f"stale:{why or REFUSALS['stale']}"
        self._outcomes.refused(row, self._name(row.peer), code)

    def _redate(self, message_id: str) -> None:
        """Give a message dates that fit our clock, where it was written while that was wrong."""
        fresh = None
        with suppress(McpA2AError):  # another version wrote it, or it has no room for other dates: it goes as it is
            fresh = redated(self._context, self._rows[message_id])
        if fresh is not None:
            self._rows[message_id] = fresh
            self._context.database.enqueue_lazily(lambda connection: redate_outbox(connection, fresh))
        # Without: our clock was more than a year ahead, or is that far behind; its recipient will say.
        self._queue.redated(message_id, (fresh.created, fresh.expires) if fresh is not None else None, self._at())

    def _merge(self, wanted: MergeWanted) -> None:
        """Make one of the updates of a task that wait: a relay takes fewer messages than there are."""
        merged = merge_updates([self._rows[one] for one in wanted.ids if self._queue.holds(one)])
        for one in merged:
            self._rows[one.row.id] = one.row
            for row in one.absorbed:
                self._forget(row.id)
        if merged:
            changes = [(one.row, one.absorbed) for one in merged]
            self._context.database.enqueue_lazily(partial(_replace_rows, changes=changes))
        absorbed = {one.row.id: [row.id for row in one.absorbed] for one in merged}
        self._queue.merged(wanted, absorbed, self._at())


def _is_sealed(row: OutboxRow) -> bool:
    """True if it goes to an agent with a key, which is its destination; at a URL each task is a destination."""
    return counterpart_of(row.peer) == "sealed"


def _replace_rows(connection: sqlite3.Connection, changes: Sequence[tuple[OutboxRow, Sequence[OutboxRow]]]) -> None:
    for row, absorbed in changes:
        redate_outbox(connection, row)
        for old in absorbed:
            drop_outbox(connection, old)
