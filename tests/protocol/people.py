"""Fixed peers, keys and payloads for the tests of the protocol, and the means to forge envelopes."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator

from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.bundle import KeyBundle, KeyRing
from mcp_a2a.protocol.crypto import KemSecret
from mcp_a2a.protocol.envelope import Header
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.protocol.payload import Payload, TaskBody
from mcp_a2a.protocol.receipt import POSTMARK_SIZE
from mcp_a2a.protocol.strict_json import to_base64url

NOW = 1_790_000_000.0
EXPIRES = NOW + 86_400

ALICE = Identity(b"alice".ljust(32, b"."))
BOB = Identity(b"bob".ljust(32, b"."))
CAROL = Identity(b"carol".ljust(32, b"."))

ENVELOPE_ID = bytes(range(16))


class Dice:
    """Randomness that is the same in every run."""

    def __init__(self, seed: bytes) -> None:
        self._seed, self._throws = seed, 0

    def __call__(self, size: int) -> bytes:
        self._throws += 1
        return hashlib.shake_256(self._seed + bytes([self._throws])).digest(size)


def ring_of(identity: Identity, now: float = NOW) -> KeyRing:
    """A key ring with one current key."""
    ring = KeyRing(identity)
    ring.handle_timeout(now, Dice(identity.peer_id.key))
    return ring


def secret_of(identity: Identity, suite: int) -> KemSecret:
    """The KEM secret of a peer that has one key of that suite."""
    return KemSecret(suite, hashlib.sha256(identity.peer_id.key + bytes([suite])).digest())


def ring_with_suite(identity: Identity, suite: int, now: float = NOW) -> KeyRing:
    """A key ring as a build that has only this suite would make it."""
    secret = secret_of(identity, suite)
    bundle = KeyBundle.sign(identity, secret, seq=1, now=now)
    key = {"bundle": bundle.to_text(), "secret": to_base64url(secret.seed), "drop_at": None}
    return KeyRing.load(identity, json.dumps({"v": 1, "keys": [key]}))


def task(text: str = "Count the words in this sentence.", *, to: Identity = BOB) -> Payload:
    """A task from Alice."""
    message = Message(message_id="m-1", role=Role.USER, parts=(Part(text=text),))
    return Payload(
        type="task",
        id="p-1",
        from_=ALICE.peer_id,
        to=to.peer_id,
        task="task-1",
        created=NOW,
        expires=EXPIRES,
        body=TaskBody(message=message, skill="count_words"),
    )


def inner_of(payload: bytes, *, signer: Identity = ALICE) -> bytes:
    """What a sender seals, laid out and padded as it must be."""
    signature = signer.sign(b"mcp-a2a/v1/msg\0", payload)
    inner = struct.pack(">I64s", len(payload), signature) + payload
    size = max(512, 1 << (len(inner) - 1).bit_length())
    return inner.ljust(size, b"\0")


def header_for(bundle: KeyBundle, expires: float = EXPIRES) -> bytes:
    """The header that goes with it."""
    full_hour = math.ceil(expires / 3600) * 3600
    return Header(bundle.peer, bundle.kid, ENVELOPE_ID, full_hour).to_bytes()


def forge(inner: bytes, bundle: KeyBundle, header: bytes | None = None) -> bytes:
    """Seal whatever is wanted, as an attacker can who knows the recipient's public key."""
    clear = header_for(bundle) if header is None else header
    sealed = crypto.seal(bundle.suite, bundle.public_key, inner, b"mcp-a2a/v1/env\0" + clear)
    return clear + sealed


def bit_flips(data: bytes) -> Iterator[bytes]:
    """Every copy that differs in one bit."""
    for index in range(len(data) * 8):
        yield flip(data, index)


def flip(data: bytes, bit: int) -> bytes:
    """A copy that differs in this one bit."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def mark(envelope_id: bytes) -> bytes:
    """A postmark with this id. Whoever only carries it reads no more of it."""
    return envelope_id.ljust(POSTMARK_SIZE, b"\0")
