"""Clients of a relay: honest ones, that speak the link protocol over a real WebSocket, frame by frame."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import anyio

from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import (
    NONCE_SIZE,
    Bye,
    ByeCode,
    Challenge,
    Control,
    Delivered,
    Frame,
    ListingFrame,
    Ping,
    Role,
    Stored,
    Welcome,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import HOUR, Envelope, Header
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Established, Handshake, Side, Target, Waiting
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link_keys import LinkKeys
from mcp_a2a.protocol.listing import LISTING_SIZES, Listing
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.receipt import sign_receipt
from tests.protocol.people import mark

SMALL = 1712 - 64
"""What follows the header in the smallest envelope of today's suite."""
WITHDRAWN = 64
SEALED = min(size for size in LISTING_SIZES if size > 1000) - min(LISTING_SIZES) + WITHDRAWN
"""What follows the header in the smallest listing."""

WAIT_SECONDS = 5.0

F = TypeVar("F")


class TurnedAwayError(Exception):
    """The relay said goodbye instead of welcome."""

    def __init__(self, code: ByeCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Person:
    """Somebody with keys."""

    identity: Identity
    ring: KeyRing

    @property
    def peer(self) -> PeerId:
        return self.identity.peer_id


def person() -> Person:
    identity = Identity(os.urandom(32))
    ring = KeyRing(identity)
    ring.handle_timeout(time.time(), os.urandom)
    return Person(identity, ring)


def envelope(to: PeerId, number: int | None = None, *, body: int = SMALL, expires: float | None = None) -> bytes:
    """Looks like a sealed one from outside, which is all that a relay can see."""
    wanted = time.time() + 3 * HOUR if expires is None else expires
    envelope_id = os.urandom(16) if number is None else number.to_bytes(16)
    return Header(to, b"12345678", envelope_id, int(wanted // HOUR) * HOUR).to_bytes() + os.urandom(body)


def id_of(sealed: bytes) -> bytes:
    return Header.parse_untrusted(sealed).envelope_id


def entry(network: Network, who: Person, seq: int = 1, *, number: int = 1, left: bool = False) -> Listing:
    """Somebody's entry in a directory, as a relay sees it: sealed or signed (or rather random)."""
    sealed = os.urandom(WITHDRAWN if left else SEALED)
    return Listing(network.id, who.peer, seq, int(time.time()) + 3600, sealed, number)


class Guest:
    """One connection to a relay. Frames that nobody has waited for yet are kept in order."""

    def __init__(self, who: Person, socket: aiohttp.ClientWebSocketResponse, keys: LinkKeys) -> None:
        self.who = who
        self.socket = socket
        self.keys = keys
        self.numbers = itertools.count(1)
        self.kept: list[Frame] = []
        self.closed = False

    @property
    def peer(self) -> PeerId:
        return self.who.peer

    @property
    def nonce(self) -> bytes:
        """The relay's, of this connection."""
        return self.socket.relay_nonce  # type: ignore[attr-defined, no-any-return]

    async def send(self, frame: Control | bytes | str) -> None:
        text = frame if isinstance(frame, bytes | str) else encode(frame)
        await self.socket.send_bytes(self.keys.tagged(text.encode() if isinstance(text, str) else text))

    async def receive(self) -> Frame | None:
        """The next frame but pings; None at the end."""
        while True:
            message = await self.socket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.closed = True
                return None
            frame = decode_untrusted(self.keys.open_untrusted(message.data))
            if not isinstance(frame, Ping):
                return frame

    async def next(self, kind: type[F], where: Callable[[F], bool] = lambda _: True) -> F:
        """The next frame of a kind; others are kept."""
        with anyio.fail_after(WAIT_SECONDS):
            for frame in self.kept:
                if isinstance(frame, kind) and where(frame):
                    self.kept.remove(frame)
                    return frame
            while True:
                frame = await self.receive()
                if frame is None:
                    raise EOFError(f"closed while waiting for {kind.__name__}; kept {self.kept}")
                if isinstance(frame, kind) and where(frame):
                    return frame
                self.kept.append(frame)

    async def answer_to(self, sealed: bytes, kind: type[F]) -> F:
        """What is said about one envelope, which must be of this kind. "Stored" may come before a receipt."""
        wanted = id_of(sealed)

        def is_about(frame: object) -> bool:
            if kind is Delivered and isinstance(frame, Stored):
                return False  # its recipient took a moment: the machine is busy
            ids = frame.envelopes if isinstance(frame, Delivered) else (getattr(frame, "envelope", None),)
            return not isinstance(frame, Envelope) and wanted in ids

        found = await self.next(object, is_about)
        assert isinstance(found, kind), found
        return found

    async def submit(self, sealed: bytes, kind: type[F]) -> F:
        await self.send(sealed)
        return await self.answer_to(sealed, kind)

    async def ask(self, request: Control, kind: type[F]) -> F:
        await self.send(request)
        number = request.number  # type: ignore[union-attr]
        found = await self.next(object, lambda frame: getattr(frame, "number", None) == number)
        assert isinstance(found, kind), found
        return found

    async def publish(self, listing: Listing, kind: type[F]) -> F:
        await self.send(listing.to_bytes())
        found = await self.next(object, lambda frame: getattr(frame, "number", None) == listing.revision)
        assert isinstance(found, kind), found
        return found

    async def mail(self) -> bytes:
        return (await self.next(Envelope)).data

    async def listing(self) -> Listing:
        return (await self.next(ListingFrame)).listing

    def receipt(self, *sealed: bytes) -> Delivered:
        marks = tuple(mark(id_of(one)) for one in sealed)
        return Delivered(marks, sign_receipt(self.who.identity, marks))

    async def take(self) -> bytes:
        """Receive one message and acknowledge it."""
        sealed = await self.mail()
        await self.send(self.receipt(sealed))
        return sealed

    async def bye(self) -> Bye:
        return await self.next(Bye)

    async def leave(self) -> None:
        await self.socket.close()

    async def cut(self) -> None:
        """The wire is gone."""
        transport = self.socket._writer.transport
        transport.abort()


async def shake_hands(
    socket: aiohttp.ClientWebSocketResponse, who: Person, networks: Sequence[Network] = (), relay: PeerId | None = None
) -> Established:
    """The dialler's half."""

    def memberships(listener: PeerId, nonce: bytes) -> tuple:
        socket.relay_nonce = nonce  # type: ignore[attr-defined]
        return tuple(network.prove(listener, who.peer, nonce) for network in networks)

    handshake = Handshake(
        Side.DIALLER, who.identity, who.ring.current, os.urandom(NONCE_SIZE), Target(relay, Role.RELAY, memberships)
    )
    challenge = decode_untrusted(await socket.receive_str())
    assert isinstance(challenge, Challenge)
    step = handshake.receive_untrusted(challenge)
    assert isinstance(step, Waiting), step
    await socket.send_str(encode(step.reply))
    welcome = decode_untrusted(await socket.receive_str())
    if isinstance(welcome, Bye):
        raise TurnedAwayError(welcome.code)
    assert isinstance(welcome, Welcome)
    established = handshake.receive_untrusted(welcome)
    assert isinstance(established, Established), established
    return established


class Door:
    """Where a relay is reached from a test."""

    def __init__(self, client: aiohttp.ClientSession, base: str) -> None:
        self.client = client
        self.base = base
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []

    async def enter(
        self, who: Person | None = None, networks: Sequence[Network] = (), headers: dict[str, str] | None = None
    ) -> Guest:
        """A connection with a proven key."""
        who = who or person()
        socket = await self.knock(headers)
        with anyio.fail_after(WAIT_SECONDS):
            established = await shake_hands(socket, who, networks)
        return Guest(who, socket, established.keys)

    async def knock(self, headers: dict[str, str] | None = None) -> aiohttp.ClientWebSocketResponse:
        """A connection that has proven nothing."""
        socket = await self.client.ws_connect(
            f"ws://{self.base}/link", autoping=False, compress=0, max_msg_size=0, headers=headers,
            timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
        )  # fmt: skip
        self.sockets.append(socket)
        return socket

    async def close(self) -> None:
        """Close what is open, as far as the other side goes along."""
        async with anyio.create_task_group() as tasks:
            for socket in self.sockets:
                tasks.start_soon(socket.close)


@asynccontextmanager
async def open_door(port: int) -> AsyncIterator[Door]:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as client:
        door = Door(client, f"127.0.0.1:{port}")
        try:
            yield door
        finally:
            await door.close()
