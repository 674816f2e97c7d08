"""Peers of a relay that speak the link protocol with as little of it as a load needs.

The handshake is the product's own. After it everything is laid out beforehand: an envelope is sealed once per recipient
and gets another id for every message (a relay cannot tell, a recipient would); receipts are really signed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loads.flight import Figures, Flight, measured
from loads.line import Where
from loads.wire import BINARY, TEXT, Wire, frame

from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import BYE_SENTENCES, Bye, Delivered, Hello, Pong, Role
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE, seal
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Established, Failed, Handshake, Side, Target, Waiting
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link_keys import TAG_SIZE, LinkKeys
from mcp_a2a.protocol.receipt import POSTMARK_SIZE, sign_receipt

ID_AT = 4 + 32 + 8
"""Where in an envelope its id begins."""
ID_END = ID_AT + ENVELOPE_ID_SIZE
PAYLOAD = b"x" * 300
LIFETIME_SECONDS = 6 * 3600


class Member:
    """A key with a session at a relay."""

    def __init__(self) -> None:
        self.identity = Identity(os.urandom(32))
        self.ring = KeyRing(self.identity)
        self.ring.handle_timeout(time.time(), os.urandom)
        self.wire: Wire | None = None
        self.keys: LinkKeys | None = None
        """None where there was no handshake: a server that only passes on has none."""
        self.heard: Callable[[bytes], None] = lambda frame: None

    async def open(self, where: Where) -> None:
        """Prove our key, and be registered."""
        frames: asyncio.Queue[str | bytes] = asyncio.Queue()
        wire = await Wire.open(
            where, lambda opcode, payload: frames.put_nowait(payload.decode() if opcode == TEXT else payload)
        )
        wire.lost = lambda: frames.put_nowait('{"t":"bye","code":"other"}')
        target = Target(role=Role.RELAY)
        handshake = Handshake(Side.DIALLER, self.identity, self.ring.current, os.urandom(32), target)
        while True:
            said = decode_untrusted(await asyncio.wait_for(frames.get(), 10))
            if isinstance(said, Bye):
                raise ConnectionError(f"the relay ended the handshake: {BYE_SENTENCES[said.code]}")
            match handshake.receive_untrusted(said):
                case Waiting(Hello() as hello):
                    wire.send(frame(encode(hello).encode(), TEXT))
                case Established() as established:
                    self.keys = established.keys
                    break
                case Failed(_, reason):
                    raise ConnectionError(reason)
        self.wire = wire
        self.listen()
        while not frames.empty():
            early = frames.get_nowait()
            assert isinstance(early, bytes)
            self._heard(BINARY, early)

    def listen(self) -> None:
        """Pass on what the relay says from now on."""
        assert self.wire is not None
        self.wire.heard, self.wire.lost = self._heard, lambda: None

    def close(self) -> None:
        if self.wire is not None:
            self.wire.close()

    def send(self, body: bytes) -> None:
        assert self.wire is not None
        self.wire.send(frame(body if self.keys is None else self.keys.tagged(body)))

    def _heard(self, opcode: int, payload: bytes) -> None:
        del opcode
        body = payload if self.keys is None else payload[:-TAG_SIZE]  # a load believes what it hears
        if body.startswith(b'{"t":"ping"'):
            self.send(encode(Pong(int(body[body.rindex(b":") + 1 : -1]))).encode())
        else:
            self.heard(body)


@dataclass(frozen=True)
class Pair:
    """A depositor and a recipient, and the envelope between them in two halves around the id."""

    sender: Member
    recipient: Member
    before: bytes
    after: bytes
    bytes_on_wire: int

    @classmethod
    def make(cls) -> Pair:
        sender, recipient = Member(), Member()
        envelope = seal(
            sender.identity, PAYLOAD, recipient.ring.current, bytes(ENVELOPE_ID_SIZE), time.time() + LIFETIME_SECONDS
        )
        return cls(sender, recipient, envelope[:ID_AT], envelope[ID_END:], len(envelope))

    async def open(self, where: Where) -> None:
        await self.sender.open(where)
        await self.recipient.open(where)

    def close(self) -> None:
        self.sender.close()
        self.recipient.close()


class RelayLoad:
    """Messages through a relay, in turn over all pairs."""

    def __init__(self, pairs: Sequence[Pair], count: int, in_flight: int, done_at: bytes = b"delivered") -> None:
        self._pairs, self._done_at = pairs, done_at
        batch = os.urandom(8)
        self._ids = [batch + number.to_bytes(8, "big") for number in range(count)]
        self.flight = Flight(count, in_flight, self._send)
        self._receipts = {
            envelope_id: self._receipt(pairs[number % len(pairs)].recipient, envelope_id)
            for number, envelope_id in enumerate(self._ids)
        }
        self.stored_on_the_way = 0
        self.received = 0
        self.all_received = asyncio.Event()
        for pair in pairs:
            pair.sender.heard = self._answered
            self._listen(pair.recipient)

    def owes(self, earlier: RelayLoad) -> None:
        """The recipients get an earlier load's messages, too."""
        self._receipts |= earlier._receipts

    async def measure(self, pid: int) -> Figures:
        return await measured(self.flight, pid)

    @staticmethod
    def _receipt(recipient: Member, envelope_id: bytes) -> bytes:
        postmark = envelope_id.ljust(POSTMARK_SIZE, b"\0")
        return encode(Delivered((postmark,), sign_receipt(recipient.identity, [postmark]))).encode()

    def _send(self, number: int) -> None:
        pair = self._pairs[number % len(self._pairs)]
        pair.sender.send(pair.before + self._ids[number] + pair.after)

    def _listen(self, recipient: Member) -> None:
        def heard(frame: bytes) -> None:
            if frame.startswith(b"{"):
                self.flight.failed(f"the recipient was told {frame[:300]!r}")
                return
            self.received += 1
            recipient.send(self._receipts[frame[ID_AT:ID_END]])
            if self.received == len(self._receipts):
                self.all_received.set()

        recipient.heard = heard

    def _answered(self, frame: bytes) -> None:
        kind, _, rest = frame[6:].partition(b'"')
        if kind == self._done_at:
            # The first string behind the first name begins with the id, whose last 8 bytes are the message's number.
            start = rest.index(b'"', rest.index(b":")) + 1
            self.flight.confirmed(int(rest[start + 16 : start + 32], 16))
        elif kind == b"stored":
            self.stored_on_the_way += 1
        elif kind != b"delivered":
            self.flight.failed(f"the relay answered {frame[:300]!r}")
