"""Cards are signed by the agent's own key, and what claims to be is held to it (A2A 8.4)."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.api.a2a import A2ACardRequest
from mcp_a2a.api.agents import AddPeerRequest, GetAgentRequest
from mcp_a2a.cli.render import agent_lines
from mcp_a2a.errors.web import CardError
from mcp_a2a.protocol.identity import Identity, verify
from mcp_a2a.protocol.names import fingerprint_words
from mcp_a2a.protocol.signed_card import MAX_SIGNATURES, canonical_json, known_part, sign_card, verify_card
from tests.a2a.conftest import Served
from tests.node.world import World
from tests.web.agents import Agent, shout
from tests.web.people import somebody

ME, OTHER = Identity(bytes(32)), Identity(bytes([1]) * 32)

CARD: dict[str, Any] = {
    "name": "ada",
    "description": "",
    "version": "1",
    "url": "http://127.0.0.1/",  # of 0.3, as `additional`
    "supportedInterfaces": [{"url": "http://127.0.0.1/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
    "capabilities": {"streaming": False, "extensions": [{"uri": "urn:x", "required": False, "params": {"n": 1.0}}]},
    "skills": [{"id": "s", "name": "S", "description": "d", "tags": [], "inputSchema": {"type": "object"}}],
}


def signed(card: dict[str, Any] = CARD, identity: Identity = ME) -> dict[str, Any]:
    return json.loads(json.dumps(sign_card(card, identity)))


def header_of(signature: dict[str, Any]) -> dict[str, Any]:
    protected = signature["protected"]
    header: dict[str, Any] = json.loads(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
    return header


def jws(header: dict[str, Any], payload: bytes, identity: Identity = ME) -> dict[str, str]:
    protected, signature = identity.sign_jws(canonical_json(header), payload)
    return {"protected": protected, "signature": signature}


def kid(identity: Identity = ME) -> str:
    return f"{identity.peer_id}#{str(identity.peer_id).removeprefix('did:key:')}"


# --- signing -------------------------------------------------------------------------------------


def test_the_header_names_algorithm_type_and_key() -> None:
    for signature in signed()["signatures"]:
        assert header_of(signature) == {"alg": "EdDSA", "typ": "JOSE", "kid": kid()}


def test_a_signed_card_is_verified_however_it_was_written() -> None:
    card = signed()
    shuffled = dict(reversed(card.items()))
    assert verify_card(shuffled).key == ME.peer_id
    assert verify_card(shuffled).card is shuffled


def test_signing_again_replaces_signatures() -> None:
    assert signed(signed()) == signed()


def test_a_reader_that_knows_the_specification_only_finds_a_signature_over_what_it_knows() -> None:
    known = known_part(CARD)
    assert known == {
        "name": "ada",
        "version": "1",
        "supportedInterfaces": CARD["supportedInterfaces"],
        "capabilities": {"streaming": False, "extensions": [{"uri": "urn:x", "params": {"n": 1.0}}]},
        "skills": [{"id": "s", "name": "S", "description": "d"}],
    }
    assert verify_card({**known, "signatures": signed()["signatures"][1:]}).key == ME.peer_id


def test_an_integer_that_would_be_rounded_costs_only_the_signature_over_it() -> None:
    schema = {"type": "integer", "maximum": 2**63}
    card = {**CARD, "skills": [{**CARD["skills"][0], "inputSchema": schema}]}
    checked = verify_card(signed(card))
    assert checked.key == ME.peer_id
    assert checked.card == known_part(CARD)
    assert signed({**CARD, "name": 2**53})["signatures"] == []


def test_a_card_that_was_signed_with_a_rounded_integer_is_refused() -> None:
    rounded = b'{"version":9007199254740992}'
    for integer in (2**53, 2**53 + 1):
        with pytest.raises(CardError):
            verify_card({"version": integer, "signatures": [jws({"alg": "EdDSA", "kid": kid()}, rounded)]})


def test_a_jws_is_no_labelled_message_of_ours() -> None:
    protected, signature = ME.sign_jws(b"{}", b"\0task\0")
    raw = base64.urlsafe_b64decode(signature + "==")
    assert not verify(ME.peer_id, b"task\0", protected.encode(), raw)


# --- verifying -----------------------------------------------------------------------------------


def test_a_card_without_signatures_is_nobodys() -> None:
    for nothing in (CARD, {**CARD, "signatures": []}, {**CARD, "signatures": None}, {**CARD, "signatures": "x"}):
        assert verify_card(nothing).key is None


def test_signatures_of_other_kinds_are_not_verified_and_harm_nothing() -> None:
    others = [
        {"protected": "e30", "signature": "AAAA"},
        jws({"alg": "ES256", "kid": "https://example.com/keys#1"}, b"x"),
        jws({"alg": "ES256", "kid": "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv"}, b"x"),
        "nonsense",
        {"protected": 1, "signature": []},
    ]
    assert verify_card({**CARD, "signatures": others}).key is None
    card = signed()
    assert verify_card({**card, "signatures": [*others, *card["signatures"]]}).key == ME.peer_id


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another name": lambda card: card.update(name="eve"),
    "another interface": lambda card: card["supportedInterfaces"][0].update(url="http://evil.example/"),
    "an interface more": lambda card: card["supportedInterfaces"].append({"url": "http://evil.example/"}),
    "a field more": lambda card: card.update(iconUrl="http://evil.example/"),
    "a field less": lambda card: card.pop("version"),
    "a number too large": lambda card: card["capabilities"]["extensions"][0].update(params={"n": 10**400}),
    "an integer that is rounded": lambda card: card["capabilities"]["extensions"][0].update(params={"n": 2**53 + 1}),
    "other signatures": lambda card: [one.update(signature="A" * 86) for one in card["signatures"]],
    "short signatures": lambda card: [one.update(signature="AAAA") for one in card["signatures"]],
    "no signature": lambda card: card["signatures"][0].pop("signature"),
    "a padded signature": lambda card: card["signatures"][0].update(
        signature=card["signatures"][0]["signature"] + "=="
    ),
    "the key of somebody else": lambda card: card["signatures"].append(jws({"alg": "EdDSA", "kid": kid(OTHER)}, b"x")),
    "somebody else's words": lambda card: card["signatures"].append(signed({}, OTHER)["signatures"][0]),
    "no algorithm": lambda card: card.update(signatures=[jws({"alg": "none", "kid": kid()}, canonical_json(CARD))]),
    "no kind of algorithm": lambda card: card.update(
        signatures=[jws({"alg": ["EdDSA"], "kid": kid()}, canonical_json(CARD))]
    ),
    "another fragment": lambda card: card.update(
        signatures=[jws({"alg": "EdDSA", "kid": f"{ME.peer_id}#other"}, canonical_json(CARD))]
    ),
    "a header that must be understood": lambda card: card.update(
        signatures=[jws({"alg": "EdDSA", "kid": kid(), "crit": ["b64"], "b64": False}, canonical_json(CARD))]
    ),
    "no such key": lambda card: card["signatures"].append(jws({"alg": "EdDSA", "kid": "did:key:z6Mkx"}, b"x")),
    "very many": lambda card: card.update(signatures=card["signatures"] * MAX_SIGNATURES),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_card_that_claims_a_key_must_be_signed_by_it(change: Callable[[dict[str, Any]], object]) -> None:
    card = copy.deepcopy(signed())
    change(card)
    with pytest.raises(CardError):
        verify_card(card)


def test_a_claim_outside_of_the_protected_header_is_a_claim_too() -> None:
    signature = {**jws({"alg": "EdDSA"}, b"x"), "header": {"kid": kid()}}
    with pytest.raises(CardError):
        verify_card({**CARD, "signatures": [signature]})


@pytest.mark.parametrize("change", [{"url": "http://evil.example/"}, {"more": [10**400]}])
@pytest.mark.parametrize("first", [0, 1])
def test_what_is_only_signed_in_part_counts_in_that_part(change: dict[str, Any], first: int) -> None:
    card = signed()
    checked = verify_card({**card, **change, "signatures": card["signatures"][first:]})
    assert checked.key == ME.peer_id
    assert checked.card == known_part(CARD)


def test_one_good_signature_does_not_need_the_others() -> None:
    card = signed()
    card["signatures"].insert(0, jws({"alg": "EdDSA", "kid": kid()}, b"of another version"))
    assert verify_card(card).card is card


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([kid(), "EdDSA", "did:key:z6Mk"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kid", "alg", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([*CARD, "signatures", "securitySchemes", "provider", "more"])
KIDS = st.sampled_from([kid(), kid(OTHER), "did:key:z6Mk"])
HEADERS = st.fixed_dictionaries({"kid": KIDS | JSON}, optional={"alg": JSON, "crit": JSON})
SIGNATURES = st.builds(
    lambda header, raw, more: {
        "protected": base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode(),
        "signature": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
        **more,
    },
    HEADERS | JSON,
    st.binary(max_size=70),
    st.fixed_dictionaries({}, optional={"header": HEADERS | JSON}),
)


@given(st.dictionaries(NAMES, JSON, max_size=5), st.lists(SIGNATURES | JSON, max_size=3) | JSON)
def test_no_card_does_more_than_be_refused(card: dict[str, Any], signatures: Any) -> None:
    with suppress(CardError):
        assert verify_card({**card, "signatures": signatures}).key is None


# --- end to end ----------------------------------------------------------------------------------


async def test_the_card_of_our_agent_is_signed_by_its_node(served: Served) -> None:
    detail = await served.node.call(GetAgentRequest(agent="self"))
    for path in ("agent-card.json", "agent.json"):
        async with served.web.get(f"{served.url}/.well-known/{path}") as response:
            assert str(verify_card(await response.json()).key) == detail.agent.did


async def test_a_node_signs_no_other_card_than_that_of_its_agent(served: Served) -> None:
    async with served.web.get(f"{served.url}/.well-known/agent-card.json") as response:
        card = await response.json()
    assert (await served.node.call(A2ACardRequest(card=card))).card == card
    for change in ({"name": "eve"}, {"description": "Bring me your tasks"}, {"skills": []}, {"provider": {"url": "x"}}):
        with pytest.raises(CardError):
            await served.node.call(A2ACardRequest(card={**card, **change}))


async def test_a_signature_that_cannot_be_verified_is_shown_as_that(tmp_path: Path) -> None:
    agent = Agent(shout)
    async with agent.serve(), somebody(World(tmp_path)) as person:
        agent.card = {**agent.make_card(), "signatures": [jws({"alg": "ES256", "kid": "key-1"}, b"x")]}
        added = await person.api.call(AddPeerRequest(address=agent.url))
        detail = await person.api.call(GetAgentRequest(agent=added.did))
        assert "  signed   by a key we cannot verify, or for another place" in agent_lines(detail)
        agent.card = signed(agent.make_card())
        added = await person.api.call(AddPeerRequest(address=agent.url))
        assert added.words == fingerprint_words(ME.peer_id)
        detail = await person.api.call(GetAgentRequest(agent=added.did))
        assert not any("signed" in line for line in agent_lines(detail))


async def test_a_node_remembers_who_has_signed_a_card_and_refuses_a_false_one(tmp_path: Path) -> None:
    agent = Agent(shout)
    world = World(tmp_path)
    async with agent.serve(), somebody(world) as person:
        agent.card = signed(agent.make_card())
        added = await person.api.call(AddPeerRequest(address=agent.url))
        assert added.did == agent.url
        agent.card = {**agent.card, "name": "eve"}
        with pytest.raises(CardError, match="claims to be signed by did:key"):
            await person.api.call(AddPeerRequest(address=agent.url))
        agent.card = signed(agent.card, OTHER)
        with pytest.raises(CardError, match="was signed by did:key"):
            await person.api.call(AddPeerRequest(address=agent.url))
