"""The signed advert of a peer: its card, its encryption key, its addresses.

The text is `CONTENT.SIGNATURE`: one JSON object, a dot, the base64url signature over the object's
bytes as sent. The content is kept as it came, so a reader that does not know all of its fields can pass an advert on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from mcp_a2a.errors.delivery import TooLargeError
from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity, verify
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.payload import MAX_TIME
from mcp_a2a.protocol.strict_json import (
    Version1,
    base64url_untrusted,
    check_limits,
    read_untrusted,
    to_base64url,
    validate_untrusted,
)

MAX_ADVERT_BYTES = 64 * 1024
MAX_ADDRESSES = 16
MAX_ADDRESS_CHARS = 256

_LABEL = b"mcp-a2a/v1/advert\0"
_Address = Annotated[str, Field(min_length=1, max_length=MAX_ADDRESS_CHARS)]


class _AdvertFields(BaseModel):
    """The content as it travels."""

    model_config = ConfigDict(extra="ignore")

    v: Version1
    did: str
    card: AgentCard
    bundle: str
    addresses: tuple[_Address, ...] = Field(max_length=MAX_ADDRESSES)
    seq: int = Field(ge=0, lt=2**53, strict=True)
    expires: int = Field(ge=0, le=MAX_TIME, strict=True)


@dataclass(frozen=True, slots=True)
class Advert:
    """A peer's own word about itself: what it claims may be false, who claims it is proven."""

    peer: PeerId
    card: AgentCard
    bundle: KeyBundle
    addresses: tuple[str, ...]
    seq: int
    expires: int
    signature: bytes
    content: str = field(repr=False)
    """The signed JSON, byte for byte."""

    @classmethod
    def sign(
        cls,
        identity: Identity,
        card: AgentCard,
        bundle: KeyBundle,
        addresses: Sequence[str],
        *,
        seq: int,
        expires: float,
    ) -> Self:
        """Our advert.

        `seq` must rise with every change, also when the database was lost: time in seconds does.

        Raises:
            TooLargeError: card and addresses do not fit.
        """
        fields = {
            "v": 1,
            "did": str(identity.peer_id),
            "card": json.loads(card.to_json()),
            "bundle": bundle.to_text(),
            "addresses": list(addresses),
            "seq": seq,
            "expires": int(expires),
        }
        content = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
        text = f"{content}.{to_base64url(identity.sign(_LABEL, content.encode()))}"
        if len(text.encode()) > MAX_ADVERT_BYTES:
            raise TooLargeError(len(text.encode()), MAX_ADVERT_BYTES)
        check_limits(content.encode())
        return cls._read_back(text)

    def fresh(self, now: float) -> bool:
        """True if it may still be believed."""
        return now < self.expires

    def supersedes(self, other: Advert) -> bool:
        """True if it may replace a known one: never another peer's, never an older or equal one."""
        return self.peer == other.peer and self.seq > other.seq

    def to_text(self) -> str:
        """The advert as it travels."""
        return f"{self.content}.{to_base64url(self.signature)}"

    @classmethod
    def parse_untrusted(cls, text: str) -> Self:
        """An advert that its peer signed. Whether it is current is `fresh`'s to say."""
        if len(text.encode(errors="surrogatepass")) > MAX_ADVERT_BYTES:
            raise RemoteProtocolError(f"An advert of more than {MAX_ADVERT_BYTES:,} bytes.")
        content, _, signature = text.rpartition(".")
        return cls._read_untrusted(content, base64url_untrusted(signature))

    @classmethod
    def _read_back(cls, text: str) -> Self:
        # Whatever we would refuse from others we must not publish either.
        try:
            return cls.parse_untrusted(text)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"This advert of ours is not acceptable: {error}") from error

    @classmethod
    def _read_untrusted(cls, content: str, signature: bytes) -> Self:
        fields = validate_untrusted(_AdvertFields, read_untrusted(content, MAX_ADVERT_BYTES))
        peer = PeerId.parse_untrusted(fields.did)
        if not verify(peer, _LABEL, content.encode(), signature):
            raise RemoteProtocolError("The advert is not signed by its peer.")
        bundle = KeyBundle.parse_untrusted(fields.bundle)
        if bundle.peer != peer:
            raise RemoteProtocolError("The advert carries another peer's key bundle.")
        return cls(
            peer=peer,
            card=fields.card,
            bundle=bundle,
            addresses=fields.addresses,
            seq=fields.seq,
            expires=fields.expires,
            signature=signature,
            content=content,
        )
