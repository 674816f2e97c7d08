"""Finds an agent by its name, key or URL, and the agents with a skill."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from mcp_a2a.errors.agents import AmbiguousNameError, KeyChangedError, PeerNotFoundError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.tasks import SelfSendError
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.agents.startup_wait import Patience
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.peers.agents import RemoteAgent, has_skill
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.keyed_urls import Ways
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import LAN, WebPeer
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.naming import key_beginning, kind_of_agent, same_name
from mcp_a2a.protocol.web_url import shown_url


@dataclass(eq=False)
class Search:
    """Finds agents."""

    me: PeerId
    directory: Directory
    web: WebBook
    ways: Ways
    trust: TrustBook
    networks: Networks
    own_advert: OwnAdvert
    patience: Patience
    views: AgentViews

    # --- one agent -------------------------------------------------------------------------------

    async def meant(self, asked: str, *, meet: bool = False) -> RemoteAgent:
        """The one agent that is meant, also one at a URL. With `meet` it need not be known before.

        A name of a URL that is a further way to an agent with a key means that agent, by its sealed way.

        Raises:
            PeerNotFoundError, AmbiguousNameError, KeyChangedError, AliasAlikeError, SelfSendError, WebError
        """
        return await self.named(self.directory.aliases.meant(asked), meet=meet)

    async def named(self, asked: str, *, meet: bool = False) -> RemoteAgent:
        """The same for a text that is no alias."""
        web, kind = self.web, kind_of_agent(asked)
        if kind == "url":
            known = web.known(asked)
            if known is None and not meet:
                raise PeerNotFoundError(asked)
            return known or await web.find(asked)
        if kind != "name":
            return await self._find(asked)  # a text in the form of a key never means an agent of that name
        is_present = self._is_present(asked)
        if not is_present:
            await self.patience.until(lambda: self._is_present(asked) or web.named(asked))
        every = web.named(asked)
        if not every:
            return await self._find(asked, is_present=is_present)
        others = list(self.directory.alike(asked))
        # An agent that announces a name on the LAN does not displace the known agents of that name.
        every = [peer for peer in every if peer.row.origin != LAN] or ([] if others else every)
        alike = self.ways.alone(every)
        by_card = self._called_by_card(asked, every)
        if by_card and not alike and not [peer for peer in others if peer not in by_card]:
            return self._only(asked, by_card)
        others += [peer for peer in by_card if peer not in others]
        if not by_card and not any(same_name(peer.name, asked) for peer in alike):
            return self._not_for([peer for peer in every if peer.is_added], asked, await self._find(asked))
        if others or len(alike) > 1:
            listed = [(peer.row.did, peer.words) for peer in others]
            raise AmbiguousNameError(asked, [*listed, *((shown_url(peer.url), "at its URL") for peer in alike)])
        return alike[0]

    def _called_by_card(self, asked: str, webs: Sequence[WebPeer]) -> list[Peer]:
        """The agents with a key that have signed a card with this name, where they go by another among us."""
        signers = (self.ways.sealed(web) for web in webs if same_name(web.name, asked))
        return list(dict.fromkeys(peer for peer in signers if peer is not None and not same_name(peer.name, asked)))

    @staticmethod
    def _only(asked: str, found: Sequence[Peer]) -> Peer:
        if len(found) > 1:
            raise AmbiguousNameError(asked, [(peer.row.did, peer.words) for peer in found])
        return found[0]

    def _not_for(self, typed: Sequence[WebPeer], asked: str, found: Peer) -> Peer:
        """The agent, if it does not pass for one at a URL that a person has added."""
        other = next((web for web in typed if self.ways.sealed(web) is not found), None)
        if other is not None and self.trust.of(found) in ("stranger", "member"):
            raise KeyChangedError(asked, shown_url(other.url), found.row.did)
        return found

    async def _find(self, asked: str, *, is_present: bool = False) -> Peer:
        """The one agent with a key that is meant.

        Raises:
            PeerNotFoundError, AmbiguousNameError, KeyChangedError, SelfSendError
        """
        beginning = key_beginning(asked)
        if asked.strip() == "self" or (beginning and str(self.me).startswith(beginning)):
            raise SelfSendError(asked)
        if not (is_present or self._is_present(asked)):
            await self.patience.until(lambda: self._is_present(asked))
        try:
            return self.directory.named(asked)
        except PeerNotFoundError as error:
            if await self.networks.find(beginning or asked.strip()):
                return self.directory.named(beginning or asked.strip())
            if same_name(asked, self.own_advert.card.name):
                raise SelfSendError(asked) from None
            url = next((web.url for web in self.web if web.signer == asked.strip()), None)
            if url is not None:
                error.remedy = Remedy(
                    "It is known by its URL alone, which is not sealed: to send there, name {url}.", url=shown_url(url)
                )
                raise
            raise PeerNotFoundError(
                asked, error.closest, error.known, self.views.clock_trouble(), is_skill=self._is_skill(asked)
            ) from None

    def _is_skill(self, asked: str) -> bool:
        """True if an agent that is known has a skill with this id."""
        known = (*self.directory, *self.web)
        return any(skill.id == asked.strip() for peer in known for skill in peer.skills)

    def _is_present(self, asked: str) -> bool:
        for peer in self.directory.alike(asked):
            if peer.online and same_name(peer.name, asked):
                return True
        beginning = key_beginning(asked)
        return bool(beginning) and any(peer.online and peer.row.did.startswith(beginning) for peer in self.directory)

    # --- by skill --------------------------------------------------------------------------------

    def closest_skills(self, skill: str) -> list[str]:
        """Skills that are written almost so."""
        known = sorted({skill.id for peer in (*self.directory, *self.web) for skill in peer.skills})
        return difflib.get_close_matches(skill, known, n=3, cutoff=0.5)

    def web_candidates(self, skill: str) -> list[WebPeer]:
        """Agents at URLs with this skill: those that a person added first, and those that answered last time."""
        found = self.ways.alone(peer for peer in self.web if has_skill(peer, skill))
        return sorted(found, key=lambda peer: (not peer.is_added, bool(peer.trouble), peer.name))
