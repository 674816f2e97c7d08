"""Carries out the storage orders of a relay's mail, and reports their outcomes to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.mailbox_ports import MailboxStore
from mcp_a2a.protocol.mail_deposits import DUPLICATE
from mcp_a2a.protocol.mail_message import Message
from mcp_a2a.protocol.mail_orders import Drop, Keep, Load, Put
from mcp_a2a.protocol.relay_mail import RelayMail

logger = logging.getLogger(__name__)


class StorageBridge:
    """Between a post mail and its disk. `kept` is called with a depositor when an answer for it is on disk."""

    def __init__(self, store: MailboxStore, mail: RelayMail, kept: Callable[[bytes], None]) -> None:
        self._store = store
        self._mail = mail
        self._kept = kept
        self._undropped: list[Drop] = []

    def settle(self, wall: float) -> None:
        """Carry out what was ordered since the last time. What is read is read now."""
        changes: list[Put | Drop | Keep] = []
        while orders := self._mail.orders():
            for order in orders:
                if isinstance(order, Load):
                    self._load(order, wall)
                else:
                    changes.append(order)
        if changes:
            self._store.carry_out(changes, partial(self._carried_out, changes))

    def try_again(self) -> None:
        """Delete what a disk in trouble did not."""
        if self._undropped:
            again, self._undropped = self._undropped, []
            self._store.carry_out(again, partial(self._carried_out, again))

    def _load(self, order: Load, wall: float) -> None:
        rows: Sequence[Message] = ()
        is_all = False
        try:
            rows, is_all = self._store.load(order, wall)
        except Exception:
            logger.exception("a mailbox cannot be read")  # the other orders of this round must be carried out
        self._mail.loaded(order, rows, is_all=is_all)

    def _carried_out(self, changes: Sequence[Put | Drop | Keep], outcome: Mapping[int, bool] | Exception) -> None:
        if isinstance(outcome, Exception):
            self._failed(changes, outcome)
            return
        for change in changes:
            if not isinstance(change, Put):
                continue
            existed = outcome.get(change.message.number)
            if existed is False:
                self._mail.put_failed(change.message, DUPLICATE)
            else:
                self._mail.put_done(change.message, existed=bool(existed))
        self._mail.dropped(change.number for change in changes if isinstance(change, Drop))
        for depositor in {change.depositor for change in changes if isinstance(change, Keep)}:
            self._kept(depositor)

    def _failed(self, changes: Sequence[Put | Drop | Keep], error: Exception) -> None:
        if not isinstance(error, StorageFullError):
            logger.error("the disk does not take mail: %s", error)
        for change in changes:
            if isinstance(change, Put):
                self._mail.put_failed(change.message, "storage_full")
            elif isinstance(change, Drop):
                self._undropped.append(change)  # or it would come back with the next start
