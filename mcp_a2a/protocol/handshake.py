"""Proving keys to each other at the start of a link, and agreeing on keys for the rest of it.

    listener                                     dialler
    challenge (nonce, its PeerId, role, limits)  ->
                                                 <-   hello (PeerId, nonce, proof, key bundle, memberships)
    welcome (proof, key bundle)                  ->

Each nonce is the public half of a fresh X25519 key, and each proof a signature over a label and everything that both
sides have said so far (the transcript). The label keeps a proof from meaning anything else, the nonces from being used
twice, and the listener's key inside it from being shown to another listener. What the two
X25519 keys agree on protects every frame behind the welcome (`link_keys`): a peer that passes the handshake on knows
neither, and cannot send a frame of its own. A relay is also shown which networks the dialler is a member of; another
node never is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias

from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    LINK_VERSION,
    NONCE_SIZE,
    ByeCode,
    Challenge,
    Frame,
    Hello,
    MembershipProof,
    Role,
    Welcome,
    name_of,
)
from mcp_a2a.protocol.crypto import ExchangeKey, sha256
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import MAX_ENVELOPE
from mcp_a2a.protocol.identity import Identity, verify
from mcp_a2a.protocol.link_keys import LinkKeys

_HELLO_LABEL = b"mcp-a2a/v2/link-hello\0"
_WELCOME_LABEL = b"mcp-a2a/v2/link-welcome\0"
_FIELDS = struct.Struct(">QQQ?")


class Side(Enum):
    """The side of a link: the dialler opened it."""

    DIALLER = auto()
    LISTENER = auto()


@dataclass(frozen=True, slots=True)
class Waiting:
    """So far so good: send `reply`, and wait."""

    reply: Challenge | Hello


@dataclass(frozen=True, slots=True)
class Established:
    """Both keys are proven. A listener sends `reply`, and `keys` protect everything after it, in both directions."""

    peer: PeerId
    bundle: KeyBundle
    keys: LinkKeys
    memberships: tuple[MembershipProof, ...] = ()
    """As the dialler of a relay claims them; not yet checked (`network.proof_is_valid`)."""
    reply: Welcome | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no link. The peer hears the code, we know the reason."""

    code: ByeCode
    reason: str


Step: TypeAlias = Waiting | Established | Failed


Memberships: TypeAlias = Callable[[PeerId, bytes], tuple[MembershipProof, ...]]
"""Makes our proofs of membership for a relay and its nonce."""

_ROLE_ERRORS = {
    Role.NODE: "an agent answers there, not a relay",
    Role.RELAY: "a relay answers there, not an agent: it is named by invite --relay, or comes with a ticket",
}


@dataclass(frozen=True, slots=True)
class Target:
    """The listener that a dialler expects: of this `role`, and with this key; without a `peer`, with any key."""

    peer: PeerId | None = None
    role: Role = Role.NODE
    memberships: Memberships | None = None
    """Shown to a relay."""


ANY_PEER = Target()


