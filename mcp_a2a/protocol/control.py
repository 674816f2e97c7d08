"""The control frames of a link, as values.

`frames` writes and reads them; `session`, `link` and `relay_session` have their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import MAX_ENVELOPE, Envelope
from mcp_a2a.protocol.link_keys import TAG_SIZE
from mcp_a2a.protocol.listing import MAX_LISTING, Listing
from mcp_a2a.protocol.receipt import envelope_id_of

LINK_VERSION = 2
NONCE_SIZE = 32
NAME_SIZE = 16
MAX_TEXT_FRAME = 64 * 1024
MAX_FRAME = max(MAX_ENVELOPE, MAX_LISTING, MAX_TEXT_FRAME) + TAG_SIZE
"""The largest frame in bytes, which every channel must be able to carry."""

MAX_MEMBERSHIPS = 32
"""Networks that one link may be a member of."""

MAX_PRESENCE = 256
"""Peers in one presence frame."""

INVITATION_ID_SIZE = 16
MAX_INVITATION = 4096
"""Bytes of a sealed invitation."""


class Role(StrEnum):
    """The kind of the listening end of a link."""

    NODE = "node"
    RELAY = "relay"


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
    ROLE = "role"
    NOT_ADMITTED = "not_admitted"
    REVOKED = "revoked"
    CROWDED = "crowded"
    FULL = "full"
    OTHER = "other"


BYE_SENTENCES = {
    ByeCode.LEAVING: "it said goodbye",
    ByeCode.CLOSED: "it closed the link",
    ByeCode.BUSY: "it has too many links already",
    ByeCode.REPLACED: "it prefers a newer link with us",
    ByeCode.SLOW: "it says that we read too slowly",
    ByeCode.TIMEOUT: "it says that we answered too late",
    ByeCode.SELF: "it has our own key",
    ByeCode.VERSION: "it runs another version of mcp-a2a, whose links do not fit ours: update the older of the two",
    ByeCode.WRONG_KEY: "it expected another key than ours",
    ByeCode.PROOF: "it did not accept the proof of our key",
    ByeCode.PROTOCOL: "it says that we broke the protocol",
    ByeCode.ROLE: "it wanted a relay where we are none, or an agent where we are a relay",
    ByeCode.NOT_ADMITTED: "it is a closed relay, and neither our key nor a network of ours was admitted",
    ByeCode.REVOKED: "its operator has revoked our key",
    ByeCode.CROWDED: "it has taken as many new agents from our address as it takes in an hour",
    ByeCode.FULL: "it knows as many agents as it may, and takes no new one",
    ByeCode.OTHER: "it closed the link",
}
"""The meaning of a peer's code, in our words."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The listener says who it is and what the other side must sign. The nonce is its ephemeral key (`link_keys`)."""

    version: int
    nonce: bytes
    peer: PeerId
    role: Role
    max_envelope: int


@dataclass(frozen=True, slots=True)
class MembershipProof:
    """Proof that the dialler knows a network's secret: a signature by the network's key (`network.Network.prove`)."""

    network: PeerId
    signature: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """The dialler's proof, its own nonce, and its key bundle as text: read only once the proof holds.

    The nonce is its ephemeral key (`link_keys`). Memberships are shown to a relay only.
    """

    version: int
    peer: PeerId
    nonce: bytes
    signature: bytes
    bundle: str
    memberships: tuple[MembershipProof, ...] = ()


@dataclass(frozen=True, slots=True)
class Welcome:
    """The listener's proof and key bundle."""

    signature: bytes
    bundle: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The recipient has these messages safely; `signature` is its receipt over their postmarks (`receipt`)."""

    postmarks: tuple[bytes, ...]
    signature: bytes

    @property
    def envelopes(self) -> tuple[bytes, ...]:
        """Ids of the envelopes that they came in."""
        return tuple(map(envelope_id_of, self.postmarks))


@dataclass(frozen=True, slots=True)
class Stored:
    """A relay has the envelope on disk."""

    envelope: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """The recipient keeps the envelope until its owner agrees; believed only with its `signature` (`receipt`)."""

    envelope: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The envelope was not taken; `bundle` is the key to seal to instead.

    A refusal is for good only with the recipient's `signature` (`receipt`): a relay could invent any other.
    """

    envelope: bytes
    code: str
    retry_after: float | None = None
    bundle: KeyBundle | None = None
    signature: bytes | None = None


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


