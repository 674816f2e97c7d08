"""A group of peers that share one secret: who may find and task whom.

From 32 bytes are derived (HKDF): the key that seals members' adverts in a relay's directory, an Ed25519 key whose
public half is the network's id and whose signature proves membership to a relay, a key with which members vouch for
themselves to each other, and a key per room. A relay knows the id and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from mcp_a2a.errors.protocol import LocalProtocolError, SealBrokenError
from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.control import INVITATION_ID_SIZE, MembershipProof
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity, verify

SECRET_SIZE = 32
TOKEN_SIZE = 16
VOUCHER_SIZE = 32

_MEMBER_LABEL = b"mcp-a2a/v1/network-member\0"
_DIRECTORY_LABEL = b"mcp-a2a/v1/network-directory\0"
_VOUCHER_LABEL = b"mcp-a2a/v1/network-voucher\0"
_ROOM_LABEL = b"mcp-a2a/v1/network-room\0"
_PROOF_LABEL = b"mcp-a2a/v1/link-network\0"
_INVITATION_LABEL = b"mcp-a2a/v1/invitation\0"
_INVITATION_ID_LABEL = b"mcp-a2a/v1/invitation-id\0"


@dataclass(frozen=True)
class Network:
    """A network, by its secret: proofs of membership, vouchers, and the key of its directory."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_SIZE:
            raise LocalProtocolError(f"A network's secret has {SECRET_SIZE} bytes, not {len(self.secret)}.")

    @property
    def id(self) -> PeerId:
        """The network's public name: the key that membership is proven with."""
        return self._member.peer_id

    @cached_property
    def directory_key(self) -> bytes:
        """Seals the members' adverts (`listing`)."""
        return crypto.derive(self.secret, _DIRECTORY_LABEL)

    def room_key(self, room: str) -> bytes:
        """Seals what is said in a room."""
        return crypto.derive(self.secret, _ROOM_LABEL + room.encode())

    def prove(self, listener: PeerId, dialler: PeerId, nonce: bytes) -> MembershipProof:
        """Our proof of membership for one handshake with one relay."""
        return MembershipProof(self.id, self._member.sign(_PROOF_LABEL, nonce + listener.key + dialler.key))

    def vouch(self, member: PeerId, to: PeerId) -> bytes:
        """Proof for `to` alone that `member` knows the secret; other readers learn nothing about the network."""
        return crypto.mac(self._voucher_key, member.key + to.key)

    def is_vouched(self, member: PeerId, to: PeerId, voucher: bytes) -> bool:
        """True if `member` has made this voucher for `to`."""
        return crypto.macs_match(self.vouch(member, to), voucher)

    @cached_property
    def _member(self) -> Identity:
        return Identity(crypto.derive(self.secret, _MEMBER_LABEL))

    @cached_property
    def _voucher_key(self) -> bytes:
        return crypto.derive(self.secret, _VOUCHER_LABEL)


def proof_is_valid(proof: MembershipProof, listener: PeerId, dialler: PeerId, nonce: bytes) -> bool:
    """True if the dialler of this handshake knows the network's secret. Never raises."""
    return verify(proof.network, _PROOF_LABEL, nonce + listener.key + dialler.key, proof.signature)


# --- invitations: a secret that is not in the ticket ----------------------------------------------


def invitation_id(token: bytes) -> bytes:
    """By what a relay knows the invitation of a ticket; it cannot open it with that."""
    return crypto.derive(token, _INVITATION_ID_LABEL, INVITATION_ID_SIZE)


def seal_invitation(network: Network, token: bytes, nonce: bytes) -> bytes:
    """The network's secret, sealed for the holder of the ticket. `nonce` is 24 fresh random bytes."""
    key = crypto.derive(token, _INVITATION_LABEL)
    return crypto.lock(key, nonce, network.secret, invitation_id(token))


def open_invitation_untrusted(token: bytes, sealed: bytes) -> Network:
    """The network that a relay handed out.

    Raises:
        SealBrokenError: not made for this ticket, or changed.
    """
    key = crypto.derive(token, _INVITATION_LABEL)
    secret = crypto.unlock(key, sealed, invitation_id(token))
    if len(secret) != SECRET_SIZE:
        raise SealBrokenError("The invitation holds something else than a network's secret.")
    return Network(secret)
