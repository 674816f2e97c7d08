"""A member's advert as a relay keeps it: readable only with the network's secret.

    wire    header || XChaCha20-Poly1305(directory key, nonce 24, inner, label || header without revision and flags)
    header  "A2L" 0x01 | network 32 | peer 32 | seq u64 | expires u64 | revision u64 | flags u8
    inner   u32 length | advert text | zeros up to a bucket

A relay learns which peer is a member of which network, the time of each change, and a size from a list. It can keep a
listing back; it cannot make one, nor pass an old one off as new, because the advert inside is signed and numbered.
A listing whose body is the member's signature over label and header withdraws the member.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Self

from mcp_a2a.errors.delivery import TooLargeError
from mcp_a2a.errors.protocol import RemoteProtocolError, SealBrokenError
from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.advert import MAX_ADVERT_BYTES, Advert
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity, verify

BUCKETS = tuple(1024 << power for power in range(8))
"""Sizes of `inner`: 1 KiB doubling to 128 KiB, so that the largest advert fits."""

_MAGIC = b"A2L\x01"
_HEADER = struct.Struct(">4s32s32sQQQB")
_BOUND = struct.Struct(">4s32s32sQQ")
_LENGTH = struct.Struct(">I")
_LABEL = b"mcp-a2a/v1/listing\0"
_LEFT_LABEL = b"mcp-a2a/v2/listing-withdrawn\0"
_ONLINE = 1

LISTING_SIZES = frozenset(
    {_HEADER.size + crypto.SIGNATURE_SIZE, *(_HEADER.size + crypto.AEAD_OVERHEAD + bucket for bucket in BUCKETS)}
)
MAX_LISTING = max(LISTING_SIZES)


@dataclass(frozen=True, slots=True)
class Listing:
    """One member's entry in a network's directory."""

    network: PeerId
    peer: PeerId
    seq: int
    """The advert's own number; a higher one replaces a lower one."""
    expires: int
    sealed: bytes
    revision: int = 0
    """The relay's count of changes; unsigned."""
    online: bool = False
    """True if the relay says that the member is connected."""

    @classmethod
    def seal(cls, network: PeerId, directory_key: bytes, advert: Advert, nonce: bytes) -> Self:
        """Our own entry. `nonce` is 24 fresh random bytes.

        Raises:
            TooLargeError: the advert is too long.
        """
        text = advert.to_text().encode()
        if len(text) > MAX_ADVERT_BYTES:
            raise TooLargeError(len(text), MAX_ADVERT_BYTES)
        draft = cls(network, advert.peer, advert.seq, advert.expires, b"")
        inner = _LENGTH.pack(len(text)) + text
        padded = inner.ljust(next(bucket for bucket in BUCKETS if bucket >= len(inner)), b"\0")
        return replace(draft, sealed=crypto.lock(directory_key, nonce, padded, draft._bound()))

    @classmethod
    def withdrawal(cls, identity: Identity, network: PeerId, seq: int, expires: int) -> Self:
        """A signed listing that withdraws our entry. Without the signature a relay could shut a member out."""
        draft = cls(network, identity.peer_id, seq, expires, b"")
        return replace(draft, sealed=identity.sign(_LEFT_LABEL, draft._header()))

    @property
    def is_withdrawal(self) -> bool:
        """True if it says that the member has left. To be believed where `is_signed`."""
        return len(self.sealed) == crypto.SIGNATURE_SIZE

    @property
    def is_signed(self) -> bool:
        """True if a withdrawal is the member's own."""
        return verify(self.peer, _LEFT_LABEL, self._header(), self.sealed)

    @property
    def size(self) -> int:
        """Bytes of what it shows of a member: none of a withdrawal."""
        return 0 if self.is_withdrawal else len(self.sealed)

    def open_untrusted(self, directory_key: bytes) -> Advert:
        """The advert inside: of the peer that the entry names, and signed by it.

        Raises:
            SealBrokenError: not made by a member, or changed.
            RemoteProtocolError: the advert is not acceptable.
        """
        inner = crypto.unlock(directory_key, self.sealed, self._bound())
        (length,) = _LENGTH.unpack_from(inner)
        end = _LENGTH.size + length
        if end > len(inner) or any(inner[end:]):
            raise SealBrokenError("The inside of a listing is not laid out as it must be.")
        advert = Advert.parse_untrusted(inner[_LENGTH.size : end].decode(errors="replace"))
        if (advert.peer, advert.seq, advert.expires) != (self.peer, self.seq, self.expires):
            raise RemoteProtocolError("A listing holds another advert than it says.")
        return advert

    def to_bytes(self) -> bytes:
        """The listing as it travels."""
        flags = _ONLINE if self.online else 0
        header = _HEADER.pack(_MAGIC, self.network.key, self.peer.key, self.seq, self.expires, self.revision, flags)
        return header + self.sealed

    @classmethod
    def parse_untrusted(cls, data: bytes) -> Self:
        """A listing of acceptable size; nothing about it is proven before it opens."""
        if len(data) not in LISTING_SIZES:
            raise RemoteProtocolError(f"No listing has {len(data):,} bytes.")
        magic, network, peer, seq, expires, revision, flags = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise RemoteProtocolError("Not a listing, or one of a newer version.")
        return cls(PeerId(network), PeerId(peer), seq, expires, data[_HEADER.size :], revision, bool(flags & _ONLINE))

    def _bound(self) -> bytes:
        return _LABEL + self._header()

    def _header(self) -> bytes:
        return _BOUND.pack(_MAGIC, self.network.key, self.peer.key, self.seq, self.expires)


def is_listing(data: bytes) -> bool:
    """True if a binary frame claims to be one."""
    return data.startswith(_MAGIC)
