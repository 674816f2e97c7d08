"""What the two sides of a link say to each other, as values.

How they are written and read is `frames`; what may follow what is `link`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import MAX_ENVELOPE

LINK_VERSION = 1
NONCE_SIZE = 32
MAX_TEXT_FRAME = 64 * 1024
MAX_FRAME = max(MAX_ENVELOPE, MAX_TEXT_FRAME)
"""What a channel must be able to carry, and need not carry more than."""


class ByeCode(StrEnum):
    """Why a side closes a link. Only the code travels: no peer's sentence reaches a log or a model."""

    LEAVING = "leaving"
    CLOSED = "closed"
    BUSY = "busy"
    REPLACED = "replaced"
    SLOW = "slow"
    TIMEOUT = "timeout"
    SELF = "self"
    VERSION = "version"
    WRONG_KEY = "wrong_key"
    PROOF = "proof"
    PROTOCOL = "protocol"
    OTHER = "other"


BYE_SENTENCES = {
    ByeCode.LEAVING: "it said goodbye",
    ByeCode.CLOSED: "it closed the link",
    ByeCode.BUSY: "it has too many links already",
    ByeCode.REPLACED: "it prefers a newer link with us",
    ByeCode.SLOW: "it says that we read too slowly",
    ByeCode.TIMEOUT: "it says that we answered too late",
    ByeCode.SELF: "it has our own key",
    ByeCode.VERSION: "it speaks another version of the protocol",
    ByeCode.WRONG_KEY: "it expected another key than ours",
    ByeCode.PROOF: "it did not accept the proof of our key",
    ByeCode.PROTOCOL: "it says that we broke the protocol",
    ByeCode.OTHER: "it closed the link",
}
"""What a peer's code means, in our words."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The listener says who it is and what the other side must sign."""

    version: int
    nonce: bytes
    peer: PeerId
    role: str
    max_envelope: int


@dataclass(frozen=True, slots=True)
class Hello:
    """The dialler's proof, its own nonce, and its key bundle as text: read only once the proof holds."""

    version: int
    peer: PeerId
    nonce: bytes
    signature: bytes
    bundle: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """The listener's proof and key bundle."""

    signature: bytes
    bundle: str


@dataclass(frozen=True, slots=True)
class EnvelopeFrame:
    """A submitted envelope: its header is readable, nothing about it is proven."""

    envelope: bytes
    envelope_id: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """The recipient has these envelopes safely; `signature` is its receipt (`envelope`)."""

    envelopes: tuple[bytes, ...]
    signature: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """A relay has the envelope on disk."""

    envelope: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """The recipient keeps the envelope until its owner agrees."""

    envelope: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The envelope was not taken; `bundle` is the key to seal to instead."""

    envelope: bytes
    code: str
    retry_after: float | None = None
    bundle: KeyBundle | None = None


@dataclass(frozen=True, slots=True)
class BundleFrame:
    """The sender's newer key bundle."""

    bundle: KeyBundle


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping."""

    number: int


@dataclass(frozen=True, slots=True)
class Bye:
    """The last frame of a side."""

    code: ByeCode


@dataclass(frozen=True, slots=True)
class UnknownFrame:
    """A control object of a kind that a later version added."""


Answer: TypeAlias = Delivered | Stored | Held | Refused
Control: TypeAlias = Challenge | Hello | Welcome | Answer | BundleFrame | Ping | Pong | Bye
Frame: TypeAlias = Control | EnvelopeFrame | UnknownFrame
