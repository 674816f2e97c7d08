"""The deadlines: messages whose turn it is, answers that do not come, copies and files that wait in vain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mcp_a2a.node.delivery.contact import Contact
from mcp_a2a.node.delivery.decide import pause_for_clock
from mcp_a2a.node.delivery.events import MergeWanted, MessageExpired, ProbeWanted, RedateWanted
from mcp_a2a.node.delivery.expiry import fits, is_over
from mcp_a2a.node.delivery.model import At, Block, Fault, Obstacle, Send
from mcp_a2a.node.delivery.peer_queue import PeerQueue
from mcp_a2a.node.delivery.pending import Pending, TaskLine
from mcp_a2a.node.delivery.waiting import Due, Waiting
from mcp_a2a.protocol.replay import MAX_CLOCK_SKEW_SECONDS

TOO_LARGE_FOR_RELAY = "file_too_large_for_relay"
FILE_LOST = "file_lost"
"""Codes of refusals that are not the recipient's: this node gives up."""


class Schedule:
    """Turns the passing of time into sends and events."""

    def __init__(self, waiting: Waiting, contact: Contact, first_number: int, since: float) -> None:
        self._waiting, self._contact = waiting, contact
        self._first_number, self._since = first_number, since

    def touch(self, peer: PeerQueue, at: At) -> None:
        """Something about a destination has changed."""
        if any(peer.ready) or peer.mergeable:
            self._waiting.active[peer.key] = peer
        if peer.patience.look is not None:
            self._contact.look(peer, at)
        if not peer.routes:
            self._contact.reach(peer, at)

    # --- sending

    def sends(self, peer: PeerQueue, at: At, most: int) -> list[Send]:
        """The messages for one destination now, in order. It stays active if there may be more."""
        sends: list[Send] = []
        if peer.best is None or peer.paused_until > at.ticks:
            return sends
        if at.ticks < peer.slow_until:
            self._ask_to_merge(peer)
        while (entry := peer.next()) is not None:
            if len(sends) == most:
                self._waiting.wake(peer)
                return sends
            route = peer.route_for(entry)
            if route is not None and self._is_dated(entry, at):
                peer.offer(entry, route, at.ticks)
                sends.append(Send(entry.some.id, peer.key, route, entry.anew))
        if peer.ready[2]:
            self._waiting.bar(peer)
        return sends

    def _is_dated(self, entry: Pending, at: At) -> bool:
        """True if the dates of a message fit the clock; where they do not, it waits for others.

        One of an earlier run may be as old as it says, if the machine was off since: it waits until the clock is
        confirmed.
        """
        some = entry.some
        if entry.as_is or fits(some, at):
            return True
        if is_over(some, at):  # its deadline was to be seen later, since time passed while no process ran
            self.expire(at)
            return False
        is_doubted = at.wall - at.sound > MAX_CLOCK_SKEW_SECONDS
        is_earlier = some.n < self._first_number and some.kept < self._since
        if at.wall >= some.expires and is_doubted and is_earlier:
            peer = self._waiting.peer_of(entry)
            entry.stale_since = at.uptime
            peer.stale[some.id] = entry
            self._waiting.wait(entry, at, peer.patience.doubted)
            obstacle = Obstacle(Block.CLOCK_DOUBTED, seconds=peer.patience.doubted)
            self._waiting.set_obstacle(entry, obstacle)
            self._waiting.block(peer, obstacle)
        else:
            entry.redating = True
            self._waiting.events.append(RedateWanted(some.id))
        return False

    def _ask_to_merge(self, peer: PeerQueue) -> None:
        """Have updates of a task that wait made into one: a relay takes fewer messages than there are."""
        for line in peer.mergeable.values():
            if line.unmerged and not line.merging and len(line.updates) > 1:
                line.merging, line.unmerged = True, False
                ids = sorted(line.updates, key=lambda one: line.updates[one].order)
                self._waiting.events.append(MergeWanted(peer.key, line.key, tuple(ids)))
        peer.mergeable.clear()

    # --- what the shell makes of messages

    def redate(self, entry: Pending, dates: tuple[float, float] | None, at: At) -> None:
        """The dates of a message are `created` and `expires` now, or there are no better ones."""
        peer, was_judged = self._waiting.peer_of(entry), entry.judged
        entry.redating = entry.judged = False
        if dates is not None:
            entry.some, entry.anew = replace(entry.some, created=dates[0], expires=dates[1]), True
            self._waiting.expiry.remove(entry)
            self._waiting.expiry.add(entry)
        elif was_judged:
            pause_for_clock(self._waiting, entry, at)
        entry.as_is = True  # once: what was just dated is not dated again before it has gone
        peer.refresh(entry.line)
        self.touch(peer, at)

    def merge(self, peer: PeerQueue, line: TaskLine, merged: Mapping[str, Sequence[str]], at: At) -> None:
        """Updates have absorbed others. Each waits as long as the longest pause of them."""
        line.merging, is_unmerged = False, line.unmerged
        for kept, absorbed in merged.items():
            entry, others = line.updates.get(kept), [line.updates[one] for one in absorbed if one in line.updates]
            if entry is None or kept in absorbed:
                continue
            due = max(self._waiting.timers.due(one, at.ticks) for one in (entry, *others))
            for one in others:
                self._waiting.remove(one)
            entry.anew = True
            self._waiting.wait(entry, at, due - at.ticks)
        line.unmerged = is_unmerged
        peer.refresh(line)
        self.touch(peer, at)

    # --- deadlines

    def handle_timeout(self, at: At) -> None:
        """Time has passed."""
        silent: dict[PeerQueue, set[int]] = {}
        for owner in self._waiting.timers.pop_all(at.ticks):
            if owner is None:
                self.expire(at)
            elif isinstance(owner, Pending):
                if owner.is_flying and owner.route is not None and self._is_silent(owner, at):
                    silent.setdefault(self._waiting.peer_of(owner), set()).add(owner.route.id)
                self._waiting.resume(owner, at)
            elif self._waiting.peers.get(owner[0].key) is owner[0]:
                self._handle_due(*owner, at)
        for peer, routes in silent.items():
            self._probe(peer, routes)

    def _is_silent(self, entry: Pending, at: At) -> bool:
        """True if the other end of a route is to give a sign of life. What is lost for certain is sent again."""
        patience = self._waiting.peer_of(entry).patience
        if at.ticks >= entry.since + (patience.piece_answer if entry.is_piece else patience.answer):
            self._waiting.wait(entry, at)
            return False
        is_silent = at.ticks >= max(entry.since, entry.probed_at) + patience.probe
        if is_silent:
            entry.probed_at = at.ticks
        self._waiting.watch(entry)
        return is_silent

    def _probe(self, peer: PeerQueue, silent: set[int]) -> None:
        """With a direct route, probe all direct ones: what is not answered on the one would go by the next."""
        is_direct = any(not peer.routes[one].is_relayed for one in silent if one in peer.routes)
        for route in peer.routes.values():
            if route.id in silent or (is_direct and not route.is_relayed):
                self._waiting.events.append(ProbeWanted(peer.key, route))

    def _handle_due(self, peer: PeerQueue, due: Due, at: At) -> None:
        match due:
            case Due.REROUTE:
                self.reroute(peer, at)
            case Due.BARRED:
                self._give_up_barred(peer, at)
            case Due.DIAL | Due.LOOK | Due.FULL:
                pass  # the pause is over
        self.touch(peer, at)

    def reroute(self, peer: PeerQueue, at: At) -> None:
        """Do not wait for long for copies at relays that are out of reach, or that a direct route makes needless."""
        if not peer.stored:
            self._waiting.timers.cancel((peer, Due.REROUTE))
            return
        earliest = math.inf
        for address in self._needless(peer):
            copies = peer.stored[address]
            while copies:
                entry = next(iter(copies.values()))
                due = entry.since + peer.patience.reroute
                if due > at.ticks:
                    earliest = min(earliest, due)
                    break
                self._waiting.wait(entry, at)
        self._waiting.timers.set((peer, Due.REROUTE), earliest)

    def _needless(self, peer: PeerQueue) -> list[str]:
        """Addresses of relays whose copies another route can make up for."""
        if peer.best is None:
            return []
        reachable = {route.address for route in peer.routes.values()} if peer.best.is_relayed else set()
        return [address for address in peer.stored if address not in reachable]

    def _give_up_barred(self, peer: PeerQueue, at: At) -> None:
        """Files that no relay takes wait a while for a direct route, and not for ever."""
        while (piece := peer.barred()) is not None:
            if max(piece.since, peer.relayed_since) + peer.patience.barred > at.ticks:
                return
            self._waiting.refuse(piece, TOO_LARGE_FOR_RELAY)

    def expire(self, at: At) -> None:
        """Messages whose lifetime is over leave the queue."""
        for entry in self._waiting.expiry.over(at):
            peer = self._waiting.peer_of(entry)
            self._waiting.remove(entry)
            self._waiting.events.append(MessageExpired(entry.some.id))
            self.touch(peer, at)
        self._waiting.timers.set(None, at.ticks + self._waiting.expiry.wait(at))

    def lose_file(self, entry: Pending) -> None:
        """A file that was to be sent is gone."""
        self._waiting.refuse(entry, FILE_LOST)

    def stop_sending(self, peer: PeerQueue, fault: Fault, at: At) -> None:
        """A destination gets nothing for a moment: its route takes no more, or no key of it is valid."""
        peer.paused_until = at.ticks + peer.patience.full
        self._waiting.timers.set((peer, Due.FULL), peer.paused_until)
        if fault is Fault.KEY_NOT_VALID:
            self._waiting.block(peer, Obstacle(Block.KEY_NOT_VALID))
