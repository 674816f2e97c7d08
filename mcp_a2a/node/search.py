"""Finding the agent that is meant: by name, by skill, by words; with patience while the node or an agent is new."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence

import anyio

from mcp_a2a.api.agents import AgentView, DiscoverRequest, DiscoverView
from mcp_a2a.errors import AmbiguousNameError, KeyChangedError, PeerNotFoundError, SelfSendError
from mcp_a2a.node.context import wait_until
from mcp_a2a.node.directory import Peer
from mcp_a2a.node.handlers import answers
from mcp_a2a.node.node import Node
from mcp_a2a.node.web_peer import LAN, WebPeer
from mcp_a2a.plurals import many
from mcp_a2a.protocol.model import AgentSkill
from mcp_a2a.protocol.naming import key_beginning, look_alike, same_name, skeleton
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.web_url import is_web, shown_url
from mcp_a2a.store.records import peers_with_open_tasks

SETTLE_LOCAL_SECONDS = 0.3
SETTLE_LAN_SECONDS = 1.6
SETTLE_RELAY_SECONDS = 1.8
"""How long after its start a node may not have heard of everybody yet (an mDNS answer takes up to 1.2 s)."""

SETTLE_DIALLING_SECONDS = 3.0
"""The same, while somebody who was seen is being dialled: on a busy machine a handshake takes its time. A node of any
age waits so long for an agent that came just now and has not said yet what it is called."""

YOUNG_SECONDS = 3.0
GREETING_SECONDS = 0.5
"""So long after a start, and for so long, those who are there may not have said yet what their clock shows."""

LOOK_UP_SECONDS = 1.0
"""How long a list of agents waits for those that it has to dial."""


class Search:
    """Questions about who is there."""

    def __init__(self, node: Node) -> None:
        self._node = node

    # --- one agent -------------------------------------------------------------------------------

    async def meant(self, asked: str, *, meet: bool = False) -> Peer | WebPeer:
        """The one agent that is meant, also one at a URL. With `meet` it need not be known before.

        A name of a URL that is a further way to an agent with a key means that agent, by its sealed way.

        Raises:
            PeerNotFoundError, AmbiguousNameError, KeyChangedError, AliasAlikeError, SelfSendError, WebError
        """
        asked, web = self._node.directory.aliases.meant(asked), self._node.web
        if is_web(asked):
            known = web.known(asked)
            if known is None and not meet:
                raise PeerNotFoundError(asked)
            return known or await web.find(asked)
        if asked.startswith("did:") or key_beginning(asked):
            return await self.find(asked)  # whoever is named like a key is not meant by it
        await self.patience(lambda: self._is_present(asked) or web.named(asked))
        others = [peer for peer in self._node.directory if look_alike(peer.name, asked)]
        every = web.named(asked)
        # Whoever shouts a name on the LAN does not get in the way of those who have it already.
        every = [peer for peer in every if peer.row.origin != LAN] or ([] if others else every)
        alike = self._node.ways.alone(every)
        by_card = self._called_by_card(asked, every)
        if by_card and not alike and not [peer for peer in others if peer not in by_card]:
            return self._only(asked, by_card)
        others += [peer for peer in by_card if peer not in others]
        if not by_card and not any(same_name(peer.name, asked) for peer in alike):
            return self._not_for([peer for peer in every if peer.is_typed], asked, await self.find(asked))
        if others or len(alike) > 1:
            listed = [(peer.row.did, peer.words) for peer in others]
            raise AmbiguousNameError(asked, [*listed, *((shown_url(peer.url), "at its URL") for peer in alike)])
        return alike[0]

    def _called_by_card(self, asked: str, webs: Sequence[WebPeer]) -> list[Peer]:
        """The agents with a key that have signed a card with this name, where they go by another among us."""
        signers = (self._node.ways.sealed(web) for web in webs if same_name(web.name, asked))
        return list(dict.fromkeys(peer for peer in signers if peer is not None and not same_name(peer.name, asked)))

    @staticmethod
    def _only(asked: str, found: Sequence[Peer]) -> Peer:
        if len(found) > 1:
            raise AmbiguousNameError(asked, [(peer.row.did, peer.words) for peer in found])
        return found[0]

    def _not_for(self, typed: Sequence[WebPeer], asked: str, found: Peer) -> Peer:
        """The agent, if it does not pass for one at a URL that a person has added."""
        other = next((web for web in typed if self._node.ways.sealed(web) is not found), None)
        if other is not None and self._node.trust.of(found) in ("stranger", "member"):
            raise KeyChangedError(asked, shown_url(other.url), found.row.did)
        return found

    async def find(self, asked: str) -> Peer:
        """The one agent with a key that is meant.

        Raises:
            PeerNotFoundError, AmbiguousNameError, KeyChangedError, SelfSendError
        """
        asked = self._node.directory.aliases.meant(asked)
        beginning = key_beginning(asked)
        if asked.strip() == "self" or (beginning and str(self._node.context.me).startswith(beginning)):
            raise SelfSendError(asked)
        await self.patience(lambda: self._is_present(asked))
        try:
            return self._node.directory.resolve(asked)
        except PeerNotFoundError as error:
            if await self._node.networks.find(beginning or asked.strip()):
                return self._node.directory.resolve(beginning or asked.strip())
            if same_name(asked, self._node.introduction.card.name):
                raise SelfSendError(asked) from None
            url = next((web.url for web in self._node.web if web.key == asked.strip()), None)
            if url is not None:
                error.hint = f"It is known by its URL alone, which is not sealed: to send there, name {shown_url(url)}."
                raise
            raise PeerNotFoundError(
                asked, error.closest, error.known, self._node.clock_trouble(), is_skill=self._is_skill(asked)
            ) from None

    def _is_skill(self, asked: str) -> bool:
        """Whether an agent that is known has a skill with this id."""
        everybody = (*self._node.directory, *self._node.web)
        return any(skill.id == asked.strip() for peer in everybody for skill in peer.skills)

    def _is_present(self, asked: str) -> bool:
        beginning = key_beginning(asked)
        return any(
            peer.online and (same_name(peer.name, asked) or (beginning and peer.row.did.startswith(beginning)))
            for peer in self._node.directory
        )

    async def patience(self, satisfied: Callable[[], object]) -> None:
        """Wait while the node is too young to know, or one that just came has no name, and nothing satisfies yet."""
        if satisfied():
            return
        self._node.look_now()
        # Others come and go as they like: that must not keep a caller waiting for longer.
        until = anyio.current_time() + SETTLE_DIALLING_SECONDS
        while not satisfied():
            remaining = min(max(self._youth(), self._newness()), until - anyio.current_time())
            if remaining <= 0:
                return
            await wait_until(self._node.directory.changes.event(), remaining)

    def _youth(self) -> float:
        """How much longer the node may not have heard of everybody."""
        settle = SETTLE_LAN_SECONDS if self._node.lookups.get("mdns") == "on" else SETTLE_LOCAL_SECONDS
        if not self._node.networks.settled:
            settle = SETTLE_RELAY_SECONDS
        if self._node.dialer.busy:
            settle = SETTLE_DIALLING_SECONDS
        return max(0.0, self._node.started + settle - anyio.current_time())

    def _newness(self) -> float:
        """How much longer an agent that came just now may take to say what it is called."""
        came_at = max((peer.came_at for peer in self._node.directory if peer.is_unnamed), default=float("-inf"))
        return max(0.0, came_at + SETTLE_DIALLING_SECONDS - anyio.current_time())

    # --- by skill --------------------------------------------------------------------------------

    def closest_skills(self, skill: str) -> list[str]:
        """Skills that are written almost so."""
        known = sorted({skill.id for peer in (*self._node.directory, *self._node.web) for skill in peer.skills})
        return difflib.get_close_matches(skill, known, n=3, cutoff=0.5)

    def web_candidates(self, skill: str) -> list[WebPeer]:
        """Agents at URLs with this skill: those that a person added first, and those that answered last time."""
        found = self._node.ways.alone(peer for peer in self._node.web if peer.has_skill(skill))
        return sorted(found, key=lambda peer: (not peer.is_typed, bool(peer.trouble), peer.name))

    async def look_up(self) -> None:
        """Whether those that no lookup sees are there, is only known by dialling them."""
        await self._node.dialer.look_up(self._node.directory, LOOK_UP_SECONDS)

    async def await_link(self, peer: Peer) -> None:
        """Give an agent that may just be dialled, as after a start of this node, the time in which it is reached."""
        with anyio.move_on_after(LOOK_UP_SECONDS):
            await self.patience(lambda: peer.online)

    # --- everybody -------------------------------------------------------------------------------

    @answers(DiscoverRequest)
    async def discover(self, request: DiscoverRequest) -> DiscoverView:
        """Agents that can be sent tasks; when none matches, why."""
        await self.look_up()
        with anyio.move_on_after(request.settle_seconds):
            await self.patience(lambda: bool(request.query or request.skill) and self._is_there(request))
            while self._node.dialer.busy and not (self._matching(request) or self._matching_web(request)):
                await self._node.directory.changes.event().wait()
        await self._clocks_are_heard()
        sealed = self._matching(request)
        found: list[Peer | WebPeer] = [*sealed, *self._matching_web(request, {peer.row.did for peer in sealed})]
        shown = [self._view(peer) for peer in found[: request.limit]]
        if found:
            off = " ".join(self._node.clock_trouble())
            return DiscoverView(agents=self._told_apart(shown), total=len(found), reason=off or None)
        return DiscoverView(agents=(), total=0, reason=self._reason(request), on_offer=self._on_offer() or None)

    def _view(self, peer: Peer | WebPeer) -> AgentView:
        return self._node.web_view(peer) if isinstance(peer, WebPeer) else self._node.view(peer)

    async def _clocks_are_heard(self) -> None:
        """Right after a start, wait a moment for the greetings of those who are there: they tell of wrong clocks."""
        node = self._node
        with anyio.move_on_at(node.started + YOUNG_SECONDS), anyio.move_on_after(GREETING_SECONDS):
            while any(
                peer.has_direct_link and not node.context.clocks.is_heard(peer.peer_id) for peer in node.directory
            ):
                await node.directory.changes.event().wait()

    def _told_apart(self, agents: Sequence[AgentView]) -> tuple[AgentView, ...]:
        """The agents, with a word where another that we know has a name that looks the same."""
        named = [(peer.row.did, peer.name) for peer in self._node.directory]
        named += [(peer.url, peer.name) for peer in self._node.ways.alone()]
        looks = Counter(skeleton(self._node.called(key, name)) for key, name in named)
        return tuple(agent.model_copy(update={"look_alike": looks[skeleton(agent.name)] > 1}) for agent in agents)

    def _on_offer(self) -> tuple[str, ...]:
        """Skills of those who are there."""
        skills = {preview(skill.id, 64) for peer in self._node.directory.present() for skill in peer.skills}
        return tuple(sorted(skills)[:12])

    def _is_there(self, request: DiscoverRequest) -> bool:
        """Whether somebody who matches is present; who is only remembered may yet turn out to be."""
        return any(peer.online for peer in self._matching(request)) or bool(self._matching_web(request))

    def _matching_web(self, request: DiscoverRequest, listed_keys: Container[str] = ()) -> list[WebPeer]:
        """Agents at URLs that match, without the further ways to an agent with a key."""
        listed = [
            peer
            for peer in self._node.ways.alone()
            if peer.key not in listed_keys
            and (not request.skill or peer.has_skill(request.skill))
            and _score(self._words(peer), request.query)
        ]
        listed.sort(key=lambda peer: (bool(peer.trouble), -_score(self._words(peer), request.query), peer.name))
        return listed

    def _matching(self, request: DiscoverRequest) -> list[Peer]:
        expected = self._node.context.database.read(peers_with_open_tasks)
        listed = [
            peer
            for peer in self._node.directory
            if peer.row.trust != "blocked"
            and (
                (peer.online and peer.advert)
                or self._node.trust.of(peer) in ("trusted", "member")
                or peer.row.did in expected
            )
            and _has_skill(peer, request.skill)
            and _score(self._words(peer), request.query)
        ]
        listed.sort(
            key=lambda peer: (not peer.online, -_score(self._words(peer), request.query), _rtt(peer), peer.name)
        )
        return listed

    def _words(self, agent: Peer | WebPeer) -> str:
        """What a query is looked for in; the alias too."""
        if isinstance(agent, WebPeer):
            return f"{self._node.called(agent.url, '').casefold()} {_words_of_web(agent)}"
        return f"{self._node.called(agent.row.did, '').casefold()} {_words_of(agent)}"

    def _reason(self, request: DiscoverRequest) -> str:
        return " ".join((*self._node.clock_trouble(), self._why_none(request)))

    def _why_none(self, request: DiscoverRequest) -> str:
        present = self._node.directory.present()
        if present and (request.query or request.skill):
            visible = many(len(present), "agent is", "agents are")
            return f"{visible} visible, but none matches. Call discover without a filter to see all."
        off = [f"{name} is {state}" for name, state in self._node.lookups.items() if state != "on"]
        missing = self._missing()
        looked = ", ".join(self._looked(how=not missing)) or "nowhere"
        trouble = f" {'; '.join(off)}." if off else ""
        return (
            f"No other agent is running here or answers on this network (looked: {looked}).{missing}{trouble} "
            "Start one with `mcp-a2a agent exec --name rev --skill reverse -- rev`, name one with "
            "`mcp-a2a peers add HOST:PORT` (or the URL of an A2A agent), or "
            "join the network of those that are elsewhere with `mcp-a2a join`."
        )

    def _looked(self, *, how: bool) -> Iterator[str]:
        """Where it was looked, and `how`: over IPv4, for example."""
        for lookup in self._node.parts.lookups:
            if self._node.lookups.get(lookup.name) == "on":
                yield f"{lookup.name} over {lookup.detail}" if how and lookup.detail else lookup.name

    def _missing(self) -> str:
        if "mdns" not in self._node.lookups:
            return " LAN discovery (mDNS) is switched off."
        if any(isinstance(address, DirectAddr) for address in self._node.own_addresses()):
            return ""
        return " This machine is on no network at the moment: only agents on it are found."


def _rtt(peer: Peer) -> float:
    rtt = peer.link.rtt_seconds if peer.link else None
    return rtt if rtt is not None else 10.0


def _has_skill(peer: Peer, skill: str | None) -> bool:
    wanted = (skill or "").strip().casefold()
    return not wanted or any(wanted in (offered.id.casefold(), offered.name.casefold()) for offered in peer.skills)


def _words_of(peer: Peer) -> str:
    card = peer.advert.card if peer.advert else None
    return _words(peer.name, card.description if card else "", peer.skills)


def _words_of_web(peer: WebPeer) -> str:
    return _words(f"{peer.name} {peer.url}", peer.row.card.description, peer.skills)


def _words(name: str, description: str, skills: Sequence[AgentSkill]) -> str:
    said = (f"{skill.id} {skill.name} {skill.description} {' '.join(skill.tags)}" for skill in skills)
    return " ".join([name, description, *said]).casefold()


def _score(text: str, query: str | None) -> int:
    """How many words of the query the agent's name, description and skills contain; all match no query."""
    words = (query or "").casefold().split()
    return sum(word in text for word in words) if words else 1
