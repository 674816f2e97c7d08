"""Our own key: it says who we are and signs labelled messages and JWS (RFC 7515), never anything else.

A label names what a signature is for and ends in a zero byte, so a signature given for one purpose
can never be shown for another. What a JWS signs is base64url and a dot: it has no zero byte, so it
is no labelled message. Sealing uses a separate key (`bundle`), which is what makes that one
rotatable.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache

from typing_extensions import override

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.protocol.crypto import SigningKey, signature_is_valid
from mcp_a2a.protocol.did import PeerId


class Identity:
    """A long-lived Ed25519 key, made from the 32 bytes of its key file."""

    __slots__ = ("_key", "peer_id")

    peer_id: PeerId
    """The public half: the identity as all others see it."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.peer_id = PeerId(self._key.public)

    @override
    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"

    def sign(self, label: bytes, message: bytes) -> bytes:
        """The 64-byte signature over label and message."""
        return self._key.sign(_checked(label) + message)

    def sign_jws(self, header: bytes, payload: bytes) -> tuple[str, str]:
        """The header and the 64-byte signature of a JWS, as they are written (base64url)."""
        protected = base64url(header)
        return protected, base64url(self._key.sign(_jws_input(protected, payload)))


def verify(peer: PeerId, label: bytes, message: bytes, signature: bytes) -> bool:
    """True if `peer` signed this message under this label. Never raises for what a peer sent."""
    return signature_is_valid(peer.key, _checked(label) + message, signature)


def verify_jws(peer: PeerId, protected: str, payload: bytes, signature: bytes) -> bool:
    """True if `peer` signed this JWS, whose header is given as it was written. Never raises for what a peer sent."""
    return protected.isascii() and signature_is_valid(peer.key, _jws_input(protected, payload), signature)


def base64url(raw: bytes) -> str:
    """Base64 as JOSE writes it: for URLs, and without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _jws_input(protected: str, payload: bytes) -> bytes:
    return f"{protected}.{base64url(payload)}".encode()


@lru_cache(maxsize=64)
def _checked(label: bytes) -> bytes:
    # The one zero byte at the end makes label and message separable, so no two pairs give the same
    # bytes.
    if label.find(b"\0") != len(label) - 1 or len(label) < 2:
        raise LocalProtocolError(f"A signature label is text that ends in one zero byte, not {label!r}.")
    return label
