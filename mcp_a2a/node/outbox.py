"""Carries what was journalled to its recipients, until each has signed for it.

Per peer there is a lane. While a link is open its messages go out at once, in order, a window at a time; without one
a courier keeps trying to open it. A message leaves the journal only by the recipient's signed receipt, a refusal for
good, or expiry: a lost link, a restart or a lost answer only means that the same id is sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from mcp_a2a.errors import LinkError, NoRouteError
from mcp_a2a.node.context import Context, wait_until
from mcp_a2a.node.dialer import Dialer, backoff
from mcp_a2a.node.directory import Directory, Peer
from mcp_a2a.node.settlement import Settlement
from mcp_a2a.ports import Link
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import receipt_is_valid, seal
from mcp_a2a.protocol.link import Answer, Delivered, Held, Refused, Stored
from mcp_a2a.store.journal import OutboxRow

logger = logging.getLogger(__name__)

WINDOW = 64
"""Envelopes of one lane that may be unanswered at a time."""

SLICE = 4
"""Envelopes sealed in one go."""

AWAITED = frozenset({"task", "message"})
"""What follows these in the same task waits for their answer: they may be held or put off, and it would overtake them.
Updates need not wait; each stands for all before it."""

ANSWER_SECONDS = 30.0
"""Without an answer for so long the same message is sent again; the recipient knows it by its id."""

HELD_RETRY_SECONDS = 30.0
"""A held message is offered again so often: the owner's yes may not have reached us."""

KEY_NOT_VALID = "its encryption key is not valid at this time: check the clocks of both machines"

WAITING_SECONDS = 1.0
"""What cannot go now, for the order or a full link or a key that is not valid yet, is looked at so often at least."""

MAX_NACKS = 3
MAX_REJECTIONS = 5
"""How often a message that its recipient cannot read is sealed anew before it counts as poison (R14)."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope, and the key it was sealed to."""

    envelope_id: bytes
    envelope: bytes
    bundle: KeyBundle


@dataclass(eq=False)
class _Entry:
    """One message of a lane. `envelope_id` while it is under way, `not_before` while it waits.

    Both times are of the event loop's clock: somebody may set the other one back.
    """

    row: OutboxRow
    envelope_id: bytes | None = None
    sent_at: float = 0.0
    not_before: float = 0.0
    rejections: int = 0
    sealed: Sealed | None = None
    """Sealed ahead."""


@dataclass(eq=False)
class _Lane:
    """What one peer must still get, oldest first."""

    peer: Peer
    entries: dict[str, _Entry] = field(default_factory=dict)
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


