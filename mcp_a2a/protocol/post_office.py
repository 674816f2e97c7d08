"""A relay's law of mail: who is told what, when, and what goes to the disk.

An envelope for a key that is connected goes out at once, and to the disk only when it is not answered within 20 ms
(or its recipient's last connection ends): most messages never touch it. For a key that is away it goes to the disk at
once. The depositor hears `Stored` when the commit is done and never before, and the recipient's answer whenever that
comes. A message is dropped on the recipient's final answer or when it expires, nothing else.

No clock, no disk, no sockets: `now` is an argument, frames go to `Wire`s, and what the disk has to do comes out of
`orders()`; its outcomes come back by `put_done`, `put_failed`, `loaded` and `expired`. Orders must be carried out in
the order in which they were given.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from mcp_a2a.protocol.control import Refused, Stored
from mcp_a2a.protocol.envelope import Header
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.mail_books import Books
from mcp_a2a.protocol.mail_orders import Backlog, Keep, Load, Order, Tally
from mcp_a2a.protocol.mailbox import Mailbox, Message, Place, Wire
from mcp_a2a.protocol.receipt import ELSEWHERE, UNKNOWN_KEY
from mcp_a2a.protocol.relay_limits import ELISION_SECONDS, HOST, ROW_BYTES, WINDOW_BYTES, WINDOW_FRAMES, RelayLimits
from mcp_a2a.protocol.replay import stale_code
from mcp_a2a.protocol.roster import Roster

AGAIN_SECONDS = 1.0
"""When something that is short for a moment may be there again."""
ANOTHER_SECONDS = 10.0
"""How long another machine with the same key has, before the newest one is offered a message again."""
FULL_SECONDS = 60.0
"""When a mailbox or a disk that is full may be worth another try."""
DUPLICATE = "duplicate"
"""The code for a message whose id another one in the mailbox has: its sender can take another id."""
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 3600.0
"""How long a recipient that is too busy is left in peace."""


_MEMORY = Place.MEMORY  # asked for every message, and an enumeration is slow to look up


@dataclass(frozen=True, slots=True)
class _Room:
    """How many bytes there may be, for accounts of one kind."""

    disk: float
    """On disk, of one account."""
    strangers: float
    """On disk, of all strangers."""
    memory: float
    """In memory, of all."""


class PostOffice:
    """Every mailbox of a relay. `first` is the number of the next message.

    `is_familiar` says if the owner of a mailbox knows the key of a wire: they share a network that the wire has
    proven, or the owner has sent to that key. It is asked only where a mailbox is getting full.
    """

    def __init__(
        self,
        limits: RelayLimits,
        roster: Roster,
        backlog: Iterable[Backlog],
        first: int,
        is_familiar: Callable[[Wire, bytes], bool],
    ) -> None:
        self.limits = limits
        self._is_familiar = is_familiar
        self.tally = Tally()
        self.books = Books()
        self._roster = roster
        self._number = first
        self._loads = 0
        self._mailboxes: dict[bytes, Mailbox] = {}
        self._elided: deque[tuple[float, Message]] = deque()
        self._pauses: list[tuple[float, bytes]] = []
        self._hungry: set[bytes] = set()
        self._rooms: dict[bytes, _Room] = {}  # by kind of account
        self._returning: dict[int, tuple[Message, float]] = {}
        """By the number of the order that reads them: absent messages whose pause is over, and since when."""
        for part in backlog:
            roster.register(part.recipient)
            account = self.books.restored(part.depositor, part.account, part.count, part.size)
            self._mailbox(part.recipient).count_in(part.depositor, account, part.count, part.size)

    # --- what the shell takes ---------------------------------------------------------------------

    def orders(self) -> list[Order]:
        """What the disk has to do, in order, once."""
        orders, self.books.orders = self.books.orders, []
        return orders

    def next_timeout(self) -> float:
        """When `handle_timeout` has something to do."""
        while self._elided and (self._elided[0][1].is_settled or self._elided[0][1].place is not _MEMORY):
            self._elided.popleft()  # it is safe
        elided = self._elided[0][0] if self._elided else math.inf
        return min(elided, self._pauses[0][0] if self._pauses else math.inf)

    def handle_timeout(self, now: float) -> None:
        """Write what was not answered in time; offer again what a busy recipient has put off."""
        while self._elided and self._elided[0][0] <= now:
            self.books.put(self._elided.popleft()[1])
        while self._pauses and self._pauses[0][0] <= now:
            _, key = heapq.heappop(self._pauses)
            mailbox = self._mailboxes.get(key)
            if mailbox is not None:
                for message in mailbox.resume(now):
                    self._read_again(mailbox, message, now)
                self._pump(key, mailbox)

    def feed(self) -> None:
        """To be called now and then: load what there was no memory for."""
        hungry, self._hungry = self._hungry, set()
        for key in hungry:
            mailbox = self._mailboxes.get(key)
            if mailbox is not None:
                self._pump(key, mailbox)

    @property
    def mailboxes(self) -> int:
        """How many have something in them."""
        return sum(mailbox.count > 0 for mailbox in self._mailboxes.values())

    @property
    def messages(self) -> tuple[int, int]:
        """How many there are, and their bytes."""
        boxes = self._mailboxes.values()
        return sum(box.count for box in boxes), sum(box.bytes for box in boxes)

    @property
    def unwritten(self) -> int:
        """How many are neither answered nor on disk."""
        return len(self.books.unwritten)

    # --- connections ------------------------------------------------------------------------------

    def opened(self, wire: Wire) -> None:
        """A proven connection: from now on it receives, also what an older one has not answered."""
        self._roster.add(wire)
        mailbox = self._mailboxes.get(wire.key)
        if mailbox is not None:
            mailbox.offer_anew(wire)
            self._pump(wire.key, mailbox)

    def closed(self, wire: Wire) -> None:
        """It ended. The next newest receives, if there is one."""
        self._roster.remove(wire)
        next_newest = self._roster.newest(wire.key)
        mailbox = self._mailboxes.get(wire.key)
        if mailbox is None or mailbox.wire is not wire:
            return
        if next_newest is None:
            self._shelve(wire.key, mailbox)
        else:
            mailbox.offer_anew(next_newest)

    def unregister(self, key: bytes) -> None:
        """Forget a key and its mail."""
        self._roster.unregister(key)
        mailbox = self._mailboxes.pop(key, None)
        if mailbox is None:
            return
        for message in list(mailbox.messages.values()):
            self._settle(mailbox, message)
        for depositor, (count, size) in mailbox.shares.items():
            self.books.forgotten(depositor, count, size)  # what is beyond is deleted by the caller

    # --- depositing -------------------------------------------------------------------------------

    def deposit(self, wire: Wire, header: Header, envelope: bytes, now: float, aged: float, stamp: float) -> None:
        """An envelope came in over a proven connection, within its rates. It is answered now or later, once."""
        envelope_id, mailbox = header.envelope_id, self._mailboxes.get(header.to.key)
        known = mailbox.messages.get(envelope_id) if mailbox is not None else None
        if known is not None and known.is_the_same(wire.key, envelope):
            if known.place is Place.DISK:
                wire.send(encode(Stored(envelope_id)))
            return  # otherwise the first one's answer is on its way
        code = self._objection(wire, header, mailbox, len(envelope), aged)
        if code is not None or known is not None:
            self.refuse(wire, envelope_id, code or DUPLICATE)
            return
        expires = min(header.expires, stamp + self.limits.ttl_seconds)
        message = Message(self._number, header.to.key, envelope_id, wire.key, envelope=envelope, expires=expires)
        self._number += 1
        self._accept(message, wire.account, mailbox, now)

    def refuse(self, wire: Wire, envelope_id: bytes, code: str, retry_after: float | None = None) -> None:
        """Say why an envelope was not taken. Unsigned, so it only means "not now"."""
        self.tally.refused += 1
        if retry_after is None:
            retry_after = _pause_after(code)
        wire.send(encode(Refused(envelope_id, code, retry_after)))

    def is_pending(self, depositor: bytes, envelope_id: bytes) -> bool:
        """True if an answer to this deposit is still to come."""
        return self.books.pending(depositor, envelope_id) is not None

    def tell_what_became_of(
        self, wire: Wire, envelopes: Sequence[bytes], stored: Collection[bytes], answers: Mapping[bytes, str]
    ) -> None:
        """The answers that these deposits would get now. `stored` and `answers` are what the disk knows of them."""
        said: set[str] = set()
        for envelope_id in envelopes:
            if self.is_pending(wire.key, envelope_id):
                continue  # the answer is on its way
            if envelope_id in answers:
                frame = answers[envelope_id]
            elif envelope_id in stored:
                frame = encode(Stored(envelope_id))
            else:
                frame = encode(Refused(envelope_id, "unknown"))
            if frame not in said:  # one receipt may be about many of them
                said.add(frame)
                wire.send(frame)

    def holds_mail(self, key: bytes) -> bool:
        """True if anything waits for this key."""
        mailbox = self._mailboxes.get(key)
        return mailbox is not None and mailbox.count > 0

    def is_concerned(self, key: bytes) -> bool:
        """True if mail for this key, or of it, is here."""
        return self.holds_mail(key) or key in self.books.accounts

    def _objection(self, wire: Wire, header: Header, mailbox: Mailbox | None, size: int, aged: float) -> str | None:
        recipient, depositor = header.to.key, wire.key
        if not self._roster.has_mailbox(recipient):
            return "no_mailbox"
        if header.expires <= aged:
            return stale_code(header.expires - aged)
        account = self.books.accounts.of(depositor, wire.account)
        if mailbox is not None:
            familiar = partial(self._is_familiar, wire, recipient)
            code = mailbox.objection(depositor, account, size, self.limits, familiar)
            if code is not None:
                return code
        stays_in_memory = self._roster.is_online(recipient) and (mailbox is None or mailbox.takes_more)
        if not stays_in_memory and self.books.disk_bytes + size + ROW_BYTES > self.books.room_until:
            return "storage_full"
        return self._shortage(account, size)

    def _shortage(self, account: bytes, size: int) -> str | None:
        books, row = self.books, size + ROW_BYTES
        room = self._rooms.get(account[:1]) or self._room_for(account)
        if books.disk_bytes + books.other_bytes + row > self.limits.max_disk_bytes:
            return "storage_full"
        if books.accounts.bytes_of(account) + row > room.disk or books.accounts.stranger_bytes + row > room.strangers:
            return "share"
        return "rate_limited" if books.memory_bytes + size > room.memory else None

    def _room_for(self, account: bytes) -> _Room:
        strangers = self.limits.strangers_disk if account[:1] == HOST else math.inf
        room = _Room(self.limits.disk_share(account), strangers, self.limits.memory_for(account))
        self._rooms[account[:1]] = room
        return room

    def _accept(self, message: Message, account: bytes, mailbox: Mailbox | None, now: float) -> None:
        self.tally.deposited += 1
        account = self.books.accepted(message, account)
        if mailbox is None:
            mailbox = self._mailbox(message.recipient)
        in_memory = mailbox.takes_more
        mailbox.count_in(message.depositor, account, 1, message.size)
        if in_memory:
            mailbox.queue(message)
            mailbox.offer()
            self._elided.append((now + ELISION_SECONDS, message))
        else:
            mailbox.messages[message.envelope_id] = message
            self.books.put(message)

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
                self.tally.answered += 1
                told.setdefault(message.depositor, []).append(envelope_id)
        for depositor, theirs in told.items():
            if not self._roster.tell(depositor, frame):
                self.books.orders.append(Keep(depositor, tuple(theirs), frame))
        self._pump(wire.key, mailbox)
        return bool(told)

    def put_off(self, wire: Wire, envelope_id: bytes, retry_after: float | None, now: float) -> bool:
        """The recipient is too busy for this one now: it stays, and is offered again."""
        mailbox = self._mailboxes.get(wire.key)
        message = mailbox.messages.get(envelope_id) if mailbox is not None else None
        if mailbox is None or message is None or not message.is_queued:
            return False
        pause = FULL_SECONDS if retry_after is None else retry_after
        until = now + min(max(pause, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS)
        if not mailbox.pause(message, until):
            return mailbox.asks(message, wire)  # heard before: one that repeats itself must not fill our memory
        heapq.heappush(self._pauses, (until, wire.key))
        self._let_go(mailbox, message)
        self._pump(wire.key, mailbox)
        return True

    def postponed(self, wire: Wire, refusal: Refused, now: float) -> bool:
        """The recipient cannot take this one now, for a reason that its depositor can do something about.

        What is sealed to a key, or about a task, that this connection does not know is shown to the other connections
        of the same identity: two machines may have it. A depositor that is here hears of a refusal, and has the message
        still. For one that is away the message stays; but the news of another key waits for it in place of a message
        that can only be sealed anew.
        """
        mailbox = self._mailboxes.get(wire.key)
        message = mailbox.messages.get(refusal.envelope) if mailbox is not None else None
        if mailbox is None or message is None:
            return False
        if refusal.code in ELSEWHERE:
            if not mailbox.asks(message, wire):
                return False  # heard before, or too late: another connection is asked, or it is offered again
            if self._show_another(message, wire):
                self.put_off(wire, refusal.envelope, ANOTHER_SECONDS, now)
                return True
        if refusal.code == UNKNOWN_KEY or self._roster.newest(message.depositor) is not None:
            return self.answered(wire, (refusal.envelope,), encode(refusal))
        return self.put_off(wire, refusal.envelope, refusal.retry_after, now) or refusal.code in ELSEWHERE

    def _show_another(self, message: Message, wire: Wire) -> bool:
        """Send a message to a connection of its recipient's key that has not seen it; False where there is none."""
        seen = (*message.unknown_to, wire)
        others = [one for one in self._roster.wires_of(message.recipient) if one not in seen]
        if not others or not message.envelope:
            message.unknown_to = ()
            return False
        message.unknown_to = (*seen, others[-1])  # one that is dead does not get it again and again
        others[-1].send(message.envelope)
        return True

    # --- what the disk says -----------------------------------------------------------------------

    def put_done(self, message: Message, *, existed: bool = False) -> None:
        """The commit is done. `existed`: the same was on disk already, so this one is not there twice."""
        self.books.written(message)
        message.place = Place.DISK
        self.tally.stored += 1
        if message.is_settled:
            return
        self._roster.tell(message.depositor, encode(Stored(message.envelope_id)))
        mailbox = self._mailboxes[message.recipient]
        if existed:
            self._settle(mailbox, message)
        elif not message.is_queued:
            mailbox.forget(message)
            self.books.unloaded(message)
        else:
            self._let_go(mailbox, message)
        self._pump(message.recipient, mailbox)

    def put_failed(self, message: Message, code: str) -> None:
        """It is not on disk, so it is refused; should the recipient have it, it will know it when it comes again.

        `DUPLICATE` where another message with its id is there.
        """
        self.books.written(message)
        message.place = Place.MEMORY
        if message.is_settled:
            return
        mailbox = self._mailboxes[message.recipient]
        self._settle(mailbox, message)
        self.tally.refused += 1
        self._roster.tell(message.depositor, encode(Refused(message.envelope_id, code, _pause_after(code))))
        self._pump(message.recipient, mailbox)

    def dropped(self, numbers: Iterable[int]) -> None:
        """These are gone from the disk."""
        self.books.dropped(numbers)

    def loaded(self, order: Load, rows: Sequence[Message], *, is_all: bool) -> None:
        """What the disk had. Rows that are being deleted are not there any more."""
        mailbox = self._mailboxes.get(order.recipient)
        returning = self._returning.pop(order.token, None)
        if returning is not None:
            self._returned(mailbox, *returning, rows)
            return
        if mailbox is None or mailbox.loading != order.token:
            return  # the connection it was for has ended
        mailbox.loading = None
        if order.after == mailbox.cursor:
            last = rows[-1].number if rows else order.after
            written = [row for row in rows if not self.books.is_dropping(row.number)]
            self._supersede(mailbox, written)
            new = mailbox.load(written, math.inf if is_all else last)
            mailbox.cursor = max(mailbox.cursor, last)
            self.books.loaded(new)
        mailbox.offer()
        if rows or order.after != mailbox.cursor:
            self._pump(order.recipient, mailbox)

    def expired(self, number: int, recipient: bytes, envelope_id: bytes, depositor: bytes, size: int) -> None:
        """A message on disk is past its time."""
        if self.books.is_dropping(number):
            return
        mailbox = self._mailboxes.get(recipient)
        if mailbox is None:
            return
        message = mailbox.messages.get(envelope_id)
        if message is not None and message.number == number:
            self._settle(mailbox, message)
        else:
            mailbox.count_out(depositor, self.books.drop(number, depositor, size), 1, size)
        self._pump(recipient, mailbox)

    def leave(self) -> None:
        """The relay stops: write everything that is not written."""
        for message in self.books.unwritten:
            self.books.put(message)

    # --- inside -----------------------------------------------------------------------------------

    def _mailbox(self, key: bytes) -> Mailbox:
        mailbox = self._mailboxes.get(key)
        if mailbox is None:
            mailbox = self._mailboxes[key] = Mailbox(self._roster.newest(key))
        return mailbox

    def _settle(self, mailbox: Mailbox, message: Message) -> None:
        mailbox.settle(message, self.books.settled(message))

    def _supersede(self, mailbox: Mailbox, rows: Sequence[Message]) -> None:
        """What is being written though its id is on disk: the same was brought again and is stored, or another one."""
        for row in rows:
            again = mailbox.messages.get(row.envelope_id)
            if again is not None and again.number != row.number:
                self._settle(mailbox, again)
                is_the_same = row.is_the_same(again.depositor, again.envelope)
                refused = Refused(again.envelope_id, DUPLICATE, _pause_after(DUPLICATE))
                self._roster.tell(again.depositor, encode(Stored(again.envelope_id) if is_the_same else refused))

    def _shelve(self, key: bytes, mailbox: Mailbox) -> None:
        """Move the mail of a recipient that has left out of memory."""
        for message in mailbox.unload():
            if message.place is Place.DISK:
                self.books.unloaded(message)
            self.books.put(message)
        self._forget_empty(key, mailbox)

    def _pump(self, key: bytes, mailbox: Mailbox) -> None:
        """Offer what can be offered, and fetch more from the disk when there is room."""
        mailbox.offer()
        if mailbox.wants_more:
            self._load(key, mailbox)
        if mailbox.wire is None:
            self._forget_empty(key, mailbox)

    def _load(self, key: bytes, mailbox: Mailbox) -> None:
        account = b"" if mailbox.wire is None else mailbox.wire.account
        short = self.books.memory_bytes > self.limits.memory_for(account)
        if short:
            self._hungry.add(key)
            is_over = self.books.memory_bytes > self.limits.max_memory_bytes
            if mailbox.offered or (is_over and account[:1] == HOST):
                return
        self._loads += 1
        mailbox.loading = self._loads
        self.books.orders.append(Load(self._loads, key, mailbox.cursor, 1 if short else WINDOW_FRAMES, WINDOW_BYTES))

    def _let_go(self, mailbox: Mailbox, message: Message) -> None:
        """Have no more paused envelopes in memory than a mailbox may."""
        if mailbox.may_leave(message):
            self.books.unloaded(message)
            mailbox.leave(message)

    def _read_again(self, mailbox: Mailbox, message: Message, now: float) -> None:
        if self.books.memory_bytes > self.limits.max_memory_bytes:
            self._pause_again(mailbox, message, now + AGAIN_SECONDS)
            return
        self._loads += 1
        self._returning[self._loads] = message, now
        self.books.orders.append(Load(self._loads, message.recipient, message.number - 1, 1, WINDOW_BYTES))

    def _pause_again(self, mailbox: Mailbox, message: Message, until: float) -> None:
        mailbox.pause_again(message, until)
        heapq.heappush(self._pauses, (until, message.recipient))

    def _returned(self, mailbox: Mailbox | None, message: Message, since: float, rows: Sequence[Message]) -> None:
        if mailbox is None or mailbox.absent.get(message.number) is not message:
            return  # it is over, or its recipient has gone
        if not rows or rows[0].number != message.number:
            self._pause_again(mailbox, message, since + FULL_SECONDS)  # it cannot be read now, or has expired
            return
        self.books.memory_bytes += message.size
        mailbox.returned(message, rows[0].envelope)

    def _forget_empty(self, key: bytes, mailbox: Mailbox) -> None:
        if not mailbox.count and mailbox.wire is None:
            self._mailboxes.pop(key, None)


def _pause_after(code: str) -> float:
    return AGAIN_SECONDS if code in ("rate_limited", DUPLICATE) else FULL_SECONDS
