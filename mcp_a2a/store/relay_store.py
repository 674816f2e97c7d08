"""A relay's disk: one SQLite database, written by group commit (`database`)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from typing_extensions import override

from mcp_a2a.mailbox_ports import ExpiredRow, Invitation, KeptAnswer, KnownKey, MailboxStore, RelayMember, RelayTotals
from mcp_a2a.protocol.aging import Mark, SoundClock
from mcp_a2a.protocol.bundle import KEEP_SECRET_SECONDS
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.mail_message import Message
from mcp_a2a.protocol.mail_orders import Backlog, Drop, Keep, Load, Put
from mcp_a2a.store import relay_listings, relay_mail
from mcp_a2a.store.database import Database
from mcp_a2a.store.disk import spare
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.relay_schema import RELAY
from mcp_a2a.store.schema import drop_copies

EPOCH_BITS = 53
"""What travels exactly in JSON."""


class RelayStore(MailboxStore):
    """Implements the port over an open database."""

    def __init__(self, database: Database, keep_answers: float, clock: SoundClock) -> None:
        self._database = database
        self._keep_answers = keep_answers
        self.clock = clock

    # --- messages

    @override
    def backlog(self) -> Sequence[Backlog]:
        return self._database.read(relay_mail.backlog)

    @override
    def last_number(self) -> int:
        return self._database.read(relay_mail.last_number)

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

    @override
    def load(self, order: Load, now: float) -> tuple[Sequence[Message], bool]:
        return self._database.read(partial(relay_mail.load, order=order, now=now))

    @override
    def expired(self, now: float, limit: int) -> Sequence[ExpiredRow]:
        return self._database.read(partial(relay_mail.expired, now=now, limit=limit))

    @override
    def stored_among(self, depositor: bytes, envelopes: Sequence[bytes]) -> frozenset[bytes]:
        return self._database.read(partial(relay_mail.stored_among, depositor=depositor, envelopes=envelopes))

    # --- answers

    @override
    def answers_for(self, depositor: bytes) -> Sequence[KeptAnswer]:
        return self._database.read(partial(relay_mail.answers_for, depositor=depositor))

    @override
    def answers_about(self, depositor: bytes, envelopes: Sequence[bytes]) -> Mapping[bytes, str]:
        return self._database.read(partial(relay_mail.answers_about, depositor=depositor, envelopes=envelopes))

    @override
    def mark_sent(self, numbers: Sequence[int]) -> None:
        self._database.enqueue_lazily(partial(relay_mail.mark_sent, numbers=numbers))

    # --- keys

    @override
    def keys(self) -> Sequence[bytes]:
        return self._database.read(relay_mail.keys)

    @override
    def bundle_of(self, key: bytes) -> KnownKey | None:
        return self._database.read(partial(relay_mail.bundle_of, key=key))

    @override
    def remember(self, known: KnownKey, now: float) -> None:
        self._database.enqueue_lazily(partial(relay_mail.remember, known=known, now=now))

    @override
    def seen(self, keys: Sequence[bytes], now: float) -> None:
        self._database.enqueue_lazily(partial(relay_mail.seen, keys=keys, now=now))

    @override
    def forget_unseen(self, before: float, done: Callable[[Sequence[bytes] | Exception], None]) -> None:
        self._database.enqueue(partial(relay_mail.forget_unseen, before=before), done)

    @override
    def newcomers(self) -> Sequence[bytes]:
        return self._database.read(relay_mail.newcomers)

    @override
    def idle_newcomers(self, before: float) -> Sequence[bytes]:
        return self._database.read(partial(relay_mail.idle_newcomers, before=before))

    @override
    def settle_key(self, key: bytes) -> None:
        self._database.enqueue_lazily(partial(relay_mail.settle_key, key=key))

    @override
    def forget_keys(self, keys: Sequence[bytes]) -> None:
        if keys:
            self._database.enqueue_lazily(partial(relay_mail.forget_keys, keys=keys))

    @override
    def note_correspondent(self, key: bytes, other: bytes, now: float) -> None:
        self._database.enqueue_lazily(partial(relay_mail.note_correspondent, key=key, other=other, now=now))

    @override
    def has_sent(self, key: bytes, other: bytes) -> bool:
        return self._database.read(partial(relay_mail.has_sent, key=key, other=other))

    @override
    def is_listed(self, key: bytes, networks: Sequence[PeerId]) -> bool:
        return self._database.read(partial(relay_listings.is_listed, key=key, networks=networks))

    @override
    def erase(self, key: bytes) -> None:
        self._database.enqueue_lazily(partial(relay_mail.erase, key=key))

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

    @override
    def listings(self, network: PeerId, since: int, max_bytes: int) -> Sequence[Listing]:
        return self._database.read(partial(relay_listings.listings, network=network, since=since, max_bytes=max_bytes))

    @override
    def offer(self, invitation: Invitation, now: float, done: Callable[[str | Exception | None], None]) -> None:
        self._database.enqueue(partial(relay_listings.offer, invitation=invitation, now=now), done)

    @override
    def claim(self, invitation: bytes, key: bytes, now: float, done: Callable[[bytes | str | Exception], None]) -> None:
        self._database.enqueue(partial(relay_listings.claim, invitation=invitation, key=key, now=now), done)

    @override
    def erase_network(self, network: PeerId) -> None:
        self._database.enqueue_lazily(partial(relay_listings.erase_network, network=network))

    # --- housekeeping

    @override
    def note_time(self, mark: Mark) -> None:
        self._database.enqueue_lazily(partial(relay_listings.note_time, mark=mark))

    @override
    def forget_expired(self, now: float) -> None:
        self._database.enqueue_lazily(partial(relay_listings.forget_expired, now=now))
        self._database.enqueue_lazily(partial(relay_mail.forget_answers, now=now))
        # By then all mail in such a copy has expired.
        self._database.enqueue_lazily(lambda _: drop_copies(self._database.path, now - KEEP_SECRET_SECONDS))

    @override
    def totals(self) -> RelayTotals:
        return self._database.read(relay_listings.totals)

    @override
    def measure(self, done: Callable[[RelayTotals | Exception], None]) -> None:
        def count(connection: sqlite3.Connection) -> RelayTotals:
            return replace(relay_listings.totals(connection), spare=spare(connection, self._database.path.parent))

        self._database.enqueue_lazily(count, done)  # type: ignore[arg-type]  # the outcome is the operation's

    @override
    def members(self) -> Sequence[RelayMember]:
        return self._database.read(relay_listings.members)

    @override
    def admit(self, member: RelayMember, done: Callable[[object], None]) -> None:
        self._database.enqueue(partial(relay_listings.admit, member=member), done)

    @override
    def admission_key(self) -> PeerId | None:
        return self._database.read(relay_listings.admission_key)

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
