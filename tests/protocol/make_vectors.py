"""Write `docs/vectors/*.json`: the values of `docs/protocol.md` that any implementation must come to.

Run it only to add a value: `python -m tests.protocol.make_vectors`. Every value here follows from the keys and the
secrets of its file, so a second run writes the same bytes; `test_vectors` compares them. What has randomness of a
library in it (sealed envelopes, files) is in `messages.json` and `file.json`, which are read and never written again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from mcp_a2a.protocol import control, crypto
from mcp_a2a.protocol.admission_secret import admission_key, prove_admission, secret_text
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.blob import CHUNK_SIZE, FileSealer
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import ByeCode, Control, MembershipProof
from mcp_a2a.protocol.crypto import LOW_ORDER_KEYS, SUITE_X25519, ExchangeKey, KemSecret
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.handshake import Established, Handshake, Side, Target, Waiting
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link_keys import LinkKeys
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.model import AgentCard, AgentSkill
from mcp_a2a.protocol.names import WORDS, fingerprint_words
from mcp_a2a.protocol.network import Network, invitation_id, seal_invitation
from mcp_a2a.protocol.payload import AskBody, Asked, BlobBody, NetworkBody, Payload
from mcp_a2a.protocol.receipt import HELD_VERDICT, postmark_of, sign_receipt, sign_verdict
from mcp_a2a.protocol.strict_json import to_base64url
from mcp_a2a.protocol.task.task import task_id_of
from mcp_a2a.protocol.ticket import Ticket
from tests.protocol.people import ALICE, BOB, EXPIRES, NOW, secret_of, task

FOLDER = Path(__file__).parents[2] / "docs/vectors"

SEALED_TASK = "a task, X25519 suite, to a retired key"

Values = dict[str, JsonValue]
Expected = TypeVar("Expected")

SEEDS = {"alice": b"alice".ljust(32, b"."), "bob": b"bob".ljust(32, b".")}
SHOP = Network(bytes(range(32)))
RELAY = Identity(b"relay".ljust(32, b"."))
SMALL = {name: secret_of(identity, SUITE_X25519) for name, identity in (("alice", ALICE), ("bob", BOB))}
BUNDLES = {
    "alice": KeyBundle.sign(ALICE, SMALL["alice"], seq=int(NOW), now=NOW),
    "bob": KeyBundle.sign(BOB, SMALL["bob"], seq=int(NOW), now=NOW),
}


def identity() -> Values:
    """Keys, their one spelling, labelled signatures, and spellings that are refused."""
    label, message = b"mcp-a2a/v1/msg\0", b"message"
    return {
        "about": "protocol.md, 1: an Ed25519 seed, its public key, its did:key, and a labelled signature.",
        "keys": [
            {
                "seed": seed.hex(),
                "public": Identity(seed).peer_id.key.hex(),
                "did": str(Identity(seed).peer_id),
                "words": fingerprint_words(Identity(seed).peer_id),
                "label": label.hex(),
                "message": message.hex(),
                "signature": Identity(seed).sign(label, message).hex(),
            }
            for seed in SEEDS.values()
        ],
        "refused_dids": _refused_dids(),
        "refused_keys": sorted(key.hex() for key in LOW_ORDER_KEYS),
        "word_list": " ".join(WORDS),
    }


def _refused_dids() -> list[JsonValue]:
    did = str(ALICE.peer_id)
    return [
        "",
        did[:-1],
        did + "1",
        did.upper(),
        did.replace("z6Mk", "z6Ml", 1),
        did.replace("did:key:z", "did:key:u", 1),
        did[:-1] + "0",
        did[:-1] + "l",
        f"{did}#{did[8:]}",
        f" {did}",
    ]


def bundle() -> Values:
    """Both suites: what a seed becomes, what is signed, and the text."""
    return {
        "about": "protocol.md, 2: a KEM seed, its public key and key id, the signed bytes, and the bundle.",
        "identity_seed": SEEDS["bob"].hex(),
        "bundles": [_bundle_values(secret_of(BOB, suite)) for suite in (1, 2)],
    }


def _bundle_values(secret: KemSecret) -> Values:
    made = KeyBundle.sign(BOB, secret, seq=int(NOW), now=NOW)
    return {
        "suite": secret.suite,
        "kem_seed": secret.seed.hex(),
        "kem_pk": secret.public_key.hex(),
        "kid": made.kid.hex(),
        "seq": made.seq,
        "not_before": made.not_before,
        "not_after": made.not_after,
        "signed": (b"mcp-a2a/v1/bundle\0" + made._signed_bytes()).hex(),
        "signature": made.signature.hex(),
        "text": made.to_text(),
    }


def link() -> Values:
    """Two whole handshakes, and the first frames behind them."""
    return {
        "about": "protocol.md, 4: handshakes from the seeds of both ends, and the frames that follow, with MACs.",
        "handshakes": [_handshake(BOB, Target(), "a node"), _handshake(RELAY, _relay_target(), "a relay, one network")],
    }


def _relay_target() -> Target:
    return Target(
        role=control.Role.RELAY,
        memberships=lambda relay, nonce: (SHOP.prove(relay, ALICE.peer_id, nonce),),
    )


def _handshake(listener: Identity, target: Target, about: str) -> Values:
    theirs = KeyBundle.sign(listener, KemSecret(SUITE_X25519, b"listener".ljust(32, b".")), seq=int(NOW), now=NOW)
    ours = BUNDLES["alice"]
    secrets = {"listener": b"L" * 32, "dialler": b"D" * 32}
    listening = Handshake(Side.LISTENER, listener, theirs, secrets["listener"], Target(role=target.role))
    dialling = Handshake(Side.DIALLER, ALICE, ours, secrets["dialler"], target)
    hello = _expect(dialling.receive_untrusted(listening.challenge), Waiting).reply
    transcript = dialling._transcript
    at_listener = _expect(listening.receive_untrusted(hello), Established)
    if at_listener.reply is None:
        raise TypeError("a listener without a welcome")
    at_dialler = _expect(dialling.receive_untrusted(at_listener.reply), Established)
    shared = ExchangeKey(secrets["dialler"]).agree(listening.challenge.nonce)
    return {
        "about": about,
        "listener_seed": b"bob".ljust(32, b".").hex() if listener is BOB else b"relay".ljust(32, b".").hex(),
        "dialler_seed": SEEDS["alice"].hex(),
        "listener_ephemeral_seed": secrets["listener"].hex(),
        "dialler_ephemeral_seed": secrets["dialler"].hex(),
        "challenge": encode(listening.challenge),
        "hello": encode(hello),
        "welcome": encode(at_listener.reply),
        "transcript": transcript.hex(),
        "shared": shared.hex(),
        "dialler_key": at_dialler.keys.sending._key.hex(),
        "listener_key": at_listener.keys.sending._key.hex(),
        "from_dialler": _tagged(at_dialler.keys, ['{"t":"ping","n":1}', '{"t":"pong","n":1}']),
        "from_listener": _tagged(at_listener.keys, ['{"t":"ping","n":1}', '{"t":"bye","code":"leaving"}']),
    }


def _expect(step: object, kind: type[Expected]) -> Expected:
    if not isinstance(step, kind):
        raise TypeError(step)
    return step


def _tagged(keys: LinkKeys, texts: Sequence[str]) -> list[JsonValue]:
    return [{"frame": text, "wire": keys.tagged(text.encode()).hex()} for text in texts]


def frames() -> Values:
    """Every control frame as it is written, and frames that are refused."""
    mark, number = bytes(range(48)), 7
    signature, name = bytes(64), bytes(16)
    network, peer, bundle_of = SHOP.id, BOB.peer_id, BUNDLES["bob"]
    written: list[Control] = [
        control.Ping(1),
        control.Pong(1),
        control.BundleFrame(bundle_of),
        control.Bye(ByeCode.LEAVING),
        control.Delivered((mark, mark), signature),
        control.Held(name, signature),
        control.Refused(name, "busy", 0.5, None, signature),
        control.Refused(name, "unknown_key", None, bundle_of, None),
        control.Stored(name),
        control.Find(number, peer),
        control.Found(number, bundle_of, online=True),
        control.Watch(number, network, epoch=3, since=12),
        control.Presence(network, (peer,), ()),
        control.Doubled((name,)),
        control.Check((name,)),
        control.Offer(number, network, name, b"sealed", uses=2, expires=int(EXPIRES)),
        control.Claim(number, name),
        control.Claimed(number, b"sealed"),
        control.Admit(number, network, signature),
        control.Admit(number, network, b""),
        control.Done(number, epoch=3, revision=13),
        control.Failed(number, "rate_limited", 1.5),
    ]
    return {
        "about": "protocol.md, 4 and 7: control frames as they are written, and frames that end a link.",
        "frames": [encode(frame) for frame in written],
        "ignored": ['{"t":"later","n":1}', '{"t":"ping","n":1,"later":[1]}'],
        "refused": _refused_frames(),
    }


def _refused_frames() -> list[JsonValue]:
    return [
        "{}",
        '{"t":1}',
        "[]",
        '{"t":"ping"}',
        '{"t":"ping","n":true}',
        '{"t":"ping","n":-1}',
        '{"t":"ping","n":9007199254740992}',
        '{"t":"ping","n":1,"n":1}',
        '{"t":"stored","id":"00"}',
        '{"t":"stored","id":"0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F"}',
        '{"t":"delivered","marks":[],"sig":"' + "0" * 128 + '"}',
        '{"t":"refused","id":"' + "0" * 32 + '","code":"no word"}',
        '{"t":"failed","n":1,"code":"busy","retry_after":604801}',
        '{"t":"presence","net":"alice","on":[],"off":[]}',
    ]


def receipt() -> Values:
    """Postmark, receipt and verdict over the first sealed task of `messages.json`."""
    cases: list[dict[str, str]] = json.loads((FOLDER / "messages.json").read_text())["cases"]
    envelope = bytes.fromhex(next(case["hex"] for case in cases if case["name"] == SEALED_TASK))
    marks = [_mark(envelope, task().id), _mark(envelope, "another")]
    return {
        "about": f"protocol.md, 5: over the case {SEALED_TASK!r} of messages.json, which alice sealed to bob.",
        "envelope_sha256": crypto.sha256(envelope).hex(),
        "message_id": task().id,
        "postmark": marks[0].hex(),
        "receipt": {"marks": [mark.hex() for mark in marks], "signature": sign_receipt(BOB, marks).hex()},
        "verdicts": [
            {"verdict": verdict, "signature": sign_verdict(BOB, marks[0], verdict).hex()}
            for verdict in (HELD_VERDICT, "not_trusted", "stale_ahead_57600")
        ],
    }


def _mark(envelope: bytes, message_id: str) -> bytes:
    return postmark_of(ALICE.peer_id, message_id, envelope)


def payload() -> Values:
    """Task ids, the payload of each type as we write it, and an advert."""
    card = AgentCard(
        name="word-counter",
        description="Counts words.",
        skills=(AgentSkill(id="count_words", name="count_words", description="Counts words."),),
    )
    signed = Advert.sign(ALICE, card, BUNDLES["alice"], ["192.0.2.1:7301"], seq=4, expires=EXPIRES)
    common = {"id": "p-1", "from_": ALICE.peer_id, "to": BOB.peer_id, "created": NOW, "expires": EXPIRES}
    more = [
        Payload(type="ask", body=AskBody(tasks=(Asked(task="task-1", seq=-1),)), **common),
        Payload(type="blob", task="task-1", body=BlobBody(blob="0" * 32, piece=0, pieces=1, data="AAAA"), **common),
        Payload(
            type="network", body=NetworkBody(previous=SHOP.id, secret=to_base64url(b"n" * 32), relays=()), **common
        ),
    ]
    return {
        "about": "protocol.md, 6: ids of tasks, payloads as they are written (more are in messages.json), an advert.",
        "tasks": [
            {"sender": str(ALICE.peer_id), "message_id": "p-1", "task": task_id_of(ALICE.peer_id, "p-1")},
            {"sender": str(BOB.peer_id), "message_id": "0" * 32, "task": task_id_of(BOB.peer_id, "0" * 32)},
        ],
        "payloads": [task().to_bytes().decode(), *(one.to_bytes().decode() for one in more)],
        "advert": signed.to_text(),
    }


def relay() -> Values:
    """What a closed relay is shown."""
    secret, nonce = bytes(range(16)), bytes(32)
    proof = prove_admission(secret, SHOP.id, RELAY.peer_id, ALICE.peer_id, nonce)
    return {
        "about": "protocol.md, 7: the admission secret of a relay, and its proof for one network and one connection.",
        "secret": secret.hex(),
        "text": secret_text(secret),
        "public": admission_key(secret).key.hex(),
        "nonce": nonce.hex(),
        "relay": str(RELAY.peer_id),
        "asker": str(ALICE.peer_id),
        "network": str(SHOP.id),
        "proof": proof.hex(),
    }


def network() -> Values:
    """What follows from the secret of a network."""
    token, nonce = bytes(range(16)), bytes(24)
    proof: MembershipProof = SHOP.prove(RELAY.peer_id, ALICE.peer_id, bytes(32))
    signed = Advert.sign(
        ALICE, AgentCard(name="a", description=""), BUNDLES["alice"], ["192.0.2.1:7301"], seq=4, expires=EXPIRES
    )
    listed = Listing.seal(SHOP.id, SHOP.directory_key, signed, nonce)
    withdrawn = Listing.withdrawal(ALICE, SHOP.id, seq=5, expires=int(EXPIRES))
    return {
        "about": "protocol.md, 8: keys of a network, proofs of membership, an invitation, a directory entry.",
        "secret": SHOP.secret.hex(),
        "id": str(SHOP.id),
        "directory_key": SHOP.directory_key.hex(),
        "voucher": {
            "member": str(ALICE.peer_id),
            "to": str(BOB.peer_id),
            "voucher": to_base64url(SHOP.vouch(ALICE.peer_id, BOB.peer_id)),
        },
        "membership": {
            "listener": str(RELAY.peer_id),
            "dialler": str(ALICE.peer_id),
            "nonce": bytes(32).hex(),
            "signature": proof.signature.hex(),
        },
        "invitation": {
            "token": token.hex(),
            "id": invitation_id(token).hex(),
            "nonce": nonce.hex(),
            "sealed": seal_invitation(SHOP, token, nonce).hex(),
        },
        "listing": {"nonce": nonce.hex(), "advert": signed.to_text(), "wire": listed.to_bytes().hex()},
        "withdrawal": {"seq": 5, "expires": int(EXPIRES), "wire": withdrawn.to_bytes().hex()},
    }


def ticket() -> Values:
    """Tickets with a secret and with a token, and lines that are refused."""
    place = f"ws://203.0.113.10:6060/#{RELAY.peer_id}"
    tickets = [
        Ticket("shop", ALICE.peer_id, BOB.peer_id, (place,), ("192.168.1.5:7301",), secret=SHOP.secret),
        Ticket("Laden", ALICE.peer_id, ALICE.peer_id, (place,), token=bytes(range(16)), expires=1_800_000_000),
        Ticket("lan", ALICE.peer_id, ALICE.peer_id, secret=SHOP.secret),
    ]
    text = tickets[2].to_text()
    other = "a" if text[-1] != "a" else "b"
    return {
        "about": "protocol.md, 9: tickets and what they say, and lines that are none.",
        "tickets": [_ticket_values(one) for one in tickets],
        "refused": ["", "a2a1", text[:-1], text[:-1] + other, text[:-2], "a2a2" + text[4:], text + "aaaaaaaa"],
    }


def _ticket_values(one: Ticket) -> Values:
    return {
        "network": one.network,
        "owner": str(one.owner),
        "inviter": str(one.inviter),
        "relays": list(one.relays),
        "addresses": list(one.addresses),
        "secret": one.secret.hex() if one.secret is not None else None,
        "token": one.token.hex() if one.token is not None else None,
        "expires": one.expires,
        "text": one.to_text(),
    }


def file() -> Values:
    """A file of two chunks and an empty one. The header of a stream is drawn by the library, so every run differs."""
    return {
        "about": "protocol.md, 6.4: content of `size` bytes (byte i is i % 251), sealed chunk by chunk.",
        "files": [_file_values(size) for size in (CHUNK_SIZE + 3, 0)],
    }


def _file_values(size: int) -> Values:
    content = bytes(number % 251 for number in range(size))
    sealer = FileSealer("f" * 32, bytes(range(32)))
    starts = range(0, max(size, 1), CHUNK_SIZE)
    chunks = [sealer.seal(content[at : at + CHUNK_SIZE], last=at + CHUNK_SIZE >= size) for at in starts]
    part = json.loads(sealer.ref.to_part("data.bin", "application/octet-stream").to_json())
    return {"size": size, "part": part, "chunks": [base64.b64encode(chunk).decode() for chunk in chunks]}


FIXED: dict[str, Callable[[], Values]] = {
    made.__name__: made for made in (identity, bundle, link, frames, receipt, payload, relay, network, ticket)
}
"""Files that are the same in every run."""


def text_of(values: Values) -> str:
    """A file's content."""
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files."""
    for name, made in FIXED.items():
        (FOLDER / f"{name}.json").write_text(text_of(made()))
    drawn = FOLDER / "file.json"
    if not drawn.exists():
        drawn.write_text(text_of(file()))


if __name__ == "__main__":
    main()
