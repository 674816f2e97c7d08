"""The disk of a relay. `store.relay_store` implements it, for `mcp_a2a_transports.relay.server`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mcp_a2a.protocol.aging import Mark
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.mail_message import Message
from mcp_a2a.protocol.mail_orders import Backlog, Drop, Keep, Load, Put


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that was proven to the relay once."""

    key: bytes
    bundle: str
    """The newest that it brought, as text."""
    seq: int
    """The bundle's own number."""
    account: bytes = b""
    """The account that its mail is charged to (`relay_limits`)."""
    settled: bool = True
    """True if it is kept although it has no mail and no entry in a directory."""


@dataclass(frozen=True, slots=True)
class ExpiredRow:
    """A message whose time is over."""

    number: int
    recipient: bytes
    envelope: bytes
    """The id of the envelope."""
    depositor: bytes
    size: int


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer kept for a depositor that was away when it came."""

    number: int
    frame: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """A sealed invitation to a network, as a relay keeps it."""

    network: PeerId
    id: bytes
    sealed: bytes
    uses: int
    expires: int


@dataclass(frozen=True, slots=True)
class RelayTotals:
    """Counts of a relay's entries beside messages."""

    listings: int = 0
    networks: int = 0
    invitations: int = 0
    size: int = 0
    """Of all of it, in bytes."""
    stranger_size: int = 0
    """Of it, entries and invitations of networks that were not admitted."""
    spare: float = math.inf
    """Bytes that the disk still takes; negative where its reserve is in use."""


@dataclass(frozen=True, slots=True)
class RelayMember:
    """An entry of the operator's list."""

    member: PeerId
    admitted: bool
    note: str
    since: float
    sponsor: PeerId | None = None
    """The key that had this network admitted with the admission secret; None: the operator did."""


class MailboxStore(Protocol):
    """A relay's disk: implemented by `store.relay_store`, called by `mcp_a2a_transports.relay.server`.

    What changes something is queued in the order of the calls; `done` is called on the event loop, after the commit,
    with the outcome or with the error (`StorageFullError`, `HomeUnusableError`). What reads answers at once, with the
    newest committed state.
    """

    # --- messages

    def backlog(self) -> Sequence[Backlog]:
        """The messages on disk, by mailbox and depositor."""

    def last_number(self) -> int:
        """The highest number of a message; 0 without one."""

    def carry_out(
        self, orders: Sequence[Put | Drop | Keep], done: Callable[[Mapping[int, bool] | Exception], None]
    ) -> None:
        """Write, delete and keep, in this order and as a whole.

        Told: the numbers of what was not written because its id was there, each with whether that is the same message.
        """

    def load(self, order: Load, now: float) -> tuple[Sequence[Message], bool]:
        """Messages of a mailbox that have not expired, in order, one at least; and whether there are no more."""

    def expired(self, now: float, limit: int) -> Sequence[ExpiredRow]:
        """Messages whose time is over."""

    def stored_among(self, depositor: bytes, envelopes: Sequence[bytes]) -> frozenset[bytes]:
        """The ids among these that this depositor has on disk."""

    # --- answers for depositors that were away

    def answers_for(self, depositor: bytes) -> Sequence[KeptAnswer]:
        """Those that were not sent yet."""

    def answers_about(self, depositor: bytes, envelopes: Sequence[bytes]) -> Mapping[bytes, str]:
        """Kept answers by envelope, sent or not."""

    def mark_sent(self, numbers: Sequence[int]) -> None:
        """These answers were sent; they are kept for those who ask."""

    # --- keys

    def keys(self) -> Sequence[bytes]:
        """The keys that have a mailbox."""

    def bundle_of(self, key: bytes) -> KnownKey | None:
        """The record of a key, with its bundle; None for an unknown one."""

    def remember(self, known: KnownKey, now: float) -> None:
        """A key was proven; an older bundle never replaces a newer one."""

    def seen(self, keys: Sequence[bytes], now: float) -> None:
        """These keys were connected until now."""

    def forget_unseen(self, before: float, done: Callable[[Sequence[bytes] | Exception], None]) -> None:
        """Forget keys that were last seen before then and have no mail: which."""

    def newcomers(self) -> Sequence[bytes]:
        """Keys that are not settled."""

    def idle_newcomers(self, before: float) -> Sequence[bytes]:
        """Those that were last seen before then, have no mail, and are listed nowhere."""

    def settle_key(self, key: bytes) -> None:
        """Keep this key from now on as long as any other."""

    def forget_keys(self, keys: Sequence[bytes]) -> None:
        """Forget keys that have no mail."""

    def note_correspondent(self, key: bytes, other: bytes, now: float) -> None:
        """A key has sent to another."""

    def has_sent(self, key: bytes, other: bytes) -> bool:
        """True if it has, lately."""

    def is_listed(self, key: bytes, networks: Sequence[PeerId]) -> bool:
        """True if a key has an entry in the directory of any of these networks."""

    def erase(self, key: bytes) -> None:
        """Forget a key and its mail."""

    # --- directory and invitations

    def epoch(self) -> int:
        """A random number that this disk was given when it was new."""

    def revision(self) -> int:
        """The newest change of any network."""

    def publish(self, listing: Listing, done: Callable[[int | str | Exception], None]) -> None:
        """Keep a member's entry: its revision (0 where it is the one that is there), or the code of a refusal."""

    def listings(self, network: PeerId, since: int, max_bytes: int) -> Sequence[Listing]:
        """The changes in a network after a revision, in order; at least one, if there is any."""

    def offer(self, invitation: Invitation, now: float, done: Callable[[str | Exception | None], None]) -> None:
        """Keep an invitation: None, or the code of a refusal."""

    def claim(self, invitation: bytes, key: bytes, now: float, done: Callable[[bytes | str | Exception], None]) -> None:
        """The sealed invitation for this key, or the code of a refusal."""

    def erase_network(self, network: PeerId) -> None:
        """Forget its listings and invitations."""

    # --- housekeeping

    def note_time(self, mark: Mark) -> None:
        """Keep the clocks of now for the next start."""

    def forget_expired(self, now: float) -> None:
        """Listings, invitations and answers whose time is over."""

    def totals(self) -> RelayTotals:
        """The counts of entries beside messages."""

    def measure(self, done: Callable[[RelayTotals | Exception], None]) -> None:
        """The same, counted beside everything else."""

    def members(self) -> Sequence[RelayMember]:
        """The operator's list."""

    def admit(self, member: RelayMember, done: Callable[[object], None]) -> None:
        """Put a network on the operator's list, unless it is there."""

    def admission_key(self) -> PeerId | None:
        """The public half of the admission secret; None before there is one."""

    async def set_admission_key(self, key: PeerId, now: float) -> None:
        """Take this one from now on, and no earlier one.

        Raises:
            StorageFullError, HomeUnusableError: as `set_member`.
        """

    async def set_member(self, member: RelayMember) -> None:
        """Change the operator's list.

        Raises:
            StorageFullError: the disk is full.
            HomeUnusableError: the disk does not take it.
        """
