"""A contact is accepted by a person, never by a model."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from mcp.client import Client
from mcp.client.session import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult

from mcp_a2a.api.agents import AgentDetail, PeersView, SetTrustRequest
from mcp_a2a.protocol.naming import short_key
from mcp_a2a.server.toolset import TOOLS
from tests.server.standin import CARD, OTHER_DID, WORDS, StandIn, agent, contact
from tests.server.test_tools import text_of

Connect = Callable[..., Client]


class Person:
    """Answers every question in one way, and remembers the questions."""

    def __init__(self, answer: ElicitResult) -> None:
        self._answer = answer
        self.asked: list[str] = []

    async def __call__(self, _: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        self.asked.append(params.message)
        return self._answer


YES = ElicitResult(action="accept", content={"accept": True})
NO = [
    ElicitResult(action="accept", content={"accept": False}),
    ElicitResult(action="decline"),
    ElicitResult(action="cancel"),
]


@pytest.fixture
def stranger(node: StandIn) -> StandIn:
    node.known = PeersView(peers=(), contacts=(contact(),))
    return node


@pytest.mark.parametrize("named", ["Bob", "bob", OTHER_DID, short_key(OTHER_DID)])
async def test_a_yes_of_the_person_trusts_the_key_that_was_shown(connect: Connect, stranger: StandIn, named: str):
    person = Person(YES)
    async with connect(elicitation_callback=person) as client:
        result = await client.call_tool("accept_contact", {"agent": named})
    (question,) = person.asked
    assert WORDS in question
    assert '"Bob"' in question
    assert OTHER_DID in question
    assert [request for request in stranger.asked if isinstance(request, SetTrustRequest)] == [
        SetTrustRequest(agent=OTHER_DID, level="trusted")
    ]
    assert "accepted" in text_of(result)
    assert "check_inbox" in text_of(result)


@pytest.mark.parametrize("arguments", [{}, {"agent": None}, {"agent": ""}])
async def test_without_a_name_the_one_that_waits_longest_is_asked_about(
    connect: Connect, node: StandIn, arguments: dict[str, object]
):
    later = contact(
        name="Late", did="did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", since="2026-11-20T10:01"
    )
    node.known = PeersView(peers=(), contacts=(later, contact()))
    person = Person(YES)
    async with connect(elicitation_callback=person) as client:
        result = await client.call_tool("accept_contact", arguments)
    (question,) = person.asked
    assert OTHER_DID in question
    assert "Late" not in question
    assert [request for request in node.asked if isinstance(request, SetTrustRequest)] == [
        SetTrustRequest(agent=OTHER_DID, level="trusted")
    ]
    assert not result.is_error


async def test_without_a_name_and_without_a_request_there_is_nothing_to_ask(connect: Connect, node: StandIn):
    person = Person(YES)
    async with connect(elicitation_callback=person) as client:
        result = await client.call_tool("accept_contact", {})
    assert result.is_error
    assert text_of(result).startswith("No agent is waiting to be accepted.")
    assert person.asked == []
    assert not any(isinstance(request, SetTrustRequest) for request in node.asked)


async def test_a_stranger_named_like_the_key_of_another_is_not_meant_by_it(connect: Connect, node: StandIn):
    liar = contact(name=short_key(OTHER_DID), did="did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")
    node.known = PeersView(peers=(), contacts=(liar, contact()))
    person = Person(YES)
    async with connect(elicitation_callback=person) as client:
        await client.call_tool("accept_contact", {"agent": short_key(OTHER_DID)})
    (question,) = person.asked
    assert OTHER_DID in question
    assert liar.did not in question


async def test_an_alias_means_its_key_and_no_stranger_who_claims_that_name(connect: Connect, node: StandIn):
    liar = contact(name="Anna", did="did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")
    node.known = PeersView(peers=(), contacts=(liar, contact()), aliases={"anna": OTHER_DID})
    person = Person(YES)
    async with connect(elicitation_callback=person) as client:
        await client.call_tool("accept_contact", {"agent": "anna"})
        odd = await client.call_tool("accept_contact", {"agent": "\u0430nna"})
    (question,) = person.asked
    assert OTHER_DID in question
    assert liar.did not in question
    assert odd.is_error
    assert "only looks the same" in text_of(odd)


@pytest.mark.parametrize("answer", NO)
async def test_anything_but_a_yes_changes_nothing(connect: Connect, stranger: StandIn, answer: ElicitResult):
    async with connect(elicitation_callback=Person(answer)) as client:
        result = await client.call_tool("accept_contact", {"agent": "Bob"})
    assert not any(isinstance(request, SetTrustRequest) for request in stranger.asked)
    assert not result.is_error
    assert "not accepted" in text_of(result)


async def test_a_dialog_that_was_closed_or_never_shown_leaves_the_command_for_the_user(
    connect: Connect, stranger: StandIn
):
    async with connect(elicitation_callback=Person(NO[2])) as client:
        result = await client.call_tool("accept_contact", {"agent": "Bob"})
    assert f"mcp-a2a trust {OTHER_DID}" in text_of(result)
    assert WORDS in text_of(result)


async def test_a_client_that_cannot_ask_gets_the_command_for_its_user(connect: Connect, stranger: StandIn):
    async with connect() as client:
        result = await client.call_tool("accept_contact", {"agent": "Bob"})
    assert not result.is_error
    assert not any(isinstance(request, SetTrustRequest) for request in stranger.asked)
    assert f"mcp-a2a trust {OTHER_DID}" in text_of(result)
    assert WORDS in text_of(result)


async def test_what_a_stranger_wrote_never_reaches_the_model(connect: Connect, stranger: StandIn):
    async with connect(elicitation_callback=Person(NO[1])) as client:
        result = await client.call_tool("accept_contact", {"agent": "Bob"})
    assert "SECRET-PREVIEW" not in json.dumps(result.model_dump(mode="json"))


async def test_two_strangers_of_one_name_must_be_told_apart_by_key(connect: Connect, node: StandIn):
    node.known = PeersView(peers=(), contacts=(contact(), contact(did="did:key:z6Mkother")))
    person = Person(YES)
    async with connect(elicitation_callback=person) as client:
        result = await client.call_tool("accept_contact", {"agent": "Bob"})
    assert result.is_error
    assert OTHER_DID in text_of(result)
    assert person.asked == []


@pytest.mark.parametrize("trust", ["self", "own", "trusted", "blocked"])
async def test_nobody_is_asked_about_an_agent_that_is_not_a_stranger(connect: Connect, node: StandIn, trust: str):
    node.detail = AgentDetail(agent=agent(trust=trust), card=CARD)
    person = Person(YES)
    async with connect(elicitation_callback=person) as client:
        await client.call_tool("accept_contact", {"agent": "word-counter"})
    assert person.asked == []
    assert not any(isinstance(request, SetTrustRequest) for request in node.asked)


async def test_a_name_that_lies_is_shown_as_a_plain_label(connect: Connect, node: StandIn):
    name = "Bob\n\nFingerprint words: right-ones <b>\x1b[31m" + "x" * 500
    node.known = PeersView(peers=(), contacts=(contact(name=name),))
    person = Person(NO[1])
    async with connect(elicitation_callback=person) as client:
        await client.call_tool("accept_contact", {"agent": OTHER_DID})
    assert len(person.asked[0].splitlines()) == 3
    assert "<b>" not in person.asked[0]


async def test_the_answer_cannot_be_given_as_an_argument(connect: Connect, stranger: StandIn):
    async with connect(elicitation_callback=Person(NO[1])) as client:
        (tool,) = [tool for tool in (await client.list_tools()).tools if tool.name == "accept_contact"]
        await client.call_tool(
            "accept_contact", {"agent": "Bob", "decision": {"action": "accept", "data": {"accept": True}}}
        )
    assert set(tool.input_schema["properties"]) == {"agent"}
    assert not any(isinstance(request, SetTrustRequest) for request in stranger.asked)


def test_no_other_tool_can_trust_anybody():
    named = [tool.function.__name__ for tool in TOOLS if "SetTrustRequest" in tool.function.__code__.co_names]
    assert named == ["accept_contact"]
