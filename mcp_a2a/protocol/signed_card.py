"""Agent cards signed by the agent's own key (A2A 8.4): a JWS with EdDSA over the canonical card without its signatures.

The key is named as a did:key, so nothing need be fetched to verify it; only a reader that has met the agent before can
tell whether it is the right one.

Two readers see two cards: one who keeps all that is in it (the keys of 0.3, extensions of ours), and one who keeps what
the specification knows, as a reader with protobuf types does, and who passes a card on through such types. Each finds a
signature over what it sees. A card that is signed as the latter only is worth that much: `Signed.card` holds no more.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import rfc8785
from pydantic import JsonValue

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.errors.web import CardError
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity, verify_jws
from mcp_a2a.protocol.strict_json import check_depth

if TYPE_CHECKING:
    from collections.abc import Mapping

Fields: TypeAlias = dict[str, JsonValue]

ALGORITHMS = frozenset({"EdDSA", "Ed25519"})
"""Names of the algorithm: that of RFC 8037, which we write, and that of RFC 9864."""

MAX_SIGNATURES = 16
"""A card with more is not read on: each costs a verification."""

MAX_DEPTH = 64
"""Nesting of a card; a deeper one has no canonical form, so that it cannot use up our stack."""

_DID = "did:key:"
_ED25519 = "did:key:z6Mk"
"""So begins each did:key of an Ed25519 key; we know no others."""


@dataclass(frozen=True)
class Signed:
    """A card, who has signed it, and what of it is signed; an unsigned one is as it came."""

    card: Fields
    key: PeerId | None = None


def sign_card(card: Fields, identity: Identity) -> Fields:
    """The card with our signatures, and no others: over the whole card and over its known part.

    A part that has no canonical form has no signature. So a schema with an integer beyond 2^53 costs the signature over
    the whole card, which would otherwise hold for a card with another integer.
    """
    unsigned = _unsigned(card)
    kid = f"{identity.peer_id}#{str(identity.peer_id).removeprefix(_DID)}"
    header = canonical_json({"alg": "EdDSA", "kid": kid, "typ": "JOSE"})
    payloads = dict.fromkeys(map(_payload, (unsigned, known_part(unsigned))))
    signatures = [identity.sign_jws(header, payload) for payload in payloads if payload is not None]
    return {**unsigned, "signatures": [{"protected": one, "signature": other} for one, other in signatures]}


def verify_card(card: Fields) -> Signed:
    """The verified signers of a card. Signatures of other kinds of key are left unverified.

    Raises:
        CardError: the card claims a key that has not signed it so.
    """
    listed = card.get("signatures")
    signatures = listed if isinstance(listed, list) else []
    if len(signatures) > MAX_SIGNATURES:
        raise CardError(f"The agent card has {len(signatures)} signatures; more than {MAX_SIGNATURES} are not read.")
    claims = [claim for claim in map(_claim, signatures) if claim is not None]
    if not claims:
        return Signed(card)
    signers = {claim.key for claim in claims}
    if len(signers) > 1:
        raise CardError("The agent card claims to be that of several did:keys.", _ASK)
    whole = _unsigned(card)
    for part, shown in ((whole, card), (known := known_part(whole), known)):
        payload = _payload(part)
        if payload is not None and any(claim.covers(payload) for claim in claims):
            return Signed(shown, claims[0].key)
    raise CardError(f"The agent card claims to be signed by {claims[0].key}, and is not.", _ASK)


def canonical_json(value: JsonValue) -> bytes:
    """The canonical form of a JSON value (RFC 8785), which is what is signed.

    Raises:
        RemoteProtocolError: it has none: half of a surrogate pair, a number that is not finite, an integer beyond 2^53,
            which a browser would round, or nesting beyond `MAX_DEPTH`.
    """
    try:
        check_depth(value, MAX_DEPTH)
        return rfc8785.dumps(value)
    except ValueError as error:
        raise RemoteProtocolError("It has no canonical form.") from error


def _payload(card: Fields) -> bytes | None:
    """The bytes that a signature over the card covers; None for a card that cannot be signed."""
    try:
        return canonical_json(card)
    except RemoteProtocolError:
        return None


_ASK = "Nothing was sent. Ask its owner."


@dataclass(frozen=True)
class _Claim:
    """A signature that says that it is by an Ed25519 did:key."""

    key: PeerId
    protected: str
    signature: bytes
    sound: bool
    """True if its header is one that we understand."""

    def covers(self, payload: bytes) -> bool:
        """True if it is a signature over this."""
        return self.sound and verify_jws(self.key, self.protected, payload, self.signature)


def _claim(value: JsonValue) -> _Claim | None:
    """The claim of a signature; None if it names no key that we could verify."""
    if not isinstance(value, dict):
        return None
    protected, signature = value.get("protected"), value.get("signature")
    header = _header(protected)
    unprotected = value.get("header")
    kid = header.get("kid") or (unprotected.get("kid") if isinstance(unprotected, dict) else None)
    if not isinstance(kid, str) or not kid.startswith(_ED25519):
        return None
    did, _, fragment = kid.partition("#")
    try:
        key = PeerId.parse_untrusted(did)
        raw = _decoded(signature)
    except (RemoteProtocolError, ValueError) as error:
        raise CardError(f"The agent card claims a key that cannot be read: {error}.", _ASK) from None
    algorithm = header.get("alg")
    sound = (
        isinstance(algorithm, str)
        and algorithm in ALGORITHMS
        and "crit" not in header
        and fragment in ("", did.removeprefix(_DID))
    )
    return _Claim(key, protected if isinstance(protected, str) else "", raw, sound)


def _header(protected: JsonValue) -> Fields:
    try:
        value: JsonValue = json.loads(_decoded(protected))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _decoded(text: JsonValue) -> bytes:
    """Bytes from base64url without padding.

    Raises:
        ValueError
    """
    if not isinstance(text, str) or not text.replace("-", "A").replace("_", "A").isalnum() or not text.isascii():
        raise ValueError("it is not base64url")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("it is not base64url") from error


def _unsigned(card: Fields) -> Fields:
    return {name: value for name, value in card.items() if name != "signatures"}


# --- what the specification knows of a card ------------------------------------------------------

Shape: TypeAlias = "Mapping[str, Shape] | None"
"""The fields of an object that are known; None where all is kept as it is."""


def _leaves(*names: str) -> dict[str, Shape]:
    return dict.fromkeys(names)


_EACH = "*"
"""A shape with this one name: an object with any names, and this shape below each."""

_SCHEMES = (
    "apiKeySecurityScheme", "httpAuthSecurityScheme", "oauth2SecurityScheme", "openIdConnectSecurityScheme",
    "mtlsSecurityScheme",
)  # fmt: skip

CARD: Mapping[str, Shape] = MappingProxyType(
    {
        **_leaves("name", "description", "version", "documentationUrl", "iconUrl"),
        **_leaves("defaultInputModes", "defaultOutputModes", "securityRequirements"),
        "supportedInterfaces": _leaves("url", "protocolBinding", "protocolVersion", "tenant"),
        "provider": _leaves("url", "organization"),
        "capabilities": {
            **_leaves("streaming", "pushNotifications", "extendedAgentCard"),
            "extensions": _leaves("uri", "description", "required", "params"),
        },
        "securitySchemes": {_EACH: _leaves(*_SCHEMES)},
        "skills": _leaves(
            "id", "name", "description", "tags", "examples", "inputModes", "outputModes", "securityRequirements"
        ),
    }
)

_FALSE_IS_NOTHING = frozenset({"required", "pkceRequired"})
"""Fields whose default is false, which is not written; in other fields absence means something else."""


def known_part(card: Fields) -> Fields:
    """A card as a reader with the types of A2A 1.0 sees it: known fields, and none that are empty."""
    return dict(_known(card, CARD))


def _known(fields: Fields, shape: Mapping[str, Shape] | None) -> list[tuple[str, JsonValue]]:
    kept: list[tuple[str, JsonValue]] = []
    for name, value in fields.items():
        if shape is not None and name not in shape and _EACH not in shape:
            continue
        if value is False and name in _FALSE_IS_NOTHING:
            continue
        below = None if shape is None else shape.get(name, shape.get(_EACH))
        reduced = _reduced(value, below)
        if reduced is not None:
            kept.append((name, reduced))
    return kept


def _reduced(value: JsonValue, shape: Mapping[str, Shape] | None) -> JsonValue:
    """The known part of a value; None where nothing is left."""
    match value:
        case dict():
            return dict(_known(value, shape)) or None
        case list():
            return [one for one in (_reduced(item, shape) for item in value) if one is not None] or None
        case "":
            return None
        case _:
            return value