class Handshake:
    """One side of a handshake. `secret` is 32 fresh random bytes, used for nothing else."""

    def __init__(
        self,
        side: Side,
        identity: Identity,
        bundle: KeyBundle,
        secret: bytes,
        target: Target = ANY_PEER,
    ) -> None:
        if len(secret) != NONCE_SIZE:
            raise LocalProtocolError(f"A handshake needs a secret of {NONCE_SIZE} bytes.")
        self.side = side
        self._identity = identity
        self._bundle = bundle
        self._ephemeral = ExchangeKey(secret)
        self._target = target
        self._challenge: Challenge | None = None
        self._transcript = b""

    @property
    def challenge(self) -> Challenge:
        """The first frame of a listener."""
        return Challenge(LINK_VERSION, self._ephemeral.public, self._me, self._target.role, MAX_ENVELOPE)

    def receive_untrusted(self, frame: Frame) -> Step:
        """Take the other side's next frame, and return the step that follows."""
        match frame:
            case Challenge() if self.side is Side.DIALLER and self._challenge is None:
                return self._check(frame) or self._check_role(frame) or self._hello(frame)
            case Welcome() if self._challenge is not None:
                return self._established_by_welcome(frame, self._challenge)
            case Hello() if self.side is Side.LISTENER:
                return self._check(frame) or self._established_by_hello(frame)
            case _:
                return Failed(ByeCode.PROTOCOL, "it does not follow the handshake")

    @property
    def name(self) -> bytes:
        """The name of this connection at a relay."""
        return name_of(self._ephemeral.public)

    @property
    def awaits_welcome(self) -> bool:
        """True if a dialler has said hello: its listener may expect a MAC on every frame from then on."""
        return self._challenge is not None

    @property
    def _me(self) -> PeerId:
        return self._identity.peer_id

    def _check(self, frame: Challenge | Hello) -> Failed | None:
        if frame.version != LINK_VERSION:
            return Failed(ByeCode.VERSION, _version_error(frame.version))
        if frame.peer == self._me:
            return Failed(ByeCode.SELF, "it has our own key")
        if self._target.peer not in (None, frame.peer):
            return Failed(ByeCode.WRONG_KEY, f"another agent answers there: {frame.peer}")
        return None

    def _check_role(self, challenge: Challenge) -> Failed | None:
        if challenge.role is not self._target.role:
            return Failed(ByeCode.ROLE, _ROLE_ERRORS[challenge.role])
        return None

    def _hello(self, challenge: Challenge) -> Waiting:
        prove = self._target.memberships
        shown = prove(challenge.peer, challenge.nonce) if prove is not None else ()
        draft = Hello(LINK_VERSION, self._me, self._ephemeral.public, b"", self._bundle.to_text(), shown)
        self._challenge, self._transcript = challenge, _transcript(challenge, draft)
        return Waiting(replace(draft, signature=self._identity.sign(_HELLO_LABEL, self._transcript)))

    def _established_by_hello(self, hello: Hello) -> Step:
        transcript = _transcript(self.challenge, hello)
        if not verify(hello.peer, _HELLO_LABEL, transcript, hello.signature):
            return Failed(ByeCode.PROOF, "its proof of its key is wrong")
        bundle = self._bundle.to_text()
        reply = Welcome(self._identity.sign(_WELCOME_LABEL, _answered(transcript, bundle)), bundle)
        found = self._agreed(hello.peer, hello.bundle, hello.nonce, transcript)
        return found if isinstance(found, Failed) else replace(found, memberships=hello.memberships, reply=reply)

    def _established_by_welcome(self, welcome: Welcome, challenge: Challenge) -> Step:
        if not verify(challenge.peer, _WELCOME_LABEL, _answered(self._transcript, welcome.bundle), welcome.signature):
            return Failed(ByeCode.PROOF, "its proof of its key is wrong")
        return self._agreed(challenge.peer, welcome.bundle, challenge.nonce, self._transcript)

    def _agreed(self, peer: PeerId, text: str, nonce: bytes, transcript: bytes) -> Established | Failed:
        # Reading a bundle costs two operations with keys, so it comes after the proof.
        try:
            bundle = KeyBundle.parse_untrusted(text)
        except RemoteProtocolError as error:
            return Failed(ByeCode.PROTOCOL, f"its key bundle is not acceptable: {error}")
        if bundle.peer != peer:
            return Failed(ByeCode.PROTOCOL, "its key bundle is another peer's")
        try:
            shared = self._ephemeral.agree(nonce)
        except RemoteProtocolError as error:
            return Failed(ByeCode.PROTOCOL, f"it sent {error}")
        return Established(peer, bundle, LinkKeys.derive(shared, transcript, is_dialler=self.side is Side.DIALLER))


def _transcript(challenge: Challenge, hello: Hello) -> bytes:
    """All fields of both sides so far, each of a fixed length or hashed, so that there is one way to read them."""
    memberships = b"".join(proof.network.key + proof.signature for proof in hello.memberships)
    return b"".join(
        (
            _FIELDS.pack(challenge.version, hello.version, challenge.max_envelope, challenge.role is Role.RELAY),
            challenge.nonce,
            challenge.peer.key,
            hello.nonce,
            hello.peer.key,
            sha256(hello.bundle.encode()),
            sha256(memberships),
        )
    )


def _answered(transcript: bytes, bundle: str) -> bytes:
    return transcript + sha256(bundle.encode())


def _version_error(theirs: int) -> str:
    age, where = ("an older", "there") if theirs < LINK_VERSION else ("a newer", "here")
    return (
        f"it runs {age} mcp-a2a (version {theirs} of the link protocol, ours is {LINK_VERSION}): update mcp-a2a {where}"
    )
