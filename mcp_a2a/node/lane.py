"""What one peer must still get, and where each message of it stands.

waiting --send--> under way --answer--> gone, or waiting again
|
+--stored--> a copy is at a relay --the recipient's answer--> gone, or waiting again
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import anyio

from mcp_a2a.node.directory import Peer
from mcp_a2a.ports import Link
from mcp_a2a.protocol.blob import MAX_RELAYED_PIECES
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.receipt import envelope_id_of
from mcp_a2a.store.journal import OutboxRow

WINDOW = 64
"""Envelopes of one lane that may be unanswered at a time."""

AWAITED = frozenset({"task", "message"})
"""What follows these in the same task waits for their answer: they may be held or put off, and it would overtake them.
Updates need not wait; each stands for all before it. A cancellation may follow into the mailbox of the same relay."""

ANSWER_SECONDS = 30.0
"""Without an answer for so long the same message is sent again; the recipient knows it by its id."""

PIECE = "blob"
"""A piece of a file. The message that names the file waits in its task until all of its pieces are over there."""

PIECES_UNDER_WAY = 4
"""Two megabytes: what waits in front of everything else on a slow line, and in memory."""

PIECE_ANSWER_SECONDS = 120.0
"""Sent again sooner, pieces would fill a slow line with their own copies."""

REROUTE_SECONDS = 60.0
"""A copy at a relay that is gone for so long does not keep the message from going another way."""

PROBE_AFTER_SECONDS = 2.5
"""What is under way directly and not answered for so long makes us ask the other end for a sign of life: one that is
gone without a word must not keep a message from going another way."""

WAITING_SECONDS = 1.0
"""What cannot go now, for the order or a full link or a key that is not valid yet, is looked at so often at least."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope, and the key it was sealed to."""

    postmark: bytes
    envelope: bytes
    bundle: KeyBundle


@dataclass(eq=False)
class Entry:
    """One message of a lane. All times are of the event loop's clock: somebody may set the other one back."""

    row: OutboxRow
    postmark: bytes | None = None
    """While it is under way, or stored: what its recipient must sign."""
    link: Link | None = None
    """What it is under way on."""
    relay: str | None = None
    """Where a copy is stored."""
    sent_at: float = 0.0
    probed_at: float = 0.0
    not_before: float = 0.0
    rejections: int = 0
    refusal: str | None = None
    """Why a relay, or its recipient, does not take it now."""
    sealed: Sealed | None = None
    """Sealed ahead, or for a link that has ended: a relay knows it by its id."""
    held: bool = False
    """Its recipient's owner must decide first."""
    stale_since: float | None = None
    """Since when its recipient refuses it because of a clock, by the machine's uptime."""
    unknown_to: set[Link] = field(default_factory=set)
    """Links whose other end does not know the task that it is about."""
    barred_since: float | None = None
    """Since when only a relay is there for a piece of a file that no relay takes."""

    @property
    def envelope_id(self) -> bytes | None:
        """Of the envelope that is under way, or stored."""
        return None if self.postmark is None else envelope_id_of(self.postmark)

    def went_by(self, link: Link) -> bool:
        """Whether this link carries it, or leads to the relay that keeps it."""
        if self.link is link or not link.is_relayed:
            return self.link is link
        return link.address in (self.relay, self.link.address if self.link is not None else None)

    @property
    def is_piece(self) -> bool:
        """Whether it is a piece of a file."""
        return self.row.type == PIECE

    @property
    def patience(self) -> float:
        """How long an answer may take."""
        return PIECE_ANSWER_SECONDS if self.is_piece else ANSWER_SECONDS

    @property
    def probe_at(self) -> float:
        """When the other end is asked for a sign of life, while it is under way."""
        return max(self.sent_at, self.probed_at) + PROBE_AFTER_SECONDS

    def is_barred(self, link: Link, now: float) -> bool:
        """Whether it may not go on this link."""
        if not link.is_relayed or not self.is_piece or self.row.seq <= MAX_RELAYED_PIECES:
            self.barred_since = None
            return False
        self.barred_since = now if self.barred_since is None else self.barred_since
        return True


