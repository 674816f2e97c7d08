"""The list of agents that can be sent tasks, and why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import anyio

from mcp_a2a.api.agents import AgentView, DiscoverRequest, DiscoverView
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.agents.startup_wait import Patience
from mcp_a2a.node.peers.agents import RemoteAgent, has_skill, speed
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.keyed_urls import Ways
from mcp_a2a.node.peers.lookups import Lookups
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.plurals import many
from mcp_a2a.protocol.naming import skeleton
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.protocol.text import preview
from mcp_a2a.store.database import Database
from mcp_a2a.store.records import peers_with_open_tasks


@dataclass(eq=False)
class Discovery:
    """Answers `discover`."""

    directory: Directory
    ways: Ways
    trust: TrustBook
    database: Database
    lookups: Lookups
    patience: Patience
    views: AgentViews

    @answers(DiscoverRequest)
    async def discover(self, request: DiscoverRequest) -> DiscoverView:
        """Agents that can be sent tasks; when none matches, why."""
        await self.patience.look_up()
        with anyio.move_on_after(request.settle_seconds):
            await self.patience.until(lambda: bool(request.query or request.skill) and self._is_there(request))
            while self.patience.is_dialling and not self._matching(request):
                await self.directory.changes.event().wait()
        await self.patience.clocks_are_heard()
        found = self._matching(request)
        shown = [self.views.view(peer) for peer in found[: request.limit]]
        if found:
            off = " ".join(self.views.clock_trouble())
            return DiscoverView(agents=self._told_apart(shown), total=len(found), reason=off or None)
        return DiscoverView(agents=(), total=0, reason=self._reason(request), on_offer=self._on_offer() or None)

    def _told_apart(self, agents: Sequence[AgentView]) -> tuple[AgentView, ...]:
        """The agents, with a word where another that we know has a name that looks the same."""
        named = [(peer.row.did, peer.name) for peer in self.directory]
        named += [(peer.url, peer.name) for peer in self.ways.alone()]
        looks = Counter(skeleton(self.views.called(key, name)) for key, name in named)
        return tuple(agent.model_copy(update={"look_alike": looks[skeleton(agent.name)] > 1}) for agent in agents)

    def _on_offer(self) -> tuple[str, ...]:
        """Skills of those who are there."""
        skills = {preview(skill.id, 64) for peer in self.directory.present() for skill in peer.skills}
        return tuple(sorted(skills)[:12])

    def _is_there(self, request: DiscoverRequest) -> bool:
        """True if a matching agent is present. A remembered agent that is away may still come online."""
        return any(agent.online or agent.counterpart == "http" for agent in self._matching(request))

    def _matching(self, request: DiscoverRequest) -> list[RemoteAgent]:
        """Agents that match: those with a key, and then those at URLs that are no further way to one of them."""
        expected = self.database.read(peers_with_open_tasks)
        sealed = self._best_first(request, (peer for peer in self.directory if self._is_listed(peer, expected)))
        keys = {agent.key for agent in sealed}
        return [*sealed, *self._best_first(request, (web for web in self.ways.alone() if web.signer not in keys))]

    def _is_listed(self, peer: Peer, expected: Container[str]) -> bool:
        if peer.row.trust == "blocked":
            return False
        is_known = self.trust.of(peer) in ("trusted", "member") or peer.key in expected
        return is_known or (peer.online and peer.advert is not None)

    def _best_first(self, request: DiscoverRequest, agents: Iterable[RemoteAgent]) -> list[RemoteAgent]:
        """Those of the agents that match: the ones that are online, that match best, and that are fast come first."""
        skill = (request.skill or "").strip()
        offering = [agent for agent in agents if not skill or has_skill(agent, skill)]
        scores = {agent.key: _score(self._words(agent), request.query) for agent in offering}
        found = [agent for agent in offering if scores[agent.key]]
        return sorted(found, key=lambda agent: (not agent.online, -scores[agent.key], speed(agent), agent.name))

    def _words(self, agent: RemoteAgent) -> str:
        """The words that a query is matched with; the alias too."""
        skills = (f"{one.id} {one.name} {one.description} {' '.join(one.tags)}" for one in agent.skills)
        description = agent.card.description if agent.card is not None else ""
        return " ".join((self.views.called(agent.key, ""), agent.names, description, *skills)).casefold()

    def _reason(self, request: DiscoverRequest) -> str:
        return " ".join((*self.views.clock_trouble(), self._why_none(request)))

    def _why_none(self, request: DiscoverRequest) -> str:
        present = self.directory.present()
        if present and (request.query or request.skill):
            visible = many(len(present), "agent is", "agents are")
            return f"{visible} visible, but none matches. Leave the filter out to see all."
        off = [f"{name} is {state}" for name, state in self.lookups.states.items() if state != "on"]
        missing = self._missing()
        looked = ", ".join(self.lookups.looked(how=not missing)) or "nowhere"
        trouble = f" {'; '.join(off)}." if off else ""
        return (
            f"No other agent is running here or answers on this network (looked: {looked}).{missing}{trouble} "
            "Start one with `mcp-a2a agent exec --name rev --skill reverse -- rev`, name one with "
            "`mcp-a2a peers add HOST:PORT` (or the URL of an A2A agent), or "
            "join the network of those that are elsewhere with `mcp-a2a join`."
        )

    def _missing(self) -> str:
        if "mdns" not in self.lookups.states:
            return " LAN discovery (mDNS) is switched off."
        if any(isinstance(address, DirectAddr) for address in self.lookups.own_addresses):
            return ""
        return " This machine is on no network at the moment: only agents on it are found."


def _score(text: str, query: str | None) -> int:
    """The number of words of the query in the agent's name, description and skills; without a query all match."""
    words = (query or "").casefold().split()
    return sum(word in text for word in words) if words else 1
