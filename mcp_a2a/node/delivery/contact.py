"""The times at which to open a route to a destination, and to look at its open task."""

from __future__ import annotations

import math

from mcp_a2a.node.delivery.events import DialWanted, LookGivenUp, LookWanted
from mcp_a2a.node.delivery.model import At, Fault, Looked
from mcp_a2a.node.delivery.peer_queue import PeerQueue
from mcp_a2a.node.delivery.waiting import Due, Waiting

LONG_AGO = 64
"""Looks that showed nothing, as far as the pause goes that follows."""


class Contact:
    """Keeps in touch with the destinations that something waits for or an answer is awaited of."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    # --- routes

    def reach(self, peer: PeerQueue, at: At) -> None:
        """Ask for a route where one is needed and the pause is over; forget a destination that needs none."""
        if peer.routes or peer.dialing:
            return  # a deadline that is set does no harm
        if not (peer.entries or peer.attended):
            self._forget(peer)
        elif peer.dial_at > at.ticks:
            self._waiting.timers.set((peer, Due.DIAL), peer.dial_at)
        else:
            peer.dialing = True
            self._waiting.events.append(DialWanted(peer.key))

    def failed(self, peer: PeerQueue, at: At) -> None:
        """A route could not be opened, or was closed: the second time in a row not before a pause."""
        peer.failures += 1
        peer.dial_at = at.ticks
        if peer.failures > 1:
            backoff = peer.patience.dial if peer.entries else peer.patience.away
            peer.dial_at += backoff.pause(peer.failures - 1, self._waiting.chance())
        self.reach(peer, at)

    def hurry(self, peer: PeerQueue, at: At) -> None:
        """Try now, not after the pause."""
        if not peer.routes:
            peer.failures = 0
            peer.dial_at = at.ticks
            self.reach(peer, at)

    def _forget(self, peer: PeerQueue) -> None:
        for due in Due:
            self._waiting.timers.cancel((peer, due))
        self._waiting.peers.pop(peer.key, None)
        self._waiting.active.pop(peer.key, None)

    # --- looks at an open task

    def look(self, peer: PeerQueue, at: At) -> None:
        """Ask for a look, or set the time of the next one. While a message waits there is none: its answer tells."""
        if peer.patience.look is None or not peer.attended or peer.entries or not peer.routes or peer.looking:
            return  # a deadline that is set does no harm
        if peer.look_at > at.ticks:
            self._waiting.timers.set((peer, Due.LOOK), peer.look_at)
        else:
            peer.looking = True
            self._waiting.events.append(LookWanted(peer.key))

    def rest(self, peer: PeerQueue, at: At) -> None:
        """Set the time of the next look, by how many have shown nothing. A stream is begun at once."""
        if peer.patience.look is not None:
            is_first = not (peer.looks or peer.broke or peer.slow) and peer.best is not None and peer.best.streams
            pause = peer.patience.look.pause(LONG_AGO if peer.slow else peer.looks, self._waiting.chance())
            peer.look_at = at.ticks + (0.0 if is_first else pause)
        self.look(peer, at)

    def looked(self, peer: PeerQueue, outcome: Looked | Fault, retry_after: float, at: At) -> None:
        """Take the outcome of a look."""
        peer.looking = False
        if isinstance(outcome, Fault):
            self._look_failed(peer, outcome, retry_after, at)
            return
        peer.failures = peer.nonsense = 0
        peer.looks = 0 if outcome is Looked.NEWS else peer.looks + 1
        peer.broke = peer.broke and outcome is not Looked.NEWS
        if peer.broke and peer.looks >= peer.patience.limits.get(Fault.BROKE, math.inf):
            self._give_up(peer, Fault.BROKE, at)
        else:
            self.rest(peer, at)

    def _look_failed(self, peer: PeerQueue, fault: Fault, retry_after: float, at: At) -> None:
        if fault is Fault.BROKE:  # the agent says so while the task goes on
            peer.broke = True
            self.rest(peer, at)
            return
        peer.failures += 1
        if fault is not Fault.UNREACHABLE:
            peer.nonsense += 1
            if peer.nonsense >= peer.patience.limits.get(fault, math.inf):
                self._give_up(peer, fault, at)
                return
        pause = peer.patience.retry.pause(peer.failures, self._waiting.chance())
        peer.look_at = at.ticks + max(pause, min(retry_after, peer.patience.longest))
        self.look(peer, at)

    def _give_up(self, peer: PeerQueue, fault: Fault, at: At) -> None:
        peer.attended = False
        self._waiting.events.append(LookGivenUp(peer.key, fault))
        self.reach(peer, at)
