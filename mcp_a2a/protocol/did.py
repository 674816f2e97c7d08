"""The identity of a peer: an Ed25519 public key, written as a did:key. Names are only labels.

`did:key:z` + base58btc(0xed 0x01 + 32 bytes). Base58 is written out here because the packages that
offer it are unmaintained or bring abandoned ones along, and it is two loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from typing_extensions import override

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.crypto import FIELD_PRIME, LOW_ORDER_KEYS

KEY_SIZE = 32
DID_LENGTH = 56
"""Every Ed25519 did:key is this long, because its first bytes are fixed."""

_PREFIX = "did:key:z"
_MULTICODEC = b"\xed\x01"
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {letter: value for value, letter in enumerate(_ALPHABET)}
_SIGN_BIT = 1 << 255


@dataclass(frozen=True, slots=True, order=True)
class PeerId:
    """An Ed25519 public key that only its owner can sign for; `str()` writes the did:key.

    Raises:
        RemoteProtocolError: 32 bytes that are not such a key (low order, or a second spelling of
        another key).
    """

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) != KEY_SIZE:
            raise RemoteProtocolError(f"An Ed25519 key has {KEY_SIZE} bytes, not {len(self.key)}.")
        if self.key in LOW_ORDER_KEYS:
            raise RemoteProtocolError("This key is weak (low order): anyone could sign with it.")
        if int.from_bytes(self.key, "little") % _SIGN_BIT >= FIELD_PRIME:
            raise RemoteProtocolError("This key is not written in its one canonical form.")

    @override
    def __str__(self) -> str:
        return _write(self.key)

    # Both directions cost a few microseconds of big-number arithmetic, and a node meets few peers again and again.
    @staticmethod
    @lru_cache(maxsize=4096)
    def parse_untrusted(text: str) -> PeerId:
        """The peer that a did:key names; anything but the one canonical spelling is refused."""
        if len(text) != DID_LENGTH or not text.startswith(_PREFIX):
            raise RemoteProtocolError("Not an Ed25519 did:key (did:key:z6Mk… with 56 characters).")
        # One spelling each: with a leading '1' the number would be too small for the multicodec.
        raw = _from_base58(text[len(_PREFIX) :], size=len(_MULTICODEC) + KEY_SIZE)
        if not raw.startswith(_MULTICODEC):
            raise RemoteProtocolError("This did:key holds another kind of key than Ed25519.")
        return PeerId(raw.removeprefix(_MULTICODEC))


@lru_cache(maxsize=4096)
def _write(key: bytes) -> str:
    return _PREFIX + _base58(_MULTICODEC + key)


def _base58(raw: bytes) -> str:
    """Base58btc of bytes that do not start with zero, so no leading '1' is ever needed."""
    number, letters = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        letters = _ALPHABET[digit] + letters
    return letters


def _from_base58(letters: str, size: int) -> bytes:
    number = 0
    try:
        for letter in letters:
            number = number * 58 + _DIGITS[letter]
        return number.to_bytes(size)
    except (KeyError, OverflowError) as error:
        raise RemoteProtocolError("This did:key is not written in base58.") from error