class Outbox:
    """The sending half of a node's delivery."""

    def __init__(self, context: Context, directory: Directory, dialer: Dialer, settlement: Settlement) -> None:
        self._context = context
        self._directory = directory
        self._dialer = dialer
        self._settlement = settlement
        self._lanes: dict[PeerId, _Lane] = {}
        self._under_way: dict[bytes, tuple[_Lane, _Entry]] = {}

    def __len__(self) -> int:
        return sum(len(lane.entries) for lane in self._lanes.values())

    def load(self, rows: Iterable[OutboxRow]) -> None:
        """Go on with what an earlier process had journalled."""
        for row in rows:
            self.push(row)

    def seal_ahead(self, row: OutboxRow | None) -> None:
        """Seal a message while its journal entry is on its way to the disk. It is not sent before `push`."""
        lane = self._lanes.get(PeerId.parse_untrusted(row.peer)) if row else None
        if row is None or lane is None or not lane.resting or lane.peer.link is None:
            return  # in a crowd it is better to seal when it is a message's turn
        sealed = self._seal(row, lane.peer)
        if sealed is not None:
            lane.ahead = (row.n, sealed)

    def push(self, row: OutboxRow) -> None:
        """Deliver a message that is in the journal."""
        lane = self._lane(PeerId.parse_untrusted(row.peer))
        if row.id in lane.entries:
            return
        number, sealed = lane.ahead or (None, None)
        lane.entries[row.id] = _Entry(row, sealed=sealed if number == row.n else None)
        lane.ahead = None
        if lane.resting:
            lane.resting = False
            self._flush(lane, 1)
        lane.wake.set()

    def drop(self, message_ids: Iterable[str]) -> None:
        """These messages need no more sending; the journal knows it already."""
        for message_id in message_ids:
            for lane in self._lanes.values():
                self._remove(lane, message_id)

    def drop_peer(self, peer_id: PeerId) -> None:
        """Nothing is sent to this peer any more."""
        lane = self._lanes.get(peer_id)
        if lane is not None:
            self.drop(list(lane.entries))
            lane.wake.set()

    def tried(self, peer_id: PeerId) -> tuple[str, ...]:
        """The newest failed attempts to reach a peer that something waits for."""
        lane = self._lanes.get(peer_id)
        if lane is None:
            return ()
        if lane.peer.link is None:
            return lane.tried
        return (lane.obstacle,) if lane.obstacle else ()

    # --- what links report -----------------------------------------------------------------------

    def link_opened(self, link: Link) -> None:
        """Everything that waits for this peer goes out."""
        lane = self._lanes.get(link.peer)
        if lane is not None:
            lane.peer = self._directory.get(link.peer)  # it may have been forgotten and met anew
            lane.wake.set()

    def link_closed(self, link: Link, reason: str) -> None:
        """What was under way may be lost with the link: it goes out again on the next one."""
        lane = self._lanes.get(link.peer)
        if lane is None:
            return
        if lane.entries:
            lane.failures += 1  # a peer that opens links only to close them must not keep us busy
            lane.tried = (f"{link.route} {link.address}: {reason}",)
        for entry in lane.entries.values():
            self._forget_flight(lane, entry)
        lane.wake.set()

    def sighted(self, peer: Peer) -> None:
        """A peer was seen somewhere: try now, not after the pause."""
        lane = self._lanes.get(peer.peer_id)
        if lane is not None:
            lane.failures = 0
            lane.wake.set()

    def answer_received(self, link: Link, answer: Answer) -> None:
        """A peer's word about an envelope of ours. Only its own signature ends our duty (requirement S29)."""
        match answer:
            case Delivered(envelopes, signature):
                if not receipt_is_valid(link.peer, envelopes, signature):
                    logger.warning("%s sent a receipt that it did not sign", link.peer)
                    return
                for envelope_id in envelopes:
                    self._delivered(link.peer, envelope_id)
            case Held(envelope):
                self._held(envelope)
            case Refused():
                self._refused(link, answer)
            case Stored():
                return  # a direct peer never says so
        lane = self._lanes.get(link.peer)
        if lane is not None:
            lane.failures, lane.tried = 0, ()
            if lane.under_way < len(lane.entries):
                lane.wake.set()

    def _delivered(self, peer_id: PeerId, envelope_id: bytes) -> None:
        lane, entry = self._under_way.get(envelope_id, (None, None))
        if lane is None or entry is None or lane.peer.peer_id != peer_id:
            return
        self._remove(lane, entry.row.id)
        self._settlement.delivered(entry.row)

    def _held(self, envelope_id: bytes) -> None:
        lane, entry = self._under_way.get(envelope_id, (None, None))
        if lane is not None and entry is not None:
            self._forget_flight(lane, entry)
            entry.not_before = anyio.current_time() + HELD_RETRY_SECONDS
            self._settlement.held(entry.row)

    def _refused(self, link: Link, answer: Refused) -> None:
        lane, entry = self._under_way.get(answer.envelope, (None, None))
        if lane is None or entry is None:
            return
        self._forget_flight(lane, entry)
        entry.sealed = None
        now = anyio.current_time()
        match answer.code:
            case "unknown_key" if answer.bundle is not None and answer.bundle.peer == lane.peer.peer_id:
                lane.peer.learn_bundle(answer.bundle)
                entry.rejections += 1
                entry.not_before = now if entry.rejections <= MAX_NACKS else now + ANSWER_SECONDS
            case "busy":
                entry.not_before = now + (answer.retry_after or ANSWER_SECONDS)
            case "rejected" | "unknown_key" if entry.rejections < MAX_REJECTIONS:
                entry.rejections += 1
                entry.not_before = now + backoff(entry.rejections)
            case code:
                self._remove(lane, entry.row.id)
                self._settlement.refused(entry.row, lane.peer.name, code)
        lane.wake.set()

    # --- lanes -----------------------------------------------------------------------------------

    def _lane(self, peer_id: PeerId) -> _Lane:
        lane = self._lanes.get(peer_id)
        if lane is None:
            lane = self._lanes[peer_id] = _Lane(self._directory.get(peer_id))
            self._context.tasks.start_soon(self._carry, lane)
        return lane

    def _flush(self, lane: _Lane, at_most: int) -> bool:
        """Send what is due, as far as the window reaches; whether there is more."""
        link, now = lane.peer.link, anyio.current_time()
        if link is None:
            return False
        blocked: set[str] = set()
        for entry in list(lane.entries.values()):
            if lane.under_way >= WINDOW:
                return False
            if entry.envelope_id is not None:
                if entry.row.type in AWAITED:
                    blocked.add(entry.row.task)
                continue
            if entry.not_before > now or entry.row.task in blocked:
                blocked.add(entry.row.task)  # what follows in the same task waits, so that order holds
                continue
            if at_most == 0:
                return True
            if not self._send(lane, entry, link, now):
                return False
            at_most -= 1
        return False

    def _send(self, lane: _Lane, entry: _Entry, link: Link, now: float) -> bool:
        """Put an entry on its way; False when nothing can go there now."""
        sealed, entry.sealed = entry.sealed, None
        if sealed is None or sealed.bundle is not lane.peer.bundle:
            sealed = self._seal(entry.row, lane.peer)
        if sealed is None:
            lane.obstacle = KEY_NOT_VALID
            return False
        lane.obstacle = None
        entry.envelope_id, entry.sent_at = sealed.envelope_id, now
        self._under_way[sealed.envelope_id] = (lane, entry)
        lane.under_way += 1
        try:
            link.submit(sealed.envelope)
        except LinkError:
            self._forget_flight(lane, entry)
            entry.sealed = sealed
            return False
        return True

    def _seal(self, row: OutboxRow, peer: Peer) -> Sealed | None:
        """None while no usable key of the peer is known."""
        bundle = peer.bundle
        if bundle is None or not bundle.usable(self._context.clock()):
            return None
        envelope_id = self._context.randomness(16)
        return Sealed(envelope_id, seal(self._context.identity, row.payload, bundle, envelope_id, row.expires), bundle)

    def _forget_flight(self, lane: _Lane, entry: _Entry) -> None:
        if entry.envelope_id is not None:
            self._under_way.pop(entry.envelope_id, None)
            lane.under_way -= 1
            entry.envelope_id = None

    def _remove(self, lane: _Lane, message_id: str) -> None:
        entry = lane.entries.pop(message_id, None)
        if entry is not None:
            self._forget_flight(lane, entry)

    # --- the courier -----------------------------------------------------------------------------

    async def _carry(self, lane: _Lane) -> None:
        """Keep at it: connect, send what is due, send again what was not answered; rest while there is nothing."""
        while True:
            lane.wake = anyio.Event()
            self._expire(lane)
            if not lane.entries:
                lane.resting, lane.failures = True, 0
                await lane.wake.wait()
            elif lane.peer.link is None:
                await self._connect(lane)
            else:
                self._take_back_unanswered(lane)
                while self._flush(lane, SLICE):
                    # Between slices the wire gets its turn, so that the other side works while we go on sealing.
                    await anyio.lowlevel.checkpoint()
                lane.resting = True
                await wait_until(lane.wake, self._next_due(lane))

    async def _connect(self, lane: _Lane) -> None:
        """Try to open a link; after the second failure in a row not before a pause."""
        if lane.failures > 1:
            await wait_until(lane.wake, backoff(lane.failures - 1))
        try:
            await self._dialer.connect(lane.peer)
        except NoRouteError as error:
            lane.failures += 1
            lane.tried = error.attempts

    def _take_back_unanswered(self, lane: _Lane) -> None:
        now = anyio.current_time()
        for entry in lane.entries.values():
            if entry.envelope_id is not None and now - entry.sent_at >= ANSWER_SECONDS:
                self._forget_flight(lane, entry)

    def _next_due(self, lane: _Lane) -> float:
        now = anyio.current_time()
        due = [
            entry.sent_at + ANSWER_SECONDS if entry.envelope_id is not None else entry.not_before
            for entry in lane.entries.values()
        ]
        return min((at - now if at > now else WAITING_SECONDS for at in due), default=ANSWER_SECONDS)

    def _expire(self, lane: _Lane) -> None:
        now = self._context.clock()
        for entry in [entry for entry in lane.entries.values() if entry.row.expires <= now]:
            self._remove(lane, entry.row.id)
            self._settlement.expired(entry.row, lane.peer.name)
