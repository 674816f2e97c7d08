"""Everything that waits for one destination, in the states and orders of `pending`."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mcp_a2a.node.delivery.model import AWAITED, Kind, Obstacle, Route
from mcp_a2a.node.delivery.patience import Patience
from mcp_a2a.node.delivery.pending import Heap, Pending, State, TaskLine, may_pass, order_of, push, top


class PeerQueue:
    """Everything that waits for one destination, and the routes to it."""

    def __init__(self, key: str, patience: Patience) -> None:
        self.key, self.patience = key, patience
        self.routes: dict[int, Route] = {}
        self.best: Route | None = None
        self.relay: str | None = None
        """Address of the relay that the best route leads to; None where it does not lead to one."""
        self.entries: dict[str, Pending] = {}
        self.messages = 0
        """Of these, messages that are no pieces."""
        self.lines: dict[str, TaskLine] = {}
        self.ready: tuple[Heap, Heap, Heap] = ([], [], [])
        """Candidates: messages, pieces of files that a relay takes, pieces of larger ones."""
        self.flying: dict[str, Pending] = {}
        self.pieces: dict[str, Pending] = {}
        """Of these, pieces."""
        self.stored: dict[str, dict[str, Pending]] = {}
        """By address of the relay, those first that were confirmed longest ago."""
        self.followers: dict[str, dict[str, TaskLine]] = {}
        """By address of a relay, tasks whose cancellation may go when the best route leads there."""
        self.held: dict[str, Pending] = {}
        self.stale: dict[str, Pending] = {}
        self.obstructed: dict[str, Pending] = {}
        self.strange: dict[str, Pending] = {}
        self.mergeable: dict[str, TaskLine] = {}
        """Tasks with several updates that wait, of which one is new."""
        self.kinds: dict[Kind, dict[str, int]] = {}
        """Tasks by the kinds of messages that wait for the destination, and how many of each."""
        self.obstacle: Obstacle | None = None
        self.attempts: tuple[str, ...] = ()
        self.failures = 0
        self.dialing = self.attended = self.looking = self.broke = self.slow = False
        self.dial_at = self.look_at = self.paused_until = self.slow_until = -math.inf
        self.relayed_since = math.inf
        """Since when only relays are there."""
        self.looks = self.nonsense = 0

    # --- routes

    def set_route(self, route: Route, now: float) -> None:
        """A route is open, or has changed. The newest is preferred among equals."""
        self.routes[route.id] = route
        self._choose(now)

    def drop_route(self, route_id: int, now: float) -> None:
        """Forget a route that is closed."""
        del self.routes[route_id]
        self._choose(now)

    def _choose(self, now: float) -> None:
        worth = ((not one.is_relayed, one.present, at) for at, one in enumerate(self.routes.values()))
        ranked = sorted(zip(worth, self.routes.values(), strict=True), key=lambda pair: pair[0])
        self.best = ranked[-1][1] if ranked else None
        self.relay = self.best.address if self.best is not None and self.best.is_relayed else None
        if self.best is not None:
            self.relayed_since = min(self.relayed_since, now) if self.best.is_relayed else math.inf
        for line in self.followers.pop(self.relay or "", {}).values():
            line.follows = ""
            self.refresh(line)

    def route_for(self, entry: Pending) -> Route | None:
        """The best route, or the first one whose other end is not known to lack the task of the entry."""
        if not entry.strangers:
            return self.best
        is_large = self.is_large(entry)
        known = (one for one in self.routes.values() if one.id not in entry.strangers)
        return next((one for one in known if not (is_large and one.is_relayed)), self.best)

    def has_direct(self, entry: Pending) -> bool:
        """True if a direct route is there whose other end is not known to lack the task of the entry."""
        return any(not one.is_relayed and one.id not in entry.strangers for one in self.routes.values())

    def is_large(self, entry: Pending) -> bool:
        """True if it is a piece of a file that is too large for relays."""
        return entry.is_piece and entry.some.pieces > self.patience.relayed_pieces

    # --- states

    def add(self, entry: Pending) -> None:
        """Take a new entry. It is in no state yet."""
        self.entries[entry.some.id] = entry
        self.messages += not entry.is_piece
        entry.line = self.line_of(entry)
        entry.line.entries[entry.some.id] = entry
        tasks = self.kinds.setdefault(entry.some.kind, {})
        tasks[entry.some.task] = tasks.get(entry.some.task, 0) + 1

    def remove(self, entry: Pending) -> None:
        """Forget an entry."""
        line, some = entry.line, entry.some
        self._leave(entry, line)
        entry.state = State.GONE
        self.messages -= not entry.is_piece
        for index in (self.entries, line.entries, self.held, self.stale, self.obstructed, self.strange):
            index.pop(some.id, None)
        tasks = self.kinds[some.kind]
        tasks[some.task] -= 1
        if not tasks[some.task]:
            del tasks[some.task]
        if line.entries:
            self.refresh(line)
        else:
            del self.lines[line.key]
            self.mergeable.pop(line.key, None)
            if line.follows:
                self._follow(line, "")

    def line_of(self, entry: Pending) -> TaskLine:
        """The task of an entry; one that belongs to no task is alone in its line."""
        key = entry.some.task or f"\0{entry.some.id}"
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = TaskLine(key)
        return line

    def wait(self, entry: Pending, now: float, *, paused: bool) -> None:
        """The entry waits, for the end of a pause or for its turn."""
        line = entry.line
        self._leave(entry, line)
        entry.state, entry.since, entry.paused, entry.is_ready = State.WAITING, now, paused, False
        if not entry.is_piece:
            push(line.messages, entry, len(line.entries))
            if entry.some.kind is Kind.UPDATE:
                line.updates[entry.some.id] = entry
                self._note_update(line)
        else:
            push(line.pieces, entry, len(line.entries))
            if paused and entry.held:
                push(line.stops, entry, len(line.entries))
            if not paused:
                push(line.due[self.is_large(entry)], entry, len(line.entries))
        self.refresh(line)

    def resume(self, entry: Pending, now: float) -> None:
        """The pause of a waiting entry is over."""
        if entry.state is not State.WAITING or not entry.paused:
            return
        line = entry.line
        entry.paused = entry.held = False
        self.held.pop(entry.some.id, None)
        if entry.is_piece:
            entry.since = now
            push(line.due[self.is_large(entry)], entry, len(line.entries))
        self.refresh(line)

    def offer(self, entry: Pending, route: Route, now: float) -> None:
        """The entry is given to a courier."""
        line = entry.line
        self._leave(entry, line)
        entry.state, entry.since, entry.route, entry.held, entry.is_ready = State.OFFERED, now, route, False, False
        self.held.pop(entry.some.id, None)
        self.flying[entry.some.id] = entry
        if entry.is_piece:
            self.pieces[entry.some.id] = line.flying[entry.some.id] = entry
        else:
            line.offered = entry
        if entry.some.kind in AWAITED:
            line.awaited[entry.some.id] = entry
        self.refresh(line)

    def fly(self, entry: Pending, now: float) -> None:
        """The courier has sent the entry."""
        entry.state, entry.since = State.UNDER_WAY, now
        line = entry.line
        if line.offered is entry:
            line.offered = None
            if line.messages:
                self.refresh(line)

    def store(self, entry: Pending, address: str, now: float) -> None:
        """A copy is at a relay, or is still there."""
        line = entry.line
        self._leave(entry, line)
        entry.state, entry.since, entry.route, entry.address = State.STORED, now, None, address
        self.stored.setdefault(address, {})[entry.some.id] = entry
        if entry.some.kind in AWAITED:
            line.awaited[entry.some.id] = entry
        self.refresh(line)

    def _leave(self, entry: Pending, line: TaskLine) -> None:
        name = entry.some.id
        if entry.state is State.OFFERED or entry.state is State.UNDER_WAY:
            for index in (self.flying, self.pieces, line.flying):
                index.pop(name, None)
        elif entry.state is State.STORED:
            copies = self.stored[entry.address]
            del copies[name]
            if not copies:
                del self.stored[entry.address]
        if line.offered is entry:
            line.offered = None
        line.awaited.pop(name, None)
        line.updates.pop(name, None)
        entry.route, entry.address = None, ""

    def _note_update(self, line: TaskLine) -> None:
        line.unmerged = True
        if len(line.updates) > 1:
            self.mergeable[line.key] = line

    # --- candidates

    def refresh(self, line: TaskLine) -> None:
        """Something in a task has changed: name its candidates."""
        head = line.head()
        if head is not None and not head.is_ready:
            if line.is_sendable(head, self.relay):
                head.is_ready = True
                push(self.ready[0], head, len(self.entries))
            else:
                self._await_relay(head, line)
        for size in (0, 1) if line.pieces else ():
            piece = line.next_piece(size)
            if piece is not None and not piece.is_ready:
                piece.is_ready = True
                push(self.ready[1 + size], piece, len(self.entries))

    def next(self) -> Pending | None:
        """The oldest message or piece that may go now by the best route, as far as the windows reach."""
        if self.best is None or len(self.flying) >= self.patience.window:
            return None
        messages, small, large = self.ready
        if not (small or large):
            return top(messages, self._is_candidate) if messages else None
        heaps: Iterable[Heap] = (messages,)
        if len(self.pieces) < self.patience.pieces:
            heaps = self.ready if self.relay is None else (messages, small)
        found = [one for heap in heaps if heap and (one := top(heap, self._is_candidate)) is not None]
        return min(found, default=None, key=order_of)

    def barred(self) -> Pending | None:
        """The oldest piece that may go, of a file that is too large for a relay, while there are only relays."""
        if not self.ready[2] or self.relay is None:
            return None
        return top(self.ready[2], self._is_candidate)

    def _is_candidate(self, entry: Pending) -> bool:
        if entry.state is State.WAITING and entry.is_ready:
            if entry.line.is_sendable(entry, self.relay):
                return True
            entry.is_ready = False
            self._await_relay(entry, entry.line)
        return False

    def _await_relay(self, entry: Pending, line: TaskLine) -> None:
        """A cancellation that cannot pass by this route waits for the one that it can pass by."""
        gate = line.gate(entry) if entry.some.kind is Kind.CANCEL and line.head() is entry else None
        if gate is not None and may_pass(entry, gate):
            self._follow(line, gate.address)

    def _follow(self, line: TaskLine, address: str) -> None:
        if line.follows != address:
            if line.follows:
                waiting = self.followers[line.follows]
                del waiting[line.key]
                if not waiting:
                    del self.followers[line.follows]
            line.follows = address
            if address:
                self.followers.setdefault(address, {})[line.key] = line
