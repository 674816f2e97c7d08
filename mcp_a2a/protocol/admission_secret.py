"""The secret in a relay's URL that admits networks to it, and how it is shown without being said.

    wss://relay.example/#did:key:z6Mk…&admit=SECRET

The secret makes an Ed25519 key, of which the relay keeps the public half alone. Who knows the secret signs one network
for one connection: the proof is bound to the relay's key, the nonce of that connection, the key that asks, and the id
of the network. So it is of no use at another relay, over another connection, to another key or for another network.
"""

from __future__ import annotations

import re

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity, base64url, verify
from mcp_a2a.protocol.strict_json import base64url_untrusted

ADMISSION_SECRET_SIZE = 16
PROOF_SIZE = 64

_TEXT = re.compile(r"[A-Za-z0-9_-]{22}")
_KEY_LABEL = b"mcp-a2a/v2/relay-admission-key\0"
_PROOF_LABEL = b"mcp-a2a/v2/relay-admission\0"


def secret_text(secret: bytes) -> str:
    """The 22 characters of a secret in a URL."""
    return base64url(secret)


def secret_untrusted(text: str) -> bytes:
    """The secret that a URL holds.

    Raises:
        RemoteProtocolError: it cannot be one.
    """
    return base64url_untrusted(f"{text}==") if _TEXT.fullmatch(text) else base64url_untrusted("?")


def admission_key(secret: bytes) -> PeerId:
    """The public half: what a relay keeps."""
    return _identity(secret).peer_id


def prove_admission(secret: bytes, network: PeerId, relay: PeerId, asker: PeerId, nonce: bytes) -> bytes:
    """Proof that `asker` knows the secret of `relay`, for one network and the connection with this nonce."""
    return _identity(secret).sign(_PROOF_LABEL, nonce + relay.key + asker.key + network.key)


def admission_is_proven(
    key: PeerId, proof: bytes, *, network: PeerId, relay: PeerId, asker: PeerId, nonce: bytes
) -> bool:
    """True if this proof is one. Never raises."""
    return verify(key, _PROOF_LABEL, nonce + relay.key + asker.key + network.key, proof)


def _identity(secret: bytes) -> Identity:
    if len(secret) != ADMISSION_SECRET_SIZE:
        raise LocalProtocolError(f"An admission secret has {ADMISSION_SECRET_SIZE} bytes, not {len(secret)}.")
    return Identity(crypto.derive(secret, _KEY_LABEL))
