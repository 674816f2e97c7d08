"""How control frames and envelopes travel on a link, and what is refused.

A frame is one JSON control object, one envelope or one listing. In the handshake it is text; behind that it is bytes
with a MAC (`link_keys`), and its first byte tells what it is. Every control object has a kind in `"t"`. Fields and
kinds that are not known are ignored, so a later version can add some. Bytes are written in lowercase hexadecimal.
Nothing here knows what may follow what; that is `link`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from pydantic import JsonValue

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.protocol.control import (
    MAX_MEMBERSHIPS,
    MAX_TEXT_FRAME,
    NONCE_SIZE,
    Answer,
    BundleFrame,
    Bye,
    ByeCode,
    Challenge,
    Control,
    Delivered,
    Frame,
    Held,
    Hello,
    ListingFrame,
    MembershipProof,
    Ping,
    Pong,
    Refused,
    Role,
    Stored,
    UnknownFrame,
    Welcome,
)
from mcp_a2a.protocol.crypto import SIGNATURE_SIZE
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE, Envelope
from mcp_a2a.protocol.fields import MAX_WORD, Fields
from mcp_a2a.protocol.listing import Listing, is_listing
from mcp_a2a.protocol.relay_frames import RELAY_READERS, bundle_untrusted, relay_fields
from mcp_a2a.protocol.strict_json import read_untrusted

# --- writing --------------------------------------------------------------------------------------

_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def encode(frame: Control) -> str:
    """The frame as it travels."""
    return _encode_json(_fields_of(frame))


def _fields_of(frame: Control) -> dict[str, JsonValue]:
    match frame:
        case Delivered() | Stored() | Held() | Refused():
            return _answer_fields(frame)
        case Challenge() | Hello() | Welcome():
            return _handshake_fields(frame)
        case Ping(number) | Pong(number):
            return {"t": "ping" if isinstance(frame, Ping) else "pong", "n": number}
        case BundleFrame(bundle):
            return {"t": "bundle", "bundle": bundle.to_text()}
        case Bye(code):
            return {"t": "bye", "code": code.value}
        case _:
            return relay_fields(frame)


def _answer_fields(frame: Answer) -> dict[str, JsonValue]:
    match frame:
        case Delivered(postmarks, signature):
            marks: list[JsonValue] = [postmark.hex() for postmark in postmarks]
            return {"t": "delivered", "marks": marks, "sig": signature.hex()}
        case Refused():
            return _refused_fields(frame)
        case Held(envelope, signature):
            return {"t": "held", "id": envelope.hex(), "sig": signature.hex()}
        case Stored(envelope):
            return {"t": "stored", "id": envelope.hex()}


def _refused_fields(frame: Refused) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {
        "t": "refused",
        "id": frame.envelope.hex(),
        "code": frame.code,
    }
    if frame.retry_after is not None:
        fields["retry_after"] = frame.retry_after
    if frame.bundle is not None:
        fields["bundle"] = frame.bundle.to_text()
    if frame.signature is not None:
        fields["sig"] = frame.signature.hex()
    return fields


def _handshake_fields(frame: Challenge | Hello | Welcome) -> dict[str, JsonValue]:
    match frame:
        case Challenge():
            return {
                "t": "challenge",
                "v": frame.version,
                "nonce": frame.nonce.hex(),
                "did": str(frame.peer),
                "role": frame.role.value,
                "limits": {"envelope": frame.max_envelope, "text": MAX_TEXT_FRAME},
            }
        case Hello():
            fields: dict[str, JsonValue] = {
                "t": "hello",
                "v": frame.version,
                "did": str(frame.peer),
                "nonce": frame.nonce.hex(),
                "sig": frame.signature.hex(),
                "bundle": frame.bundle,
            }
            if frame.memberships:
                fields["networks"] = [
                    {"id": str(proof.network), "sig": proof.signature.hex()} for proof in frame.memberships
                ]
            return fields
        case Welcome():
            return {"t": "welcome", "sig": frame.signature.hex(), "bundle": frame.bundle}


# --- reading --------------------------------------------------------------------------------------


def decode_untrusted(frame: str | bytes) -> Frame:
    """The frame that a peer sent."""
    if isinstance(frame, bytes) and not is_control(frame):
        if is_listing(frame):
            return ListingFrame(Listing.parse_untrusted(frame))
        return Envelope.parse_untrusted(frame)
    fields = Fields(read_untrusted(frame, MAX_TEXT_FRAME))
    read = _READERS.get(fields.text("t"))
    return read(fields) if read is not None else UnknownFrame()


def is_control(frame: bytes) -> bool:
    """Whether the bytes claim to be a control object: behind the handshake, every frame travels as bytes."""
    return frame.startswith(b"{")


def _read_refused(fields: Fields) -> Refused:
    bundle = bundle_untrusted(fields.text("bundle")) if fields.has("bundle") else None
    signature = fields.raw("sig", SIGNATURE_SIZE) if fields.has("sig") else None
    return Refused(fields.raw("id", ENVELOPE_ID_SIZE), fields.code(), fields.seconds("retry_after"), bundle, signature)


def _read_bye(fields: Fields) -> Bye:
    code = fields.text("code", MAX_WORD)
    try:
        return Bye(ByeCode(code))
    except ValueError:
        return Bye(ByeCode.OTHER)


def _read_challenge(fields: Fields) -> Challenge:
    try:
        role = Role(fields.text("role", MAX_WORD))
    except ValueError:
        raise RemoteProtocolError("A listener of a kind that is not known here.") from None
    return Challenge(
        version=fields.count("v"),
        nonce=fields.raw("nonce", NONCE_SIZE),
        peer=PeerId.parse_untrusted(fields.text("did")),
        role=role,
        max_envelope=fields.inner("limits").count("envelope"),
    )


def _read_hello(fields: Fields) -> Hello:
    return Hello(
        version=fields.count("v"),
        peer=PeerId.parse_untrusted(fields.text("did")),
        nonce=fields.raw("nonce", NONCE_SIZE),
        signature=fields.raw("sig", SIGNATURE_SIZE),
        bundle=fields.text("bundle"),
        memberships=tuple(
            MembershipProof(proof.peer("id"), proof.raw("sig", SIGNATURE_SIZE))
            for proof in fields.objects("networks", MAX_MEMBERSHIPS)
        ),
    )


_READERS: dict[str, Callable[[Fields], Frame]] = {
    "challenge": _read_challenge,
    "hello": _read_hello,
    "welcome": lambda fields: Welcome(fields.raw("sig", SIGNATURE_SIZE), fields.text("bundle")),
    "delivered": lambda fields: Delivered(fields.postmarks("marks"), fields.raw("sig", SIGNATURE_SIZE)),
    "stored": lambda fields: Stored(fields.raw("id", ENVELOPE_ID_SIZE)),
    "held": lambda fields: Held(fields.raw("id", ENVELOPE_ID_SIZE), fields.raw("sig", SIGNATURE_SIZE)),
    "refused": _read_refused,
    "bundle": lambda fields: BundleFrame(bundle_untrusted(fields.text("bundle"))),
    "ping": lambda fields: Ping(fields.count("n")),
    "pong": lambda fields: Pong(fields.count("n")),
    "bye": _read_bye,
    **RELAY_READERS,
}
