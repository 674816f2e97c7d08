"""Write `docs/vectors/messages.json`: messages, and what every version of ours must decide about each.

Run it only to add a case: `python -m tests.protocol.make_known_answers`. Sealing draws randomness
of its own, so every run writes other bytes; what is committed is what counts.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.bundle import KeyBundle, KeyRing
from mcp_a2a.protocol.crypto import LOW_ORDER_KEYS, SUITE_MLKEM768_X25519, SUITE_X25519, KemSecret
from mcp_a2a.protocol.envelope import Header, seal
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import AgentCard, Artifact, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.payload import (
    MAX_HOP,
    AdvertBody,
    CancelBody,
    MessageBody,
    Payload,
    TaskFailure,
    UpdateBody,
)
from mcp_a2a.protocol.receipt import postmark_of, sign_receipt
from mcp_a2a.protocol.strict_json import to_base64url
from tests.protocol.people import (
    ALICE,
    BOB,
    CAROL,
    ENVELOPE_ID,
    EXPIRES,
    NOW,
    flip,
    forge,
    header_for,
    inner_of,
    secret_of,
    task,
)

FILE = Path(__file__).parents[2] / "docs/vectors/messages.json"
SUCCESS = "success"
SECRETS = {suite: secret_of(BOB, suite) for suite in (SUITE_X25519, SUITE_MLKEM768_X25519)}
BUNDLES = {
    suite: KeyBundle.sign(BOB, secret, seq=suite, now=NOW - 86_400 * (2 - suite)) for suite, secret in SECRETS.items()
}
SMALL, POST_QUANTUM = BUNDLES[SUITE_X25519], BUNDLES[SUITE_MLKEM768_X25519]
"""Most cases use the suite with the short keys, to keep the file small."""


@dataclass(frozen=True)
class Case:
    """One message and the decision: "success" or the code of an error."""

    name: str
    expect: str
    kind: str
    data: bytes


def stored_ring() -> str:
    """Bob's keys as the database holds them: a retired one and the current one."""
    keys = [
        {
            "bundle": bundle.to_text(),
            "secret": to_base64url(SECRETS[suite].seed),
            "drop_at": NOW + 8 * 86_400 if suite == SUITE_X25519 else None,
        }
        for suite, bundle in BUNDLES.items()
    ]
    return json.dumps({"v": 1, "keys": keys})


def sealed(payload: Payload, bundle: KeyBundle = SMALL) -> bytes:
    """What an honest sender sends."""
    return seal(ALICE, payload.to_bytes(), bundle, ENVELOPE_ID, payload.expires)


def signed(payload: bytes, signer: Identity = ALICE) -> bytes:
    """Any bytes, signed and sealed to Bob."""
    return forge(inner_of(payload, signer=signer), SMALL)


def edited(**fields: object) -> bytes:
    """Alice's task with other fields, which she did sign."""
    content = json.loads(task().to_bytes()) | fields
    return signed(json.dumps(content).encode())


def replaced(source: str, target: str) -> bytes:
    """Alice's task with another text, which she did sign."""
    text = task().to_bytes().decode()
    if source not in text:
        raise ValueError(source)
    return signed(text.replace(source, target, 1).encode())


def accepted_envelopes() -> Iterator[tuple[str, bytes]]:
    """Everything that must open, for ever."""
    message = Message(message_id="m-2", role=Role.AGENT, parts=(Part(text="Seven words."),))
    status = TaskStatus(state=TaskState.COMPLETED, message=message)
    artifact = Artifact(artifact_id="a-1", parts=(Part(data={"words": 7, "none": None}),))
    failed = TaskStatus(state=TaskState.FAILED)
    update = UpdateBody(status=status, artifacts=(artifact,), attempt=2)
    failure = UpdateBody(status=failed, error=TaskFailure(code="timeout", message="Too slow."))
    bodies = {
        "message": MessageBody(message=message),
        "cancel": CancelBody(reason="No longer needed."),
        "update": update,
        "advert": AdvertBody(advert=advert().to_text()),
    }
    yield "a task, post-quantum suite", sealed(task(), POST_QUANTUM)
    yield "a task, X25519 suite, to a retired key", sealed(task())
    for kind, body in bodies.items():
        yield f"a payload of type {kind}", sealed(task().model_copy(update={"type": kind, "body": body}))
    other = {"type": "update", "body": failure, "re": "p-0", "seq": 3, "hop": MAX_HOP}
    yield "an update that fails, answers, is third and passed on", sealed(task().model_copy(update=other))
    yield "text beyond ASCII", sealed(task("Grüße 日本語 😀 \u202e \x00"))
    yield "a payload that fills its bucket", sealed(task("x" * (512 - 68 - len(task("").to_bytes()))))
    yield "a payload one byte beyond a bucket", sealed(task("x" * (513 - 68 - len(task("").to_bytes()))))
    yield "an advert about no task", edited(type="advert", task="", body={"advert": "x"})
    yield "an unknown field in the payload", edited(later={"a": [1, 2]})
    yield "an unknown field in the body", edited(body=json.loads(task().to_bytes())["body"] | {"later": 1})
    yield "spaces and escapes in the JSON", signed(json.dumps(json.loads(task("é").to_bytes()), indent=1).encode())
    yield "dated ten minutes ahead", edited(created=NOW + 600)
    yield (
        "a life of seven days",
        forge(
            inner_of(task().model_copy(update={"expires": NOW + 604_800}).to_bytes()),
            SMALL,
            header_for(SMALL, NOW + 604_800),
        ),
    )


