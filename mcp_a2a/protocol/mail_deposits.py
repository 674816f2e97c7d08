"""Deposits at a relay: admission of envelopes, and the answers to depositors before that of the recipient.

An envelope is taken if its recipient has a mailbox, if that has room for this depositor, and if the account of the
depositor leaves room for it on the disk and in memory. One for a recipient that is connected goes out at once, and to
the disk only when it is not answered within 20 ms; any other goes to the disk at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from mcp_a2a.protocol.connections import Connections, Wire
from mcp_a2a.protocol.control import Refused, Stored
from mcp_a2a.protocol.envelope import Header
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.mail_accounting import MailAccounting
from mcp_a2a.protocol.mail_message import Message, Place
from mcp_a2a.protocol.mailbox import Mailbox, Mailboxes
from mcp_a2a.protocol.relay_limits import ELISION_SECONDS, HOST, ROW_BYTES, RelayLimits
from mcp_a2a.protocol.replay import stale_code

AGAIN_SECONDS = 1.0
"""Seconds after which a shortage may be over."""
FULL_SECONDS = 60.0
"""Seconds after which a full mailbox or disk is worth another try."""
DUPLICATE = "duplicate"
"""The code for a message whose id another one in the mailbox has: its sender can take another id."""

_MEMORY = Place.MEMORY  # asked for every message, and an enumeration is slow to look up

IsFamiliar = Callable[[Wire, bytes], bool]
"""True if the owner of a mailbox knows the key of a wire: they share a network that the wire has proven, or the owner
has sent to that key. It is asked only where a mailbox is getting full."""


@dataclass(frozen=True, slots=True)
class _Room:
    """Limits in bytes, for accounts of one kind."""

    disk: float
    """On disk, of one account."""
    strangers: float
    """On disk, of all strangers."""
    memory: float
    """In memory, of all."""


class Deposits:
    """Takes or refuses mail. `first` is the number of the next message."""

    def __init__(
        self,
        limits: RelayLimits,
        connections: Connections,
        mailboxes: Mailboxes,
        accounting: MailAccounting,
        first: int,
        familiar: IsFamiliar,
    ) -> None:
        self._limits = limits
        self._connections = connections
        self._mailboxes = mailboxes
        self._books = accounting
        self._number = first
        self._is_familiar = familiar
        self._elided: deque[tuple[float, Message]] = deque()
        self._rooms: dict[bytes, _Room] = {}  # by kind of account

    def next_timeout(self) -> float:
        """The time of the next call of `handle_timeout`."""
        while self._elided and (self._elided[0][1].is_settled or self._elided[0][1].place is not _MEMORY):
            self._elided.popleft()  # it is safe
        return self._elided[0][0] if self._elided else math.inf

    def handle_timeout(self, now: float) -> None:
        """Write what was not answered in time."""
        while self._elided and self._elided[0][0] <= now:
            self._books.put(self._elided.popleft()[1])

    # --- taking -----------------------------------------------------------------------------------

    def take(self, wire: Wire, header: Header, envelope: bytes, now: float, aged: float, stamp: float) -> None:
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
        expires = min(header.expires, stamp + self._limits.ttl_seconds)
        message = Message(self._number, header.to.key, envelope_id, wire.key, envelope=envelope, expires=expires)
        self._number += 1
        self._accept(message, wire.account, mailbox, now)

    def _objection(self, wire: Wire, header: Header, mailbox: Mailbox | None, size: int, aged: float) -> str | None:
        recipient, depositor = header.to.key, wire.key
        if not self._connections.has_mailbox(recipient):
            return "no_mailbox"
        if header.expires <= aged:
            return stale_code(header.expires - aged)
        account = self._books.accounts.of(depositor, wire.account)
        if mailbox is not None:
            familiar = partial(self._is_familiar, wire, recipient)
            code = mailbox.objection(depositor, account, size, self._limits, familiar)
            if code is not None:
                return code
        stays_in_memory = self._connections.is_online(recipient) and (mailbox is None or mailbox.takes_more)
        if not stays_in_memory and self._books.disk_bytes + size + ROW_BYTES > self._books.room_until:
            return "storage_full"
        return self._shortage(account, size)

    def _shortage(self, account: bytes, size: int) -> str | None:
        accounting, row = self._books, size + ROW_BYTES
        room = self._rooms.get(account[:1]) or self._room_for(account)
        if accounting.disk_bytes + accounting.other_bytes + row > self._limits.max_disk_bytes:
            return "storage_full"
        if (
            accounting.accounts.bytes_of(account) + row > room.disk
            or accounting.accounts.stranger_bytes + row > room.strangers
        ):
            return "share"
        return "rate_limited" if accounting.memory_bytes + size > room.memory else None

    def _room_for(self, account: bytes) -> _Room:
        strangers = self._limits.strangers_disk if account[:1] == HOST else math.inf
        room = _Room(self._limits.disk_share(account), strangers, self._limits.memory_for(account))
        self._rooms[account[:1]] = room
        return room

    def _accept(self, message: Message, account: bytes, mailbox: Mailbox | None, now: float) -> None:
        self._books.totals.deposited += 1
        account = self._books.accepted(message, account)
        if mailbox is None:
            mailbox = self._mailboxes.open(message.recipient)
        in_memory = mailbox.takes_more
        mailbox.count_in(message.depositor, account, 1, message.size)
        if in_memory:
            mailbox.queue(message)
            mailbox.offer()
            self._elided.append((now + ELISION_SECONDS, message))
        else:
            mailbox.messages[message.envelope_id] = message
            self._books.put(message)

    # --- telling ----------------------------------------------------------------------------------

    def refuse(self, wire: Wire, envelope_id: bytes, code: str, retry_after: float | None = None) -> None:
        """Say why an envelope was not taken. Unsigned, so it only means "not now"."""
        self._books.totals.refused += 1
        wire.send(
            encode(_refusal(envelope_id, code) if retry_after is None else Refused(envelope_id, code, retry_after))
        )

    def stored(self, message: Message) -> None:
        """Tell the depositor that its message is on disk."""
        self._connections.tell(message.depositor, encode(Stored(message.envelope_id)))

    def not_stored(self, message: Message, code: str) -> None:
        """Refuse a message that was accepted, and is not on disk after all."""
        self._connections.tell(message.depositor, encode(_refusal(message.envelope_id, code)))

    def is_pending(self, depositor: bytes, envelope_id: bytes) -> bool:
        """True if an answer to this deposit is still to come."""
        return self._books.pending(depositor, envelope_id) is not None

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


def _refusal(envelope_id: bytes, code: str, retry_after: float | None = None) -> Refused:
    if retry_after is None:
        retry_after = AGAIN_SECONDS if code in ("rate_limited", DUPLICATE) else FULL_SECONDS
    return Refused(envelope_id, code, retry_after)
