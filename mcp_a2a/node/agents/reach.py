"""Trying out, now: whether an agent answers and by which way, and what of the network works from here."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from mcp_a2a.api.diagnostics import CheckView, NetcheckRequest, NetcheckView, PingView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.errors.delivery import LinkError, NoRouteError
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.errors.web import WebError
from mcp_a2a.node.delivery.reasons import REFUSALS, RELAY_REFUSALS
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.lookups import Lookups
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.peer_views import reached_at
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.runtime.context import wait_until
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.ports import Link
from mcp_a2a.protocol.control import Answer, Delivered, Held, Refused, Stored, envelopes_of
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.receipt import envelope_id_of, receipt_is_valid
from mcp_a2a.protocol.web_url import with_short_urls


@dataclass(eq=False)
class _Ping:
    """A greeting under way, and what came back."""

    peer: Peer
    postmark: bytes
    heard: anyio.Event = field(default_factory=anyio.Event)
    answered: bool = False
    detail: str | None = None


@dataclass(eq=False)
class Reach:
    """Answers `netcheck`, and pings one agent."""

    directory: Directory
    web: WebBook
    dialer: Dialer
    own_advert: OwnAdvert
    networks: Networks
    lookups: Lookups
    _pings: dict[bytes, _Ping] = field(default_factory=dict)

    # --- one agent -------------------------------------------------------------------------------

    async def ping(self, did: str, seconds: float) -> PingView:
        """Send a sealed greeting and wait for its signed receipt: the whole way there and back, keys and all."""
        peer = self.directory.get(PeerId.parse_untrusted(did))
        agent = AgentRef(name=peer.name, did=peer.row.did)
        try:
            with anyio.fail_after(seconds):
                link = await self.dialer.connect(peer)
        except (NoRouteError, TimeoutError) as error:
            tried = error.attempts if isinstance(error, NoRouteError) else peer.tried
            return PingView(agent=agent, detail="it could not be reached", tried=tried)
        greeting, postmark = self.own_advert.greeting(link)
        ping, milliseconds = _Ping(peer, postmark), None
        started = anyio.current_time()
        self._pings[envelope_id_of(postmark)] = ping
        try:
            link.submit(greeting)
            await wait_until(ping.heard, seconds)
            milliseconds = round((anyio.current_time() - started) * 1000, 2)
        except LinkError as error:
            ping.detail = error.message
        finally:
            del self._pings[envelope_id_of(postmark)]
        tried = peer.tried if link.is_relayed else ()
        if ping.answered:
            address = reached_at(peer, link)
            return PingView(agent=agent, route=link.route, address=address, ms=milliseconds, tried=tried)
        detail = ping.detail or f"no answer within {seconds:.0f} s"
        return PingView(agent=agent, route=link.route, address=reached_at(peer, link), detail=detail, tried=tried)

    def answer_received(self, link: Link, answer: Answer) -> None:
        """Perhaps the answer to a ping."""
        if not self._pings:
            return
        for ping in [self._pings[one] for one in envelopes_of(answer) if one in self._pings]:
            match answer:
                case Delivered(postmarks, signature):
                    signed = receipt_is_valid(ping.peer.peer_id, postmarks, signature)
                    ping.answered = signed and ping.postmark in postmarks
                    ping.detail = "a receipt came that it has not signed"
                case Stored():
                    ping.detail = "the relay has its mailbox, but it is not connected"
                    if ping.peer.online:
                        continue  # slow, perhaps: its receipt may still come
                case Held():
                    ping.detail = "its owner has not accepted you"
                case Refused(code=code):
                    ping.detail = REFUSALS.get(code) or RELAY_REFUSALS.get(code) or f"it answered {code!r}"
            ping.heard.set()

    async def ping_url(self, url: str, seconds: float) -> PingView:
        """Read an agent's card anew."""
        web, begun = await self.web.find(url), anyio.current_time()
        agent = AgentRef(name=web.name, did=web.url)
        try:
            with anyio.fail_after(seconds):
                await self.web.refresh(web, anew=True)
        except WebError as error:
            return PingView(agent=agent, detail=with_short_urls(str(error)))
        except TimeoutError:
            return PingView(agent=agent, detail=f"It did not answer within {seconds:g} s.")
        ms = round((anyio.current_time() - begun) * 1000, 2)
        return PingView(agent=agent, route="http", address=web.url, ms=ms)

    # --- everything ------------------------------------------------------------------------------

    @answers(NetcheckRequest)
    async def netcheck(self, _: NetcheckRequest) -> NetcheckView:
        """The checks of the network from here, nearest first."""
        lookups = self.lookups
        listening = ", ".join(map(str, lookups.listening)) or "nowhere"
        found = [
            CheckView(name="listening", ok=bool(lookups.listening), detail=listening),
            self._addresses(),
            *(CheckView(name=name, ok=lookups.works(name), detail=how) for name, how in lookups.in_words().items()),
        ]
        urls = sorted(self.networks.urls)
        checked: dict[str, CheckView] = {}
        async with anyio.create_task_group() as tasks:
            for url in urls:
                tasks.start_soon(self._try_out, url, checked)
        found += [checked[url] for url in urls]
        if not urls:
            found.append(CheckView(name="relay", ok=False, absent=True, detail="none: this machine and the LAN only"))
        return NetcheckView(checks=tuple(found))

    def _addresses(self) -> CheckView:
        addresses = ", ".join(map(str, self.lookups.own_addresses))
        return CheckView(
            name="addresses",
            ok=bool(addresses),
            detail=addresses or "this machine is on no network: it has no address that others could dial",
        )

    async def _try_out(self, url: str, checked: dict[str, CheckView]) -> None:
        try:
            seconds = await self.networks.relays.try_out(url)
        except RelayError as error:
            checked[url] = CheckView(name=f"relay {url}", ok=False, detail=error.reason)
        else:
            names = [joined.row.name for joined in self.networks.at(url)]
            checked[url] = CheckView(
                name=f"relay {url}", ok=True, detail=f"networks: {', '.join(names)}", ms=round(seconds * 1000, 2)
            )
