"""The encryption keys of a peer: what it publishes (`KeyBundle`) and what it keeps (`KeyRing`).

A bundle is made every 24 hours and may be sealed to for 7 days. The secret of an older one is kept
until 8 days after its successor was published, because a message may wait 7 days for its recipient;
then it is dropped, and whatever was sealed to it can never be opened again. That is the forward
secrecy we promise: at most 9 days, plus time offline.

The identity signs the fields in one fixed binary layout, so any spelling of the JSON is the same
bundle.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError, UnknownKeyError
from mcp_a2a.protocol.crypto import PUBLIC_KEY_SIZES, SEED_SIZE, KemSecret, best_suite, seal, sha256
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity, verify
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS
from mcp_a2a.protocol.strict_json import (
    Version1,
    base64url_untrusted,
    read_untrusted,
    to_base64url,
    validate_untrusted,
)

MAX_BUNDLE_BYTES = 4096
ROTATE_AFTER_SECONDS = 86_400
VALID_SECONDS = MAX_LIFETIME_SECONDS
"""Seconds for which envelopes may be sealed to a bundle."""

KEEP_SECRET_SECONDS = MAX_LIFETIME_SECONDS + 86_400
"""Seconds for which a secret outlives the publication of its successor."""

MAX_AHEAD_SECONDS = 600
"""A key of ours that is dated further ahead was made while our clock was."""

KID_SIZE = 8
MAX_RING_BYTES = 1024 * 1024
MAX_CHECKED_KEYS = 512
"""Keys of which it is remembered that they can be sealed to: about 1 KiB each."""

MAX_TIME = 2**53
_LABEL = b"mcp-a2a/v1/bundle\0"
_SIGNED = struct.Struct(">B32sHQQQ")

_Count = Annotated[int, Field(ge=0, lt=MAX_TIME)]


class _BundleFields(BaseModel):
    """A bundle as it travels."""

    model_config = ConfigDict(strict=True, extra="ignore")

    v: Version1
    did: str
    suite: int
    kem_pk: str
    kid: str
    seq: _Count
    not_before: _Count
    not_after: _Count
    sig: str


@dataclass(frozen=True, slots=True)
class KeyBundle:
    """A peer's current encryption key, signed by its identity.

    `kid` names the key in the header of an envelope.
    """

    peer: PeerId
    suite: int
    public_key: bytes
    kid: bytes
    seq: int
    not_before: int
    not_after: int
    signature: bytes

    @classmethod
    def sign(cls, identity: Identity, secret: KemSecret, seq: int, now: float) -> Self:
        """The bundle that publishes the public half of `secret` from now on."""
        kid = key_id(secret.suite, secret.public_key)
        not_before = int(now)
        not_after = not_before + VALID_SECONDS
        draft = cls(identity.peer_id, secret.suite, secret.public_key, kid, seq, not_before, not_after, b"")
        return replace(draft, signature=identity.sign(_LABEL, draft._signed_bytes()))

    def usable(self, now: float) -> bool:
        """True if a message may be sealed to it.

        Only its end counts: a key that its peer has signed for later was made while a clock was wrong, and its secret
        is there already.
        """
        return now < self.not_after

    def supersedes(self, other: KeyBundle) -> bool:
        """True if it may replace a known one: never another peer's, never an older or equal one."""
        return self.peer == other.peer and self.seq > other.seq

    def to_text(self) -> str:
        """The bundle as it travels: compact JSON."""
        fields = {
            "v": 1,
            "did": str(self.peer),
            "suite": self.suite,
            "kem_pk": to_base64url(self.public_key),
            "kid": self.kid.hex(),
            "seq": self.seq,
            "not_before": self.not_before,
            "not_after": self.not_after,
            "sig": to_base64url(self.signature),
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def parse_untrusted(cls, text: str) -> Self:
        """A bundle that its peer signed and that can be sealed to; `usable` says whether now."""
        fields = validate_untrusted(_BundleFields, read_untrusted(text, MAX_BUNDLE_BYTES))
        bundle = cls(
            peer=PeerId.parse_untrusted(fields.did),
            suite=fields.suite,
            public_key=base64url_untrusted(fields.kem_pk),
            kid=key_id(fields.suite, base64url_untrusted(fields.kem_pk)),
            seq=fields.seq,
            not_before=fields.not_before,
            not_after=fields.not_after,
            signature=base64url_untrusted(fields.sig),
        )
        bundle._check_untrusted(fields.kid)
        return bundle

    def _check_untrusted(self, kid: str) -> None:
        if self.kid.hex() != kid:
            raise RemoteProtocolError("The key bundle names its key wrongly.")
        if not 0 < self.not_after - self.not_before <= VALID_SECONDS:
            raise RemoteProtocolError("The key bundle claims a life other than up to 7 days.")
        if not verify(self.peer, _LABEL, self._signed_bytes(), self.signature):
            raise RemoteProtocolError("The key bundle is not signed by its peer.")
        _check_key_untrusted(self.suite, self.public_key)

    def _signed_bytes(self) -> bytes:
        return _SIGNED.pack(1, self.peer.key, self.suite, self.seq, self.not_before, self.not_after) + self.public_key


@lru_cache(maxsize=MAX_CHECKED_KEYS)
def _check_key_untrusted(suite: int, public_key: bytes) -> None:
    """Raise for a key that has the right length and still fails when used: better now than when a task waits for it.

    A bundle is read at the handshake and in each advert, and trying its key is most of the cost.
    """
    seal(suite, public_key, b"", b"")


def key_id(suite: int, public_key: bytes) -> bytes:
    """The 8 bytes by which an envelope's header names a key."""
    if len(public_key) != PUBLIC_KEY_SIZES.get(suite):
        raise RemoteProtocolError(f"A key bundle with an unknown suite ({suite}) or a key of the wrong size.")
    return sha256(suite.to_bytes(2) + public_key)[:KID_SIZE]


# --- our own --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kept:
    """A secret of ours; `drop_at` is None while its bundle is the current one."""

    bundle: KeyBundle
    secret: KemSecret
    drop_at: float | None = None


class _KeptFields(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    bundle: str
    secret: str
    drop_at: float | None


class _RingFields(BaseModel):
    model_config = ConfigDict(extra="ignore")

    v: Version1
    keys: tuple[_KeptFields, ...]


class KeyRing:
    """Our own encryption keys: one current, older ones while something sealed to them may arrive.

    Call `handle_timeout` before first use and again at `next_timeout`; whenever it says so, store
    `dump()`.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._kept: dict[bytes, _Kept] = {}  # in the order they were made; the last is current

    @property
    def current(self) -> KeyBundle:
        """The bundle to which peers shall seal."""
        return self._newest().bundle

    def secret_for(self, kid: bytes) -> KemSecret:
        """The secret that opens what was sealed to this key of ours.

        Raises:
            UnknownKeyError: never ours, or dropped.
        """
        if kid not in self._kept:
            raise UnknownKeyError("The envelope is sealed to a key that is not, or no longer, kept here.")
        return self._kept[kid].secret

    def next_timeout(self) -> float:
        """The time of the next call of `handle_timeout`."""
        if not self._kept:
            return 0.0
        drops = [kept.drop_at for kept in self._kept.values() if kept.drop_at is not None]
        return min([self.current.not_before + ROTATE_AFTER_SECONDS, *drops])

    def handle_timeout(
        self, now: float, randomness: Callable[[int], bytes], *, stamp: float | None = None, aged: float | None = None
    ) -> bool:
        """Forget what is due and rotate when due; True if something changed and must be stored.

        Bundles are dated by `now`, the wall clock; secrets are kept from `stamp` until `aged` (`aging`).
        """
        stamp, aged = now if stamp is None else stamp, now if aged is None else aged
        latest = stamp + KEEP_SECRET_SECONDS
        for kid, kept in self._kept.items():
            if kept.drop_at is not None and kept.drop_at > latest:  # retired while the clock was ahead
                self._kept[kid] = replace(kept, drop_at=latest)
        expired = [kid for kid, kept in self._kept.items() if kept.drop_at is not None and kept.drop_at <= aged]
        for kid in expired:
            del self._kept[kid]
        if not self._rotation_is_due(now):
            return bool(expired)
        self._rotate(now, KemSecret(best_suite(), randomness(SEED_SIZE)), latest)
        return True

    def dump(self) -> str:
        """Everything, secrets included, for the store."""
        keys = [
            {
                "bundle": kept.bundle.to_text(),
                "secret": to_base64url(kept.secret.seed),
                "drop_at": kept.drop_at,
            }
            for kept in self._kept.values()
        ]
        return json.dumps({"v": 1, "keys": keys})

    @classmethod
    def load(cls, identity: Identity, text: str) -> Self:
        """The ring that was dumped.

        Raises:
            LocalProtocolError: damaged, or another identity's.
        """
        ring = cls(identity)
        try:
            fields = validate_untrusted(_RingFields, read_untrusted(text, MAX_RING_BYTES))
            for kept in map(_kept_from, fields.keys):
                ring._add(kept)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"The stored encryption keys are damaged: {error}") from error
        return ring

    def _add(self, kept: _Kept) -> None:
        if kept.bundle.peer != self._identity.peer_id or kept.secret.public_key != kept.bundle.public_key:
            raise LocalProtocolError("The stored encryption keys belong to another identity.")
        self._kept[kept.bundle.kid] = kept

    def _newest(self) -> _Kept:
        if not self._kept:
            raise LocalProtocolError("The key ring is used before its first handle_timeout.")
        return next(reversed(self._kept.values()))

    def _rotation_is_due(self, now: float) -> bool:
        if not self._kept or self.current.suite != best_suite():
            return True
        # Made while the clock was ahead, it would be refused by every peer until that day comes.
        made_in_the_future = now < self.current.not_before - MAX_AHEAD_SECONDS
        return made_in_the_future or now >= self.current.not_before + ROTATE_AFTER_SECONDS

    def _rotate(self, now: float, secret: KemSecret, drop_at: float | None = None) -> None:
        # The number is the time: a node whose ring was lost, or came back from a backup, must not look rolled back to
        # peers that know its last bundle.
        seq = int(now)
        if self._kept:
            retired = self._newest()
            seq = max(seq, retired.bundle.seq + 1)
            self._kept[retired.bundle.kid] = replace(retired, drop_at=drop_at or now + KEEP_SECRET_SECONDS)
        bundle = KeyBundle.sign(self._identity, secret, seq, now)
        self._kept[bundle.kid] = _Kept(bundle, secret)


def _kept_from(fields: _KeptFields) -> _Kept:
    bundle = KeyBundle.parse_untrusted(fields.bundle)
    secret = KemSecret(bundle.suite, base64url_untrusted(fields.secret))
    return _Kept(bundle, secret, fields.drop_at)
