"""Messages of strangers: held until the owner of this node decides, within little room for each stranger."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from mcp_a2a.node.delivery.letters import update_letter
from mcp_a2a.node.files.pieces import Pieces
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.refusal import Refusal
from mcp_a2a.node.tasks.receipts import Receipts
from mcp_a2a.node.tasks.receive import (
    Receiver,
    may_be_forgotten,
)
from mcp_a2a.ports import Link
from mcp_a2a.protocol.blob import refs_untrusted
from mcp_a2a.protocol.payload import (
    Payload,
)
from mcp_a2a.protocol.pending_connections import host_in, is_here
from mcp_a2a.protocol.task import events as e
from mcp_a2a.store.journal import (
    HeldLimits,
    HeldRow,
    Holding,
    OutboxRow,
    drop_held,
    expire_held,
    held,
    hold,
    put_outbox,
    was_held,
)
from mcp_a2a.store.records import has_task

MAX_HELD_SENDERS = 20
MAX_HELD_SENDERS_PER_HOST = 2
MAX_HELD_SENDERS_SHARED = 10
"""By way of all relays, which all strangers there share; and from this machine."""
MAX_HELD_EACH = 10
HELD_SECONDS = 86_400.0
"""A contact request waits so long for a person. A newer one never takes its place."""
FULL_RETRY_SECONDS = 600.0

RELAYED, HERE = "relay", "here"
SHARED_HOSTS = frozenset({RELAYED, HERE})


class ContactRequests:
    """Holds the tasks of strangers, and lets them in."""

    def __init__(self, context: Context, pieces: Pieces, receiver: Receiver, receipts: Receipts) -> None:
        self._context = context
        self._pieces = pieces
        self._receiver = receiver
        self._receipts = receipts
        self.on_held: Callable[[Peer], None] = lambda _: None
        """Called with the sender of every message that waits for the owner's decision."""

    def hold(self, link: Link, postmark: bytes, payload: Payload, sender: Peer) -> None:
        """Keep a message for the owner to decide about, as far as there is room for strangers."""
        received = self._context.clocks.stamp()
        row = HeldRow(str(payload.from_), payload.id, payload.task, payload.to_bytes(), received, _host_of(link))
        most = MAX_HELD_SENDERS_SHARED if row.host in SHARED_HOSTS else MAX_HELD_SENDERS_PER_HOST
        since = self._context.clocks.aged() - HELD_SECONDS

        def operation(connection: sqlite3.Connection) -> Holding | None:
            expire_held(connection, since)
            if has_task(connection, row.task):
                return None  # accepted while its sender was trusted
            if not was_held(connection, row) and may_be_forgotten(connection, payload):
                raise Refusal("stale")
            return hold(connection, row, HeldLimits(MAX_HELD_SENDERS, most, MAX_HELD_EACH))

        def done(outcome: Holding | Exception | None) -> None:
            match outcome:
                case Holding.HELD:
                    self._receipts.hold_back(link, postmark)
                    self.on_held(sender)
                case Holding.QUOTA:
                    self._receipts.refuse(link, postmark, Refusal("not_trusted"))
                case Holding.FULL:
                    self._receipts.refuse(link, postmark, Refusal("busy", FULL_RETRY_SECONDS))
                case Holding.EXPIRED:
                    self._receipts.refuse(link, postmark, Refusal("unanswered"))
                case _:
                    self._receipts.conclude(link, postmark, payload.from_, outcome)

        self._context.database.enqueue(operation, done)

    def release(
        self, connection: sqlite3.Connection, sender: str, name: str, now: float
    ) -> tuple[int, list[OutboxRow]]:
        """Accept what was held of a sender, but for what it gave up since: how much that was, and news of the rest."""
        letters = []
        payloads = [Payload.parse_untrusted(row.payload) for row in held(connection, sender)]
        current = [payload for payload in payloads if now < payload.expires]
        for payload in current:
            if self._pieces.missing(connection, sender, refs_untrusted(payload)):
                continue  # it comes again, with its files, now that they are welcome
            change = self._receiver.accept(connection, payload, name, now, e.Accepted(), e.Spoken())
            if change is None:
                continue
            letter = update_letter(self._context, change)  # tells the sender that it was let in
            put_outbox(connection, letter)
            letters.append(letter)
        drop_held(connection, sender)
        return len(payloads) - len(current), letters


def _host_of(link: Link) -> str:
    """The host that a stranger's message comes from, as far as it tells strangers apart."""
    if link.is_relayed:
        return RELAYED
    host = host_in(link.address)
    return HERE if is_here(host) else host
