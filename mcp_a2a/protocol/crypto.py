"""The only module that calls a cryptographic library.

Two primitives, each from the library that does it best:

- Ed25519 signatures from PyNaCl. `cryptography` accepts signatures made for low-order keys (208 of
  the 914 CCTV edge cases against libsodium's 43), so it must never decide about a signature here.
- HPKE (RFC 9180, base mode, one shot) from `cryptography`, in two suites that differ only in the
  KEM. A key bundle names its suite; nothing is negotiated.

The randomness of a key is an argument; that of one encapsulation is drawn inside the library, which
offers no other way. Whatever a library raises about bytes we were sent becomes
`RemoteProtocolError` or `SealBrokenError`.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import TypeAlias

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError, SealBrokenError

SUITE_X25519 = 1
"""DHKEM(X25519), HKDF-SHA256, ChaCha20-Poly1305: for builds that lack ML-KEM."""

SUITE_MLKEM768_X25519 = 2
"""X-Wing (0x647a), HKDF-SHA256, ChaCha20-Poly1305: what a relay records today stays shut for
tomorrow's computers."""

SIGNATURE_SIZE = 64
SEED_SIZE = 32
"""Of an Ed25519 identity, and of a KEM secret in either suite."""

MLKEM768_PUBLIC_SIZE = 1184
PUBLIC_KEY_SIZES = {SUITE_X25519: 32, SUITE_MLKEM768_X25519: MLKEM768_PUBLIC_SIZE + 32}
SEAL_OVERHEADS = {SUITE_X25519: 32 + 16, SUITE_MLKEM768_X25519: 1088 + 32 + 16}
"""Bytes that sealing adds to the plaintext: the encapsulated key and the tag."""

FIELD_PRIME = 2**255 - 19

_Y_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_LOW_ORDER_Y = (0, 1, FIELD_PRIME - 1, FIELD_PRIME, FIELD_PRIME + 1, _Y_OF_ORDER_8, FIELD_PRIME - _Y_OF_ORDER_8)

LOW_ORDER_KEYS = frozenset((y | sign << 255).to_bytes(32, "little") for y in _LOW_ORDER_Y for sign in (0, 1))
"""All 14 encodings of the 8 points of small order: keys for which signatures need no secret."""

_KEMS = {SUITE_X25519: hpke.KEM.X25519, SUITE_MLKEM768_X25519: hpke.KEM.MLKEM768_X25519}

PrivateKey: TypeAlias = x25519.X25519PrivateKey | hpke.MLKEM768X25519PrivateKey
PublicKey: TypeAlias = x25519.X25519PublicKey | hpke.MLKEM768X25519PublicKey


# --- signatures -----------------------------------------------------------------------------------


class SigningKey:
    """An Ed25519 private key made from its 32-byte seed."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise LocalProtocolError(f"An Ed25519 seed has {SEED_SIZE} bytes, not {len(seed)}.")
        self.public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature."""
        return nacl.bindings.crypto_sign(message, self._secret)[:SIGNATURE_SIZE]


def signature_is_valid(public: bytes, message: bytes, signature: bytes) -> bool:
    """Decides as libsodium does, and refuses every key of low order. Never raises."""
    # The lengths are ours to check: libsodium sees one string and would shift the border. It does
    # refuse low orders, and we do not depend on which libsodium a distribution links.
    if len(signature) != SIGNATURE_SIZE or len(public) != 32 or public in LOW_ORDER_KEYS:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


# --- sealing --------------------------------------------------------------------------------------


class KemSecret:
    """A KEM private key: its suite and 32-byte seed, which is all that is ever stored.

    The X-Wing seed is expanded as its specification says, so both suites keep secrets of one size.
    Dropping the object drops the library's copy too; nothing here caches it.
    """

    __slots__ = ("_key", "public_key", "seed", "suite")

    def __init__(self, suite: int, seed: bytes) -> None:
        if suite not in _KEMS or len(seed) != SEED_SIZE:
            raise LocalProtocolError(f"No KEM secret of suite {suite} has {len(seed)} bytes.")
        self.suite, self.seed = suite, seed
        self._key, self.public_key = _keypair(suite, seed)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """The plaintext.

        Raises:
            SealBrokenError: not sealed to this key with this `info`, or changed on the way.
        """
        try:
            return _suite(self.suite).decrypt(sealed, self._key, info=info)
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("The envelope does not open with the key it names.") from error


