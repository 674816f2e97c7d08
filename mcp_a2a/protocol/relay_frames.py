"""How requests to a relay, its replies and its news are written and read. Nodes among themselves need none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from pydantic import JsonValue

from mcp_a2a.protocol.admission_secret import PROOF_SIZE
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    INVITATION_ID_SIZE,
    MAX_INVITATION,
    Admit,
    Check,
    Claim,
    Claimed,
    Done,
    Doubled,
    Failed,
    Find,
    Found,
    Offer,
    Presence,
    RelayText,
    Watch,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.fields import Fields

# --- writing --------------------------------------------------------------------------------------


def relay_fields(frame: RelayText) -> dict[str, JsonValue]:
    """The control object of a frame."""
    match frame:
        case Watch() | Find() | Check() | Offer() | Claim() | Admit():
            return _request_fields(frame)
        case Presence(network, online, offline):
            return {"t": "presence", "net": str(network), "on": _dids(online), "off": _dids(offline)}
        case Doubled(names):
            return {"t": "doubled", "ids": [name.hex() for name in names]}
        case _:
            return _reply_fields(frame)


def _request_fields(frame: Watch | Find | Check | Offer | Claim | Admit) -> dict[str, JsonValue]:
    match frame:
        case Watch(number, network, epoch, since):
            return {"t": "watch", "n": number, "net": str(network), "epoch": epoch, "since": since}
        case Find(number, peer):
            return {"t": "find", "n": number, "did": str(peer)}
        case Check(envelopes):
            return {"t": "check", "ids": [envelope.hex() for envelope in envelopes]}
        case Claim(number, invitation):
            return {"t": "claim", "n": number, "id": invitation.hex()}
        case Admit(number, network, proof):
            return {"t": "admit", "n": number, "net": str(network), "proof": proof.hex()}
        case Offer():
            return {
                "t": "offer",
                "n": frame.number,
                "net": str(frame.network),
                "id": frame.invitation.hex(),
                "sealed": frame.sealed.hex(),
                "uses": frame.uses,
                "expires": frame.expires,
            }


def _reply_fields(frame: Found | Claimed | Done | Failed) -> dict[str, JsonValue]:
    match frame:
        case Found(number, bundle, online):
            return {"t": "found", "n": number, "bundle": bundle.to_text(), "online": online}
        case Claimed(number, sealed):
            return {"t": "claimed", "n": number, "sealed": sealed.hex()}
        case Done(number, epoch, revision):
            return {"t": "done", "n": number, "epoch": epoch, "rev": revision}
        case Failed(number, code, retry_after):
            fields: dict[str, JsonValue] = {"t": "failed", "n": number, "code": code}
            return fields if retry_after is None else {**fields, "retry_after": retry_after}


def _dids(peers: Iterable[PeerId]) -> list[JsonValue]:
    return [str(peer) for peer in peers]


# --- reading --------------------------------------------------------------------------------------


# A peer that changed its key answers a whole window of envelopes with the same new bundle, and
# reading one costs two operations with keys.
@lru_cache(maxsize=64)
def bundle_untrusted(text: str) -> KeyBundle:
    """A bundle inside a frame."""
    return KeyBundle.parse_untrusted(text)


def _read_offer(fields: Fields) -> Offer:
    return Offer(
        number=fields.count("n"),
        network=fields.peer("net"),
        invitation=fields.raw("id", INVITATION_ID_SIZE),
        sealed=fields.blob("sealed", MAX_INVITATION),
        uses=fields.count("uses"),
        expires=fields.count("expires"),
    )


RELAY_READERS: dict[str, Callable[[Fields], RelayText]] = {
    "watch": lambda fields: Watch(fields.count("n"), fields.peer("net"), fields.count("epoch"), fields.count("since")),
    "presence": lambda fields: Presence(fields.peer("net"), fields.peers("on"), fields.peers("off")),
    "doubled": lambda fields: Doubled(fields.ids("ids")),
    "find": lambda fields: Find(fields.count("n"), fields.peer("did")),
    "found": lambda fields: Found(fields.count("n"), bundle_untrusted(fields.text("bundle")), fields.flag("online")),
    "check": lambda fields: Check(fields.ids("ids")),
    "offer": _read_offer,
    "claim": lambda fields: Claim(fields.count("n"), fields.raw("id", INVITATION_ID_SIZE)),
    "admit": lambda fields: Admit(fields.count("n"), fields.peer("net"), fields.blob("proof", PROOF_SIZE)),
    "claimed": lambda fields: Claimed(fields.count("n"), fields.blob("sealed", MAX_INVITATION)),
    "done": lambda fields: Done(fields.count("n"), fields.count("epoch"), fields.count("rev")),
    "failed": lambda fields: Failed(fields.count("n"), fields.code(), fields.seconds("retry_after")),
}
"""By kind."""
