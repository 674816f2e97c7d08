"""The choice of the agent for a task that is sent to a skill, with its reason.

First the agents that a person knows: own, trusted, members, added. One of them that is away keeps the work until it is
back; a stranger that is there does not get it instead. Only where none of them has the skill are strangers asked for:
those that a person allowed, and else one of the others, by a question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mcp_a2a.api.tasks import SendTaskBySkillRequest
from mcp_a2a.errors.agents import ConsentDeclinedError, SkillNotFoundError
from mcp_a2a.node.agents.search import Search
from mcp_a2a.node.agents.startup_wait import Patience
from mcp_a2a.node.peers.agents import RemoteAgent, has_skill, speed
from mcp_a2a.node.peers.consent import ConsentBook, Standing, shown_key
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.protocol.web_url import shown_url

_WHO = {"own": "one of your own agents", "trusted": "you trust it", "member": "in a network with you"}
_RANK = {"own": 0, "trusted": 0, "member": 1}


@dataclass(frozen=True)
class Candidate:
    """An agent that has the skill, and why it is where it is in the list."""

    agent: RemoteAgent
    why: str

    @property
    def chosen(self) -> str:
        """Why it was chosen, as it is kept with the task."""
        return f"{self.agent.name}: {self.why}"


@dataclass(eq=False)
class Selector:
    """Finds the agents for a task by skill."""

    directory: Directory
    trust: TrustBook
    consent: ConsentBook
    search: Search
    patience: Patience

    async def select(self, request: SendTaskBySkillRequest) -> Sequence[Candidate]:
        """The agents that may get this work, best first: all with a key, or all at URLs.

        Raises:
            SkillNotFoundError: no agent has the skill.
            ConsentNeededError, ConsentDeclinedError: only strangers have it, and a person has to allow one first.
        """
        is_known = self.consent.is_known
        await self.patience.until(lambda: any(peer.online for peer in self._with_skill(request.skill, is_known)))
        for accepted in (is_known, lambda _: True):
            selection = await self._cleared(request, accepted)
            if selection:
                return selection
        raise SkillNotFoundError(request.skill, self.search.closest_skills(request.skill))

    async def _cleared(
        self, request: SendTaskBySkillRequest, accepted: Callable[[RemoteAgent], bool]
    ) -> Sequence[Candidate]:
        """Those of the accepted that may have it unasked; empty where there are none at all."""
        best_of_all = self._best(request, accepted)
        if not best_of_all or request.consent != "ask":
            return best_of_all
        cleared = self._best(request, lambda agent: accepted(agent) and self._standing(agent, request) == "allowed")
        if cleared:
            return cleared
        undecided = self._best(request, lambda agent: accepted(agent) and self._standing(agent, request) == "open")
        best = (undecided or best_of_all)[0].agent
        await self.consent.check(best, request)
        raise ConsentDeclinedError(best.key, shown_key(best.key))

    def _standing(self, agent: RemoteAgent, request: SendTaskBySkillRequest) -> Standing:
        consent = self.consent
        standings = (consent.text(agent), consent.files(agent) if request.files else "allowed")
        return "declined" if "declined" in standings else "open" if "open" in standings else "allowed"

    def _best(self, request: SendTaskBySkillRequest, accepted: Callable[[RemoteAgent], bool]) -> Sequence[Candidate]:
        """The accepted agents: those online that are known by key, else those at URLs, else those that are offline."""
        found = self._with_skill(request.skill, accepted)
        present = [peer for peer in found if peer.online]
        web = [peer for peer in self.search.web_candidates(request.skill) if accepted(peer)]
        if web and not present:
            return [Candidate(peer, f"it offers this skill at {shown_url(peer.url)}") for peer in web]
        candidates = present or found
        candidates.sort(key=lambda peer: (_RANK.get(self.trust.of(peer), 2), speed(peer), peer.name))
        return [Candidate(peer, self._why(peer, len(candidates))) for peer in candidates]

    def _with_skill(self, skill: str, accepted: Callable[[Peer], bool]) -> list[Peer]:
        return [
            peer for peer in self.directory if peer.row.trust != "blocked" and has_skill(peer, skill) and accepted(peer)
        ]

    def _why(self, peer: Peer, count: int) -> str:
        known = self.consent.is_known(peer)
        trust = _WHO.get(self.trust.of(peer), "you added it" if known else "a stranger that you allowed")
        which = f"{'the only agent' if count == 1 else f'best of {count}'} with this skill"
        if not peer.online:
            return f"{which}; {trust}; not reachable now, so the task waits for it"
        speed = f", answers in {peer.rtt_seconds * 1000:.1f} ms" if peer.rtt_seconds is not None else ""
        return f"{which}; {trust}{speed}"
