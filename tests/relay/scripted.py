"""A relay written for tests, small enough to be twisted: what it does by default is honest, and a subclass lies.

It keeps everything in memory and knows no limits. It speaks over real sockets, so what meets it is the node as it is.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Self

import anyio
from aiohttp import WSMsgType, web

from mcp_a2a.protocol.bundle import KeyBundle, KeyRing
from mcp_a2a.protocol.control import (
    Admit,
    Answer,
    BundleFrame,
    Bye,
    Check,
    Claim,
    Claimed,
    Control,
    Delivered,
    Done,
    Failed,
    Find,
    Found,
    Frame,
    Held,
    ListingFrame,
    Offer,
    Ping,
    Pong,
    Presence,
    Refused,
    Role,
    Stored,
    Watch,
    envelopes_of,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope, Header
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Established, Handshake, Side, Target
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link_keys import LinkKeys
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.network import proof_is_valid

EPOCH = 77


@dataclass(eq=False)
class Caller:
    """One connection with a proven key."""

    socket: web.WebSocketResponse
    peer: PeerId
    networks: frozenset[PeerId]
    keys: LinkKeys
    watched: set[PeerId] = field(default_factory=set)

    async def say(self, frame: Control | bytes) -> None:
        if self.socket.closed:
            return
        await self.socket.send_bytes(self.keys.tagged(frame if isinstance(frame, bytes) else encode(frame).encode()))


class ScriptedRelay:
    """An honest relay; override what shall be otherwise."""

    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity or Identity(os.urandom(32))
        self.ring = KeyRing(self.identity)
        self.ring.handle_timeout(time.time(), os.urandom)
        self.port = 0
        self.callers: dict[PeerId, list[Caller]] = defaultdict(list)
        self.bundles: dict[PeerId, KeyBundle] = {}
        self.mail: dict[PeerId, dict[bytes, bytes]] = defaultdict(dict)
        self.depositors: dict[bytes, PeerId] = {}
        self.answers: dict[PeerId, list[Answer]] = defaultdict(list)
        self.listings: dict[tuple[PeerId, PeerId], Listing] = {}
        self.invitations: dict[bytes, tuple[bytes, int, set[PeerId]]] = {}
        self.revision = 0
        self.seen: list[bytes] = []
        """Every frame that came in."""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/#{self.identity.peer_id}"

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[Self]:
        """Listen on loopback as long as the context lasts."""
        app = web.Application()
        app.router.add_get("/link", self._answer_call)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        try:
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                for callers in self.callers.values():
                    for caller in callers:
                        await caller.socket.close()
                await runner.cleanup()

    # --- a connection ----------------------------------------------------------------------------

    async def _answer_call(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=2**22, autoping=False)
        await socket.prepare(request)
        caller = await self.shake_hands(socket)
        if caller is None:
            return socket
        self.callers[caller.peer].append(caller)
        try:
            await self.welcome(caller)
            async for message in socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                frame = caller.keys.open_untrusted(message.data)
                self.seen.append(frame)
                await self.receive(caller, frame)
        finally:
            self.callers[caller.peer].remove(caller)
            await self.tell_presence(caller, online=False)
        return socket

    async def shake_hands(self, socket: web.WebSocketResponse) -> Caller | None:
        handshake = Handshake(Side.LISTENER, self.identity, self.ring.current, os.urandom(32), Target(role=Role.RELAY))
        await socket.send_str(encode(handshake.challenge))
        message = await socket.receive()
        if message.type is not WSMsgType.TEXT:
            return None
        step = handshake.receive_untrusted(decode_untrusted(message.data))
        if not isinstance(step, Established) or step.reply is None:
            await socket.close()
            return None
        await socket.send_str(encode(step.reply))
        self.bundles[step.peer] = step.bundle
        networks = frozenset(
            proof.network
            for proof in step.memberships
            if proof_is_valid(proof, self.identity.peer_id, step.peer, handshake.challenge.nonce)
        )
        return Caller(socket, step.peer, networks, step.keys)

    async def welcome(self, caller: Caller) -> None:
        """A key has proven itself: its mail, what became of what it sent, and news for the others."""
        await self.tell_presence(caller, online=True)
        for answer in self.answers.pop(caller.peer, []):
            await caller.say(answer)
        for envelope in list(self.mail[caller.peer].values()):
            await self.deliver(caller, envelope)

    async def receive(self, caller: Caller, data: bytes) -> None:
        match decode_untrusted(data):
            case Envelope() as envelope:
                await self.deposit(caller, envelope.data, envelope.header.envelope_id)
            case Delivered() | Held() | Refused() as answer:
                await self.answered(caller, answer)
            case ListingFrame(listing):
                await self.publish(caller, listing)
            case Ping(number):
                await caller.say(Pong(number))
            case BundleFrame(bundle):
                self.bundles[bundle.peer] = bundle
            case Pong() | Bye():
                return
            case request:
                await self.asked(caller, request)

    async def asked(self, caller: Caller, request: Frame) -> None:
        match request:
            case Watch() as watch:
                await self.watch(caller, watch)
            case Find(number, peer):
                await caller.say(self.found(number, peer))
            case Check(envelopes):
                for envelope_id in envelopes:
                    await caller.say(self.checked(envelope_id))
            case Offer() as offer:
                self.invitations[offer.invitation] = (offer.sealed, offer.uses, set())
                await caller.say(Done(offer.number))
            case Admit(number):
                await caller.say(Done(number))
            case Claim(number, invitation):
                await caller.say(self.claimed(caller, number, invitation))
            case other:
                raise AssertionError(other)

    # --- mail ------------------------------------------------------------------------------------

    def newest(self, peer: PeerId) -> Caller | None:
        return self.callers[peer][-1] if self.callers[peer] else None

    async def deposit(self, caller: Caller, envelope: bytes, envelope_id: bytes) -> None:
        to = Header.parse_untrusted(envelope).to
        if to not in self.bundles:
            await caller.say(Refused(envelope_id, "no_mailbox"))
            return
        self.mail[to][envelope_id] = envelope
        self.depositors[envelope_id] = caller.peer
        recipient = self.newest(to)
        if recipient is None:
            await caller.say(Stored(envelope_id))
        else:
            await self.deliver(recipient, envelope)

    async def deliver(self, recipient: Caller, envelope: bytes) -> None:
        await recipient.say(envelope)

    async def answered(self, caller: Caller, answer: Answer) -> None:
        ids = envelopes_of(answer)
        for envelope_id in ids:
            self.mail[caller.peer].pop(envelope_id, None)
        await self.forward(self.depositors[ids[0]], answer)

    async def forward(self, depositor: PeerId, answer: Answer) -> None:
        """Tell a depositor, now or when it is back."""
        caller = self.newest(depositor)
        if caller is None:
            self.answers[depositor].append(answer)
        else:
            await caller.say(answer)

    def checked(self, envelope_id: bytes) -> Answer:
        kept = any(envelope_id in mailbox for mailbox in self.mail.values())
        return Stored(envelope_id) if kept else Refused(envelope_id, "unknown")

    # --- directory -------------------------------------------------------------------------------

    def found(self, number: int, peer: PeerId) -> Control:
        if peer not in self.bundles:
            return Failed(number, "unknown")
        return Found(number, self.bundles[peer], online=self.newest(peer) is not None)

    async def publish(self, caller: Caller, listing: Listing) -> None:
        assert listing.network in caller.networks
        assert listing.peer == caller.peer
        self.revision += 1
        entry = replace(listing, revision=self.revision, online=True)
        self.listings[listing.network, listing.peer] = entry
        await caller.say(Done(listing.revision, EPOCH, self.revision))
        for watcher in self.watchers(listing.network):
            await watcher.say(self.shown(entry).to_bytes())

    def shown(self, listing: Listing) -> Listing:
        """An entry as it is told to watchers."""
        return listing

    def watchers(self, network: PeerId) -> list[Caller]:
        return [caller for callers in self.callers.values() for caller in callers if network in caller.watched]

    async def watch(self, caller: Caller, watch: Watch) -> None:
        assert watch.network in caller.networks
        caller.watched.add(watch.network)
        since = watch.since if watch.epoch == EPOCH else 0
        members = [listing for (network, _), listing in self.listings.items() if network == watch.network]
        for listing in members:
            if listing.revision > since:
                online = self.newest(listing.peer) is not None
                await caller.say(self.shown(replace(listing, online=online)).to_bytes())
        online = tuple(listing.peer for listing in members if self.newest(listing.peer) is not None)
        await caller.say(Presence(watch.network, online, ()))
        await caller.say(Done(watch.number, EPOCH, self.revision))

    async def tell_presence(self, caller: Caller, *, online: bool) -> None:
        for network in caller.networks:
            for watcher in self.watchers(network):
                who = (caller.peer,)
                await watcher.say(Presence(network, who if online else (), () if online else who))

    def claimed(self, caller: Caller, number: int, invitation: bytes) -> Control:
        if invitation not in self.invitations:
            return Failed(number, "unknown")
        sealed, uses, claimants = self.invitations[invitation]
        if caller.peer not in claimants and len(claimants) >= uses:
            return Failed(number, "used")
        claimants.add(caller.peer)
        return Claimed(number, sealed)
