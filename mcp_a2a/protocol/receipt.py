"""The recipient's signature about a message: that it is stored (a receipt), or what was decided instead (a verdict).

    postmark   envelope id 16 | SHA-256(label || sender's key 32 || SHA-256(envelope) 32 || message id)
    receipt    signature over label || 1 to 256 postmarks
    verdict    signature over label || postmark || code

The id of an envelope is readable and any carrier may use it again, so a signature over ids alone says
nothing about the message that its sender meant. A postmark covers the sender, the message inside and every byte of the
envelope, and only the sender and the recipient can compute it. The sender keeps it until the message is settled.
A receipt spells its postmarks out: an unknown one among them does not spoil the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from operator import itemgetter

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE, id_of
from mcp_a2a.protocol.identity import Identity, verify
from mcp_a2a.protocol.replay import stale_difference

POSTMARK_SIZE = ENVELOPE_ID_SIZE + 32

MAX_POSTMARKS = 256
"""One signature may acknowledge a whole burst."""

UNKNOWN_TASK = "unknown_task"
"""The verdict on news of a task that the recipient does not know, or does not know yet."""

UNKNOWN_KEY = "unknown_key"
"""The word, never signed, of a recipient that does not have the key that an envelope is sealed to."""

ELSEWHERE = frozenset({UNKNOWN_TASK, UNKNOWN_KEY})
"""Codes of messages that another machine with the recipient's identity may take."""

HELD_VERDICT = "held"
"""The verdict of a recipient that keeps a message until its owner agrees; every other one is a code of refusal."""

_POSTMARK_LABEL = b"mcp-a2a/v2/postmark\0"
_RECEIPT_LABEL = b"mcp-a2a/v2/receipt\0"
_VERDICT_LABEL = b"mcp-a2a/v2/verdict\0"


def postmark_of(sender: PeerId, message_id: str, envelope: bytes) -> bytes:
    """The 48 bytes that stand for this message of this sender in this envelope, and for nothing else.

    Args:
        sender: the peer that signed the message.
        message_id: the id of the payload.
        envelope: one that was sealed here, or has been opened here.
    """
    named = _POSTMARK_LABEL + sender.key + hashlib.sha256(envelope).digest() + message_id.encode()
    return id_of(envelope) + hashlib.sha256(named).digest()


envelope_id_of: Callable[[bytes], bytes] = itemgetter(slice(ENVELOPE_ID_SIZE))
"""The readable part of a postmark: the id of the envelope."""


def sign_receipt(identity: Identity, postmarks: Sequence[bytes]) -> bytes:
    """Our signature that these messages (1 to 256, in this order) are safely stored here."""
    if not _is_receipt(postmarks):
        raise LocalProtocolError(f"A receipt has 1 to {MAX_POSTMARKS} postmarks of {POSTMARK_SIZE} bytes.")
    return identity.sign(_RECEIPT_LABEL, b"".join(postmarks))


def receipt_is_valid(peer: PeerId, postmarks: Sequence[bytes], signature: bytes) -> bool:
    """True if `peer` says so. Never raises."""
    return _is_receipt(postmarks) and verify(peer, _RECEIPT_LABEL, b"".join(postmarks), signature)


def sign_verdict(identity: Identity, postmark: bytes, verdict: str) -> bytes:
    """Our signature that this is what we decided about a message that we did not take."""
    if len(postmark) != POSTMARK_SIZE:
        raise LocalProtocolError(f"A verdict is about a postmark of {POSTMARK_SIZE} bytes.")
    return identity.sign(_VERDICT_LABEL, postmark + verdict.encode())


def verdict_is_valid(peer: PeerId, postmark: bytes, verdict: str, signature: bytes | None) -> bool:
    """True if `peer` decided so. Never raises."""
    sized = len(postmark) == POSTMARK_SIZE
    return sized and signature is not None and verify(peer, _VERDICT_LABEL, postmark + verdict.encode(), signature)


def is_for_now(code: str) -> bool:
    """True if a recipient that refuses a message with this code may take the same message later."""
    return code in ELSEWHERE or stale_difference(code)[0]


def _is_receipt(postmarks: Sequence[bytes]) -> bool:
    return 1 <= len(postmarks) <= MAX_POSTMARKS and set(map(len, postmarks)) == {POSTMARK_SIZE}
