"""One connection to a relay: proves who we are and where we belong, asks, and carries mail both ways."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import anyio
from typing_extensions import override

from mcp_a2a.errors import LinkError, NotAdmittedError, RelayError, TicketError
from mcp_a2a.ports import Credentials, Link, LinkHandler
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    BYE_SENTENCES,
    NONCE_SIZE,
    ByeCode,
    Check,
    Claim,
    Claimed,
    Done,
    Failed,
    Find,
    Found,
    ListingFrame,
    MembershipProof,
    News,
    Offer,
    Presence,
    Reply,
    Role,
    Watch,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import MAX_RECEIPT_IDS, Header
from mcp_a2a.protocol.handshake import Side, Target
from mcp_a2a.protocol.link import Answer, Delivered, LinkSession, Refused, Stored
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.relay_url import RelayUrl
from mcp_a2a.relay_ports import RelayHandler, Watched
from mcp_a2a_transports._channel import Channel
from mcp_a2a_transports._drive import DrivenLink, House
from mcp_a2a_transports.relay.link import InboundLink, Post, RelayedLink

logger = logging.getLogger(__name__)

REPLY_SECONDS = 5.0
MAX_REMEMBERED = 10_000
"""Envelopes whose answers find their link; the answer to an older one still reaches the node."""

SHUT_OUT = frozenset({BYE_SENTENCES[ByeCode.NOT_ADMITTED], BYE_SENTENCES[ByeCode.REVOKED]})

FAILURES = {
    "not_member": "it was not shown that we are in that network",
    "stale": "it has a newer entry of ours",
    "full": "the network has as much there as it may",
    "unknown": "it does not know that",
    "busy": "it has too much to do",
    "storage_full": "its disk is full",
    "not_admitted": "it is a closed relay, and neither our key nor a network of ours was admitted",
}
TICKET_FAILURES = {
    "used": "it was used as often as it may be",
    "expired": "it has expired",
    "unknown": "its relay does not know it (any more): it was used up, has expired, or its network was rotated",
}

Question: TypeAlias = Find | Watch | Offer | Claim | ListingFrame


@dataclass(eq=False)
class _Waiting:
    """Somebody waits for a reply."""

    came: anyio.Event = field(default_factory=anyio.Event)
    reply: Reply | None = None


class RelaySession(House, LinkHandler, Post):
    """Our side of one connection. Run it; it lives until it is closed from either side."""

    def __init__(
        self, credentials: Credentials, node: LinkHandler, relays: RelayHandler | None, url: RelayUrl,
        watched: Sequence[Watched],
    ) -> None:  # fmt: skip
        self._credentials = credentials
        self._node = node
        self._relays = relays
        self.url = url
        self._watched = watched
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._watches: dict[int, PeerId] = {}
        self._links: dict[PeerId, RelayedLink] = {}
        self._sent: dict[bytes, tuple[RelayedLink, float]] = {}
        self._driven: DrivenLink | None = None
        self._inbound = InboundLink(self)
        self.opened = anyio.Event()
        self.ended = anyio.Event()
        self.reason = ""

    # --- House -----------------------------------------------------------------------------------

    @property
    @override
    def credentials(self) -> Credentials:
        return self._credentials

    @property
    @override
    def handler(self) -> LinkHandler:
        return self

    @override
    def admit(self, link: DrivenLink, peer: PeerId) -> bool:
        return True

    # --- life ------------------------------------------------------------------------------------

    async def run(self, channel: Channel) -> None:
        """Carry frames until the session ends."""
        session = LinkSession(
            Side.DIALLER,
            self._credentials.identity,
            self._credentials.bundle(),
            self._credentials.randomness(NONCE_SIZE),
            anyio.current_time(),
            Target(self.url.relay, Role.RELAY, self._prove),
        )
        self._driven = DrivenLink(self, channel, session, self.address, "relay")
        self._driven.relay_heard = self._heard
        try:
            await self._driven.run()
        finally:
            self.reason = self.reason or self._driven.reason
            self.ended.set()
            for waiting in self._waiting.values():
                waiting.came.set()

    def fail(self, reason: str) -> None:
        """There was no connection."""
        self.reason = reason
        self.ended.set()

    async def settled(self) -> None:
        """Wait until the session is open, or is known not to become so."""
        async with anyio.create_task_group() as tasks:

            async def wait(event: anyio.Event) -> None:
                await event.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait, self.opened)
            tasks.start_soon(wait, self.ended)

    def close(self, reason: str, code: ByeCode = ByeCode.CLOSED) -> None:
        """Say goodbye."""
        if self._driven is not None:
            self._driven.close(reason, code)

    def _prove(self, relay: PeerId, nonce: bytes) -> tuple[MembershipProof, ...]:
        me = self._credentials.identity.peer_id
        return tuple(watched.network.prove(relay, me, nonce) for watched in self._watched)

    # --- LinkHandler: what the connection reports -------------------------------------------------

    @override
    def link_opened(self, link: Link) -> None:
        self.opened.set()
        relays = self._relays
        if relays is None:
            return
        for watched in self._watched:
            number = next(self._numbers)
            self._watches[number] = watched.network.id
            self._request(Watch(number, watched.network.id, watched.epoch, watched.revision))
        relays.relay_opened(self.address)

    @override
    def link_closed(self, link: Link, reason: str, *, goodbye: bool) -> None:
        self.reason = reason
        for relayed in tuple(self._links.values()):
            self._drop(relayed, reason)

    @override
    def envelope_received(self, link: Link, envelope: bytes) -> None:
        self._node.envelope_received(self._inbound, envelope)

    @override
    def answer_received(self, link: Link, answer: Answer) -> None:
        ids = answer.envelopes if isinstance(answer, Delivered) else (answer.envelope,)
        found: dict[RelayedLink, None] = {}
        for envelope_id in ids:
            relayed, sent_at = self._sent.get(envelope_id, (None, 0.0))
            if relayed is None:
                continue
            found[relayed] = None
            if isinstance(answer, Delivered):
                relayed.newest_rtt = anyio.current_time() - sent_at
            if not isinstance(answer, Stored):
                del self._sent[envelope_id]
            if isinstance(answer, Refused) and answer.bundle is not None and answer.bundle.peer == relayed.peer:
                relayed.learn(answer.bundle)
        for relayed in found:
            self._node.answer_received(relayed, answer)
        if not found:
            self._node.answer_received(self._inbound, answer)

    def _heard(self, frame: Reply | News) -> None:
        match frame:
            case ListingFrame(listing) if self._relays is not None:
                self._relays.listed(self.address, listing)
            case Presence(network, online, offline) if self._relays is not None:
                self._relays.presence(self.address, network, online, offline)
            case Done(number, epoch, revision) if number in self._watches and self._relays is not None:
                self._relays.synced(self.address, self._watches.pop(number), epoch, revision)
            case Failed(number, code) if number in self._watches:
                self._watches.pop(number)
                logger.warning("%s does not show us a network: %s", self.address, FAILURES.get(code, code))
            case Found(number) | Claimed(number) | Done(number) | Failed(number) if number in self._waiting:
                self._waiting[number].reply = frame
                self._waiting[number].came.set()
            case _:
                logger.debug("%s replied to nothing that was asked", self.address)

    # --- Post: for the links ----------------------------------------------------------------------

    @property
    @override
    def address(self) -> str:
        return str(self.url)

    @property
    @override
    def relay(self) -> PeerId:
        return self._open.peer

    @property
    @override
    def relay_bundle(self) -> KeyBundle:
        return self._open.bundle

    @property
    @override
    def rtt_seconds(self) -> float | None:
        return self._driven.rtt_seconds if self._driven is not None else None

    @override
    def submit(self, link: RelayedLink, envelope: bytes) -> None:
        self._open.submit(envelope)
        self._remember(Header.parse_untrusted(envelope).envelope_id, link)

    @override
    def check(self, link: RelayedLink, envelope_ids: Sequence[bytes]) -> None:
        for start in range(0, len(envelope_ids), MAX_RECEIPT_IDS):
            some = tuple(envelope_ids[start : start + MAX_RECEIPT_IDS])
            self._open.request(Check(some))
            for envelope_id in some:
                self._remember(envelope_id, link)

    @override
    def answer(self, answer: Answer) -> None:
        if self._driven is not None:
            self._driven.answer(answer)

    @override
    def leave(self, link: RelayedLink, reason: str) -> None:
        self._drop(link, reason)

    def _remember(self, envelope_id: bytes, link: RelayedLink) -> None:
        self._sent[envelope_id] = (link, anyio.current_time())
        if len(self._sent) > MAX_REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def _drop(self, link: RelayedLink, reason: str) -> None:
        if not link.is_open:
            return
        link.is_open = False
        del self._links[link.peer]
        self._sent = {key: value for key, value in self._sent.items() if value[0] is not link}
        self._node.link_closed(link, reason, goodbye=False)

    @property
    def _open(self) -> DrivenLink:
        if self._driven is None:
            raise LinkError("there is no connection with the relay")
        return self._driven

    # --- asking ----------------------------------------------------------------------------------

    async def link_to(self, peer: PeerId) -> RelayedLink:
        """A link to a peer's mailbox, the open one if there is one.

        Raises:
            LinkError: it has none here, or the relay does not say.
        """
        link = self._links.get(peer)
        if link is not None:
            return link
        try:
            bundle = await self.find(peer)
        except RelayError as error:
            raise LinkError(error.reason) from error
        if bundle is None:
            raise LinkError("the relay has no mailbox for that agent")
        link = self._links.get(peer)  # somebody else may have asked, too
        if link is None:
            link = self._links[peer] = RelayedLink(self, peer, bundle)
            self._node.link_opened(link)
        return link

    async def find(self, peer: PeerId) -> KeyBundle | None:
        """The bundle of whoever has a mailbox here."""
        reply = await self._ask(lambda number: Find(number, peer))
        if isinstance(reply, Found) and reply.bundle.peer == peer:
            return reply.bundle
        if isinstance(reply, Failed) and reply.code == "unknown":
            return None
        raise self._error(reply)

    async def publish(self, listing: Listing) -> None:
        """Put our entry into a directory."""
        reply = await self._ask(lambda number: ListingFrame(replace(listing, revision=number)))
        if not isinstance(reply, Done):
            raise self._error(reply)

    async def offer(self, network: PeerId, invitation: bytes, sealed: bytes, uses: int, expires: int) -> None:
        """Leave an invitation."""
        reply = await self._ask(lambda number: Offer(number, network, invitation, sealed, uses, expires))
        if not isinstance(reply, Done):
            raise self._error(reply)

    async def claim(self, invitation: bytes) -> bytes:
        """Fetch an invitation."""
        reply = await self._ask(lambda number: Claim(number, invitation))
        if isinstance(reply, Claimed):
            return reply.sealed
        if isinstance(reply, Failed) and reply.code in TICKET_FAILURES:
            raise TicketError(TICKET_FAILURES[reply.code])
        raise self._error(reply)

    async def _ask(self, question: Callable[[int], Question]) -> Reply | None:
        """The relay's reply; None when there was none in time."""
        number = next(self._numbers)
        waiting = self._waiting[number] = _Waiting()
        try:
            self._request(question(number))
            with anyio.move_on_after(REPLY_SECONDS):
                await waiting.came.wait()
            return waiting.reply
        finally:
            del self._waiting[number]

    def _request(self, question: Question) -> None:
        try:
            self._open.request(question)
        except LinkError as error:
            logger.debug("%s cannot be asked: %s", self.address, error)

    def _error(self, reply: Reply | None) -> RelayError:
        if isinstance(reply, Failed):
            reason = FAILURES.get(reply.code, f"it answered {reply.code!r}")
            if reply.retry_after is not None:
                reason += f"; try again in {reply.retry_after:.0f} s"
            return RelayError(self.address, reason)
        return self.failure(f"no reply within {REPLY_SECONDS:.0f} s")

    def failure(self, otherwise: str) -> RelayError:
        """Why this session is of no use."""
        if self.reason in SHUT_OUT:
            return NotAdmittedError(self.address, self.reason)
        return RelayError(self.address, self.reason or otherwise)
