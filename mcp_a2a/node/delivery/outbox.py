"""Carries what was journalled to its recipients, until each has signed for it.

Per peer there is a lane (`lane`). While a link is open its messages go out at once, in order, a window at a time;
without one a courier keeps trying to open it. A message leaves the journal only by the recipient's signed receipt, a
signed refusal for good, or expiry: a lost link, a restart or a lost answer only means that the same id is sent again,
and a relay that has stored it, or refuses to, changes nothing about that.

An open task that we sent is a reason to hold a link as well: its answer may only reach us over one that we open. All
the open tasks at one agent are one reason.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial

import anyio
import anyio.lowlevel

from mcp_a2a.errors import LinkError, NoRouteError
from mcp_a2a.node.context import Context, pause_after, wait_until
from mcp_a2a.node.dialer import RETRY, Dialer
from mcp_a2a.node.directory import Directory, Peer
from mcp_a2a.node.lane import ANSWER_SECONDS, WAITING_SECONDS, WINDOW, Entry, Lane, Sealed
from mcp_a2a.node.letters import piece_payload, redated
from mcp_a2a.node.merging import merge_updates
from mcp_a2a.node.settlement import FILE_LOST, REFUSALS, TOO_LARGE_FOR_RELAY, Settlement, relay_refusal
from mcp_a2a.ports import Link
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.blob import MAX_RELAYED_SIZE, piece_of
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import Answer, Delivered, Held, Refused, Stored
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import seal
from mcp_a2a.protocol.heartbeat import PROBE_SECONDS
from mcp_a2a.protocol.paths import route_word
from mcp_a2a.protocol.receipt import HELD_VERDICT, envelope_id_of, postmark_of, receipt_is_valid, verdict_is_valid
from mcp_a2a.protocol.replay import MAX_CLOCK_SKEW_SECONDS, MAX_LIFETIME_SECONDS, stale_difference
from mcp_a2a.store.journal import OutboxRow, drop_outbox, redate_outbox
from mcp_a2a.store.records import has_open_sent
from mcp_a2a.system_limits import limit_behind

logger = logging.getLogger(__name__)

SLICE = 4
"""Envelopes sealed in one go."""

HELD_RETRY_SECONDS = 30.0
HELD_RETRY_RELAYED_SECONDS = 600.0
"""A held message is offered again so often: the owner's yes may not have reached us."""

AWAY = Backoff(cap=60.0)
"""An agent that only an answer is awaited of is dialled again at the latest after so long, also when it is away for
days; a question about the task, a sighting and a new message dial it at once."""

IDLE_SECONDS = 60.0
"""A lane with nothing in it is kept so long for the next message."""

KEY_NOT_VALID = "its encryption key is not valid at this time: it was not online for a week, or a clock is wrong"

KEY_NOT_THERE = (
    "the machine that is there does not have the key of this agent that was shown last: it may be a copy, or restored "
    "from a backup"
)

BUSY = "it accepts no more for now"
"""What a recipient has signed that has too much to do, or enough of ours."""

CLOCK_DOUBTED = (
    "the message has expired by this machine's clock, but not by the time the machine has been on: it waits until that "
    "clock is confirmed or put right"
)

CLOCK_PATIENCE_SECONDS = 86_400.0
"""So long a message that is refused because of a clock is offered again. A result is until it expires."""

CLOCK = Backoff(15.0, 300.0, jitter=0.0)

WRITTEN_AHEAD_SECONDS = 60.0
"""A message that is dated further ahead of the clock was written while that was wrong."""

RESULTS = frozenset({"update", "blob", "network"})
"""What was asked for, or cannot be sent again by a person."""

SLOWED = frozenset({"rate_limited", "busy"})
"""What a relay says to every larger file: it is on its way, only slowly."""

SLOW_SECONDS = 10.0
"""For so long after a relay said so, updates of a task that wait are sent as one."""

LIMIT_SECONDS = 2.0
"""When a file is tried again for which this process had no open file, or no memory."""

