"""The mail of a relay: the envelope for each connection, the orders for the disk, and the answers for depositors.

    recipient connected  ->  sent at once; written to disk only if it is not answered within 20 ms
    recipient away       ->  written at once; loaded and sent when it connects
    final answer, expiry ->  dropped; the depositor gets the recipient's answer

No clock, no disk, no sockets: `now` is an argument, frames go to `Wire`s, orders for the disk come out of `orders()`,
and their outcomes come back by `put_done`, `put_failed`, `loaded` and `expired`. Most messages never touch the disk.

Invariants
----------
* A depositor hears `Stored` after the commit, never before, and the recipient's answer whenever that comes.
* A message leaves on the final answer of its recipient or when it expires, by nothing else. After a crash it may come
  twice, never zero times; its recipient knows it again by its id.
* Orders are carried out in the order in which they were given, so that a `Drop` finds what its `Put` has written.
* The connection has proven the recipient's key; the signature inside of an answer is for the depositor.
* A mailbox has a window of messages in memory, the rest is on disk. One that is put off leaves the window to others.

What was tried
--------------
* To take each refusal but `busy` for final: a recipient with a wrong clock emptied its mailbox.
* To speak to the newest connection of a key only: two machines with one key lost what was meant for the other.
* To note each `busy`: one recipient could fill the heap of pauses. Said again of one message, it changes nothing.
* To fill the disk: with nothing free SQLite can delete no row. Mail is refused before that (`room_until`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mcp_a2a.protocol.connections import Connections, Wire
from mcp_a2a.protocol.control import Refused
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.mail_accounting import MailAccounting
from mcp_a2a.protocol.mail_deposits import DUPLICATE, FULL_SECONDS, Deposits, IsFamiliar
from mcp_a2a.protocol.mail_fetching import Fetching
from mcp_a2a.protocol.mail_message import Message, Place
from mcp_a2a.protocol.mail_orders import Backlog, Keep, Load, Order
from mcp_a2a.protocol.mailbox import Mailbox, Mailboxes
from mcp_a2a.protocol.receipt import ELSEWHERE, UNKNOWN_KEY
from mcp_a2a.protocol.relay_limits import RelayLimits

ANOTHER_SECONDS = 10.0
"""Seconds that another machine with the same key has, before the newest one is offered a message again."""
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 3600.0
"""Shortest and longest pause of a message whose recipient is busy."""


class RelayMail:
    """Every mailbox of a relay: connections, answers, and outcomes of the disk.

    `deposits` takes what comes in, `fetching` what is on disk. `first` is the number of the next message.
    """

    def __init__(
        self,
        limits: RelayLimits,
        connections: Connections,
        backlog: Iterable[Backlog],
        first: int,
        is_familiar: IsFamiliar,
    ) -> None:
        self.accounting = MailAccounting()
        self._connections = connections
        self._mailboxes = Mailboxes(connections)
        self.deposits = Deposits(limits, connections, self._mailboxes, self.accounting, first, is_familiar)
        self._fetching = Fetching(limits, self.accounting)
        for part in backlog:
            connections.register(part.recipient)
            account = self.accounting.restored(part.depositor, part.account, part.count, part.size)
            self._mailboxes.open(part.recipient).count_in(part.depositor, account, part.count, part.size)

    # --- what the shell takes ---------------------------------------------------------------------

    def orders(self) -> list[Order]:
        """The orders for the disk since the last call, in order."""
        orders, self.accounting.orders = self.accounting.orders, []
        return orders

    def next_timeout(self) -> float:
        """The time of the next call of `handle_timeout`."""
        return min(self.deposits.next_timeout(), self._fetching.next_timeout())

    def handle_timeout(self, now: float) -> None:
        """Write what was not answered in time; offer again what a busy recipient has put off."""
        self.deposits.handle_timeout(now)
        for key in self._fetching.due(now):
            mailbox = self._mailboxes.get(key)
            if mailbox is not None:
                self._fetching.resume(mailbox, now)
                self._pump(key, mailbox)

    def feed(self) -> None:
        """To be called now and then: load what there was no memory for."""
        for key in self._fetching.hungry():
            mailbox = self._mailboxes.get(key)
            if mailbox is not None:
                self._pump(key, mailbox)

    @property
    def mailboxes(self) -> int:
        """The number of mailboxes with mail."""
        return sum(mailbox.count > 0 for mailbox in self._mailboxes.values())

    @property
    def messages(self) -> tuple[int, int]:
        """The number of messages, and their bytes."""
        boxes = self._mailboxes.values()
        return sum(box.count for box in boxes), sum(box.bytes for box in boxes)

    @property
    def unwritten(self) -> int:
        """The number of messages that are neither answered nor on disk."""
        return len(self.accounting.unwritten)

    # --- connections ------------------------------------------------------------------------------

    def opened(self, wire: Wire) -> None:
        """A proven connection: from now on it receives, also what an older one has not answered."""
        self._connections.add(wire)
        mailbox = self._mailboxes.get(wire.key)
        if mailbox is not None:
            mailbox.offer_anew(wire)
            self._pump(wire.key, mailbox)

    def closed(self, wire: Wire) -> None:
        """It ended. The next newest receives, if there is one."""
        self._connections.remove(wire)
        next_newest = self._connections.newest(wire.key)
        mailbox = self._mailboxes.get(wire.key)
        if mailbox is None or mailbox.wire is not wire:
            return
        if next_newest is None:
            self._shelve(wire.key, mailbox)
        else:
            mailbox.offer_anew(next_newest)

    def unregister(self, key: bytes) -> None:
        """Forget a key and its mail."""
        self._connections.unregister(key)
        mailbox = self._mailboxes.pop(key, None)
        if mailbox is None:
            return
        for message in list(mailbox.messages.values()):
            self._settle(mailbox, message)
        for depositor, (count, size) in mailbox.shares.items():
            self.accounting.forgotten(depositor, count, size)  # what is beyond is deleted by the caller

    def holds_mail(self, key: bytes) -> bool:
        """True if anything waits for this key."""
        mailbox = self._mailboxes.get(key)
        return mailbox is not None and mailbox.count > 0

    def is_concerned(self, key: bytes) -> bool:
        """True if mail for this key, or of it, is here."""
        return self.holds_mail(key) or key in self.accounting.accounts

    # --- answering --------------------------------------------------------------------------------

    def answered(self, wire: Wire, envelopes: Sequence[bytes], frame: str) -> bool:
        """The recipient's final word, passed on as it came. False: about nothing that waits here."""
        mailbox = self._mailboxes.get(wire.key)
        if mailbox is None:
            return False
        told: dict[bytes, list[bytes]] = {}
        for envelope_id in envelopes:
            message = mailbox.messages.get(envelope_id)
            if message is not None:
                self._settle(mailbox, message)
                self.accounting.totals.answered += 1
                told.setdefault(message.depositor, []).append(envelope_id)
        for depositor, theirs in told.items():
            if not self._connections.tell(depositor, frame):
                self.accounting.orders.append(Keep(depositor, tuple(theirs), frame))
        self._pump(wire.key, mailbox)
        return bool(told)

    def put_off(self, wire: Wire, envelope_id: bytes, retry_after: float | None, now: float) -> bool:
        """The recipient is too busy for this one now: it stays, and is offered again."""
        mailbox, message = self._mailboxes.find(wire.key, envelope_id)
        if mailbox is None or message is None or not message.is_queued:
            return False
        pause = FULL_SECONDS if retry_after is None else retry_after
        until = now + min(max(pause, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS)
        if not mailbox.pause(message, until):
            return mailbox.asks(message, wire)  # heard before: one that repeats itself must not fill our memory
        self._fetching.paused(mailbox, message, until)
        self._pump(wire.key, mailbox)
        return True

    def postponed(self, wire: Wire, refusal: Refused, now: float) -> bool:
        """The recipient cannot take this one now, for a reason that its depositor can do something about.

        What is sealed to a key, or about a task, that this connection does not know is shown to the other connections
        of the same identity: two machines may have it. A depositor that is here hears of a refusal, and has the message
        still. For one that is away the message stays; but the news of another key waits for it in place of a message
        that can only be sealed anew.
        """
        mailbox, message = self._mailboxes.find(wire.key, refusal.envelope)
        if mailbox is None or message is None:
            return False
        if refusal.code in ELSEWHERE:
            if not mailbox.asks(message, wire):
                return False  # heard before, or too late: another connection is asked, or it is offered again
            if self._show_another(message, wire):
                self.put_off(wire, refusal.envelope, ANOTHER_SECONDS, now)
                return True
        if refusal.code == UNKNOWN_KEY or self._connections.newest(message.depositor) is not None:
            return self.answered(wire, (refusal.envelope,), encode(refusal))
        return self.put_off(wire, refusal.envelope, refusal.retry_after, now) or refusal.code in ELSEWHERE

    def _show_another(self, message: Message, wire: Wire) -> bool:
        """Send a message to a connection of its recipient's key that has not seen it; False where there is none."""
        seen = (*message.unknown_to, wire)
        others = [one for one in self._connections.wires_of(message.recipient) if one not in seen]
        if not others or not message.envelope:
            message.unknown_to = ()
            return False
        message.unknown_to = (*seen, others[-1])  # one that is dead does not get it again and again
        others[-1].send(message.envelope)
        return True

    # --- what the disk says -----------------------------------------------------------------------

    def put_done(self, message: Message, *, existed: bool = False) -> None:
        """The commit is done. `existed`: the same was on disk already, so this one is not there twice."""
        self.accounting.written(message)
        message.place = Place.DISK
        self.accounting.totals.stored += 1
        if message.is_settled:
            return
        self.deposits.stored(message)
        mailbox = self._mailboxes[message.recipient]
        if existed:
            self._settle(mailbox, message)
        elif not message.is_queued:
            mailbox.forget(message)
            self.accounting.unloaded(message)
        else:
            self._fetching.let_go(mailbox, message)
        self._pump(message.recipient, mailbox)

    def put_failed(self, message: Message, code: str) -> None:
        """It is not on disk, so it is refused; should the recipient have it, it will know it when it comes again.

        `DUPLICATE` where another message with its id is there.
        """
        self.accounting.written(message)
        message.place = Place.MEMORY
        if message.is_settled:
            return
        mailbox = self._mailboxes[message.recipient]
        self._settle(mailbox, message)
        self.accounting.totals.refused += 1
        self.deposits.not_stored(message, code)
        self._pump(message.recipient, mailbox)

    def dropped(self, numbers: Iterable[int]) -> None:
        """These are gone from the disk."""
        self.accounting.dropped(numbers)

    def loaded(self, order: Load, rows: Sequence[Message], *, is_all: bool) -> None:
        """Take in the rows that an order has read. Rows that are being deleted do not count."""
        mailbox = self._mailboxes.get(order.recipient)
        if self._fetching.returned(order, mailbox, rows):
            return
        if mailbox is None or mailbox.loading != order.token:
            return  # the connection it was for has ended
        mailbox.loading = None
        if order.after == mailbox.cursor:
            last = rows[-1].number if rows else order.after
            written = [row for row in rows if not self.accounting.is_dropping(row.number)]
            self._supersede(mailbox, written)
            new = mailbox.load(written, math.inf if is_all else last)
            mailbox.cursor = max(mailbox.cursor, last)
            self.accounting.loaded(new)
        mailbox.offer()
        if rows or order.after != mailbox.cursor:
            self._pump(order.recipient, mailbox)

    def expired(self, number: int, recipient: bytes, envelope_id: bytes, depositor: bytes, size: int) -> None:
        """A message on disk is past its time."""
        if self.accounting.is_dropping(number):
            return
        mailbox = self._mailboxes.get(recipient)
        if mailbox is None:
            return
        message = mailbox.messages.get(envelope_id)
        if message is not None and message.number == number:
            self._settle(mailbox, message)
        else:
            mailbox.count_out(depositor, self.accounting.drop(number, depositor, size), 1, size)
        self._pump(recipient, mailbox)

    def leave(self) -> None:
        """The relay stops: write everything that is not written."""
        for message in self.accounting.unwritten:
            self.accounting.put(message)

    # --- inside -----------------------------------------------------------------------------------

    def _settle(self, mailbox: Mailbox, message: Message) -> None:
        mailbox.settle(message, self.accounting.settled(message))

    def _supersede(self, mailbox: Mailbox, rows: Sequence[Message]) -> None:
        """Settle messages that are being written though their id is on disk: repetitions are stored, others refused."""
        for row in rows:
            again = mailbox.messages.get(row.envelope_id)
            if again is not None and again.number != row.number:
                self._settle(mailbox, again)
                if row.is_the_same(again.depositor, again.envelope):
                    self.deposits.stored(again)
                else:
                    self.deposits.not_stored(again, DUPLICATE)

    def _shelve(self, key: bytes, mailbox: Mailbox) -> None:
        """Move the mail of a recipient that has left out of memory."""
        for message in mailbox.unload():
            if message.place is Place.DISK:
                self.accounting.unloaded(message)
            self.accounting.put(message)
        self._mailboxes.close_empty(key, mailbox)

    def _pump(self, key: bytes, mailbox: Mailbox) -> None:
        """Offer what can be offered, and fetch more from the disk when there is room."""
        mailbox.offer()
        if mailbox.wants_more:
            self._fetching.fetch(key, mailbox)
        if mailbox.wire is None:
            self._mailboxes.close_empty(key, mailbox)
