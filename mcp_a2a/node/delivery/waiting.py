"""The state of the delivery queue, and the few ways in which it changes.

Every index, timer and event of a message is kept here, so that what decides (`decide`, `contact`, `queue`) names the
change and cannot leave half of it undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum, auto

from mcp_a2a.node.delivery.events import DestinationBlocked, Event, MessageRefused
from mcp_a2a.node.delivery.expiry import Expiry
from mcp_a2a.node.delivery.model import At, Block, Fault, Kind, Obstacle
from mcp_a2a.node.delivery.patience import Patience
from mcp_a2a.node.delivery.peer_queue import PeerQueue
from mcp_a2a.node.delivery.pending import Pending, State
from mcp_a2a.node.delivery.timers import Timers


class Due(IntEnum):
    """The kinds of deadlines of a destination."""

    DIAL = auto()
    LOOK = auto()
    FULL = auto()
    """The end of its pause."""
    REROUTE = auto()
    BARRED = auto()


Owner = Pending | tuple[PeerQueue, Due] | None
"""Of a deadline: a message, a destination, or (None) the expiry of all messages."""


class Waiting:
    """Everything that waits, at all destinations."""

    def __init__(self, patience: Callable[[str], Patience], chance: Callable[[], float]) -> None:
        self.patience, self.chance = patience, chance
        self.peers: dict[str, PeerQueue] = {}
        self.entries: dict[str, Pending] = {}
        self.tokens: dict[bytes, Pending] = {}
        self.obstacles: dict[str, dict[str, Obstacle]] = {}
        """By task and message: why they are refused for now."""
        self.timers: Timers[Owner] = Timers()
        self.expiry = Expiry()
        self.active: dict[str, PeerQueue] = {}
        """Destinations that may have something to send now."""
        self.events: list[Event] = []
        self.messages = 0
        """The number of messages, without pieces."""

    def peer(self, destination: str) -> PeerQueue:
        """The queue of a destination, made if there is none."""
        peer = self.peers.get(destination)
        if peer is None:
            peer = self.peers[destination] = PeerQueue(destination, self.patience(destination))
        return peer

    def peer_of(self, entry: Pending) -> PeerQueue:
        """The queue that an entry is in."""
        return self.peers[entry.some.destination]

    def wake(self, peer: PeerQueue) -> None:
        """Something may go to this destination now, if it has a candidate. Written out where each message asks it."""
        if any(peer.ready) or peer.mergeable:
            self.active[peer.key] = peer

    # --- messages

    def add(self, entry: Pending) -> PeerQueue:
        """Take a message."""
        peer = self.peer(entry.some.destination)
        self.entries[entry.some.id] = entry
        self.messages += not entry.is_piece
        self.expiry.add(entry)
        peer.add(entry)
        return peer

    def remove(self, entry: Pending) -> None:
        """Forget a message."""
        peer = self.peers[entry.some.destination]
        self._land(entry)
        self.expiry.remove(entry)
        if entry.obstacle is not None:
            self.set_obstacle(entry, None)
        peer.remove(entry)
        del self.entries[entry.some.id]
        self.messages -= not entry.is_piece
        if any(peer.ready) or peer.mergeable:
            self.active[peer.key] = peer

    def fly(self, entry: Pending, token: bytes, at: At) -> None:
        """The courier has sent the message; the answer to it will name `token`."""
        entry.token, entry.anew = token, False
        self.tokens[token] = entry
        peer = self.peers[entry.some.destination]
        peer.fly(entry, at.ticks)
        if any(peer.ready) or peer.mergeable:
            self.active[peer.key] = peer
        self.watch(entry)

    def watch(self, entry: Pending) -> None:
        """Set the deadline of a message that is under way: its answer, or a sign of life of the other end."""
        patience = self.peers[entry.some.destination].patience
        answer = patience.piece_answer if entry.is_piece else patience.answer
        probe = max(entry.since, entry.probed_at) + patience.probe
        self.timers.set(entry, min(entry.since + answer, probe))

    def store(self, entry: Pending, address: str, at: At) -> None:
        """A copy of the message is at a relay."""
        peer = self.peer_of(entry)
        self.timers.cancel(entry)
        peer.store(entry, address, at.ticks)
        self.wake(peer)

    def wait(self, entry: Pending, at: At, pause: float = 0.0) -> None:
        """The message waits for a new attempt, not before a pause in seconds."""
        peer = self.peers[entry.some.destination]
        self._land(entry)
        entry.as_is = False
        peer.wait(entry, at.ticks, paused=pause > 0)
        if pause > 0:
            self.timers.set(entry, at.ticks + pause)
        if any(peer.ready) or peer.mergeable:
            self.active[peer.key] = peer

    def resume(self, entry: Pending, at: At) -> None:
        """The pause of a waiting message is over."""
        if entry.state is State.WAITING and entry.paused:
            self.timers.cancel(entry)
            peer = self.peer_of(entry)
            peer.resume(entry, at.ticks)
            self.wake(peer)

    def resume_all(self, entries: Iterable[Pending], at: At) -> None:
        """The pauses of these are over."""
        for entry in list(entries):
            self.resume(entry, at)

    def hold(self, entry: Pending, at: At, pause: float) -> None:
        """The owner of the recipient must decide first."""
        entry.held = True
        self.peer_of(entry).held[entry.some.id] = entry
        self.wait(entry, at, pause)

    def refuse(self, entry: Pending, code: str) -> None:
        """The message will never be taken. With a piece of a file, neither will the message that names the file.

        A result goes without the file, and with its others: the shell writes it anew.
        """
        lost = [entry]
        if entry.is_piece:
            lost = [one for one in entry.line.entries.values() if one.some.kind is not Kind.CANCEL]
            if any(one.some.kind is Kind.UPDATE for one in lost):
                lost = [one for one in lost if not one.is_piece or one.some.file == entry.some.file]
        for one in lost:
            self.remove(one)
        ids = tuple(one.some.id for one in lost)
        self.events.append(MessageRefused(entry.some.id, code, ids, entry.counts.get(Fault.LOST, 0)))

    def _land(self, entry: Pending) -> None:
        """The message is neither under way nor stored any more, as far as this queue goes by that."""
        if entry.state is not State.GONE:  # it was just taken
            self.timers.cancel(entry)
        if entry.token is not None:
            if self.tokens.get(entry.token) is entry:
                del self.tokens[entry.token]
            entry.token = None

    # --- obstacles

    def block(self, peer: PeerQueue, obstacle: Obstacle) -> None:
        """Nothing goes to a destination although there is a route."""
        if peer.obstacle != obstacle:
            peer.obstacle = obstacle
            self.events.append(DestinationBlocked(peer.key, obstacle))

    def set_obstacle(self, entry: Pending, obstacle: Obstacle | None) -> None:
        """Note why the task of a message does not go on."""
        entry.obstacle, some = obstacle, entry.some
        of_peer = self.peer_of(entry).obstructed
        if obstacle is not None:
            self.obstacles.setdefault(some.task, {})[some.id] = obstacle
            of_peer[some.id] = entry
        elif of_peer.pop(some.id, None) is not None:
            of_task = self.obstacles[some.task]
            del of_task[some.id]
            if not of_task:
                del self.obstacles[some.task]

    def bar(self, peer: PeerQueue) -> None:
        """Set the deadline of a file that is too large for the relays that alone are there."""
        piece = peer.barred()
        if piece is None or peer.best is None:
            return  # a deadline that is set does no harm
        self.block(peer, Obstacle(Block.TOO_LARGE_FOR_RELAY, peer.best))
        self.timers.set((peer, Due.BARRED), max(piece.since, peer.relayed_since) + peer.patience.barred)
