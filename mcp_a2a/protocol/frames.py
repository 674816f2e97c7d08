"""How control frames and envelopes travel on a link, and what is refused.

A text frame is one JSON control object, a binary frame is one envelope. Every control object has a
kind in `"t"`. Fields and kinds that are not known are ignored, so a later version can add some.
Bytes are written in lowercase hexadecimal. Nothing here knows what may follow what; that is `link`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache

from pydantic import JsonValue

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    MAX_TEXT_FRAME,
    NONCE_SIZE,
    Answer,
    BundleFrame,
    Bye,
    ByeCode,
    Challenge,
    Control,
    Delivered,
    EnvelopeFrame,
    Frame,
    Held,
    Hello,
    Ping,
    Pong,
    Refused,
    Stored,
    UnknownFrame,
    Welcome,
)
from mcp_a2a.protocol.crypto import SIGNATURE_SIZE
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE, MAX_RECEIPT_IDS, Header
from mcp_a2a.protocol.strict_json import read_untrusted

MAX_RETRY_AFTER_SECONDS = 7 * 86_400
_MAX_COUNT = 2**53
_MAX_WORD = 32
"""Length of codes and roles."""


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


def _answer_fields(frame: Answer) -> dict[str, JsonValue]:
    match frame:
        case Delivered(envelopes, signature):
            ids: list[JsonValue] = [envelope.hex() for envelope in envelopes]
            return {"t": "delivered", "ids": ids, "sig": signature.hex()}
        case Refused():
            return _refused_fields(frame)
        case Stored(envelope) | Held(envelope):
            return {"t": "held" if isinstance(frame, Held) else "stored", "id": envelope.hex()}


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
    return fields


def _handshake_fields(frame: Challenge | Hello | Welcome) -> dict[str, JsonValue]:
    match frame:
        case Challenge():
            return {
                "t": "challenge",
                "v": frame.version,
                "nonce": frame.nonce.hex(),
                "did": str(frame.peer),
                "role": frame.role,
                "limits": {"envelope": frame.max_envelope, "text": MAX_TEXT_FRAME},
            }
        case Hello():
            return {
                "t": "hello",
                "v": frame.version,
                "did": str(frame.peer),
                "nonce": frame.nonce.hex(),
                "sig": frame.signature.hex(),
                "bundle": frame.bundle,
            }
        case Welcome():
            return {"t": "welcome", "sig": frame.signature.hex(), "bundle": frame.bundle}


# --- reading --------------------------------------------------------------------------------------


def decode_untrusted(frame: str | bytes) -> Frame:
    """The frame that a peer sent."""
    if isinstance(frame, bytes):
        return EnvelopeFrame(frame, Header.parse_untrusted(frame).envelope_id)
    fields = _Fields(read_untrusted(frame, MAX_TEXT_FRAME))
    read = _READERS.get(fields.text("t"))
    return read(fields) if read is not None else UnknownFrame()


class _Fields:
    """A control object, read field by field."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, JsonValue]) -> None:
        self._fields = fields

    def has(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def text(self, name: str, limit: int = MAX_TEXT_FRAME) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str) or len(value) > limit:
            raise RemoteProtocolError(f"A control frame has no acceptable {name!r}.")
        return value

    def count(self, name: str) -> int:
        value = self._fields.get(name)
        if type(value) is not int or not 0 <= value < _MAX_COUNT:
            raise RemoteProtocolError(f"A control frame has no whole number in {name!r}.")
        return value

    def seconds(self, name: str) -> float | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 <= value <= MAX_RETRY_AFTER_SECONDS:  # type: ignore[operator]  # checked just before
            raise RemoteProtocolError(f"A control frame has no acceptable time in {name!r}.")
        return float(value)  # type: ignore[arg-type]  # an int or a float

    def raw(self, name: str, size: int) -> bytes:
        return _unhex(self._fields.get(name), size)

    def ids(self, name: str) -> tuple[bytes, ...]:
        values = self._fields.get(name)
        if not isinstance(values, list) or not 1 <= len(values) <= MAX_RECEIPT_IDS:
            raise RemoteProtocolError(f"A control frame has no list of ids in {name!r}.")
        return tuple(_unhex(value, ENVELOPE_ID_SIZE) for value in values)

    def inner(self, name: str) -> _Fields:
        value = self._fields.get(name)
        if not isinstance(value, dict):
            raise RemoteProtocolError(f"A control frame has no object in {name!r}.")
        return _Fields(value)


def _unhex(value: JsonValue, size: int) -> bytes:
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError as error:
        raise RemoteProtocolError("A control frame holds something that is not hex.") from error
    # One spelling only: fromhex also takes capitals and blanks.
    if len(raw) != size or raw.hex() != value:
        raise RemoteProtocolError(f"A control frame lacks {size} bytes of lowercase hex.")
    return raw


# A peer that changed its key answers a whole window of envelopes with the same new bundle, and
# reading one costs two operations with keys.
@lru_cache(maxsize=64)
def _bundle_untrusted(text: str) -> KeyBundle:
    return KeyBundle.parse_untrusted(text)


def _read_refused(fields: _Fields) -> Refused:
    code = fields.text("code", _MAX_WORD)
    # A code ends up in sentences and logs, so it is a word and nothing else.
    if not (code.isascii() and code.replace("_", "").isalnum()):
        raise RemoteProtocolError("A refusal has no acceptable code.")
    bundle = _bundle_untrusted(fields.text("bundle")) if fields.has("bundle") else None
    return Refused(fields.raw("id", ENVELOPE_ID_SIZE), code, fields.seconds("retry_after"), bundle)


def _read_bye(fields: _Fields) -> Bye:
    code = fields.text("code", _MAX_WORD)
    try:
        return Bye(ByeCode(code))
    except ValueError:
        return Bye(ByeCode.OTHER)


def _read_challenge(fields: _Fields) -> Challenge:
    return Challenge(
        version=fields.count("v"),
        nonce=fields.raw("nonce", NONCE_SIZE),
        peer=PeerId.parse_untrusted(fields.text("did")),
        role=fields.text("role", _MAX_WORD),
        max_envelope=fields.inner("limits").count("envelope"),
    )


def _read_hello(fields: _Fields) -> Hello:
    return Hello(
        version=fields.count("v"),
        peer=PeerId.parse_untrusted(fields.text("did")),
        nonce=fields.raw("nonce", NONCE_SIZE),
        signature=fields.raw("sig", SIGNATURE_SIZE),
        bundle=fields.text("bundle"),
    )


_READERS: dict[str, Callable[[_Fields], Frame]] = {
    "challenge": _read_challenge,
    "hello": _read_hello,
    "welcome": lambda fields: Welcome(fields.raw("sig", SIGNATURE_SIZE), fields.text("bundle")),
    "delivered": lambda fields: Delivered(fields.ids("ids"), fields.raw("sig", SIGNATURE_SIZE)),
    "stored": lambda fields: Stored(fields.raw("id", ENVELOPE_ID_SIZE)),
    "held": lambda fields: Held(fields.raw("id", ENVELOPE_ID_SIZE)),
    "refused": _read_refused,
    "bundle": lambda fields: BundleFrame(_bundle_untrusted(fields.text("bundle"))),
    "ping": lambda fields: Ping(fields.count("n")),
    "pong": lambda fields: Pong(fields.count("n")),
    "bye": _read_bye,
}
