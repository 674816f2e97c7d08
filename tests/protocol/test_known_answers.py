"""Our own known answers, so that no later version opens less, or more, than this one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from pydantic import BaseModel

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.protocol import SealBrokenError
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.bundle import KeyBundle, KeyRing
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.receipt import postmark_of, receipt_is_valid
from mcp_a2a.protocol.replay import check_freshness


class Case(BaseModel):
    name: str
    expect: str
    kind: str
    hex: str


class KnownAnswers(BaseModel):
    now: float
    identities: dict[str, str]
    bob_seed: str
    bob_ring: str
    cases: tuple[Case, ...]


FILE = Path(__file__).parents[2] / "docs/vectors/messages.json"
KNOWN = KnownAnswers.model_validate(json.loads(FILE.read_text()))
BOB = Identity(bytes.fromhex(KNOWN.bob_seed))
ALICE = PeerId.parse_untrusted(KNOWN.identities["alice"])
RING = KeyRing.load(BOB, KNOWN.bob_ring)


def decide(case: Case) -> str:
    try:
        judge(case.kind, bytes.fromhex(case.hex))
    except McpA2AError as error:
        return error.code
    return "success"


def judge(kind: str, data: bytes) -> None:
    match kind:
        case "envelope":
            payload = Envelope.parse_untrusted(data).open_untrusted(RING, BOB.peer_id).payload
            check_freshness(payload.created, payload.expires, KNOWN.now)
            assert payload.from_ == ALICE
        case "bundle":
            assert KeyBundle.parse_untrusted(data.decode()).peer == BOB.peer_id
        case "advert":
            assert Advert.parse_untrusted(data.decode()).peer == ALICE
        case "receipt":
            marks = [data[start : start + 48] for start in range(0, len(data) - 64, 48)]
            if not receipt_is_valid(BOB.peer_id, marks, data[-64:]):
                raise SealBrokenError("not this receipt")
        case "postmark":
            envelope = data[:-48]
            if (
                postmark_of(
                    ALICE, Envelope.parse_untrusted(envelope).open_untrusted(RING, BOB.peer_id).payload.id, envelope
                )
                != data[-48:]
            ):
                raise SealBrokenError("not the postmark of this message")
        case _:
            pytest.fail(f"unknown kind {kind}")


@pytest.mark.parametrize("case", KNOWN.cases, ids=lambda case: case.name)
def test_the_decision_is_the_known_one(case: Case) -> None:
    assert decide(case) == case.expect


def test_there_are_enough_of_each_and_no_two_have_one_name() -> None:
    envelopes = Counter(case.expect for case in KNOWN.cases if case.kind == "envelope")

    assert envelopes.total() >= 60
    assert set(envelopes) == {*("success", "remote_protocol", "seal_broken", "not_for_us", "unknown_key", "stale")}
    assert envelopes["success"] >= 12
    assert len({case.name for case in KNOWN.cases}) == len(KNOWN.cases)


def test_the_identities_of_the_file_are_their_seeds() -> None:
    assert str(BOB.peer_id) == KNOWN.identities["bob"]
