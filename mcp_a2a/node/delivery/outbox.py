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

import random
from collections.abc import Iterable
from itertools import chain

import anyio
import anyio.lowlevel

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
from mcp_a2a.node.delivery.model import At, Hurry, Kind, StoredCopy
from mcp_a2a.node.delivery.outbox_rows import OutboxRows, is_sealed, outgoing_of
from mcp_a2a.node.delivery.outbox_views import OutboxViews
from mcp_a2a.node.delivery.outcomes import Outcomes
from mcp_a2a.node.delivery.queue import SLICE, DeliveryQueue
from mcp_a2a.node.delivery.sealed import SealedCourier
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.runtime.context import Context, ticks_of_loop, wait_until
from mcp_a2a.ports import Link
from mcp_a2a.protocol.control import Answer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.naming import counterpart_of
from mcp_a2a.protocol.receipt import envelope_id_of
from mcp_a2a.store.journal import OutboxRow

ASKING = frozenset({"task", "message"})
"""Messages after which an answer is awaited."""


class Outbox(OutboxViews):
    """The sending half of a node's delivery."""

    def __init__(
        self, context: Context, directory: Directory, dialer: Dialer, outcomes: Outcomes, web: WebBook, files: Files
    ) -> None:
        rows = OutboxRows(context)
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
        if is_sealed(row) and not row.pieces and not self._queue.waiting(row.peer):
            self._courier.seal_ahead(row)

    def push(self, row: OutboxRow) -> None:
        """Deliver a message that is in the journal, and before it the pieces of its files."""
        at = self._at()
        for one in (*row.pieces, row):
            self._enqueue(one, at)
        if row.type in ASKING and is_sealed(row):
            self._queue.attend(row.peer, at, wanted=True)
        self._advance(at)

    def change(self, rows: Iterable[OutboxRow], dropped: Iterable[str]) -> None:
        """Deliver messages that are in the journal in place of others that are no longer."""
        self.drop(dropped)
        self.load(rows)

    def _enqueue(self, row: OutboxRow, at: At) -> None:
        if row.id in self._rows:
            return
        self._rows[row.id] = row
        copy = None
        if row.relay is not None and row.postmark is not None:
            copy = StoredCopy(row.relay, envelope_id_of(row.postmark))
            self._courier.note_copy(row, row.postmark)
        self._queue.enqueue(outgoing_of(row), at, copy)

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
        for did in {row.peer for row in self._rows.values() if is_sealed(row)}:
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
                self._queue.redated(message_id, self._rows.redate(message_id), self._at())
            case MergeWanted(ids=ids):
                merged = self._rows.merge([one for one in ids if self._queue.holds(one)])
                for message_id in chain.from_iterable(merged.values()):
                    self._forget(message_id)
                self._queue.merged(event, merged, self._at())
            case ProbeWanted(_, route):  # as the next one, of agents with a key alone (`patience`)
                self._courier.probe(route)
            case CheckWanted(destination, route, tokens):
                self._courier.check(destination, route, tokens)
            case DialWanted(destination):
                self._dial(destination)
            case LookWanted(destination):  # as the next one, of agents at URLs alone
                self.http.look(destination)
            case LookGivenUp(task_id, fault):
                self.http.look_given_up(task_id, fault)
            case DestinationBlocked():
                pass  # `tried` shows why a destination gets nothing
            case _:
                self._record(event)

    def _record(self, event: MessageFate) -> None:
        """Record the outcome of a message in the journal and in its task."""
        row = self._rows.get(event.id)
        if row is not None and is_sealed(row):
            self._record_sealed(event, row)
        elif row is not None:  # otherwise it was dropped meanwhile
            if not isinstance(event, MessagePutOff):
                self._forget(row.id)
            self.http.record(event, row)

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
                for message_id in event.ids:
                    self._forget(message_id)
                self._outcomes.refused(row, self._name(row.peer), event.code)
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
