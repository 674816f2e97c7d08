"""The clocks of a node: the wall clock it dates by, the sound time it deletes by, and what other clocks say of both.

A refusal because of a clock names whose clock is off and by how much. What tells that is the signed date of messages
that came over a direct link just now, and the difference that a refusal names; it is kept in memory only.
"""

from __future__ import annotations

from collections.abc import Callable

from mcp_a2a.plurals import many
from mcp_a2a.protocol.aging import Aging, Mark
from mcp_a2a.protocol.clock_evidence import AGREEMENT_SECONDS, MAX_WITNESSES, Witnesses
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.replay import length_of

JUMP_SECONDS = 30.0
"""A change of the wall clock against the uptime that is no drift."""

MAX_NAMED = 3
"""Agents that are named for their clocks in one answer."""

Name = Callable[[PeerId], str]


class Clocks:
    """Reads the wall clock and the uptime together."""

    def __init__(
        self, wall_clock: Callable[[], float], uptime: Callable[[], float], mark: Mark | None = None, boot: str = ""
    ) -> None:
        self._wall_clock = wall_clock
        self.uptime = uptime
        wall, up = wall_clock(), uptime()
        self._aging = Aging(wall, up, mark, boot)
        self._offset = wall - up
        self.witnesses = Witnesses()
        self.refused: dict[PeerId, int] = {}
        """The number of messages of each peer that were refused because of a clock."""
        self.on_jump: Callable[[float], None] = lambda _: None
        """Called when the wall clock was set, with by how many seconds."""
        self.on_testimony: Callable[[PeerId], None] = lambda _: None
        """Called when a peer's clock is known for the first time, or was set."""

    def now(self) -> float:
        """The wall clock. What we make is dated by it."""
        wall = self._wall_clock()
        if abs(wall - self.uptime() - self._offset) > JUMP_SECONDS:
            self._jumped(wall - self.uptime())
        return wall

    def all(self) -> tuple[float, float, float]:
        """The wall clock, the sound time and the uptime, each read once."""
        wall, up = self._wall_clock(), self.uptime()
        if abs(wall - up - self._offset) > JUMP_SECONDS:
            self._jumped(wall - up)
        return wall, self._aging.read(wall, up, self.witnesses.verdict(wall, up)), up

    def _jumped(self, offset: float) -> None:
        """The wall clock was set."""
        jump, self._offset = offset - self._offset, offset
        self.refused.clear()
        self.on_jump(jump)

    def _read(self) -> Aging:
        self.all()
        return self._aging

    def stamp(self) -> float:
        """The time with which to date an event for its later deletion (`protocol.aging`)."""
        return self._read().stamp

    def aged(self) -> float:
        """The time by which to delete: a thing that has expired by then may go (`protocol.aging`)."""
        wall, sound, _ = self.all()
        return min(wall, sound)

    def judging(self) -> tuple[float, float]:
        """The wall clock, and by which time the end of a message is judged."""
        return self.all()[0], self._aging.judging

    def sound(self) -> float:
        """The time that neither jumps nor goes back, unless other machines say that it was wrong."""
        return self.all()[1]

    def since(self) -> float:
        """The sound time from which on dates are reliable: a record dated later is as old as its date says."""
        return self._read().since

    def mark(self) -> Mark:
        """To be kept for the next start."""
        return self._read().mark

    # --- other clocks ----------------------------------------------------------------------------

    def hear(self, peer: PeerId, their_time: float, *, counts: bool = False) -> None:
        """Compare a peer's clock with ours. `counts`: the peer is known and runs on a machine other than ours."""
        if self.witnesses.hear(peer, their_time, self.uptime(), counts=counts):
            self.on_testimony(peer)

    def is_heard(self, peer: PeerId) -> bool:
        """True if it is known what a peer's clock shows."""
        return self.witnesses.difference(peer, 0.0, 0.0) is not None

    def refuse(self, peer: PeerId) -> None:
        """A message of this peer was not taken because of a clock."""
        self.refused[peer] = self.refused.pop(peer, 0) + 1
        if len(self.refused) > MAX_WITNESSES:
            del self.refused[next(iter(self.refused))]  # keys cost nothing

    def blame(self, peer: PeerId) -> str:
        """A sentence about a difference between a peer's clock and ours; empty if they agree."""
        wall, up = self.now(), self.uptime()
        difference = self.witnesses.difference(peer, wall, up)
        if difference is None or abs(difference) <= AGREEMENT_SECONDS:
            return ""
        return f"its clock is {_apart(difference)} this machine's; {self._standing(wall, up)}"

    def trouble(self, name: Name) -> tuple[str, ...]:
        """Sentences for people about clocks that differ; none while all agree."""
        wall, up = self.now(), self.uptime()
        apart = self._apart(wall, up)
        if not apart:
            return ()
        said = []
        for peer, difference in list(apart.items())[:MAX_NAMED]:
            count = self.refused.get(peer, 0)
            not_taken = f"; {many(count, 'message from it was', 'messages from it were')} not accepted" if count else ""
            said.append(f"The clock of {name(peer)} is {_apart(difference)} this machine's{not_taken}.")
        if len(apart) > MAX_NAMED:
            said.append(f"So are those of {many(len(apart) - MAX_NAMED, 'other agent')}.")
        standing = self._standing(wall, up)
        return (*said, f"{standing[:1].upper()}{standing[1:]}.")

    def _apart(self, wall: float, up: float) -> dict[PeerId, float]:
        differences = self.witnesses.differences(wall, up)
        apart = {peer: seconds for peer, seconds in differences.items() if abs(seconds) > AGREEMENT_SECONDS}
        return dict(sorted(apart.items(), key=lambda item: (-self.refused.get(item[0], 0), -abs(item[1]))))

    def _standing(self, wall: float, up: float) -> str:
        """A sentence about our own clock among the others."""
        differences = self.witnesses.differences(wall, up).values()
        off = [seconds for seconds in differences if abs(seconds) > AGREEMENT_SECONDS]
        agreeing = len(differences) - len(off)
        if len(off) > max(1, agreeing):
            typical = sorted(off)[len(off) // 2]
            return (
                f"this machine's clock seems to be {length_of(typical)} {'behind' if typical > 0 else 'ahead'}: "
                f"{len(off)} agents disagree with it"
            )
        if agreeing:
            return f"this machine's clock agrees with {many(agreeing, 'other agent')}"
        behind = self._aging.sound - wall
        if abs(behind) > AGREEMENT_SECONDS:
            return f"this machine's clock was set {'back' if behind > 0 else 'ahead'} by {length_of(behind)}"
        return "no other agent says which of the two is right"


def _apart(difference: float) -> str:
    return f"{length_of(difference)} {'ahead of' if difference > 0 else 'behind'}"
