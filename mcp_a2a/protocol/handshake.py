"""Proving keys to each other at the start of a link.

    listener                                     dialler
    challenge (nonce, its PeerId, role, limits)  ->
                                                 <-   hello (PeerId, nonce, proof, key bundle, memberships)
    welcome (proof, key bundle)                  ->

Each proof is a signature over a label, the other side's fresh nonce and both keys. The label keeps
a proof from meaning anything else, the nonce from being used twice, and the listener's key inside
it from being shown to another listener (security requirement S25). A relay is also shown which
networks the dialler is a member of; another node never is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from mcp_a2a.errors import LocalProtocolError, RemoteProtocolError
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
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import MAX_ENVELOPE
from mcp_a2a.protocol.identity import Identity, verify

_HELLO_LABEL = b"mcp-a2a/v1/link-hello\0"
_WELCOME_LABEL = b"mcp-a2a/v1/link-welcome\0"


class Side(Enum):
    """Who opened the link."""

    DIALLER = auto()
    LISTENER = auto()


@dataclass(frozen=True, slots=True)
class Waiting:
    """So far so good: send `reply`, and wait."""

    reply: Challenge | Hello


@dataclass(frozen=True, slots=True)
class Established:
    """Both keys are proven. A listener sends `reply`."""

    peer: PeerId
    bundle: KeyBundle
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
    """What a dialler wants to find: without a `peer`, whoever answers. A listener is only of a `role`."""

    peer: PeerId | None = None
    role: Role = Role.NODE
    memberships: Memberships | None = None
    """Shown to a relay."""


ANYBODY = Target()


class Handshake:
    """One side of a handshake. `nonce` is 32 fresh random bytes."""

    def __init__(
        self,
        side: Side,
        identity: Identity,
        bundle: KeyBundle,
        nonce: bytes,
        target: Target = ANYBODY,
    ) -> None:
        if len(nonce) != NONCE_SIZE:
            raise LocalProtocolError(f"A handshake needs a nonce of {NONCE_SIZE} bytes.")
        self._side = side
        self._identity = identity
        self._bundle = bundle
        self._nonce = nonce
        self._target = target
        self._listener: PeerId | None = None

    @property
    def challenge(self) -> Challenge:
        """What a listener says first."""
        return Challenge(LINK_VERSION, self._nonce, self._me, self._target.role, MAX_ENVELOPE)

    def receive_untrusted(self, frame: Frame) -> Step:
        """What the other side's next frame leads to."""
        match frame:
            case Challenge() if self._side is Side.DIALLER and self._listener is None:
                return self._check(frame) or self._check_role(frame) or self._hello(frame)
            case Welcome() if self._listener is not None:
                return self._established_by_welcome(frame, self._listener)
            case Hello() if self._side is Side.LISTENER:
                return self._check(frame) or self._established_by_hello(frame)
            case _:
                return Failed(ByeCode.PROTOCOL, "it does not follow the handshake")

    @property
    def _me(self) -> PeerId:
        return self._identity.peer_id

    def _check(self, frame: Challenge | Hello) -> Failed | None:
        if frame.version != LINK_VERSION:
            return Failed(
                ByeCode.VERSION,
                f"it speaks version {frame.version} of the protocol, we speak {LINK_VERSION}",
            )
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
        self._listener = challenge.peer
        proven = challenge.nonce + challenge.peer.key + self._me.key
        proof = self._identity.sign(_HELLO_LABEL, proven)
        prove = self._target.memberships
        shown = prove(challenge.peer, challenge.nonce) if prove is not None else ()
        return Waiting(Hello(LINK_VERSION, self._me, self._nonce, proof, self._bundle.to_text(), shown))

    def _established_by_hello(self, hello: Hello) -> Step:
        proven = self._nonce + self._me.key + hello.peer.key
        if not verify(hello.peer, _HELLO_LABEL, proven, hello.signature):
            return Failed(ByeCode.PROOF, "its proof of its key is wrong")
        answered = hello.nonce + self._me.key + hello.peer.key
        proof = self._identity.sign(_WELCOME_LABEL, answered)
        return _established(hello.peer, hello.bundle, hello.memberships, Welcome(proof, self._bundle.to_text()))

    def _established_by_welcome(self, welcome: Welcome, listener: PeerId) -> Step:
        proven = self._nonce + listener.key + self._me.key
        if not verify(listener, _WELCOME_LABEL, proven, welcome.signature):
            return Failed(ByeCode.PROOF, "its proof of its key is wrong")
        return _established(listener, welcome.bundle, (), None)


def _established(peer: PeerId, text: str, memberships: tuple[MembershipProof, ...], reply: Welcome | None) -> Step:
    # Reading a bundle costs two operations with keys, so it comes after the proof.
    try:
        bundle = KeyBundle.parse_untrusted(text)
    except RemoteProtocolError as error:
        return Failed(ByeCode.PROTOCOL, f"its key bundle is not acceptable: {error}")
    if bundle.peer != peer:
        return Failed(ByeCode.PROTOCOL, "its key bundle is another peer's")
    return Established(peer, bundle, memberships, reply)
