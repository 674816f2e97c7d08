"""A relay's disk: one SQLite database, written by group commit (`database`)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from typing_extensions import override

from mcp_a2a.mailbox_ports import Invitation, MailboxStore, RelayMember, RelayTotals
from mcp_a2a.protocol.aging import SoundClock
from mcp_a2a.protocol.bundle import KEEP_SECRET_SECONDS
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.mail_orders import Drop, Keep, Put
from mcp_a2a.store import relay_listings, relay_mail
from mcp_a2a.store.database import Database
from mcp_a2a.store.disk import spare
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.relay_schema import RELAY
from mcp_a2a.store.schema import drop_copies

EPOCH_BITS = 53
"""The bits of an integer that travel exactly in JSON (RFC 8259, 6)."""


P = ParamSpec("P")
T = TypeVar("T")


def _reads(query: Callable[Concatenate[sqlite3.Connection, P], T]) -> Callable[Concatenate[RelayStore, P], T]:
    """A method that runs a query against the newest committed state."""

    def method(self: RelayStore, /, *args: P.args, **named: P.kwargs) -> T:
        return self._database.read(lambda connection: query(connection, *args, **named))

    return method


def _writes(
    operation: Callable[Concatenate[sqlite3.Connection, P], None],
) -> Callable[Concatenate[RelayStore, P], None]:
    """A method that queues an operation, which rides with the next commit."""

    def method(self: RelayStore, /, *args: P.args, **named: P.kwargs) -> None:
        self._database.enqueue_lazily(lambda connection: operation(connection, *args, **named))

    return method


class RelayStore(MailboxStore):
    """Implements the port over an open database."""

    def __init__(self, database: Database, keep_answers: float, clock: SoundClock) -> None:
        self._database = database
        self._keep_answers = keep_answers
        self.clock = clock

    # --- messages

    backlog = _reads(relay_mail.backlog)
    last_number = _reads(relay_mail.last_number)

    @override
    def carry_out(
        self, orders: Sequence[Put | Drop | Keep], done: Callable[[Mapping[int, bool] | Exception], None]
    ) -> None:
        expires = self.clock.stamp() + self._keep_answers
        operation = partial(relay_mail.carry_out, orders=orders, answers_expire=expires)
        if any(isinstance(order, Put) for order in orders):
            self._database.enqueue(operation, done)
        else:
            self._database.enqueue_lazily(operation, done)  # type: ignore[arg-type]  # the outcome is the operation's

    load = _reads(relay_mail.load)
    expired = _reads(relay_mail.expired)
    stored_among = _reads(relay_mail.stored_among)

    # --- answers

    answers_for = _reads(relay_mail.answers_for)
    answers_about = _reads(relay_mail.answers_about)
    mark_sent = _writes(relay_mail.mark_sent)

    # --- keys

    keys = _reads(relay_mail.keys)
    bundle_of = _reads(relay_mail.bundle_of)
    remember = _writes(relay_mail.remember)
    seen = _writes(relay_mail.seen)

    @override
    def forget_unseen(self, before: float, done: Callable[[Sequence[bytes] | Exception], None]) -> None:
        self._database.enqueue(partial(relay_mail.forget_unseen, before=before), done)

    newcomers = _reads(relay_mail.newcomers)
    idle_newcomers = _reads(relay_mail.idle_newcomers)
    settle_key = _writes(relay_mail.settle_key)

    @override
    def forget_keys(self, keys: Sequence[bytes]) -> None:
        if keys:
            self._database.enqueue_lazily(partial(relay_mail.forget_keys, keys=keys))

    note_correspondent = _writes(relay_mail.note_correspondent)
    has_sent = _reads(relay_mail.has_sent)
    is_listed = _reads(relay_listings.is_listed)
    erase = _writes(relay_mail.erase)

    # --- directory and invitations

    @override
    def epoch(self) -> int:
        return self._database.read(partial(relay_listings.get, key="epoch"))

    @override
    def revision(self) -> int:
        return self._database.read(partial(relay_listings.get, key="revision"))

    @override
    def publish(self, listing: Listing, done: Callable[[int | str | Exception], None]) -> None:
        self._database.enqueue(partial(relay_listings.publish, listing=listing), done)

    listings = _reads(relay_listings.listings)

    @override
    def offer(self, invitation: Invitation, now: float, done: Callable[[str | Exception | None], None]) -> None:
        self._database.enqueue(partial(relay_listings.offer, invitation=invitation, now=now), done)

    @override
    def claim(self, invitation: bytes, key: bytes, now: float, done: Callable[[bytes | str | Exception], None]) -> None:
        self._database.enqueue(partial(relay_listings.claim, invitation=invitation, key=key, now=now), done)

    erase_network = _writes(relay_listings.erase_network)

    # --- housekeeping

    note_time = _writes(relay_listings.note_time)

    @override
    def forget_expired(self, now: float) -> None:
        self._database.enqueue_lazily(partial(relay_listings.forget_expired, now=now))
        self._database.enqueue_lazily(partial(relay_mail.forget_answers, now=now))
        # By then all mail in such a copy has expired.
        self._database.enqueue_lazily(lambda _: drop_copies(self._database.path, now - KEEP_SECRET_SECONDS))

    totals = _reads(relay_listings.totals)

    @override
    def measure(self, done: Callable[[RelayTotals | Exception], None]) -> None:
        def count(connection: sqlite3.Connection) -> RelayTotals:
            return replace(relay_listings.totals(connection), spare=spare(connection, self._database.path.parent))

        self._database.enqueue_lazily(count, done)  # type: ignore[arg-type]  # the outcome is the operation's

    members = _reads(relay_listings.members)

    @override
    def admit(self, member: RelayMember, done: Callable[[object], None]) -> None:
        self._database.enqueue(partial(relay_listings.admit, member=member), done)

    admission_key = _reads(relay_listings.admission_key)

    @override
    async def set_admission_key(self, key: PeerId, now: float) -> None:
        await self._database.write(partial(relay_listings.set_admission_key, key=key, now=now))

    @override
    async def set_member(self, member: RelayMember) -> None:
        await self._database.write(partial(relay_listings.set_member, member=member))


@asynccontextmanager
async def open_relay_store(
    path: Path,
    stamp: str,
    epoch: int,
    keep_answers: float,
    wall_clock: Callable[[], float],
    uptime: Callable[[], float],
) -> AsyncIterator[RelayStore]:
    """Open (or create) a relay's database; `epoch` becomes the number of a new one.

    Raises:
        ConfigurationError: as `open_database`.
    """
    async with open_database(path, stamp, RELAY) as database:
        await database.write(partial(relay_listings.set_epoch, epoch=epoch % 2**EPOCH_BITS))
        clock = SoundClock(wall_clock, uptime, database.read(relay_listings.last_time))
        store = RelayStore(database, keep_answers, clock)
        store.note_time(clock.mark())
        yield store