@dataclass(eq=False)
class Lane:
    """What one peer must still get, oldest first."""

    peer: Peer
    entries: dict[str, Entry] = field(default_factory=dict)
    under_way: int = 0
    """How many of them wait for an answer."""
    ahead: tuple[int, Sealed] | None = None
    """The message that is being journalled, sealed; with its number."""
    wake: anyio.Event = field(default_factory=anyio.Event)
    resting: bool = True
    """Whether the courier has nothing to do: then a new message need not wait for its turn."""
    failures: int = 0
    """Attempts and links in a row that brought no answer."""
    tried: tuple[str, ...] = ()
    obstacle: str | None = None
    """Why nothing can go although there is a link."""
    slowed_until: float = 0.0
    """Until when a relay counts as one that takes fewer messages than there are."""
    outdated: set[Link] = field(default_factory=set)
    """Links whose other end has a newer key than it has shown there."""

    def due(self, link: Link, now: float) -> Iterator[Entry]:
        """What may go out on this link now, in order. What is due later holds back what follows in its task."""
        held_back: dict[str, str | None] = {}
        held_files: set[str] = set()
        entries = list(self.entries.values())
        room = -1
        for entry in entries:
            task = entry.row.task
            if entry.envelope_id is not None:
                if entry.row.type in AWAITED or (entry.is_piece and entry.relay is None):
                    held_back[task] = entry.relay
            elif entry.is_piece:
                if task in held_files or (entry.held and entry.not_before > now):
                    held_files.add(task)  # a stranger's message goes ahead of its files: it is what one decides by
                else:
                    held_back[task] = None
                room = self._room(entries) if room < 0 else room
                if room and entry.not_before <= now and task not in held_files and not entry.is_barred(link, now):
                    room -= 1
                    yield entry
            elif entry.not_before > now or not self._may_follow(entry, held_back, link):
                held_back[task] = None
            else:
                yield entry
                if entry.row.type in AWAITED:
                    held_back[task] = None

    def _room(self, entries: Iterable[Entry]) -> int:
        under_way = sum(entry.is_piece and entry.envelope_id is not None and entry.relay is None for entry in entries)
        return max(0, PIECES_UNDER_WAY - under_way)

    def _may_follow(self, entry: Entry, held_back: dict[str, str | None], link: Link) -> bool:
        if entry.row.task not in held_back or not entry.row.task:
            return True
        mailbox = held_back[entry.row.task]
        return entry.row.type == "cancel" and mailbox is not None and mailbox == link.address

    def waiting_updates(self) -> list[list[OutboxRow]]:
        """Of each task with more than one update that is not under way, these, oldest first."""
        waiting: dict[str, list[OutboxRow]] = {}
        for entry in self.entries.values():
            if entry.row.type == "update" and entry.envelope_id is None:
                waiting.setdefault(entry.row.task, []).append(entry.row)
        return [rows for rows in waiting.values() if len(rows) > 1]

    def stored_at(self, url: str) -> list[bytes]:
        """Ids of the copies at a relay."""
        return [entry.envelope_id for entry in self.entries.values() if entry.relay == url and entry.envelope_id]

    def unanswered(self, now: float) -> list[Entry]:
        """What was sent and should have been answered, and copies that do not get on although there is another way."""
        addresses = {link.address for link in self.peer.links}
        return [
            entry
            for entry in self.entries.values()
            if entry.envelope_id is not None
            and (
                now - entry.sent_at >= entry.patience
                if entry.relay is None
                else addresses and entry.relay not in addresses and now - entry.sent_at >= REROUTE_SECONDS
            )
        ]

    def silent(self, now: float) -> set[Link]:
        """Links that are asked for a sign of life, because something waits on them for its answer.

        With a direct link, all other direct ones: what is not answered on the one would go by the next.
        """
        waiting = [entry for entry in self.entries.values() if entry.link is not None and now >= entry.probe_at]
        for entry in waiting:
            entry.probed_at = now
        asked = {entry.link for entry in waiting if entry.link is not None}
        if any(not link.is_relayed for link in asked):
            asked |= {link for link in self.peer.links if not link.is_relayed}
        return asked

    def next_due(self, now: float) -> float:
        """Seconds until something is to be done."""
        due = [self._due_at(entry) for entry in self.entries.values()]
        return min((at - now if at > now else WAITING_SECONDS for at in due), default=ANSWER_SECONDS)

    def _due_at(self, entry: Entry) -> float:
        if entry.envelope_id is None:
            return entry.not_before
        if entry.relay is not None:
            return entry.sent_at + REROUTE_SECONDS
        return min(entry.sent_at + entry.patience, math.inf if entry.link is None else entry.probe_at)