TOO_LARGE = f"a file of more than {MAX_RELAYED_SIZE // 1024**2} MiB waits for a direct connection"
BARRED_SECONDS = 60.0
"""How long, before that is given up."""

MAX_PUT_OFF_SECONDS = 600.0
"""How long a pause may be that the recipient has not signed."""

UNKNOWN = Backoff(15.0, MAX_PUT_OFF_SECONDS, jitter=0.0)
"""An update of a task that its recipient does not know is offered again after this, and then ever less often."""

MAX_NACKS = 3
MAX_REJECTIONS = 5
"""How often a message that its recipient cannot read is sealed anew before it counts as poison."""


class Outbox:
    """The sending half of a node's delivery."""

    def __init__(self, context: Context, directory: Directory, dialer: Dialer, settlement: Settlement) -> None:
        self._context = context
        self._directory = directory
        self._dialer = dialer
        self._settlement = settlement
        settlement.on_letter = self.push
        self._lanes: dict[PeerId, Lane] = {}
        self._sent: dict[bytes, tuple[Lane, Entry]] = {}
        """By envelope id: what is under way or stored."""

    def __len__(self) -> int:
        """How many messages wait; the pieces of a file belong to the one that names it."""
        return sum(not entry.is_piece for lane in self._lanes.values() for entry in lane.entries.values())

    def load(self, rows: Iterable[OutboxRow]) -> None:
        """Go on with what an earlier process had journalled."""
        for row in rows:
            self.push(row)

    def expect(self, peers: Iterable[str]) -> None:
        """These have tasks of ours that are not finished: look for them."""
        for did in peers:
            if did.startswith("did:"):
                self._lane(PeerId.parse_untrusted(did))

    def seek(self, peer_id: PeerId) -> None:
        """Somebody asks about a task that this peer has: dial it now, not after the pause."""
        lane = self._lane(peer_id)
        if lane.peer.link is None:
            lane.failures = 0
            lane.wake.set()

    def _expects(self, peer: Peer) -> bool:
        """Whether an answer of this peer is awaited."""
        if peer.row.trust == "blocked":
            return False
        return self._context.database.read(lambda connection: has_open_sent(connection, peer.row.did))

    def seal_ahead(self, row: OutboxRow) -> None:
        """Seal a message while its journal entry is on its way to the disk. It is not sent before `push`."""
        lane = self._lanes.get(PeerId.parse_untrusted(row.peer))
        link = lane.peer.link if lane is not None else None
        if row.pieces or lane is None or lane.ahead is not None or not lane.resting or link is None:
            return  # in a crowd it is better to seal when it is a message's turn
        sealed = self._seal(row, lane.peer, _bundle_at(lane, link))
        if sealed is not None:
            lane.ahead = (row.n, sealed)

    def push(self, row: OutboxRow) -> None:
        """Deliver a message that is in the journal, and before it the pieces of its files."""
        for piece in row.pieces:
            self.push(piece)
        lane = self._lane(PeerId.parse_untrusted(row.peer))
        if row.id in lane.entries:
            return
        if not lane.entries:
            lane.failures = 0  # however long the peer was away: a new message is worth an attempt at once
        number, sealed = lane.ahead or (None, None)
        entry = lane.entries[row.id] = Entry(row, sealed=sealed if number == row.n else None)
        lane.ahead = None
        if row.relay is not None and row.postmark is not None:
            entry.relay, entry.sent_at = row.relay, anyio.current_time()
            self._note_flight(lane, entry, row.postmark)
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

    def waiting(self, peer_id: PeerId) -> int:
        """How many messages this peer has not taken yet."""
        lane = self._lanes.get(peer_id)
        return sum(not entry.is_piece for entry in lane.entries.values()) if lane is not None else 0

    def updating(self, peer_id: PeerId) -> frozenset[str]:
        """Tasks of which this peer has yet to take an update."""
        lane = self._lanes.get(peer_id)
        entries = lane.entries.values() if lane is not None else ()
        return frozenset(entry.row.task for entry in entries if entry.row.type == "update")

    def bringing(self, peer_id: PeerId) -> frozenset[str]:
        """Tasks of which this peer has yet to take a file."""
        lane = self._lanes.get(peer_id)
        return frozenset(entry.row.task for entry in lane.entries.values() if entry.is_piece) if lane else frozenset()

    def tried(self, peer_id: PeerId) -> tuple[str, ...]:
        """The newest failed attempts to reach a peer that something waits for."""
        lane = self._lanes.get(peer_id)
        if lane is None:
            return ()
        if lane.peer.link is None:
            return lane.tried
        return (lane.obstacle,) if lane.obstacle else ()

    def refusal(self, task_id: str) -> str | None:
        """Why a relay does not take a message of this task now."""
        entries = (entry for lane in self._lanes.values() for entry in lane.entries.values())
        return next((entry.refusal for entry in entries if entry.row.task == task_id and entry.refusal), None)

    def offer_held(self, peer_id: PeerId) -> None:
        """This peer shows itself: what its owner had not allowed yet may be welcome now."""
        lane = self._lanes.get(peer_id)
        held = [entry for entry in lane.entries.values() if entry.held] if lane is not None else []
        if lane is None or not held:
            return
        for entry in held:
            entry.held, entry.not_before = False, 0.0
        lane.wake.set()

    def holds(self, message_id: str) -> bool:
        """Whether a message has yet to be taken by its recipient."""
        return any(message_id in lane.entries for lane in self._lanes.values())

    def settled(self, message_id: str) -> bool:
        """Whether a message is off our hands: delivered, or stored at a relay."""
        entries = (lane.entries.get(message_id) for lane in self._lanes.values())
        return not any(entry is not None and entry.relay is None for entry in entries)

    # --- what links report -----------------------------------------------------------------------

    def link_opened(self, link: Link) -> None:
        """Everything that waits for this peer goes out."""
        lane = self._lanes.get(link.peer)
        if lane is None:
            return
        lane.peer = self._directory.get(link.peer)  # it may have been forgotten and met anew
        for entry in lane.entries.values():
            if entry.unknown_to:
                entry.not_before = 0.0  # it may be the one of its key that asked
        if link.is_relayed:
            self._ask_about(lane, link)
        else:
            for entry in lane.entries.values():
                if entry.relay is not None:
                    self._forget_flight(lane, entry)  # it is here itself: the copy at the relay is not waited for
                if entry.refusal is not None:
                    entry.not_before = 0.0  # nor is the pause that a relay asked for
        lane.wake.set()

    def _ask_about(self, lane: Lane, link: Link) -> None:
        stored = lane.stored_at(link.address)
        if not stored:
            return
        try:
            link.check(stored)
        except LinkError as error:
            logger.debug("could not ask %s about what it stores: %s", link.address, error)

    def link_closed(self, link: Link, reason: str) -> None:
        """What was under way may be lost with the link: it goes out again on the next one."""
        lane = self._lanes.get(link.peer)
        if lane is None:
            if self._expects(self._directory.get(link.peer)):
                self._lane(link.peer)
            return
        lane.failures += 1  # a peer that opens links only to close them must not keep us busy
        lane.outdated.discard(link)
        if lane.entries:
            lane.tried = (f"{_end_of(link)}: {reason}",)
        for entry in lane.entries.values():
            entry.unknown_to.discard(link)
            if entry.link is link:
                self._forget_flight(lane, entry)
        lane.wake.set()

    def sighted(self, peer: Peer) -> None:
        """A peer was seen somewhere: try now, not after the pause."""
        lane = self._lanes.get(peer.peer_id)
        if lane is not None:
            lane.failures = 0
            lane.wake.set()

    # --- answers ---------------------------------------------------------------------------------

    def route_opened(self, url: str) -> None:
        """A relay can be reached again: try now what may go through it."""
        for lane in self._lanes.values():
            if lane.entries and any(
                str(where) == url for seen in lane.peer.sightings.values() for where in seen.addresses
            ):
                self.sighted(lane.peer)

    def answer_received(self, link: Link, answer: Answer) -> None:
        """Somebody's word about envelopes of ours.

        Only the recipient's own signature over what we sent ends our duty: of whoever carries it we
        believe that it does not take something now, and nothing else.
        """
        match answer:
            case Delivered(postmarks, signature):
                self._delivered(link, postmarks, signature)
            case Held(envelope, signature):
                self._held(link, envelope, signature)
            case Refused():
                self._refused(link, answer)
            case Stored(envelope):
                self._stored(link, envelope)

    def _answered(self, lane: Lane) -> None:
        lane.failures, lane.tried = 0, ()
        if lane.under_way < len(lane.entries):
            lane.wake.set()

    def _delivered(self, link: Link, postmarks: tuple[bytes, ...], signature: bytes) -> None:
        named = [self._sent[envelope_id_of(mark)] for mark in postmarks if envelope_id_of(mark) in self._sent]
        if not named:
            return
        lane = named[0][0]
        signed = frozenset(postmarks if receipt_is_valid(lane.peer.peer_id, postmarks, signature) else ())
        for its_lane, entry in named:
            if its_lane is not lane or entry.postmark is None:
                continue  # another peer's, or named twice
            if entry.postmark in signed:
                self._remove(lane, entry.row.id)
                self._settlement.delivered(entry.row)
            else:
                self._disbelieve(link, lane, entry)
        if signed:
            self._answered(lane)

    def _disbelieve(self, link: Link, lane: Lane, entry: Entry) -> None:
        """The recipient has not signed that about our message. Its envelope may be lost, so it goes out in another."""
        logger.warning("%s brought an answer that the recipient did not sign for this message", link.address)
        if not entry.went_by(link):
            return
        self._forget_flight(lane, entry)
        entry.sealed = None
        entry.rejections += 1
        entry.not_before = anyio.current_time() + pause_after(entry.rejections, RETRY)
        lane.wake.set()

    def _stored(self, link: Link, envelope_id: bytes) -> None:
        lane, entry = self._sent.get(envelope_id, (None, None))
        if lane is None or entry is None or entry.postmark is None or not (link.is_relayed and entry.went_by(link)):
            return
        entry.sent_at = anyio.current_time()
        if entry.relay is None:
            lane.under_way -= 1
            entry.link, entry.relay, entry.refusal = None, link.address, None
            if entry.is_piece:
                entry.sealed = None  # memory is not where files wait
            self._settlement.stored(entry.row, link.address, entry.postmark)
        if any(not one.is_relayed and one not in entry.unknown_to for one in lane.peer.links):
            self._forget_flight(lane, entry)  # its recipient came meanwhile: the copy at the relay is not waited for
        self._answered(lane)

    def _held(self, link: Link, envelope_id: bytes, signature: bytes) -> None:
        lane, entry = self._sent.get(envelope_id, (None, None))
        if lane is None or entry is None or entry.postmark is None:
            return
        if not verdict_is_valid(lane.peer.peer_id, entry.postmark, HELD_VERDICT, signature):
            self._disbelieve(link, lane, entry)
            return
        self._forget_flight(lane, entry)
        entry.sealed, entry.held = None, True
        pause = HELD_RETRY_RELAYED_SECONDS if link.is_relayed else HELD_RETRY_SECONDS
        entry.not_before = anyio.current_time() + pause
        self._settlement.held(entry.row)
        self._answered(lane)

    def _refused(self, link: Link, answer: Refused) -> None:
        lane, entry = self._sent.get(answer.envelope, (None, None))
        if lane is None or entry is None or entry.postmark is None:
            return
        verdict = verdict_is_valid(lane.peer.peer_id, entry.postmark, answer.code, answer.signature)
        if not verdict and not entry.went_by(link):
            return  # neither of the recipient nor of what carries it
        was_stored = entry.relay is not None
        self._forget_flight(lane, entry)
        entry.sealed = None
        now = anyio.current_time()
        match answer.code:
            case "unknown_key" if answer.bundle is not None and answer.bundle.peer == lane.peer.peer_id:
                self._seal_anew(lane, entry, link, answer.bundle)
            case "unknown" if was_stored:
                entry.not_before = now  # the relay no longer has what it stored
            case _ if not verdict:
                self._put_off(lane, entry, link, answer)
            case "unknown_task":
                self._keep_for_its_asker(lane, entry, link, now)
            case "busy":
                self._put_off_busy(lane, entry, link, answer.retry_after)
            case code if stale_difference(code)[0]:
                self._put_off_for_clocks(lane, entry, link, code)
            case "rejected" if entry.rejections < MAX_REJECTIONS:
                entry.rejections += 1
                entry.not_before = now + pause_after(entry.rejections, RETRY)
            case code:
                self._refuse(lane, entry, code)
        self._answered(lane)
        lane.wake.set()

    def _seal_anew(self, lane: Lane, entry: Entry, link: Link, bundle: KeyBundle) -> None:
        """The recipient does not have the key that this is sealed to, and says which it has."""
        lane.peer.learn_bundle(bundle)
        (lane.outdated.add if bundle.supersedes(link.bundle) else lane.outdated.discard)(link)
        entry.rejections += 1
        if entry.rejections > MAX_NACKS:
            entry.not_before = anyio.current_time() + ANSWER_SECONDS
            lane.obstacle = f"{_end_of(link)}: {KEY_NOT_THERE}"

    def _keep_for_its_asker(self, lane: Lane, entry: Entry, link: Link, now: float) -> None:
        """The recipient has no such task: another one with its key has asked for it, or has yet to find it again."""
        if not entry.unknown_to:
            logger.warning("%s does not know the task %s; its update is kept", lane.peer.name, entry.row.task)
        entry.unknown_to.add(link)
        entry.rejections += 1
        others = [one for one in lane.peer.links if one not in entry.unknown_to]
        pause = UNKNOWN.ceiling(entry.rejections)
        entry.not_before = now if others else now + pause

    def _refuse(self, lane: Lane, entry: Entry, code: str) -> None:
        """It will never be taken. With a piece of a file, neither will the message that names the file."""
        lost = [entry]
        if entry.is_piece:
            lost = [one for one in lane.entries.values() if one.row.task == entry.row.task and one.row.type != "cancel"]
            if any(one.row.type == "update" for one in lost):  # a result goes without this file, and with the others
                blob_id = piece_of(entry.row.id)[0]
                lost = [one for one in lost if not one.is_piece or piece_of(one.row.id)[0] == blob_id]
        for one in lost:
            self._remove(lane, one.row.id)
        self._settlement.refused(entry.row, lane.peer.name, code)

    def _put_off(self, lane: Lane, entry: Entry, link: Link, answer: Refused) -> None:
        """The recipient has not decided this, so it is not for good: try again later, and say why it takes so long.

        The pause is anybody's word as well, so it is not so long that the message expires of it.
        """
        entry.rejections += 1
        pause = answer.retry_after if answer.retry_after is not None else max(1.0, pause_after(entry.rejections, RETRY))
        pause = min(pause, MAX_PUT_OFF_SECONDS)
        entry.not_before = anyio.current_time() + pause
        if answer.code in SLOWED:
            lane.slowed_until = entry.not_before + SLOW_SECONDS
        if entry.is_piece and answer.code in SLOWED:
            return
        reason = relay_refusal(answer.code)
        entry.refusal = lane.obstacle = f"{_end_of(link)}: {reason}; tried again in {pause:.0f} s"
        self._settlement.put_off(entry.row)

    def _put_off_busy(self, lane: Lane, entry: Entry, link: Link, retry_after: float | None) -> None:
        """The recipient takes it later. A caller that waits for the task waits on, unless the pause is long."""
        pause = min(retry_after or ANSWER_SECONDS, MAX_PUT_OFF_SECONDS)
        entry.not_before, entry.refusal = anyio.current_time() + pause, None
        if entry.is_piece or pause < WAITING_SECONDS:
            return
        lane.obstacle = f"{_end_of(link)}: {BUSY}; tried again in {pause:.0f} s"
        if pause > ANSWER_SECONDS:
            entry.refusal = lane.obstacle
            self._settlement.put_off(entry.row)

    def _merge_updates(self, lane: Lane) -> None:
        """Make one of the updates of each task that wait: a relay takes fewer messages than there are."""
        merged = [one for rows in lane.waiting_updates() for one in merge_updates(rows)]
        if not merged:
            return
        for one in merged:
            entry = lane.entries[one.row.id]
            pauses = [lane.entries[row.id].not_before for row in one.absorbed]
            entry.row, entry.sealed, entry.not_before = one.row, None, max(entry.not_before, *pauses)
            for row in one.absorbed:
                self._remove(lane, row.id)
        changes = [(one.row, one.absorbed) for one in merged]
        self._context.database.enqueue_lazily(partial(_replace_rows, changes=changes))

    # --- clocks ----------------------------------------------------------------------------------

    def _put_off_for_clocks(self, lane: Lane, entry: Entry, link: Link, code: str) -> None:
        """Its recipient does not take it now, because the clocks differ: offer it again, for a day."""
        clocks, peer, row = self._context.clocks, lane.peer, entry.row
        _, difference = stale_difference(code)
        if difference is not None:
            # It names its clock relative to the date that it read.
            clocks.hear(peer.peer_id, (row.created if difference > 0 else row.expires) - difference)
        why = clocks.blame(peer.peer_id) or REFUSALS["stale"]
        entry.stale_since = clocks.uptime() if entry.stale_since is None else entry.stale_since
        if row.type not in RESULTS and clocks.uptime() - entry.stale_since >= CLOCK_PATIENCE_SECONDS:
            self._refuse(lane, entry, f"stale:{why}")
            return
        if not self._fits(row) and redated(self._context, row) is not None:
            entry.not_before = 0.0  # our clock was set after it had gone: it goes again under new dates
            return
        pause = CLOCK.ceiling(entry.rejections)
        entry.rejections += 1
        entry.not_before = anyio.current_time() + pause
        entry.refusal = lane.obstacle = f"{_end_of(link)}: {why}; tried again in {pause:.0f} s"
        self._settlement.put_off(row)

    def clock_set(self) -> None:
        """Our clock was set: what was put off because of a clock is offered again at once."""
        for lane in self._lanes.values():
            self._hurry(lane)

    def clock_heard(self, peer_id: PeerId) -> None:
        """The clock of this peer was set, or is known now."""
        lane = self._lanes.get(peer_id)
        if lane is not None:
            self._hurry(lane)

    def _hurry(self, lane: Lane) -> None:
        for entry in lane.entries.values():
            if entry.stale_since is not None and entry.envelope_id is None:
                entry.not_before, entry.sealed = 0.0, None
        lane.wake.set()

    def _fits(self, row: OutboxRow) -> bool:
        """Whether the dates of a message fit our clock."""
        now = self._context.clock()
        return row.created <= now + WRITTEN_AHEAD_SECONDS and now < row.expires

    def _dated(self, lane: Lane, entry: Entry) -> bool:
        """Give a message dates that fit our clock, where it was written while that was wrong; False if it waits.

        One of an earlier run may be as old as it says, where the machine may have been off since: it waits until our
        clock is confirmed.
        """
        row, clocks = entry.row, self._context.clocks
        if self._fits(row):
            return True
        now, is_doubted = clocks.now(), clocks.now() - clocks.sound() > MAX_CLOCK_SKEW_SECONDS
        is_earlier = row.n < self._context.first_number and row.kept < clocks.since()
        if now >= row.expires and is_doubted and is_earlier:
            lane.obstacle = entry.refusal = CLOCK_DOUBTED
            entry.stale_since = self._context.clocks.uptime()
            entry.not_before = anyio.current_time() + CLOCK.cap
            return False
        fresh = redated(self._context, row)
        if fresh is None:
            return True  # our clock was more than a year ahead, or is that far behind: its recipient will say
        entry.row, entry.sealed = fresh, None
        self._context.database.enqueue_lazily(lambda connection: redate_outbox(connection, fresh))
        return True

    # --- lanes -----------------------------------------------------------------------------------

    def _lane(self, peer_id: PeerId) -> Lane:
        lane = self._lanes.get(peer_id)
        if lane is None:
            lane = self._lanes[peer_id] = Lane(self._directory.get(peer_id))
            self._context.tasks.start_soon(self._carry, lane)
        return lane

    def _flush(self, lane: Lane, at_most: int) -> bool:
        """Send what is due, as far as the window reaches; whether there is more."""
        link, now = lane.peer.link, anyio.current_time()
        if link is None:
            return False
        if now < lane.slowed_until:
            self._merge_updates(lane)
        for entry in lane.due(link, now):
            if lane.under_way >= WINDOW:
                return False
            if at_most == 0:
                return True
            if not self._send(lane, entry, link, now):
                return False
            at_most -= 1
        return False

    def _send(self, lane: Lane, entry: Entry, link: Link, now: float) -> bool:
        """Put an entry on its way; False when nothing can go there now."""
        if not self._dated(lane, entry):
            return True
        link = next((one for one in lane.peer.links if one not in entry.unknown_to), link) if entry.unknown_to else link
        sealed, bundle = entry.sealed, _bundle_at(lane, link)
        if sealed is None or sealed.bundle is not bundle:
            sealed = self._seal_entry(lane, entry, bundle)
        if sealed is None:
            if entry.row.id in lane.entries and entry.not_before <= now:
                lane.obstacle = KEY_NOT_VALID
            return False
        lane.obstacle = None
        entry.sealed, entry.held = sealed if link.is_relayed else None, False
        entry.sent_at, entry.link = now, link
        self._note_flight(lane, entry, sealed.postmark)
        lane.under_way += 1
        try:
            link.submit(sealed.envelope)
        except LinkError:
            self._forget_flight(lane, entry)
            entry.sealed = sealed
            return False
        return True

    def _seal_entry(self, lane: Lane, entry: Entry, bundle: KeyBundle | None) -> Sealed | None:
        try:
            return self._seal(entry.row, lane.peer, bundle)
        except OSError as error:
            if (limit := limit_behind(error)) is not None:  # the file is there, and cannot be opened now
                lane.obstacle, entry.not_before = limit.message, anyio.current_time() + LIMIT_SECONDS
                return None
            logger.error("a file that was to be sent to %s cannot be read: %s", lane.peer.name, error)  # noqa: TRY400
            self._refuse(lane, entry, FILE_LOST)
            return None

    def _seal(self, row: OutboxRow, peer: Peer, bundle: KeyBundle | None) -> Sealed | None:
        """None while no usable key of the peer is known.

        Raises:
            OSError: it is a piece of a file that is gone.
        """
        if bundle is None or not (bundle.usable(self._context.clocks.aged()) or _is_shown(bundle, peer)):
            return None
        payload = row.payload or piece_payload(self._context, row)
        envelope = seal(self._context.identity, payload, bundle, self._context.randomness(16), row.expires)
        return Sealed(postmark_of(self._context.me, row.id, envelope), envelope, bundle)

    def _note_flight(self, lane: Lane, entry: Entry, postmark: bytes) -> None:
        """It is under way or stored from now on."""
        entry.postmark = postmark
        self._sent[envelope_id_of(postmark)] = (lane, entry)

    def _forget_flight(self, lane: Lane, entry: Entry) -> None:
        """It is neither under way nor stored any more, as far as we go by that."""
        if entry.envelope_id is not None:
            self._sent.pop(entry.envelope_id, None)
            lane.under_way -= entry.relay is None
            entry.postmark = entry.link = entry.relay = None

    def _remove(self, lane: Lane, message_id: str) -> None:
        entry = lane.entries.pop(message_id, None)
        if entry is not None:
            self._forget_flight(lane, entry)

    # --- the courier -----------------------------------------------------------------------------

    async def _carry(self, lane: Lane) -> None:
        """Keep at it: connect, send what is due, send again what was not answered; rest while there is nothing."""
        while True:
            lane.wake = anyio.Event()
            self._expire(lane)
            if not lane.entries and (lane.peer.link is not None or not self._expects(lane.peer)):
                lane.resting = True
                if await wait_until(lane.wake, IDLE_SECONDS) or lane.entries:
                    continue
                del self._lanes[lane.peer.peer_id]
                return
            if lane.peer.link is None:
                await self._connect(lane)
            else:
                for entry in lane.unanswered(anyio.current_time()):
                    self._forget_flight(lane, entry)
                for link in lane.silent(anyio.current_time()):
                    link.probe(PROBE_SECONDS)
                while self._flush(lane, SLICE):
                    # Between slices the wire gets its turn, so that the other side works while we go on sealing.
                    await anyio.lowlevel.checkpoint()
                self._give_up_barred(lane)
                lane.resting = True
                await wait_until(lane.wake, lane.next_due(anyio.current_time()))

    async def _connect(self, lane: Lane) -> None:
        """Try to open a link; after the second failure in a row not before a pause."""
        if lane.failures > 1:
            await wait_until(lane.wake, pause_after(lane.failures - 1, RETRY if lane.entries else AWAY))
        try:
            await self._dialer.connect(lane.peer)
        except NoRouteError as error:
            lane.failures += 1
            lane.tried = error.attempts

    def _give_up_barred(self, lane: Lane) -> None:
        """Files that no relay takes wait a while for a better way, and not for ever."""
        now = anyio.current_time()
        waiting = [entry for entry in lane.entries.values() if entry.barred_since is not None]
        if waiting and lane.peer.link is not None and lane.peer.link.is_relayed:
            lane.obstacle = f"{_end_of(lane.peer.link)}: {TOO_LARGE}"
        for entry in waiting:
            if now - (entry.barred_since or now) >= BARRED_SECONDS and entry.row.id in lane.entries:
                self._refuse(lane, entry, TOO_LARGE_FOR_RELAY)

    def _expire(self, lane: Lane) -> None:
        now, sound = self._context.clock(), self._context.clocks.sound()
        over = sound - MAX_LIFETIME_SECONDS
        for entry in [one for one in lane.entries.values() if one.row.expires <= now and one.row.kept <= over]:
            self._remove(lane, entry.row.id)
            self._settlement.expired(entry.row, lane.peer.name)


def _end_of(link: Link) -> str:
    """Where a link leads, and by which way, as a person reads it."""
    return f"{route_word(link.route)} {link.address}"


def _is_shown(bundle: KeyBundle, peer: Peer) -> bool:
    """Whether the peer shows this key on a link of its own right now: then it has it, whatever its dates say."""
    return any(link.bundle is bundle and not link.is_relayed for link in peer.links)


def _replace_rows(connection: sqlite3.Connection, changes: Sequence[tuple[OutboxRow, Sequence[OutboxRow]]]) -> None:
    for row, absorbed in changes:
        redate_outbox(connection, row)
        for old in absorbed:
            drop_outbox(connection, old)


def _bundle_at(lane: Lane, link: Link) -> KeyBundle | None:
    """What to seal to.

    A direct link shows which key its other end has. That of a machine that was restored from a backup, or of one of two
    machines with one identity, may not be the newest that we know.
    """
    return lane.peer.bundle if link.is_relayed or link in lane.outdated else link.bundle
