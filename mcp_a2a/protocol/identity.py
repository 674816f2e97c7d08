"""Our own key: it says who we are and signs labelled messages, never anything else.

A label names what a signature is for and ends in a zero byte, so a signature given for one purpose
can never be shown for another. Sealing uses a separate key (`bundle`), which is what makes that one
rotatable.
"""

from __future__ import annotations

from typing_extensions import override

from mcp_a2a.errors import LocalProtocolError
from mcp_a2a.protocol.crypto import SigningKey, signature_is_valid
from mcp_a2a.protocol.did import PeerId


class Identity:
    """A long-lived Ed25519 key, made from the 32 bytes of its key file."""

    __slots__ = ("_key", "peer_id")

    peer_id: PeerId
    """The public half: who we are to everybody."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.peer_id = PeerId(self._key.public)

    @override
    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"

    def sign(self, label: bytes, message: bytes) -> bytes:
        """The 64-byte signature over label and message."""
        return self._key.sign(_labelled(label, message))


def verify(peer: PeerId, label: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `peer` signed this message under this label. Never raises for what a peer sent."""
    return signature_is_valid(peer.key, _labelled(label, message), signature)


def _labelled(label: bytes, message: bytes) -> bytes:
    # The one zero byte at the end makes label and message separable, so no two pairs give the same
    # bytes.
    if label.find(b"\0") != len(label) - 1 or len(label) < 2:
        raise LocalProtocolError(f"A signature label is text that ends in one zero byte, not {label!r}.")
    return label + message