# --- with a relay ---------------------------------------------------------------------------------
#
# Requests carry a number of the dialler's choice, and get exactly one `Found`, `Claimed`, `Done` or `Failed` with it.


@dataclass(frozen=True, slots=True)
class ListingFrame:
    """To a relay: publish this (`revision` is the number of the request). From a relay: the new listing of a member."""

    listing: Listing


@dataclass(frozen=True, slots=True)
class Watch:
    """Send me every listing of this network after `since`, and whatever comes; `Done` follows the last one known.

    `epoch` is the relay's, as its last `Done` told it; with another one the relay starts from the beginning.
    """

    number: int
    network: PeerId
    epoch: int
    since: int


@dataclass(frozen=True, slots=True)
class Presence:
    """The members of a network that have connected to the relay, and those that have left it."""

    network: PeerId
    online: tuple[PeerId, ...]
    offline: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Doubled:
    """The key of this connection has others to the same relay that live: `name_of` their hellos."""

    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Find:
    """Has this peer a mailbox here, and what is its key bundle?"""

    number: int
    peer: PeerId


@dataclass(frozen=True, slots=True)
class Found:
    """It has: the newest bundle that it brought, and whether it is connected now."""

    number: int
    bundle: KeyBundle
    online: bool


@dataclass(frozen=True, slots=True)
class Check:
    """Asks for the state of envelopes that were stored here. Each is answered as if it had just been submitted."""

    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """Keep this sealed invitation to a network of ours, for so many different keys, until it expires."""

    number: int
    network: PeerId
    invitation: bytes
    """The id of the invitation, 16 bytes."""
    sealed: bytes
    uses: int
    expires: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Give me the invitation with this id. The same key may ask again."""

    number: int
    invitation: bytes


@dataclass(frozen=True, slots=True)
class Admit:
    """Serve the members of this network, which this connection has proven.

    `proof` shows the relay's admission secret (`admission_secret`). Empty where this key has shown it before.
    """

    number: int
    network: PeerId
    proof: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """The sealed invitation."""

    number: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The request was carried out. After `Watch`: the revision up to which the network is known now."""

    number: int
    epoch: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The request was not carried out."""

    number: int
    code: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class UnknownFrame:
    """A control object of a kind that a later version added."""


Answer: TypeAlias = Delivered | Stored | Held | Refused
Request: TypeAlias = Watch | Find | Check | Offer | Claim | Admit
Reply: TypeAlias = Found | Claimed | Done | Failed
News: TypeAlias = Presence | ListingFrame | Doubled
"""Frames that a relay sends unasked: the first two after a `Watch`."""
RelayText: TypeAlias = Request | Reply | Presence | Doubled
SmallTalk: TypeAlias = Ping | Pong | BundleFrame | UnknownFrame
"""Frames about a side itself or the link, and frames of a later version, which are ignored."""
Control: TypeAlias = Challenge | Hello | Welcome | Answer | BundleFrame | Ping | Pong | Bye | RelayText
Frame: TypeAlias = Control | Envelope | ListingFrame | UnknownFrame


def envelopes_of(answer: Answer) -> tuple[bytes, ...]:
    """Ids of the envelopes that an answer is about."""
    return answer.envelopes if isinstance(answer, Delivered) else (answer.envelope,)


def name_of(nonce: bytes) -> bytes:
    """The name of a connection at a relay, made of the nonce of its hello."""
    return nonce[:NAME_SIZE]
