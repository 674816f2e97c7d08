"""One connection to a relay: proves who we are and where we belong, asks, and carries mail both ways."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio
import anyio.abc
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.ports import Link, LinkHandler
from mcp_a2a.protocol.admission_secret import prove_admission
from mcp_a2a.protocol.control import (
    MAX_MEMBERSHIPS,
    Answer,
    ByeCode,
    Check,
    Doubled,
    ListingFrame,
    MembershipProof,
    News,
    Presence,
    Reply,
    Role,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope, id_of
from mcp_a2a.protocol.handshake import Side, Target
from mcp_a2a.protocol.receipt import MAX_POSTMARKS
from mcp_a2a.protocol.relay_url import RelayUrl
from mcp_a2a.relay_ports import RelayHandler, Watched
from mcp_a2a_transports._channel import Channel
from mcp_a2a_transports._dialling import connect
from mcp_a2a_transports._drive import DrivenLink
from mcp_a2a_transports._links import LinkOwner, answered_in_time
from mcp_a2a_transports._tasks import background_tasks
from mcp_a2a_transports.relay.dispatches import Dispatches
from mcp_a2a_transports.relay.link import InboundLink, RelayedLink
from mcp_a2a_transports.relay.questions import Questions, relay_error
from mcp_a2a_transports.relay.shared_state import World
from mcp_a2a_transports.relay.watching import Watching

logger = logging.getLogger(__name__)

RENEW_SECONDS = 86_400.0
"""As often as keys are renewed."""


class RelaySession(LinkHandler):
    """Our side of one connection. Run it; it lives until it is closed from either side.

    With `relays` it watches its networks, and tells what it hears; without, it is only there to ask.
    """

    def __init__(
        self, world: World, url: RelayUrl, watched: Sequence[Watched], relays: RelayHandler | None = None
    ) -> None:
        self._world = world
        self.credentials = world.credentials
        self.url = url
        self._watched = watched[:MAX_MEMBERSHIPS]
        self.questions = Questions(self)
        self._watching: Watching | None = None
        if relays is not None:
            self._watching = Watching(self, self.questions, self._watched, relays, world.names)
        self._links: dict[PeerId, RelayedLink] = {}
        self._dispatches = Dispatches()
        self._driven: DrivenLink | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._inbound = InboundLink(self)
        self._nonce = b""
        """The relay's, of this connection."""
        self.opened = anyio.Event()
        self.ended = anyio.Event()
        self.reason = ""
        """Why it ended, for people; empty while it has not."""
        self.code: ByeCode | None = None
        """Why it ended, as far as a side has said it."""
        if len(watched) > MAX_MEMBERSHIPS:
            logger.warning("%s can show us %d networks at most, of our %d", url.place, MAX_MEMBERSHIPS, len(watched))

    # --- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and carry frames until the session ends; why it ended is kept."""
        try:
            with answered_in_time():
                channel = await connect(self._world.client, self.url.endpoint, "a relay", self._world.tls)
            await self._carry(channel)
        except LinkError as error:
            self._end(error.message, None)
        except Exception:
            # A wire that fails unexpectedly; other relays go on, and this one is tried again.
            logger.exception("the session with %s failed", self.address)
            self._end("it failed for a reason that is in the log", None)

    async def _carry(self, channel: Channel) -> None:
        if self.ended.is_set():  # given up while it was being connected
            await channel.aclose()
            return
        target = Target(self.url.relay, Role.RELAY, self._prove)
        owner = LinkOwner(self.credentials, self)
        driven = self._driven = DrivenLink(owner, channel, Side.DIALLER, target, self.address, "relay")
        self._world.names.append(driven.name)
        driven.relay_heard = self._heard
        try:
            async with background_tasks() as self._tasks:
                self._tasks.start_soon(self._renew_links)
                await driven.run()
        finally:
            self._end(driven.reason, driven.code)

    def _end(self, reason: str, code: ByeCode | None) -> None:
        if not self.ended.is_set():
            self.reason, self.code = self.reason or reason or "the connection was lost", self.code or code
            self.ended.set()
            self.questions.ended()

    async def settled(self) -> None:
        """Wait until the session is open, or is known not to become so."""
        async with anyio.create_task_group() as tasks:

            async def wait(event: anyio.Event) -> None:
                await event.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait, self.opened)
            tasks.start_soon(wait, self.ended)

    def close(self, reason: str, code: ByeCode = ByeCode.CLOSED) -> None:
        """Say goodbye, or stop trying to connect."""
        if self._driven is not None:
            self._driven.close(reason, code)
        else:
            self._end(reason, code)

    async def have_admitted(self, network: PeerId, secret: bytes | None) -> None:
        """Have a network admitted that this session has proven.

        Raises:
            RelayError: see `Questions.admit`.
        """
        me = self.credentials.identity.peer_id
        proof = b"" if secret is None else prove_admission(secret, network, self.to_relay.peer, me, self._nonce)
        await self.questions.admit(network, proof)

    @property
    def is_open(self) -> bool:
        """True if it can be used."""
        return self._driven is not None and self._driven.is_open

    def _prove(self, relay: PeerId, nonce: bytes) -> tuple[MembershipProof, ...]:
        me = self.credentials.identity.peer_id
        self._nonce = nonce
        return tuple(watched.network.prove(relay, me, nonce) for watched in self._watched)

    # --- LinkHandler: what the connection reports -------------------------------------------------

    @override
    def link_opened(self, link: Link) -> None:
        self.opened.set()
        if self._watching is not None and self._tasks is not None:
            self._watching.begin(self._tasks)

    @override
    def link_closed(self, link: Link, reason: str, *, goodbye: bool) -> None:
        self.reason, self.code = reason, link.code if isinstance(link, DrivenLink) else None
        self._dispatches.clear()
        for relayed in tuple(self._links.values()):
            self._drop(relayed, reason)

    @override
    def envelope_received(self, link: Link, envelope: Envelope) -> None:
        self._world.handler.envelope_received(self._inbound, envelope)

    @override
    def answer_received(self, link: Link, answer: Answer) -> None:
        # To what an earlier session sent, or what was forgotten, the answer still counts.
        for via in self._dispatches.answered(answer, anyio.current_time()) or (self._inbound,):
            self._world.handler.answer_received(via, answer)

    def _heard(self, frame: Reply | News) -> None:
        if self._watching is not None and self._watching.heard(frame):
            return
        if isinstance(frame, Presence | ListingFrame | Doubled) or not self.questions.replied(frame):
            logger.debug("%s sends a reply without a request", self.address)

    # --- for the links and the questions ----------------------------------------------------------

    @property
    def address(self) -> str:
        """The relay's URL."""
        return str(self.url)

    @property
    def to_relay(self) -> DrivenLink:
        """The link to the relay itself.

        Raises:
            LinkError: there is none yet.
        """
        if self._driven is None:
            raise LinkError("there is no connection with the relay")
        return self._driven

    def submit(self, link: RelayedLink, envelope: bytes) -> None:
        """Hand an envelope of this link to the relay."""
        self.to_relay.submit(envelope)
        self._dispatches.note(id_of(envelope), link, anyio.current_time())

    def check(self, link: RelayedLink, envelope_ids: Sequence[bytes]) -> None:
        """Ask the relay what became of envelopes of this link."""
        for start in range(0, len(envelope_ids), MAX_POSTMARKS):
            some = tuple(envelope_ids[start : start + MAX_POSTMARKS])
            self.to_relay.request(Check(some))
            for envelope_id in some:
                self._dispatches.note(envelope_id, link, None)

    def leave(self, link: RelayedLink, reason: str) -> None:
        """Close a link."""
        self._dispatches.forget(link)
        self._drop(link, reason)

    def failure(self, otherwise: str) -> RelayError:
        """Why the session is of no use; or else what is known otherwise."""
        return relay_error(self.address, self.reason or otherwise, self.code)

    async def _renew_links(self) -> None:
        """Close every link now and then: only a new handshake brings the newer key of a peer in no network of ours."""
        while True:
            await anyio.sleep(RENEW_SECONDS)
            for link in tuple(self._links.values()):
                self.leave(link, "it is opened anew, with the newest key")

    def _drop(self, link: RelayedLink, reason: str) -> None:
        if not link.is_open:
            return
        link.is_open = False
        del self._links[link.peer]
        try:
            self._world.handler.link_closed(link, reason, goodbye=False)
        except Exception:
            # A bug of ours must not leave the other links open on a session that is gone.
            logger.exception("the handler of a link over %s failed", self.address)

    async def link_to(self, peer: PeerId) -> RelayedLink:
        """A link to a peer's mailbox, the open one if there is one.

        Raises:
            LinkError: it has none here, or the relay does not say.
        """
        link = self._links.get(peer)
        try:
            bundle = await self.questions.find(peer) if link is None else link.bundle
        except RelayError as error:
            raise LinkError(error.reason) from error
        if bundle is None:
            raise LinkError("the relay has no mailbox for that agent")
        if not self.is_open:  # perhaps since the relay replied
            raise LinkError(self.reason or "the connection was lost")
        link = self._links.get(peer)  # another caller may have asked, too
        if link is None:
            link = self._links[peer] = RelayedLink(self, peer, bundle)
            self._world.handler.link_opened(link)
        return link
