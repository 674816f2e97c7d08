"""The memory and disk space of a relay's mail, by account, and the orders to the disk."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mcp_a2a.protocol.mail_message import Message, Place
from mcp_a2a.protocol.mail_orders import Drop, MailTotals, Order, Put
from mcp_a2a.protocol.relay_limits import HOST, ROW_BYTES

_MEMORY = Place.MEMORY  # asked for every message, and an enumeration is slow to look up


class Accounts:
    """The account to which the mail of each depositor is charged, and the total of each account in bytes of disk.

    A depositor that comes from elsewhere keeps its account while any of its mail is here.
    """

    def __init__(self) -> None:
        self._bytes: dict[bytes, int] = {}
        self.stranger_bytes = 0
        """Bytes of the mail of all hosts."""
        self._payers: dict[bytes, tuple[bytes, int]] = {}  # account and messages by depositor

    def __contains__(self, depositor: bytes) -> bool:
        return depositor in self._payers

    def of(self, depositor: bytes, otherwise: bytes = b"") -> bytes:
        """The account of a depositor."""
        payer = self._payers.get(depositor)
        return otherwise if payer is None else payer[0]

    def bytes_of(self, account: bytes) -> int:
        """The bytes of its mail on disk."""
        return self._bytes.get(account, 0)

    def charge(self, depositor: bytes, account: bytes, count: int, size: int) -> bytes:
        """So much more mail is here. Returns the account that it is charged to."""
        account, messages = self._payers.get(depositor, (account, 0))
        self._payers[depositor] = account, messages + count
        added = size + count * ROW_BYTES
        self._bytes[account] = self._bytes.get(account, 0) + added
        if account[:1] == HOST:
            self.stranger_bytes += added
        return account

    def release(self, depositor: bytes, count: int, size: int) -> bytes:
        """So much is gone. Returns the account that it was charged to."""
        account, messages = self._payers.get(depositor, (b"", count))
        before = self._bytes.get(account, 0)
        left = before - size - count * ROW_BYTES
        if account[:1] == HOST:
            self.stranger_bytes -= before - max(left, 0)
        if left > 0:
            self._bytes[account] = left
        else:
            self._bytes.pop(account, None)
        if messages > count:
            self._payers[depositor] = account, messages - count
        else:
            self._payers.pop(depositor, None)
        return account


class MailAccounting:
    """Counts the mail in memory and on disk, and collects the orders for the disk. Decides nothing."""

    def __init__(self) -> None:
        self.memory_bytes = 0
        """Of envelopes in memory."""
        self.disk_bytes = 0
        """Bytes of messages on disk, or on their way there; estimated."""
        self.other_bytes = 0
        """Bytes of everything else there."""
        self.room_until = math.inf
        """Up to how many bytes of messages the disk has room, as far as it was asked."""
        self.accounts = Accounts()
        self.totals = MailTotals()
        self.orders: list[Order] = []
        self._unwritten: dict[tuple[bytes, bytes], Message] = {}  # in memory or being written
        self._dropping: set[int] = set()

    @property
    def unwritten(self) -> tuple[Message, ...]:
        """The messages that are neither answered nor on disk."""
        return tuple(self._unwritten.values())

    def pending(self, depositor: bytes, envelope_id: bytes) -> Message | None:
        """The message of this depositor, with this id, that is neither answered nor on disk."""
        message = self._unwritten.get((depositor, envelope_id))
        return message if message is not None and not message.is_settled else None

    def restored(self, depositor: bytes, account: bytes, count: int, size: int) -> bytes:
        """So much was on disk at the start. Returns the account that it is charged to."""
        self.disk_bytes += size + count * ROW_BYTES
        return self.accounts.charge(depositor, account, count, size)

    def accepted(self, message: Message, account: bytes) -> bytes:
        """A new message. Returns the account that it is charged to, which may be another one that its depositor has."""
        self.memory_bytes += message.size
        self._unwritten[message.depositor, message.envelope_id] = message
        return self.restored(message.depositor, account, 1, message.size)

    def put(self, message: Message) -> None:
        """Have a message written that is nowhere else; nothing happens to any other."""
        if message.place is Place.MEMORY and not message.is_settled:
            message.place = Place.WRITING
            self.orders.append(Put(message))

    def written(self, message: Message) -> None:
        """It is on disk, or will never be."""
        name = message.depositor, message.envelope_id
        if self._unwritten.get(name) is message:  # and not the same again, brought meanwhile
            del self._unwritten[name]

    def loaded(self, messages: Iterable[Message]) -> None:
        """These were read into memory."""
        self.memory_bytes += sum(message.size for message in messages if message.place is Place.DISK)

    def unloaded(self, message: Message) -> None:
        """The disk alone has it from now on."""
        if not message.is_absent:
            self.memory_bytes -= message.size

    def settled(self, message: Message) -> bytes:
        """A message that was in memory, if only where it stands, is over. Returns the account it was charged to."""
        if not message.is_absent:
            self.memory_bytes -= message.size
        if message.place is _MEMORY:
            self.written(message)
            return self.forgotten(message.depositor, 1, message.size)
        # The order to write it was given before, so this one finds it.
        return self.drop(message.number, message.depositor, message.size)

    def drop(self, number: int, depositor: bytes, size: int) -> bytes:
        """Have a message deleted. Returns the account that it was charged to."""
        self._dropping.add(number)
        self.orders.append(Drop(number))
        return self.forgotten(depositor, 1, size)

    def forgotten(self, depositor: bytes, count: int, size: int) -> bytes:
        """So much of a depositor is no longer on disk. Returns the account that it was charged to."""
        self.disk_bytes -= size + count * ROW_BYTES
        return self.accounts.release(depositor, count, size)

    def dropped(self, numbers: Iterable[int]) -> None:
        """Note that these messages are deleted from the disk."""
        self._dropping.difference_update(numbers)

    def is_dropping(self, number: int) -> bool:
        """True if a row that is still there is as good as deleted."""
        return number in self._dropping