def changed_on_the_way() -> Iterator[tuple[str, str, bytes]]:
    """What a relay or a wire can do."""
    good = sealed(task())
    header = Header.parse_untrusted(good)
    body = good[64:]
    yield "empty", "remote_protocol", b""
    yield "only a header", "remote_protocol", good[:64]
    yield "cut by one byte", "remote_protocol", good[:-1]
    yield "one byte more", "remote_protocol", good + b"\0"
    yield "cut to the bytes of no bucket", "remote_protocol", good[:500]
    yield "stretched to the next bucket", "seal_broken", good + bytes(512)
    yield "another magic", "remote_protocol", b"A3E\x01" + good[4:]
    yield "another version", "remote_protocol", b"A2E\x02" + good[4:]
    yield "an expiry that is no full hour", "remote_protocol", good[:63] + b"\x01" + body
    yield "addressed to a key of low order", "remote_protocol", (good[:4] + min(LOW_ORDER_KEYS) + good[36:])
    yield "addressed to somebody else", "not_for_us", (replace(header, to=CAROL.peer_id).to_bytes() + body)
    yield "an unknown key id", "unknown_key", replace(header, kid=bytes(8)).to_bytes() + body
    yield "the id of our other key", "seal_broken", (replace(header, kid=POST_QUANTUM.kid).to_bytes() + body)
    yield "another envelope id", "seal_broken", (replace(header, envelope_id=bytes(16)).to_bytes() + body)
    yield "a longer life", "seal_broken", (replace(header, expires=header.expires + 3600).to_bytes() + body)
    yield "a changed bit in the encapsulated key", "seal_broken", flip(good, 64 * 8)
    yield "the unused bit of the encapsulated key", "seal_broken", flip(good, 96 * 8 - 1)
    yield "an encapsulated key of zeros", "seal_broken", good[:64] + bytes(32) + good[96:]
    yield "a changed bit in the ciphertext", "seal_broken", flip(good, 100 * 8)
    yield "a changed bit in the tag", "seal_broken", flip(good, len(good) * 8 - 1)
    yield (
        "the body of another envelope",
        "seal_broken",
        (replace(header, envelope_id=bytes(16)).to_bytes() + sealed(task("other"))[64:]),
    )


def sealed_by_an_attacker() -> Iterator[tuple[str, str, bytes]]:
    """What somebody can do who knows Bob's public key."""
    payload = task().to_bytes()
    inner = inner_of(payload)
    length = len(payload)
    yield "a length beyond the end", "seal_broken", forge(struct.pack(">I", 445) + inner[4:], SMALL)
    yield "the largest length", "seal_broken", forge(b"\xff" * 4 + inner[4:], SMALL)
    yield "a length that hides the last byte", "seal_broken", forge(struct.pack(">I", length - 1) + inner[4:], SMALL)
    yield "padding that is not zero", "seal_broken", forge(inner[:-1] + b"\1", SMALL)
    yield "a bucket larger than needed", "seal_broken", forge(inner + bytes(512), SMALL)
    yield "zeros inside", "remote_protocol", forge(bytes(512), SMALL)
    yield "an empty payload", "remote_protocol", signed(b"")
    yield "signed by somebody else", "seal_broken", signed(payload, CAROL)
    yield "no signature", "seal_broken", forge(inner[:4] + bytes(64) + inner[68:], SMALL)
    yield "a changed bit in the signature", "seal_broken", forge(flip(inner, 5 * 8), SMALL)
    yield "a changed letter in the signed text", "seal_broken", forge(inner.replace(b"Count", b"Mount"), SMALL)
    yield (
        "signed under another label",
        "seal_broken",
        forge(inner[:4] + ALICE.sign(b"mcp-a2a/v1/advert\0", payload) + inner[68:], SMALL),
    )
    yield "a message to somebody else, sealed again to us", "not_for_us", signed(task(to=CAROL).to_bytes())
    yield (
        "an expiry outside that is not the one inside",
        "seal_broken",
        forge(inner, SMALL, header_for(SMALL, EXPIRES + 3600)),
    )


