"""The kinds of fields of a control frame: each is written in one way, and read in that way only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from functools import lru_cache
from typing import TypeVar, cast

from pydantic import JsonValue

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import MAX_MEMBERSHIPS, MAX_PRESENCE, MAX_TEXT_FRAME, MembershipProof
from mcp_a2a.protocol.crypto import SIGNATURE_SIZE
from mcp_a2a.protocol.did import DID_LENGTH, PeerId
from mcp_a2a.protocol.receipt import MAX_POSTMARKS

MAX_RETRY_AFTER_SECONDS = 7 * 86_400
MAX_WORD = 32
"""Length of codes and roles."""

_MAX_COUNT = 2**53

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)


class Absent(Enum):
    """The sentinel for fields that must not be missing."""

    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of field: its Python type, its writer and its reader."""

    write: Callable[[object], JsonValue]
    """Makes the JSON of a value of that kind."""
    read_untrusted: Callable[[JsonValue, str], object]
    """Makes the value of the JSON in the field of that name; raises `RemoteProtocolError` for any other JSON."""
    absent: object = Absent.REFUSED
    """The value of a field that is missing or null. It is not written then."""


def _kind(write: Callable[[T], JsonValue], read_untrusted: Callable[[JsonValue, str], T]) -> Kind:
    return Kind(cast("Callable[[object], JsonValue]", write), read_untrusted)


def optional(kind: Kind, absent: object = None) -> Kind:
    """The same kind, for a field that may be missing."""
    return replace(kind, absent=absent)


def _same(value: JsonValue) -> JsonValue:
    return value


def _refused(name: str, what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"A control frame has no {what} in {name!r}.")


# --- numbers and words ----------------------------------------------------------------------------


def _count(value: JsonValue, name: str) -> int:
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise _refused(name, "whole number")
    return value


def _flag(value: JsonValue, name: str) -> bool:
    if not isinstance(value, bool):
        raise _refused(name, "true or false")
    return value


def _seconds(value: JsonValue, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_RETRY_AFTER_SECONDS:
        raise _refused(name, "acceptable time")
    return float(value)


def text_untrusted(value: JsonValue, name: str, limit: int = MAX_TEXT_FRAME) -> str:
    """A text of at most so many characters, in the field of that name."""
    if not isinstance(value, str) or len(value) > limit:
        raise _refused(name, "acceptable text")
    return value


def _code(value: JsonValue, name: str) -> str:
    code = text_untrusted(value, name, MAX_WORD)
    if not (code.isascii() and code.replace("_", "").isalnum()):
        raise _refused(name, "acceptable code")
    return code


def word(words: type[Word], other: Word | None = None) -> Kind:
    """One of these words; every word that is not known is read as `other`, or refused."""

    def read_untrusted(value: JsonValue, name: str) -> Word:
        found = text_untrusted(value, name, MAX_WORD)
        try:
            return words(found)
        except ValueError:
            if other is None:
                raise _refused(name, "known word") from None
            return other

    return _kind(str, read_untrusted)


COUNT = _kind(_same, _count)
"""A whole number from 0 to 2**53."""
FLAG = _kind(_same, _flag)
"""True or false."""
SECONDS = _kind(_same, _seconds)
"""A time of up to 7 days."""
TEXT = _kind(_same, text_untrusted)
"""A text that a frame has room for."""
CODE = _kind(_same, _code)
"""A word for programs. It ends up in sentences and logs, so it is a word and nothing else."""

# --- bytes ----------------------------------------------------------------------------------------


def _unhex(value: JsonValue, size: int) -> bytes:
    """Bytes of this size in lowercase hex; one spelling only."""
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError as error:
        raise RemoteProtocolError("A control frame holds something that is not hex.") from error
    # fromhex also takes capitals and blanks.
    if len(raw) != size or raw.hex() != value:
        raise RemoteProtocolError(f"A control frame lacks {size} bytes of lowercase hex.")
    return raw


def raw(size: int) -> Kind:
    """Exactly so many bytes."""
    return _kind(bytes.hex, lambda value, _: _unhex(value, size))


def blob(limit: int) -> Kind:
    """At most so many bytes."""

    def read_untrusted(value: JsonValue, name: str) -> bytes:
        text = text_untrusted(value, name, 2 * limit)
        return _unhex(text, len(text) // 2)

    return _kind(bytes.hex, read_untrusted)


def batch(size: int) -> Kind:
    """A list of 1 to 256 times so many bytes: ids or postmarks."""

    def read_untrusted(value: JsonValue, name: str) -> tuple[bytes, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_POSTMARKS:
            raise _refused(name, "acceptable list")
        return tuple(_unhex(one, size) for one in value)

    def write(values: tuple[bytes, ...]) -> JsonValue:
        return [one.hex() for one in values]

    return _kind(write, read_untrusted)


SIGNATURE = raw(SIGNATURE_SIZE)

# --- keys -----------------------------------------------------------------------------------------


def _peer(value: JsonValue, name: str) -> PeerId:
    return PeerId.parse_untrusted(text_untrusted(value, name, DID_LENGTH))


def _peers(value: JsonValue, name: str) -> tuple[PeerId, ...]:
    if not isinstance(value, list) or len(value) > MAX_PRESENCE:
        raise _refused(name, "list of keys")
    return tuple(_peer(one, name) for one in value)


def _write_peers(peers: tuple[PeerId, ...]) -> JsonValue:
    return [str(peer) for peer in peers]


# A peer that changed its key answers a whole window of envelopes with the same new bundle, and
# reading one costs two operations with keys.
@lru_cache(maxsize=64)
def _bundle(text: str) -> KeyBundle:
    return KeyBundle.parse_untrusted(text)


def _memberships(value: JsonValue, name: str) -> tuple[MembershipProof, ...]:
    if not isinstance(value, list) or len(value) > MAX_MEMBERSHIPS:
        raise _refused(name, "acceptable list")
    proofs = [_object(one, name) for one in value]
    return tuple(
        MembershipProof(_peer(proof.get("id"), "id"), _unhex(proof.get("sig"), SIGNATURE_SIZE)) for proof in proofs
    )


def _write_memberships(proofs: tuple[MembershipProof, ...]) -> JsonValue:
    return [{"id": str(proof.network), "sig": proof.signature.hex()} for proof in proofs]


def _object(value: JsonValue, name: str) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        raise _refused(name, "object")
    return value


PEER = _kind(str, _peer)
"""A key, as did:key."""
PEERS = _kind(_write_peers, _peers)
"""A list of keys, as did:key."""
BUNDLE = _kind(KeyBundle.to_text, lambda value, name: _bundle(text_untrusted(value, name)))
"""A key bundle, whose signature is checked."""
MEMBERSHIPS = optional(_kind(_write_memberships, _memberships), ())
"""Proofs of networks, where there are any."""
LIMITS = _kind(
    lambda envelope: {"envelope": envelope, "text": MAX_TEXT_FRAME},
    lambda value, name: _count(_object(value, name).get("envelope"), "envelope"),
)
"""The longest envelope that is taken; that of a text frame is the same everywhere."""
