"""The events of a link session, reported to its driver in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import Answer, ByeCode, News, Reply
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Opened:
    """The handshake is complete: `peer` has proven its key and signed the bundle."""

    peer: PeerId
    bundle: KeyBundle


@dataclass(frozen=True, slots=True)
class EnvelopeReceived:
    """An envelope came in. Its header is read; one answer is owed."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Answered:
    """The peer's word about envelopes of ours."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class BundleChanged:
    """The peer has a newer key bundle."""

    bundle: KeyBundle


@dataclass(frozen=True, slots=True)
class RelayHeard:
    """The relay that we dialled answers a request, or has news."""

    frame: Reply | News


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The peer stops running, so it is offline and not merely cut off. `Closed` follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing more comes in or goes out; always the last event."""

    reason: str
    code: ByeCode | None = None
    """The code in the bye of the side that ended it; None if the wire was lost."""


Event: TypeAlias = Opened | EnvelopeReceived | Answered | BundleChanged | RelayHeard | PeerLeft | Closed