def impossible_payloads() -> Iterator[tuple[str, str, bytes]]:
    """What a peer that is broken or hostile signs."""
    yield "another payload version", "remote_protocol", edited(v=2)
    yield "a version that is true", "remote_protocol", edited(v=True)
    yield "an unknown type", "remote_protocol", edited(type="shutdown")
    yield "a body of another type", "remote_protocol", edited(type="update")
    yield "no body", "remote_protocol", edited(body=None)
    yield (
        "a message without parts",
        "remote_protocol",
        edited(body={"message": {"messageId": "m", "role": "ROLE_USER", "parts": []}}),
    )
    yield "a path as the id", "remote_protocol", edited(id="../../id_ed25519")
    yield "an id of 65 characters", "remote_protocol", edited(id="x" * 65)
    yield "a task that names no task", "remote_protocol", edited(task="")
    yield "a sender that is a name", "remote_protocol", edited(**{"from": "alice"})
    yield "a recipient in capitals", "remote_protocol", edited(to=str(BOB.peer_id).upper())
    yield "a negative number", "remote_protocol", edited(seq=-1)
    yield "a number as text", "remote_protocol", edited(seq="1")
    yield "a fifth hop", "remote_protocol", edited(hop=MAX_HOP + 1)
    yield "a key twice", "remote_protocol", replaced('"hop":0', '"hop":0,"hop":0')
    yield "a key twice, once escaped", "remote_protocol", replaced('"hop":0', '"hop":0,"\\u0068op":0')
    yield "NaN", "remote_protocol", replaced('"hop":0', '"hop":0,"x":NaN')
    yield "an overflowing number", "remote_protocol", replaced('"hop":0', '"hop":0,"x":1e999')
    yield "a lone surrogate", "remote_protocol", replaced("Count", "\\ud800")
    yield "33 levels", "remote_protocol", replaced('"hop":0', '"hop":0,"x":' + "[" * 32 + "]" * 32)
    yield "an array", "remote_protocol", signed(b"[]")
    yield "not UTF-8", "remote_protocol", signed(task().to_bytes().replace(b"Count", b"\xff\xfe\xfd"))
    yield "not JSON", "remote_protocol", signed(b"task")
    yield "dated sixteen hours ahead", "stale", edited(created=NOW + 57_600)
    yield "expired", "stale", sealed(task().model_copy(update={"created": NOW - 7200, "expires": NOW - 1}))
    yield "a life of more than seven days", "stale", edited(created=EXPIRES - 604_801)


def advert() -> Advert:
    """Alice's."""
    card = AgentCard(name="word-counter", description="Counts words.")
    bundle = KeyBundle.sign(ALICE, KemSecret(SUITE_X25519, b"a" * 32), seq=1, now=NOW)
    return Advert.sign(ALICE, card, bundle, ["ws://192.0.2.1:7301"], seq=4, expires=EXPIRES)


def other_texts() -> Iterator[Case]:
    """The other things that a peer signs."""
    text = advert().to_text()
    yield Case("the post-quantum bundle", SUCCESS, "bundle", POST_QUANTUM.to_text().encode())
    yield Case("the X25519 bundle", SUCCESS, "bundle", SMALL.to_text().encode())
    renumbered = SMALL.to_text().replace('"seq":1', '"seq":2').encode()
    yield Case("a bundle with another number", "remote_protocol", "bundle", renumbered)
    yield Case("an advert", SUCCESS, "advert", text.encode())
    renamed = text.replace("word-counter", "bank-teller").encode()
    yield Case("an advert with another name", "remote_protocol", "advert", renamed)
    marks = [bytes([number]) * 48 for number in range(3)]
    receipt = b"".join(marks) + sign_receipt(BOB, marks)
    yield Case("a receipt for three messages", SUCCESS, "receipt", receipt)
    yield Case("the same receipt for two", "seal_broken", "receipt", receipt[48:])
    envelope, again = sealed(task()), sealed(task())
    mark = postmark_of(ALICE.peer_id, task().id, envelope)
    yield Case("a postmark", SUCCESS, "postmark", envelope + mark)
    for name, other in {
        "a postmark of another sender": postmark_of(BOB.peer_id, task().id, envelope),
        "a postmark of another message": postmark_of(ALICE.peer_id, "0" * 32, envelope),
        "a postmark of the same message, sealed again": postmark_of(ALICE.peer_id, task().id, again),
    }.items():
        yield Case(name, "seal_broken", "postmark", envelope + other)


def cases() -> Iterator[Case]:
    """All of them."""
    for name, envelope in accepted_envelopes():
        yield Case(name, SUCCESS, "envelope", envelope)
    for refused in (changed_on_the_way, sealed_by_an_attacker, impossible_payloads):
        for name, code, envelope in refused():
            yield Case(name, code, "envelope", envelope)
    yield from other_texts()


def main() -> None:
    """Write the file."""
    KeyRing.load(BOB, stored_ring())
    content = {
        "about": "What every version must decide. Kind envelope: opened by bob at `now`.",
        "now": NOW,
        "identities": {"alice": str(ALICE.peer_id), "bob": str(BOB.peer_id)},
        "bob_seed": b"bob".ljust(32, b".").hex(),
        "bob_ring": stored_ring(),
        "cases": [
            {"name": case.name, "expect": case.expect, "kind": case.kind, "hex": case.data.hex()} for case in cases()
        ],
    }
    FILE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
