"""One sealed message to one peer, the same on every path.

    wire    header || HPKE.Seal(recipient's current key, info = label || header, inner)
    header  "A2E" 0x01 | recipient's Ed25519 key 32 | kid 8 | random id 16 | expires u32, full hour
    inner   u32 length | signature 64 | payload | zeros up to a bucket

Only the header is readable on the way, and `info` binds it: moved to another recipient or given a
longer life, the envelope does not open. Who sent it is inside: the sender's signature over the
payload bytes as sent. Sizes on the wire come from twelve buckets, so they say little about the
content.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from mcp_a2a.errors.delivery import TooLargeError
from mcp_a2a.errors.protocol import LocalProtocolError, NotForUsError, RemoteProtocolError, SealBrokenError
from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.bundle import KID_SIZE, KeyBundle, KeyRing
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity, verify
from mcp_a2a.protocol.payload import MAX_PAYLOAD, MAX_TIME, Payload

__all__ = [
    "ENVELOPE_ID_SIZE",
    "HEADER_SIZE",
    "MAX_ENVELOPE",
    "MAX_PAYLOAD",
    "Envelope",
    "Header",
    "Opened",
    "id_of",
    "seal",
]

HEADER_SIZE = 64
ENVELOPE_ID_SIZE = 16
HOUR = 3600

BUCKETS = (512, *(1024 << power for power in range(11)))
"""Sizes of `inner`: 512 B, then 1 KiB doubling to 1 MiB."""

WIRE_SIZES = frozenset(
    HEADER_SIZE + overhead + bucket for overhead in crypto.SEAL_OVERHEADS.values() for bucket in BUCKETS
)
MAX_ENVELOPE = max(WIRE_SIZES)

_MAGIC = b"A2E\x01"
_HEADER = struct.Struct(f">4s32s{KID_SIZE}s{ENVELOPE_ID_SIZE}sI")
_INNER = struct.Struct(f">I{crypto.SIGNATURE_SIZE}s")
_ID = slice(HEADER_SIZE - 4 - ENVELOPE_ID_SIZE, HEADER_SIZE - 4)
_ENVELOPE_LABEL = b"mcp-a2a/v1/env\0"
_MESSAGE_LABEL = b"mcp-a2a/v1/msg\0"


# A relay reads thousands of headers a second, for few recipients; checking a key is a third of that.
_recipient = lru_cache(maxsize=4096)(PeerId)


@dataclass(slots=True)  # not frozen, which takes three times as long to make: a relay makes one per message
class Header:
    """The part of an envelope that every carrier can read."""

    to: PeerId
    kid: bytes
    envelope_id: bytes
    expires: int
    """Seconds since the epoch, a full hour."""

    def to_bytes(self) -> bytes:
        """The 64 bytes."""
        return _HEADER.pack(_MAGIC, self.to.key, self.kid, self.envelope_id, self.expires)

    @classmethod
    def parse_untrusted(cls, envelope: bytes) -> Self:
        """The header of an envelope of acceptable size; nothing is proven before it opens."""
        if len(envelope) not in WIRE_SIZES:
            raise RemoteProtocolError(f"No envelope has {len(envelope):,} bytes.")
        magic, to, kid, envelope_id, expires = _HEADER.unpack_from(envelope)
        if magic != _MAGIC:
            raise RemoteProtocolError("Not an envelope, or one of a newer version.")
        if expires % HOUR:
            raise RemoteProtocolError("The envelope's expiry is not a full hour.")
        return cls(_recipient(to), kid, envelope_id, expires)


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope that was for us, unchanged, and from the peer it says."""

    payload: Payload
    envelope_id: bytes


@dataclass(slots=True)
class Envelope:
    """An envelope that came in, and its header, which is read once, where the link receives it."""

    header: Header
    data: bytes

    @classmethod
    def parse_untrusted(cls, data: bytes) -> Self:
        """An envelope as it travels; nothing is proven before it opens."""
        return cls(Header.parse_untrusted(data), data)

    def open_untrusted(self, ring: KeyRing, me: PeerId) -> Opened:
        """The message inside, if it is for us, unchanged, and signed by the peer that it names.

        Freshness and replay are checked by `replay` and the store.

        Raises:
            NotForUsError: it names another recipient, outside or inside.
            UnknownKeyError: sealed to a key that we do not have (any more).
            SealBrokenError: changed, damaged, or signed by another peer.
            RemoteProtocolError: a payload that is not acceptable.
        """
        if self.header.to != me:
            raise NotForUsError("The envelope is addressed to another peer.")
        info = _ENVELOPE_LABEL + self.data[:HEADER_SIZE]
        inner = ring.secret_for(self.header.kid).open(self.data[HEADER_SIZE:], info)
        raw, signature = _unpack_untrusted(inner)
        payload = Payload.parse_untrusted(raw)
        if not verify(payload.from_, _MESSAGE_LABEL, raw, signature):
            raise SealBrokenError("The message is not signed by the peer it says it is from.")
        # A recipient that seals our signed message again, to a third peer, gets no further than this
        # line.
        if payload.to != me:
            raise NotForUsError("The message inside is addressed to another peer.")
        if self.header.expires != _full_hour(payload.expires):
            raise SealBrokenError("The envelope's expiry is not that of the message inside.")
        return Opened(payload, self.header.envelope_id)


def id_of(envelope: bytes) -> bytes:
    """The id in the header of an envelope that was made here, or whose header was read before."""
    return envelope[_ID]


def seal(identity: Identity, payload: bytes, bundle: KeyBundle, envelope_id: bytes, expires: float) -> bytes:
    """Sign a payload of ours and seal it to the peer of `bundle`. `expires` is the payload's own.

    Raises:
        TooLargeError: it does not fit into the largest bucket.
    """
    if len(payload) > MAX_PAYLOAD:
        raise TooLargeError(len(payload), MAX_PAYLOAD)
    if len(envelope_id) != ENVELOPE_ID_SIZE or not 0 <= expires <= MAX_TIME:
        raise LocalProtocolError("An envelope needs an id of 16 bytes and an expiry before 2106.")
    header = Header(bundle.peer, bundle.kid, envelope_id, _full_hour(expires)).to_bytes()
    inner = _INNER.pack(len(payload), identity.sign(_MESSAGE_LABEL, payload)) + payload
    padded = inner.ljust(_bucket(len(inner)), b"\0")
    return header + crypto.seal(bundle.suite, bundle.public_key, padded, _ENVELOPE_LABEL + header)


def _unpack_untrusted(inner: bytes) -> tuple[bytes, bytes]:
    """Payload and signature; the padding must be what the sender had no choice about."""
    length, signature = _INNER.unpack_from(inner)
    end = _INNER.size + length
    if end > len(inner) or len(inner) != _bucket(end) or not inner.endswith(bytes(len(inner) - end)):
        raise SealBrokenError("The inside of the envelope is not laid out as it must be.")
    return inner[_INNER.size : end], signature


def _bucket(size: int) -> int:
    return BUCKETS[bisect_left(BUCKETS, size)]


def _full_hour(expires: float) -> int:
    return math.ceil(expires / HOUR) * HOUR
