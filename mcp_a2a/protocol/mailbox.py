"""The messages that wait for one key at a relay, in the order in which it gets them.

    beyond    on disk, or on its way there: not in memory
    waiting   in memory, not offered
    offered   sent to the newest connection, not answered
    paused    the recipient was too busy; offered again at a time
    absent    the same, while only the disk has the envelope

Together they are what was accepted and not finally answered, in the order of arrival: `number` rises. A message that
never was on disk is in memory until it is. Who may put something in is decided here too; what is said to whom about it
is `relay_mail`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable

from mcp_a2a.protocol.connections import Connections, Wire
from mcp_a2a.protocol.mail_message import Message, Place
from mcp_a2a.protocol.relay_limits import WINDOW_BYTES, WINDOW_FRAMES, RelayLimits

MAX_PAUSED = WINDOW_FRAMES // 2
"""Envelopes that are kept in memory while they are paused. What a recipient puts off again and again, as it does with
strangers for whom it has no place, must leave the window to everything else."""

MAX_WAITING = 2 * WINDOW_FRAMES
"""Messages of one mailbox that are kept in memory; what comes then goes to the disk only."""


class Mailbox:
    """Everything that one key has not answered yet."""

    __slots__ = (
        "_in_memory",
        "_offered_bytes",
        "absent",
        "accounts",
        "bytes",
        "count",
        "cursor",
        "loading",
        "messages",
        "offered",
        "paused",
        "shares",
        "waiting",
        "wire",
    )

    def __init__(self, wire: Wire | None = None) -> None:
        self.wire = wire
        """The newest connection of its key."""
        self.count = 0
        self.bytes = 0
        self.shares: dict[bytes, tuple[int, int]] = {}
        """The number of messages of each depositor, and their bytes."""
        self.accounts: dict[bytes, int] = {}
        """The number of messages charged to each account."""
        self.messages: dict[bytes, Message] = {}
        """By envelope id: those in memory, and those on their way to the disk."""
        self.waiting: deque[Message] = deque()
        self.offered: dict[bytes, Message] = {}
        self.paused: list[tuple[float, int, Message]] = []
        self.absent: dict[int, Message] = {}
        """By number: those of `paused`, and those that are being read again, whose envelope the disk alone has."""
        self.cursor = 0
        """Number of the last one that is or was in memory: what has a higher one is beyond."""
        self.loading: int | None = None
        """The token of the order to load from the disk that is under way."""
        self._offered_bytes = 0
        self._in_memory = 0

    # --- what may come in -------------------------------------------------------------------------

    def objection(
        self, depositor: bytes, account: bytes, size: int, limits: RelayLimits, is_familiar: Callable[[], bool]
    ) -> str | None:
        """Why one more is not taken: the code of a refusal.

        The second half of a mailbox is for depositors that its owner knows; of all others, one account has no more
        in the first half than one key may have. What was accepted is never given up for something newer.
        """
        if self.shares.get(depositor, (0, 0))[0] >= limits.max_per_sender:
            return "quota"
        if self.count >= limits.max_queue or self.bytes + size > limits.max_mailbox_bytes:
            return "mailbox_full"
        is_half_full = 2 * self.count >= limits.max_queue or 2 * (self.bytes + size) > limits.max_mailbox_bytes
        if is_half_full and not is_familiar():
            return "reserved"
        if account and self.accounts.get(account, 0) >= limits.max_per_sender and not is_familiar():
            return "quota"
        return None

    def count_in(self, depositor: bytes, account: bytes, messages: int, size: int) -> None:
        """So many messages came in."""
        self.count += messages
        self.bytes += size
        count, total = self.shares.get(depositor, (0, 0))
        self.shares[depositor] = count + messages, total + size
        self.accounts[account] = self.accounts.get(account, 0) + messages

    def count_out(self, depositor: bytes, account: bytes, messages: int, size: int) -> None:
        """So many are no longer here."""
        self.count -= messages
        self.bytes -= size
        count, total = self.shares.get(depositor, (0, 0))
        if count > messages:
            self.shares[depositor] = count - messages, total - size
        else:
            self.shares.pop(depositor, None)
        left = self.accounts.get(account, 0) - messages
        if left > 0:
            self.accounts[account] = left
        else:
            self.accounts.pop(account, None)

    # --- memory -----------------------------------------------------------------------------------

    @property
    def takes_more(self) -> bool:
        """True if a new message may stay in memory: the recipient is connected, and no message on disk is before it."""
        in_memory = self._in_memory - len(self.absent)
        return self.wire is not None and self.count == self._in_memory and in_memory < MAX_WAITING

    @property
    def wants_more(self) -> bool:
        """True if messages should be loaded from the disk."""
        return (
            self.count > self._in_memory
            and self.wire is not None
            and not self.waiting
            and self.loading is None
            and len(self.offered) + self._paused_here <= WINDOW_FRAMES // 2
        )

    def queue(self, message: Message) -> None:
        """Put a message behind those that wait."""
        message.is_queued = True
        self._in_memory += 1
        self.messages[message.envelope_id] = message
        self.cursor = max(self.cursor, message.number)
        self.waiting.append(message)

    def settle(self, message: Message, account: bytes) -> None:
        """Take a message out for good."""
        message.is_settled = True
        self.forget(message)
        self.count_out(message.depositor, account, 1, message.size)
        if message.is_queued:
            self._unqueue(message)

    def forget(self, message: Message) -> None:
        """Keep a message no longer in memory, and another one with its id as it is."""
        if self.messages.get(message.envelope_id) is message:
            del self.messages[message.envelope_id]

    def unload(self) -> list[Message]:
        """Keep in memory only the messages that are not on disk, because the recipient has left.

        Returns:
            All messages that were in memory.
        """
        had = list(self.messages.values())
        self.wire = self.loading = None
        self.waiting.clear()
        self.offered.clear()
        self.paused.clear()
        self.absent.clear()
        self._offered_bytes = self._in_memory = self.cursor = 0
        self.messages = {message.envelope_id: message for message in had if message.place is not Place.DISK}
        for message in had:
            message.is_queued = False
        return had

    def load(self, rows: Iterable[Message], up_to: float) -> list[Message]:
        """Take in what the disk has after the cursor, up to a number; returns what is new in memory.

        What is still being written may have its place between the rows. None of it may have a row's id.
        """
        found = {row.number: row for row in rows}
        for message in self.messages.values():
            if not message.is_queued and message.number <= up_to:
                found[message.number] = message
        for number in sorted(found):
            self.queue(found[number])
        return list(found.values())

    # --- the window -------------------------------------------------------------------------------

    def offer(self) -> None:
        """Send what the window allows to the newest connection."""
        wire = self.wire
        while wire is not None and self.waiting and self._has_room(self.waiting[0]):
            message = self.waiting.popleft()
            self.offered[message.envelope_id] = message
            self._offered_bytes += message.size
            wire.send(message.envelope)

    def offer_anew(self, wire: Wire) -> None:
        """Another connection receives from now on: also what was offered to an earlier one."""
        self.wire = wire
        self._withdraw()
        self.offer()

    def asks(self, message: Message, wire: Wire) -> bool:
        """True if an answer about this message is awaited: it is offered, or shown to this connection besides."""
        return message.envelope_id in self.offered or message.unknown_to[-1:] == (wire,)

    def pause(self, message: Message, until: float) -> bool:
        """The recipient is too busy for this one; False where it is not offered now, and nothing changes."""
        if self.offered.pop(message.envelope_id, None) is None:
            return False
        self._offered_bytes -= message.size
        heapq.heappush(self.paused, (until, message.number, message))
        return True

    def may_leave(self, message: Message) -> bool:
        """True if a message is paused, on disk, and one too many of these in memory."""
        is_paused = message.is_queued and not message.is_absent and message.envelope_id not in self.offered
        return (
            is_paused
            and message.place is Place.DISK
            and self._paused_here > MAX_PAUSED
            and any(entry[2] is message for entry in self.paused)
        )

    def leave(self, message: Message) -> None:
        """Keep of a paused message only where it stands."""
        message.drop_envelope()
        self.absent[message.number] = message

    def resume(self, now: float) -> list[Message]:
        """Offer again what has been paused for long enough; returns what has to be read from the disk before."""
        due = []
        while self.paused and self.paused[0][0] <= now:
            due.append(heapq.heappop(self.paused)[2])
        here = [message for message in due if not message.is_absent]
        self.waiting.extendleft(sorted(here, key=lambda message: message.number, reverse=True))
        self.offer()
        return [message for message in due if message.is_absent]

    def returned(self, message: Message, envelope: bytes) -> None:
        """The disk has it back: it is offered next."""
        del self.absent[message.number]
        message.envelope, message.is_absent = envelope, False
        self.waiting.appendleft(message)
        self.offer()

    def pause_again(self, message: Message, until: float) -> None:
        """It could not be read now."""
        heapq.heappush(self.paused, (until, message.number, message))

    @property
    def _paused_here(self) -> int:
        """The approximate number of messages paused in memory: those that are being read do not count."""
        return max(0, len(self.paused) - len(self.absent)) if self.paused else 0

    def _has_room(self, message: Message) -> bool:
        # Those that are paused count: a recipient that is always busy must not draw its whole mailbox into memory.
        frames, paused = len(self.offered), self._paused_here
        if not frames and paused < WINDOW_FRAMES:
            return True
        return frames + paused < WINDOW_FRAMES and self._offered_bytes + message.size <= WINDOW_BYTES

    def _withdraw(self) -> None:
        again = sorted([*self.offered.values(), *self.waiting], key=lambda message: message.number)
        self.waiting = deque(again)
        self.offered.clear()
        self._offered_bytes = 0

    def _unqueue(self, message: Message) -> None:
        message.is_queued = False
        if self.absent:
            self.absent.pop(message.number, None)
        self._in_memory -= 1
        if self.offered.pop(message.envelope_id, None) is not None:
            self._offered_bytes -= message.size
        elif message in self.waiting:
            self.waiting.remove(message)
        else:
            self.paused = [entry for entry in self.paused if entry[2] is not message]
            heapq.heapify(self.paused)


class Mailboxes(dict[bytes, Mailbox]):
    """Those in which something is, or whose owner is connected, by key."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def open(self, key: bytes) -> Mailbox:
        """The mailbox of a key, which is made where there is none."""
        mailbox = self.get(key)
        if mailbox is None:
            mailbox = self[key] = Mailbox(self._connections.newest(key))
        return mailbox

    def find(self, key: bytes, envelope_id: bytes) -> tuple[Mailbox | None, Message | None]:
        """The mailbox of a key, and the message with this id in it, where there are any in memory."""
        mailbox = self.get(key)
        return mailbox, None if mailbox is None else mailbox.messages.get(envelope_id)

    def close_empty(self, key: bytes, mailbox: Mailbox) -> None:
        """Forget a mailbox with nothing in it, of an owner that is away."""
        if not mailbox.count and mailbox.wire is None:
            self.pop(key, None)
