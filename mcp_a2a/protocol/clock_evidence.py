"""Evidence of the clocks of other machines about ours.

Every payload carries when its sender made it, signed. One that was made just now tells the sender's clock; kept
relative to our uptime it goes on telling it, also when our own wall clock jumps. Two or more that count must agree
before our clock is believed for anything that cannot be taken back: one peer may lie, and those of this machine share
its clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.protocol.did import PeerId

AGREEMENT_SECONDS = 600.0
"""Clocks that differ by no more agree."""

MAX_WITNESSES = 256

MIN_AGREEING = 2


@dataclass(frozen=True, slots=True)
class Testimony:
    """A peer's clock: its time of day when our uptime was zero."""

    start: float
    counts: bool
    """True if the peer is a known one, on another machine."""


class Witnesses:
    """The newest testimony of each peer."""

    def __init__(self) -> None:
        self._heard: dict[PeerId, Testimony] = {}
        """The one that was heard longest ago first."""

    def hear(self, peer: PeerId, their_time: float, uptime: float, *, counts: bool) -> bool:
        """A peer's clock showed `their_time` just now; True if that is news."""
        known = self._heard.pop(peer, None)
        said = self._heard[peer] = Testimony(their_time - uptime, counts)
        while len(self._heard) > MAX_WITNESSES:
            del self._heard[self._least()]
        return known is None or abs(known.start - said.start) > AGREEMENT_SECONDS / 10

    def _least(self) -> PeerId:
        """The peer to forget first: the oldest of those that do not count. A stranger may have any number of keys."""
        return next((peer for peer, said in self._heard.items() if not said.counts), next(iter(self._heard)))

    def difference(self, peer: PeerId, wall: float, uptime: float) -> float | None:
        """By how many seconds a peer's clock is ahead of ours; None if it was not heard."""
        said = self._heard.get(peer)
        return None if said is None else said.start - (wall - uptime)

    def differences(self, wall: float, uptime: float) -> dict[PeerId, float]:
        """By how much each clock that was heard is ahead of ours."""
        return {peer: said.start - (wall - uptime) for peer, said in self._heard.items()}

    def verdict(self, wall: float, uptime: float) -> bool | None:
        """True if other peers confirm our clock, False if they contradict it, None if too few of them count."""
        agreeing = differing = 0
        for said in self._heard.values():  # a loop, since this is asked with every message
            if said.counts and abs(said.start - (wall - uptime)) <= AGREEMENT_SECONDS:
                agreeing += 1
            elif said.counts:
                differing += 1
        if differing > agreeing:
            return False
        return True if agreeing >= MIN_AGREEING and agreeing > differing else None