def seal(suite: int, public_key: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Encapsulated key, ciphertext and tag, for the holder of the KEM secret only.

    Raises:
        RemoteProtocolError: the suite or the public key, which a peer gave us, is not usable.
    """
    try:
        return _suite(suite).encrypt(plaintext, _public_key(suite, public_key), info=info)
    except (KeyError, ValueError, UnsupportedAlgorithm) as error:
        raise RemoteProtocolError(f"The encryption key (suite {suite}) cannot be sealed to.") from error


@lru_cache(maxsize=1)
def best_suite() -> int:
    """The strongest suite that this build of the library supports; a listed one may not, so try."""
    try:
        secret = KemSecret(SUITE_MLKEM768_X25519, bytes(SEED_SIZE))
        secret.open(seal(secret.suite, secret.public_key, b"", b""), b"")
    except (UnsupportedAlgorithm, RemoteProtocolError):
        return SUITE_X25519
    return SUITE_MLKEM768_X25519


@lru_cache(maxsize=len(_KEMS))
def _suite(number: int) -> hpke.Suite:
    # Made when it is needed: a build without ML-KEM refuses to make that one.
    return hpke.Suite(_KEMS[number], hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def _keypair(suite: int, seed: bytes) -> tuple[PrivateKey, bytes]:
    if suite == SUITE_X25519:
        classic = x25519.X25519PrivateKey.from_private_bytes(seed)
        return classic, classic.public_key().public_bytes_raw()
    expanded = hashlib.shake_256(seed).digest(96)
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    classic = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
    public = lattice.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw()
    return hpke.MLKEM768X25519PrivateKey(lattice, classic), public


# Parsing a public key costs a fifth of sealing to it, and a node seals to few keys again and again.
@lru_cache(maxsize=256)
def _public_key(suite: int, raw: bytes) -> PublicKey:
    if len(raw) != PUBLIC_KEY_SIZES[suite]:
        raise ValueError("wrong length")
    classic = x25519.X25519PublicKey.from_public_bytes(raw[-32:])
    if suite == SUITE_X25519:
        return classic
    lattice = mlkem.MLKEM768PublicKey.from_public_bytes(raw[:MLKEM768_PUBLIC_SIZE])
    return hpke.MLKEM768X25519PublicKey(lattice, classic)


# --- symmetric ------------------------------------------------------------------------------------

AEAD_NONCE_SIZE = 24
AEAD_OVERHEAD = AEAD_NONCE_SIZE + 16
"""Bytes that `lock` adds: the nonce in front and the tag behind."""


def derive(secret: bytes, label: bytes, size: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869) without salt: keys for different labels tell nothing about each other."""
    return HKDF(hashes.SHA256(), size, None, label).derive(secret)


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256. Compare with `macs_match` only."""
    return hmac.digest(key, message, "sha256")


def macs_match(one: bytes, other: bytes) -> bool:
    """True if two codes are equal, in constant time."""
    return hmac.compare_digest(one, other)


def lock(key: bytes, nonce: bytes, plaintext: bytes, data: bytes) -> bytes:
    """XChaCha20-Poly1305 for all holders of `key`; `data` is bound, not carried. `nonce` is 24 random bytes."""
    return nonce + nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, data, nonce, key)


def unlock(key: bytes, locked: bytes, data: bytes) -> bytes:
    """The plaintext.

    Raises:
        SealBrokenError: not locked with this key and `data`, or changed on the way.
    """
    nonce, body = locked[:AEAD_NONCE_SIZE], locked[AEAD_NONCE_SIZE:]
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(body, data, nonce, key)
    except (nacl.exceptions.CryptoError, TypeError, ValueError) as error:  # the latter two of what is too short
        raise SealBrokenError("It does not open with the key of the network.") from error


# --- links ----------------------------------------------------------------------------------------

FRAME_KEY_SIZE = 32
FRAME_TAG_SIZE = 16


class ExchangeKey:
    """An X25519 private key for one handshake, made from its 32-byte seed."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = x25519.X25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """The 32 bytes that the holders of both keys come to.

        Raises:
            RemoteProtocolError: the other half is of low order (RFC 7748, section 6.1: the result would be zero).
        """
        try:
            return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise RemoteProtocolError("an ephemeral key that agrees on nothing") from error


class FrameMac:
    """The MACs of one direction of a link: GMAC (NIST SP 800-38D, AES-256), with the number of the frame as its nonce.

    Each one makes MACs or checks them, in the order of the frames.
    """

    __slots__ = ("_cipher", "_key", "_number")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher: aead.AESGCM | None = None
        self._number = 0

    def tagged(self, frame: bytes) -> bytes:
        """The next frame, and behind it 16 bytes that only holders of the key can make, for this frame in its place."""
        self._number = number = self._number + 1
        return frame + (self._cipher or self._made()).encrypt(number.to_bytes(12), b"", frame)

    def open_untrusted(self, received: str | bytes) -> bytes:
        """The next frame, without the MAC behind it. A text has none.

        Raises:
            RemoteProtocolError: the other end did not make it, or not for this place.
        """
        self._number = number = self._number + 1
        if isinstance(received, str):
            raise RemoteProtocolError("a frame without the MAC of this link")
        frame = received[:-FRAME_TAG_SIZE]
        try:
            (self._cipher or self._made()).decrypt(number.to_bytes(12), received[-FRAME_TAG_SIZE:], frame)
        except InvalidTag as error:
            raise RemoteProtocolError("a frame with a wrong MAC: it was not sent so, or not in this place") from error
        return frame

    def rest(self) -> None:
        """Give back the memory that the next MAC will need again: thousands of links may say nothing."""
        self._cipher = None

    def _made(self) -> aead.AESGCM:
        self._cipher = aead.AESGCM(self._key)
        return self._cipher


# --- files ----------------------------------------------------------------------------------------

STREAM_KEY_SIZE = 32
STREAM_HEADER_SIZE = 24
STREAM_OVERHEAD = 17
"""Bytes that each chunk of a stream grows by: its tag."""


class StreamSealer:
    """Seals a stream chunk by chunk (secretstream, XChaCha20-Poly1305): none can be left out, moved or put last.

    The random header is drawn inside the library.
    """

    __slots__ = ("_data", "_state", "header")

    def __init__(self, key: bytes, data: bytes) -> None:
        self._state, self._data = nacl.bindings.crypto_secretstream_xchacha20poly1305_state(), data
        self.header: bytes = nacl.bindings.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        """The next chunk, sealed."""
        tag = _FINAL if last else _MORE
        return nacl.bindings.crypto_secretstream_xchacha20poly1305_push(self._state, chunk, self._data, tag)


class StreamOpener:
    """Opens what a `StreamSealer` with the same key and data has sealed."""

    __slots__ = ("_data", "_state")

    def __init__(self, key: bytes, header: bytes, data: bytes) -> None:
        self._state, self._data = nacl.bindings.crypto_secretstream_xchacha20poly1305_state(), data
        nacl.bindings.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, key)

    def open(self, sealed: bytes, *, last: bool) -> bytes:
        """The next chunk.

        Raises:
            SealBrokenError: it is not the next one, was changed, or the stream does not end where it should.
        """
        try:
            chunk, tag = nacl.bindings.crypto_secretstream_xchacha20poly1305_pull(self._state, sealed, self._data)
        except (nacl.exceptions.CryptoError, TypeError, ValueError) as error:  # the latter two of what is too short
            raise SealBrokenError("A piece of a file does not open.") from error
        if tag != (_FINAL if last else _MORE):
            raise SealBrokenError("A file does not end where it should.")
        return chunk


_MORE = nacl.bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL = nacl.bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL


# --- digests --------------------------------------------------------------------------------------


def sha256(data: bytes) -> bytes:
    """The 32-byte digest."""
    return hashlib.sha256(data).digest()


def slow_hash(label: bytes, data: bytes, size: int) -> bytes:
    """A digest that takes half a millisecond, where a short one might be worth searching for."""
    return hashlib.pbkdf2_hmac("sha512", data, label, iterations=1024, dklen=size)
