"""Which agent gets the work that is sent to a skill, and why.

First the agents that a person knows: own, trusted, members, added. One of them that is away keeps the work until it is
back; a stranger that is there does not get it instead. Only where none of them has the skill are strangers asked for:
those that a person allowed, and else one of the others, by a question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mcp_a2a.api.tasks import SendTaskBySkillRequest
from mcp_a2a.errors.agents import ConsentDeclinedError, SkillNotFoundError
from mcp_a2a.node.agents.patience import Patience
from mcp_a2a.node.agents.search import Search
from mcp_a2a.node.peers.consent import ConsentBook, Standing, key_of, shown_key
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.peers.web_peer import WebPeer

_WHO = {"own": "one of your own agents", "trusted": "you trust it", "member": "in a network with you"}
_RANK = {"own": 0, "trusted": 0, "member": 1}


@dataclass(frozen=True)
class Candidate:
    """An agent that has the skill, and why it is where it is in the list."""

    peer: Peer
    why: str

    @property
    def chosen(self) -> str:
        """Why it was chosen, as it is kept with the task."""
        return f"{self.peer.name}: {self.why}"


@dataclass(frozen=True)
class Selection:
    """The agents to try, best first: those with a key, or those at URLs."""

    keys: Sequence[Candidate] = ()
    web: Sequence[WebPeer] = ()

    @property
    def first(self) -> Peer | WebPeer:
        """The best of them."""
        return self.keys[0].peer if self.keys else self.web[0]


class Selector:
    """Finds them."""

    def __init__(
        self, directory: Directory, trust: TrustBook, consent: ConsentBook, search: Search, patience: Patience
    ) -> None:
        self._directory = directory
        self._trust = trust
        self._consent = consent
        self._search = search
        self._patience = patience

    async def select(self, request: SendTaskBySkillRequest) -> Selection:
        """The agents that may get this work.

        Raises:
            SkillNotFoundError: no agent has the skill.
            ConsentNeededError, ConsentDeclinedError: only strangers have it, and a person has to allow one first.
        """
        is_known = self._consent.is_known
        await self._patience.until(lambda: any(peer.online for peer in self._with_skill(request.skill, is_known)))
        for accepted in (is_known, lambda _: True):
            selection = await self._cleared(request, accepted)
            if selection is not None:
                return selection
        raise SkillNotFoundError(request.skill, self._search.closest_skills(request.skill))

    async def _cleared(
        self, request: SendTaskBySkillRequest, accepted: Callable[[Peer | WebPeer], bool]
    ) -> Selection | None:
        """Those of the accepted that may have it unasked; None where there are none at all."""
        best_of_all = self._best(request, accepted)
        if best_of_all is None or request.consent != "ask":
            return best_of_all
        cleared = self._best(request, lambda agent: accepted(agent) and self._standing(agent, request) == "allowed")
        if cleared is not None:
            return cleared
        undecided = self._best(request, lambda agent: accepted(agent) and self._standing(agent, request) == "open")
        best = (undecided or best_of_all).first
        await self._consent.check(best, request)
        raise ConsentDeclinedError(key_of(best), shown_key(key_of(best)))

    def _standing(self, agent: Peer | WebPeer, request: SendTaskBySkillRequest) -> Standing:
        consent = self._consent
        standings = (consent.text(agent), consent.files(agent) if request.files else "allowed")
        return "declined" if "declined" in standings else "open" if "open" in standings else "allowed"

    def _best(self, request: SendTaskBySkillRequest, accepted: Callable[[Peer | WebPeer], bool]) -> Selection | None:
        """The accepted agents: those online that are known by key, else those at URLs, else those that are offline."""
        found = self._with_skill(request.skill, accepted)
        present = [peer for peer in found if peer.online]
        web = [peer for peer in self._search.web_candidates(request.skill) if accepted(peer)]
        if web and not present:
            return Selection(web=web)
        candidates = present or found
        candidates.sort(key=lambda peer: (_RANK.get(self._trust.of(peer), 2), _rtt(peer), peer.name))
        keys = [Candidate(peer, self._why(peer, len(candidates))) for peer in candidates]
        return Selection(keys=keys) if keys else None

    def _with_skill(self, skill: str, accepted: Callable[[Peer], bool]) -> list[Peer]:
        wanted = skill.strip().casefold()
        return [
            peer
            for peer in self._directory
            if peer.row.trust != "blocked"
            and any(wanted in (offered.id.casefold(), offered.name.casefold()) for offered in peer.skills)
            and accepted(peer)
        ]

    def _why(self, peer: Peer, count: int) -> str:
        known = self._consent.is_known(peer)
        trust = _WHO.get(self._trust.of(peer), "you added it" if known else "a stranger that you allowed")
        which = f"{'the only agent' if count == 1 else f'best of {count}'} with this skill"
        if not peer.online:
            return f"{which}; {trust}; not reachable now, so the task waits for it"
        link = peer.link
        speed = f", answers in {_rtt(peer) * 1000:.1f} ms" if link and link.rtt_seconds is not None else ""
        return f"{which}; {trust}{speed}"


def _rtt(peer: Peer) -> float:
    rtt = peer.link.rtt_seconds if peer.link else None
    return rtt if rtt is not None else 10.0
