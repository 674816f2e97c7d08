"""Fetches mail from the disk of a relay: a window at a time, and a single message when its pause is over.

Memory bounds what is fetched. A mailbox for which there is none waits, and its turn comes when the shell calls `feed`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import count

from mcp_a2a.protocol.mail_accounting import MailAccounting
from mcp_a2a.protocol.mail_deposits import AGAIN_SECONDS, FULL_SECONDS
from mcp_a2a.protocol.mail_message import Message
from mcp_a2a.protocol.mail_orders import Load
from mcp_a2a.protocol.mailbox import Mailbox
from mcp_a2a.protocol.relay_limits import HOST, WINDOW_BYTES, WINDOW_FRAMES, RelayLimits


class Fetching:
    """Orders what mailboxes have on disk, and knows when their pauses are over."""

    def __init__(self, limits: RelayLimits, accounting: MailAccounting) -> None:
        self._limits = limits
        self._books = accounting
        self._tokens = count(1)
        self._pauses: list[tuple[float, bytes]] = []
        self._hungry: set[bytes] = set()
        self._returning: dict[int, tuple[Message, float]] = {}
        """By the number of the order that reads them: absent messages whose pause is over, and since when."""

    # --- windows ----------------------------------------------------------------------------------

    def fetch(self, key: bytes, mailbox: Mailbox) -> None:
        """Order the next window of a mailbox, or what there is memory for."""
        account = b"" if mailbox.wire is None else mailbox.wire.account
        short = self._books.memory_bytes > self._limits.memory_for(account)
        if short:
            self._hungry.add(key)
            is_over = self._books.memory_bytes > self._limits.max_memory_bytes
            if mailbox.offered or (is_over and account[:1] == HOST):
                return
        mailbox.loading = next(self._tokens)
        frames = 1 if short else WINDOW_FRAMES
        self._books.orders.append(Load(mailbox.loading, key, mailbox.cursor, frames, WINDOW_BYTES))

    def hungry(self) -> set[bytes]:
        """The mailboxes that had no memory, once."""
        hungry, self._hungry = self._hungry, set()
        return hungry

    # --- pauses -----------------------------------------------------------------------------------

    def next_timeout(self) -> float:
        """The end of the next pause."""
        return self._pauses[0][0] if self._pauses else math.inf

    def due(self, now: float) -> Iterator[bytes]:
        """The mailboxes in which a pause is over, once for each pause."""
        while self._pauses and self._pauses[0][0] <= now:
            yield heapq.heappop(self._pauses)[1]

    def paused(self, mailbox: Mailbox, message: Message, until: float) -> None:
        """A message is to be offered again at a time."""
        heapq.heappush(self._pauses, (until, message.recipient))
        self.let_go(mailbox, message)

    def let_go(self, mailbox: Mailbox, message: Message) -> None:
        """Have no more paused envelopes in memory than a mailbox may."""
        if mailbox.may_leave(message):
            self._books.unloaded(message)
            mailbox.leave(message)

    def resume(self, mailbox: Mailbox, now: float) -> None:
        """Offer again what was paused for long enough, or order it from the disk."""
        for message in mailbox.resume(now):
            if self._books.memory_bytes > self._limits.max_memory_bytes:
                self._pause_again(mailbox, message, now + AGAIN_SECONDS)
                continue
            token = next(self._tokens)
            self._returning[token] = message, now
            self._books.orders.append(Load(token, message.recipient, message.number - 1, 1, WINDOW_BYTES))

    def returned(self, order: Load, mailbox: Mailbox | None, rows: Sequence[Message]) -> bool:
        """Take back a message that was ordered singly; False if the order was for a window."""
        message, since = self._returning.pop(order.token, (None, 0.0))
        if message is None:
            return False
        if mailbox is None or mailbox.absent.get(message.number) is not message:
            return True  # it is over, or its recipient has gone
        if not rows or rows[0].number != message.number:
            self._pause_again(mailbox, message, since + FULL_SECONDS)  # it cannot be read now, or has expired
            return True
        self._books.memory_bytes += message.size
        mailbox.returned(message, rows[0].envelope)
        return True

    def _pause_again(self, mailbox: Mailbox, message: Message, until: float) -> None:
        mailbox.pause_again(message, until)
        heapq.heappush(self._pauses, (until, message.recipient))
