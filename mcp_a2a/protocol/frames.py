"""The encoding of control frames and envelopes on a link; anything else is refused.

A frame is one JSON control object, one envelope or one listing. In the handshake it is text; behind that it is bytes
with a MAC (`link_keys`), and its first byte tells what it is. Every control object has a name in `"t"`, and the fields
of its row in `CONTROL_FRAMES`: to add a frame is to add a row. Fields and names that are not known are ignored, so a
later version can add some. Bytes are written in lowercase hexadecimal.
The order of frames is not known here; `session` and `link` have it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import lru_cache

from pydantic import JsonValue

from mcp_a2a.protocol import control
from mcp_a2a.protocol.admission_secret import PROOF_SIZE
from mcp_a2a.protocol.control import MAX_TEXT_FRAME, Control, Delivered, Frame, ListingFrame, UnknownFrame
from mcp_a2a.protocol.crypto import SIGNATURE_SIZE
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE, Envelope
from mcp_a2a.protocol.fields import (
    BUNDLE,
    CODE,
    COUNT,
    FLAG,
    LIMITS,
    MEMBERSHIPS,
    PEER,
    PEERS,
    SECONDS,
    SIGNATURE,
    TEXT,
    Absent,
    Kind,
    batch,
    blob,
    optional,
    raw,
    text_untrusted,
    word,
)
from mcp_a2a.protocol.listing import Listing, is_listing
from mcp_a2a.protocol.receipt import MAX_POSTMARKS, POSTMARK_SIZE
from mcp_a2a.protocol.strict_json import read_untrusted

_NONCE = raw(control.NONCE_SIZE)
_ID, _IDS = raw(ENVELOPE_ID_SIZE), batch(ENVELOPE_ID_SIZE)
_INVITATION, _SEALED = raw(control.INVITATION_ID_SIZE), blob(control.MAX_INVITATION)


@dataclass(frozen=True, slots=True)
class Row:
    """One control frame: its name on the wire, and its fields in the order in which they are written."""

    name: str
    frame: type[Control]
    fields: tuple[tuple[str, str, Kind], ...]
    """Attribute, name on the wire, kind."""


def _row(name: str, frame: type[Control], **kinds: Kind) -> Row:
    """`kinds` are in the order of the attributes of the frame."""
    columns = zip(fields(frame), kinds.items(), strict=True)
    return Row(name, frame, tuple((attribute.name, *column) for attribute, column in columns))


CONTROL_FRAMES = (
    # the handshake
    _row("challenge", control.Challenge, v=COUNT, nonce=_NONCE, did=PEER, role=word(control.Role), limits=LIMITS),
    _row(
        "hello", control.Hello,
        v=COUNT, did=PEER, nonce=_NONCE, sig=SIGNATURE, bundle=TEXT, networks=MEMBERSHIPS,
    ),
    _row("welcome", control.Welcome, sig=SIGNATURE, bundle=TEXT),
    # answers to envelopes
    _row("delivered", control.Delivered, marks=batch(POSTMARK_SIZE), sig=SIGNATURE),
    _row("stored", control.Stored, id=_ID),
    _row("held", control.Held, id=_ID, sig=SIGNATURE),
    _row(
        "refused", control.Refused,
        id=_ID, code=CODE, retry_after=optional(SECONDS), bundle=optional(BUNDLE), sig=optional(SIGNATURE),
    ),
    # the link itself
    _row("bundle", control.BundleFrame, bundle=BUNDLE),
    _row("ping", control.Ping, n=COUNT),
    _row("pong", control.Pong, n=COUNT),
    _row("bye", control.Bye, code=word(control.ByeCode, control.ByeCode.OTHER)),
    # with a relay
    _row("watch", control.Watch, n=COUNT, net=PEER, epoch=COUNT, since=COUNT),
    _row("presence", control.Presence, net=PEER, on=PEERS, off=PEERS),
    _row("doubled", control.Doubled, ids=_IDS),
    _row("find", control.Find, n=COUNT, did=PEER),
    _row("found", control.Found, n=COUNT, bundle=BUNDLE, online=FLAG),
    _row("check", control.Check, ids=_IDS),
    _row(
        "offer", control.Offer,
        n=COUNT, net=PEER, id=_INVITATION, sealed=_SEALED, uses=COUNT, expires=COUNT,
    ),
    _row("claim", control.Claim, n=COUNT, id=_INVITATION),
    _row("admit", control.Admit, n=COUNT, net=PEER, proof=blob(PROOF_SIZE)),
    _row("claimed", control.Claimed, n=COUNT, sealed=_SEALED),
    _row("done", control.Done, n=COUNT, epoch=COUNT, rev=COUNT),
    _row("failed", control.Failed, n=COUNT, code=CODE, retry_after=optional(SECONDS)),
)  # fmt: skip

_ROW_OF = {row.frame: row for row in CONTROL_FRAMES}
_ROW_NAMED = {row.name: row for row in CONTROL_FRAMES}

_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def encode(frame: Control) -> str:
    """The frame as it travels."""
    row = _ROW_OF[type(frame)]
    written: dict[str, JsonValue] = {"t": row.name}
    for attribute, name, kind in row.fields:
        value = getattr(frame, attribute)
        if value != kind.absent:
            written[name] = kind.write(value)
    return _encode_json(written)


def decode_untrusted(frame: str | bytes) -> Frame:
    """The frame that a peer sent: behind the handshake as bytes, whose first tells the kind."""
    if isinstance(frame, bytes) and not frame.startswith(b"{"):
        return ListingFrame(Listing.parse_untrusted(frame)) if is_listing(frame) else Envelope.parse_untrusted(frame)
    if isinstance(frame, bytes) and (postmarks := postmarks_of_receipt(frame)) is not None:
        marks = tuple(postmarks[at : at + POSTMARK_SIZE] for at in range(0, len(postmarks), POSTMARK_SIZE))
        return Delivered(marks, bytes.fromhex(frame[_SIGNATURE].decode()))
    return decode_control_untrusted(frame)


def decode_control_untrusted(frame: str | bytes) -> Frame:
    """The control object that a peer sent."""
    written = read_untrusted(frame, MAX_TEXT_FRAME)
    row = _ROW_NAMED.get(text_untrusted(written.get("t"), "t"))
    if row is None:
        return UnknownFrame()
    values = []
    for _, name, kind in row.fields:
        value = written.get(name)
        is_absent = value is None and kind.absent is not Absent.REFUSED
        values.append(kind.absent if is_absent else kind.read_untrusted(value, name))
    return row.frame(*values)  # type: ignore[arg-type]  # each kind makes what its attribute is


# --- receipts -------------------------------------------------------------------------------------
# Half of what a relay hears. A receipt in the spelling of `encode` differs from any other of as many postmarks in its
# digits only, so it is read without JSON: with every digit made the same, both are equal.


def _receipt(count: int) -> bytes:
    return encode(Delivered((bytes(POSTMARK_SIZE),) * count, bytes(SIGNATURE_SIZE))).encode()


_SAME_DIGITS = bytes.maketrans(b"123456789abcdef", b"0" * 15)
_START, _END = _receipt(1)[: _receipt(1).index(b"0")], b'"],"sig":"' + b"0" * 2 * SIGNATURE_SIZE + b'"}'
_ONE_SIZE, _STEP = len(_receipt(1)), len(_receipt(2)) - len(_receipt(1))
_POSTMARKS, _SIGNATURE = slice(len(_START), -len(_END)), slice(-2 * SIGNATURE_SIZE - 2, -2)


@lru_cache(maxsize=64)
def _receipt_without_digits(count: int) -> bytes:
    return _receipt(count).translate(_SAME_DIGITS)


def postmarks_of_receipt(frame: bytes) -> bytes | None:
    """The postmarks, one behind the other, of a receipt that is spelled as `encode` spells it; or None."""
    more, rest = divmod(len(frame) - _ONE_SIZE, _STEP)
    if rest or not 0 <= more < MAX_POSTMARKS or not frame.startswith(_START):  # which has letters that are digits
        return None
    if frame.translate(_SAME_DIGITS) != _receipt_without_digits(more + 1):
        return None
    return bytes.fromhex(frame[_POSTMARKS].decode().replace('","', ""))
