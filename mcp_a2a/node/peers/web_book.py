"""Agents at URLs that this node knows: those a person added, those a task was sent to, those seen on the LAN.

The origin of a URL decides where it may lead. A person's word opens a private address, for that host; a URL out of a
model's mouth is called over public https only, because it may come from any text that the model has read. An agent that
announces itself on the LAN is called where it announced itself, and trusted with nothing by that.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, repeat
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import anyio

from mcp_a2a.errors.agents import AmbiguousNameError, PeerNotFoundError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.web import AddressNotAllowedError, CardError, WebError
from mcp_a2a.node.peers.web_peer import LAN, NEAR, RANGES, TASK, TYPED, WebPeer, way_to_allow
from mcp_a2a.node.runtime.context import Changes, Context
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.naming import look_alike, shown_name
from mcp_a2a.protocol.web_url import (
    CARD_PATHS,
    agent_url,
    card_urls,
    host_from_url,
    is_shortened,
    shown_url,
    spelled,
    with_short_urls,
)
from mcp_a2a.protocol.web_url import origin as origin_of
from mcp_a2a.store.web import WebRow, all_web_agents, forget_web_agent, save_web_agent
from mcp_a2a.web_ports import FoundCard, NoCardError, WebAgent, WebCalls, WebSighting

logger = logging.getLogger(__name__)

FRESH_SECONDS = 900.0
"""A card that was read so long ago is read again before the next task goes there."""

MAX_SIGHTED = 64
"""Agents of the LAN that are listed unasked, and looked up at once at most `MAX_READING`."""

MAX_READING = 4
MAX_READING_AT = 2
"""At one address: a machine that announces much and answers nothing keeps those of others waiting for less."""
MAX_MISSED = 64
READ_AFTER_SECONDS = (0.0, 2.0, 10.0, 60.0)
READ_AGAIN_SECONDS = 300.0
"""So often its card is looked for while it announces itself: a machine may announce an agent long before it starts."""
MAX_KNOWN = 1_000
"""Agents that are kept though no person has added them; the one met first makes room."""


class WebBook:
    """All agents at URLs known to this node."""

    def __init__(self, context: Context, calls: WebCalls | None, changes: Changes) -> None:
        self._context = context
        self._calls = calls
        self._changes = changes
        self._peers: dict[str, WebPeer] = {}
        self._missed: dict[str, str] = {}
        """URLs that were asked for and not met before, by how they are shown."""
        self._seen: dict[str, str] = {}
        """Announcements on the LAN, and which agent each turned out to be."""
        self._scopes: dict[str, anyio.CancelScope] = {}
        """Of what reads their cards."""
        self._reading = anyio.Semaphore(MAX_READING)
        self._reading_at: WeakValueDictionary[str, anyio.Semaphore] = WeakValueDictionary()

    def __iter__(self) -> Iterator[WebPeer]:
        return iter(self._peers.values())

    @property
    def calls(self) -> WebCalls:
        """The client that calls agents at URLs.

        Raises:
            WebError: this node calls no agents at URLs.
        """
        if self._calls is None:
            raise WebError("This node does not call agents at URLs.")
        return self._calls

    def load(self) -> None:
        """Start from what was remembered."""
        for row in self._context.database.read(all_web_agents):
            self._peers[row.url] = WebPeer(row)

    # --- who is meant ----------------------------------------------------------------------------

    def known(self, url: str) -> WebPeer | None:
        """The known agent at this URL, or at the URL whose shown form this is.

        Raises:
            AmbiguousNameError: several have this shown form, which takes intent.
        """
        if is_shortened(url):
            alike = [peer for peer in self if shown_url(peer.url) == url.strip()]
            if len(alike) > 1:
                raise AmbiguousNameError(url, [(shown_url(peer.url), peer.name) for peer in alike])
            return alike[0] if alike else None
        places = [agent_url(url), *map(agent_url, card_urls(url)[: len(CARD_PATHS)])]  # also without its last slash
        return next(filter(None, map(self._peers.get, places)), None) or self._with_interface(url)

    def _with_interface(self, url: str) -> WebPeer | None:
        """The agent that has an interface there, as its card at the same origin says."""
        where = spelled(url)
        return next(
            (
                peer
                for peer in self
                if origin_of(peer.url) == origin_of(where)
                and any(spelled(one.url) == where for one in peer.agent.card.supported_interfaces)
            ),
            None,
        )

    def named(self, name: str) -> list[WebPeer]:
        """Agents whose name is that, or looks like it."""
        return [peer for peer in self if look_alike(peer.name, name)]

    async def find(self, url: str) -> WebPeer:
        """The agent at a URL that did not come from a person.

        Raises:
            CardError, WebError
            AddressNotAllowedError: only a person may name this address; says how.
        """
        peer = self.known(url)
        if peer is not None:
            return peer
        if is_shortened(url):
            raise PeerNotFoundError(url)
        self._remember_missed(url)
        try:
            found = await self._read(url, TASK, {})
            # The card of a known one may be shown below its URL too: what a person gave it stays.
            return self._peers.get(found.url) or await self._enter(found, TASK, {})
        except AddressNotAllowedError as error:
            if error.may_be_allowed:
                error.remedy = Remedy("{Allow}: mcp-a2a peers add {url}", url=shown_url(url))
            raise

    def _remember_missed(self, url: str) -> None:
        """A person may be told to add it, and is shown it shortened."""
        while len(self._missed) >= MAX_MISSED:
            del self._missed[next(iter(self._missed))]
        self._missed[shown_url(agent_url(url))] = agent_url(url)
        self._missed[shown_url(url)] = url

    async def add(self, url: str, headers: Mapping[str, str] | None = None) -> WebPeer:
        """The agent at a URL that a person typed, who may give credentials for it.

        Raises:
            CardError, WebError, AddressNotAllowedError
        """
        known = self.known(url)
        if is_shortened(url):
            named = known.url if known is not None else self._missed.get(url.strip())
            if named is None:
                raise PeerNotFoundError(url)
            url = named
        secrets = dict(headers) if headers is not None else known.row.headers if known else {}
        try:
            found, origin = await self._read(url, TYPED, secrets), TYPED
        except AddressNotAllowedError:
            found, origin = await self._read(url, NEAR, secrets), NEAR
        met = self._peers.get(found.url)
        if headers is None and met is not None:  # the URL is that of a page of its host
            secrets = met.row.headers
        await self._check(WebAgent(found.url, found.card, RANGES[origin]))
        return await self._enter(found, origin, secrets)

    async def _read(self, url: str, origin: str, headers: dict[str, str]) -> FoundCard:
        return await self.calls.find_card(spelled(url), within=RANGES[origin], headers=headers)

    async def _check(self, agent: WebAgent) -> None:
        """Check that a person who adds this agent gets one that can be called.

        Raises:
            AddressNotAllowedError: it names an interface that may not be; says what would have to be allowed.
        """
        try:
            await self.calls.check(agent)
        except AddressNotAllowedError as error:
            error.remedy = way_to_allow(agent, error)
            raise

    async def _enter(self, found: FoundCard, origin: str, headers: dict[str, str]) -> WebPeer:
        known = self._peers.get(found.url)
        if known is not None and known.row.key is not None and known.row.key != found.key:
            raise CardError(
                f"The card at {shown_url(found.url)} was signed by {known.row.key} before, and now by "
                f"{found.key or 'no key'}.",
                "Ask its owner why. Nothing was sent.",
            )
        row = WebRow(
            found.url,
            shown_name(found.card.name),
            found.card,
            origin,
            found.key,
            headers,
            self._context.clock(),
            found.bound,
        )
        peer = known or WebPeer(row)
        before = peer.row
        peer.row, peer.read_at, peer.trouble = row, anyio.current_time(), ""
        self._make_room()
        self._peers[found.url] = peer
        try:
            if origin != LAN:
                await self._keep(row)
        except Exception:  # it was not added, so nothing goes there unasked
            peer.row = before
            if known is None:
                self._peers.pop(found.url, None)
            raise
        finally:
            self._changes.notify()
        return peer

    def _make_room(self) -> None:
        passing = [peer for peer in self if not peer.is_added]
        if len(passing) >= MAX_KNOWN:
            url = min(passing, key=lambda peer: peer.row.last_seen or 0).url
            del self._peers[url]
            self._context.database.enqueue_lazily(lambda connection: forget_web_agent(connection, url))

    async def refresh(self, peer: WebPeer, *, anew: bool = False) -> None:
        """Read its card again where that was long ago, or is to be `anew`.

        Raises:
            WebError: it is not there, the card is not what it was, or it was removed meanwhile.
        """
        if not anew and anyio.current_time() - peer.read_at < FRESH_SECONDS:
            return
        within = peer.agent.range
        try:
            found = await self.calls.find_card(peer.url, within=within, headers=peer.row.headers)
        except NoCardError as error:
            if anew:
                raise
            # What stands before many agents answers so while they are away.
            raise WebError(error.message, error.remedy) from error
        if peer.is_removed:
            raise WebError(f"{shown_url(peer.url)} was removed while its card was read.", "Nothing was sent.")
        if found.url == peer.url:
            if peer.row.origin == LAN:
                found = replace(found, card=_staying(found.card, urlsplit(peer.url).hostname or ""))
            await self._enter(found, peer.row.origin, peer.row.headers)

    def keep(self, peer: WebPeer) -> None:
        """Keep an agent with the task that is journalled next: the task's agent is to be known after a restart."""
        kept = replace(peer.row)
        self._context.database.enqueue_lazily(lambda connection: save_web_agent(connection, kept))

    async def _keep(self, row: WebRow) -> None:
        kept = replace(row)
        await self._context.database.write(lambda connection: save_web_agent(connection, kept))

    def forget(self, peer: WebPeer) -> None:
        """A person wants to know no more of it."""
        self._peers.pop(peer.url, None)
        self._changes.notify()

    def answered(self, peer: WebPeer) -> None:
        """Note that the agent has answered."""
        peer.row = replace(peer.row, last_seen=self._context.clock())
        if peer.trouble:
            peer.trouble = ""
            self._changes.notify()

    def failed(self, peer: WebPeer, error: WebError) -> None:
        """Note that the agent cannot be reached."""
        if not peer.trouble:
            peer.trouble = with_short_urls(error.message)
            self._changes.notify()

    # --- the LAN ---------------------------------------------------------------------------------

    def sighted(self, sighting: WebSighting) -> None:
        """An agent announces itself: read its card, from where it announced itself and nowhere else."""
        if self._calls is not None and sighting.name not in self._seen and len(self._seen) < MAX_SIGHTED:
            self._seen[sighting.name] = ""
            scope = self._scopes[sighting.name] = anyio.CancelScope()
            self._context.tasks.start_soon(self._read_sighted, sighting, scope)

    async def _read_sighted(self, sighting: WebSighting, scope: anyio.CancelScope) -> None:
        with scope:
            for pause in chain(READ_AFTER_SECONDS, repeat(READ_AGAIN_SECONDS)):  # it may do so before it answers
                await anyio.sleep(pause)
                for host in (sighting.host, *sighting.others):
                    if await self._is_read(replace(sighting, host=host), scope):
                        return

    async def _is_read(self, sighting: WebSighting, scope: anyio.CancelScope) -> bool:
        """Read the card of what announces itself at this host; whether nothing more is to be tried."""
        try:
            turn = self._reading_at.setdefault(sighting.host, anyio.Semaphore(MAX_READING_AT))
            async with turn, self._reading:
                found = await self.calls.find_card(sighting.card_url, within=RANGES[LAN], headers={})
            card = _staying(found.card, sighting.host)
        except WebError as error:
            logger.info("an agent that announces itself at %s is not listed: %s", sighting.host, error)
            return False
        except Exception:  # a stranger's shout must not take the node down
            logger.exception("an agent that announces itself at %s is not listed", sighting.host)
            return True
        if not scope.cancel_called:  # by an announcement that went while this was on its way
            await self._list_sighted(sighting.name, replace(found, card=card))
        return True

    async def _list_sighted(self, name: str, found: FoundCard) -> None:
        self._seen[name] = found.url
        known = self._peers.get(found.url)
        if known is None:
            await self._enter(found, LAN, {})
        else:
            self.answered(known)

    def lost(self, name: str) -> None:
        """An announcement is gone. An agent that we have sent something to stays known."""
        url = self._seen.pop(name, "")
        if (scope := self._scopes.pop(name, None)) is not None:
            scope.cancel()
        peer = self._peers.get(url)
        if peer is None or peer.row.origin != LAN or url in self._seen.values():
            return
        peer.trouble = "it no longer announces itself on this network"
        if all(row.url != url for row in self._context.database.read(all_web_agents)):
            del self._peers[url]
        self._changes.notify()


def _staying(card: AgentCard, host: str) -> AgentCard:
    """The card with those of its interfaces that are where the agent announced itself.

    Raises:
        CardError: none is.
    """
    wanted = ipaddress.ip_address(host_from_url(host))
    kept = tuple(one for one in card.supported_interfaces if _is_at(one.url, wanted))
    if not kept:
        raise CardError("Its card names interfaces at other hosts only.")
    return card.model_copy(update={"supported_interfaces": kept})


def _is_at(url: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return ipaddress.ip_address(host_from_url(urlsplit(url).hostname or "")) == address
    except ValueError:
        return False
