"""Extensions that agents at URLs declare or insist on, and the card that they show to who has a credential."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mcp_a2a.api.a2a import A2ASendRequest
from mcp_a2a.api.agents import AddPeerRequest, GetAgentRequest
from mcp_a2a.api.tasks import SendTaskBySkillRequest
from mcp_a2a.cli.render import agent_lines
from mcp_a2a.errors.web import ExtensionRequiredError
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.protocol.moment import Moment
from tests.node.world import World
from tests.web.agents import Agent, Heard, shout, task
from tests.web.people import added, sent, somebody

NEEDED, OFFERED = "https://ext.example/needed/v1", "https://ext.example/offered/v1"
EXTENSIONS = [
    {"uri": NEEDED, "description": "Asks for a budget", "required": True, "params": {"currency": "EUR"}},
    {"uri": OFFERED},
]
WAYS = [("1.0", "JSONRPC"), ("1.0", "HTTP+JSON"), ("0.3", "JSONRPC"), ("0.3", "HTTP+JSON")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def demanding(agent: Agent, *extensions: dict[str, Any]) -> Agent:
    """The agent with these extensions in its card."""
    agent.card = None
    card = agent.make_card()
    agent.card = {**card, "capabilities": {**card["capabilities"], "extensions": list(extensions or EXTENSIONS)}}
    return agent


@pytest.mark.parametrize(("version", "binding"), WAYS)
async def test_an_agent_that_insists_on_an_extension_is_sent_nothing(world: World, version: str, binding: str) -> None:
    async with Agent(shout, version=version, binding=binding).serve() as other, somebody(world) as ada:
        demanding(other)
        url = await added(ada, other)
        for queue in (True, False):
            with pytest.raises(ExtensionRequiredError, match=NEEDED):
                await sent(ada, url, queue=queue)
    assert other.heard == []


async def test_another_agent_is_found_for_the_skill_of_one_that_insists(world: World) -> None:
    async with Agent(shout).serve() as strict, Agent(shout).serve() as kind, somebody(world) as ada:
        demanding(strict)
        await added(ada, strict)
        await added(ada, kind)
        request = SendTaskBySkillRequest(skill="shout", message="hello", wait_seconds=30)
        view = await ada.api.call(request)
    assert (view.text, strict.heard, kind.asked) == ("HELLO", [], ["send"])


@pytest.mark.parametrize(("version", "binding"), WAYS)
async def test_who_calls_through_us_and_knows_an_extension_names_it_to_the_agent(
    world: World, version: str, binding: str
) -> None:
    async def answer(heard: Heard) -> object:
        done = task(text="paid")
        working = task("TASK_STATE_WORKING")
        if heard.operation == "get":
            return done
        return {"task": working} if version == "1.0" else working

    async with Agent(answer, version=version, binding=binding).serve() as other, somebody(world) as ada:
        demanding(other)
        url = await added(ada, other)
        message = Message(message_id="m", role=Role.USER, parts=(Part(text="go"),))
        with pytest.raises(ExtensionRequiredError):
            await ada.api.call(A2ASendRequest(agent=url, message=message))
        known = message.model_copy(update={"extensions": (NEEDED, OFFERED, "https://ext.example/unknown")})
        answered = await ada.api.call(A2ASendRequest(agent=url, message=known, wait_seconds=30))
    assert answered.task.artifacts[0].parts[0].text == "paid"
    name, other_name = (
        ("A2A-Extensions", "X-A2A-Extensions") if version == "1.0" else ("X-A2A-Extensions", "A2A-Extensions")
    )
    told = [(heard.operation, heard.request.headers.get(name)) for heard in other.heard]
    assert told == [("send", f"{NEEDED}, {OFFERED}"), ("get", NEEDED)]
    assert all(other_name not in heard.request.headers for heard in other.heard)


async def test_an_agent_that_begins_to_insist_is_told_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_a2a.node.peers.web_book.FRESH_SECONDS", 0.0)
    async with Agent(shout).serve() as other, somebody(world) as ada:
        url = await added(ada, other)
        demanding(other)
        view = await sent(ada, url, wait=30)
    assert view.error is not None
    assert (view.state, view.error.code, "ext.example" in view.error.message) == (
        Moment.REJECTED,
        "extension_required",
        True,
    )
    assert other.heard == []


async def test_an_extension_is_shown_with_what_its_agent_says_of_it(world: World) -> None:
    async with Agent(shout).serve() as other, somebody(world) as ada:
        demanding(other, *EXTENSIONS, {"uri": 5}, {"uri": ""}, "nonsense")
        detail = await ada.api.call(GetAgentRequest(agent=await added(ada, other)))
    needed, offered = detail.card.capabilities.extensions or ()
    assert (needed.uri, needed.required, needed.params) == (NEEDED, True, {"currency": "EUR"})
    assert (needed.description, offered.uri, offered.required) == ("Asks for a budget", OFFERED, False)
    lines = "\n".join(agent_lines(detail))
    assert f"{NEEDED} (required)   Asks for a budget" in lines
    assert OFFERED in lines


@pytest.mark.parametrize(("version", "binding"), WAYS)
@pytest.mark.parametrize("credential", [True, False])
async def test_the_card_for_who_has_a_credential_is_read_with_one(
    world: World, version: str, binding: str, *, credential: bool
) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation != "card":
            return await shout(heard)
        if heard.request.headers.get("Authorization") != "Bearer s3cret":
            return web.Response(status=401)
        more = [{"id": "whisper", "name": "Whisper", "description": "Whispers", "tags": ["text"]}]
        return {**other.make_card(), "skills": [*other.make_card()["skills"], *more]}

    async with Agent(answer, version=version, binding=binding).serve() as other, somebody(world) as ada:
        card = other.make_card()
        said = {"extendedAgentCard": True} if version == "1.0" else {}
        other.card = {**card, "capabilities": {**card["capabilities"], **said}}
        if version == "0.3":
            other.card["supportsAuthenticatedExtendedCard"] = True
        headers = {"Authorization": "Bearer s3cret"} if credential else None
        added_peer = await ada.api.call(AddPeerRequest(address=other.url, headers=headers))
        assert [skill.id for skill in added_peer.skills] == (["shout", "whisper"] if credential else ["shout"])
        view = await sent(ada, added_peer.did)
    assert view.text == "HELLO"
    assert other.asked[:-1] == (["card"] if credential else [])


async def test_the_card_for_callers_of_an_agent_of_0_2_is_read_where_that_has_it(world: World) -> None:
    async def answer(heard: Heard) -> object:
        if heard.operation == "card":
            return web.json_response({"jsonrpc": "2.0", "id": "1", "error": {"code": -32601, "message": "no"}})
        if heard.operation == "older card":
            assert heard.request.headers.get("Authorization") == "Bearer s3cret"
            return {**other.make_card(), "skills": [{"id": "whisper", "name": "Whisper"}]}
        return await shout(heard)

    async with Agent(answer, version="0.3").serve(old_place=True) as other, somebody(world) as ada:
        card = {name: value for name, value in other.make_card().items() if name != "protocolVersion"}
        other.card = {**card, "supportsAuthenticatedExtendedCard": True}
        headers = {"Authorization": "Bearer s3cret"}
        peer = await ada.api.call(AddPeerRequest(address=other.url, headers=headers))
        assert [skill.id for skill in peer.skills] == ["whisper"]
        assert (await sent(ada, peer.did)).text == "HELLO"


REFUSALS = {
    "a refusal": lambda: web.Response(status=403),
    "an error": lambda: web.Response(status=500),
    "nonsense": lambda: web.json_response({"jsonrpc": "2.0", "id": "1", "result": {"no": "card"}}),
    "nothing": lambda: web.Response(status=204),
    "a claim": lambda: web.json_response(
        {"jsonrpc": "2.0", "id": "1", "result": {"name": "x", "signatures": [{"protected": "e30", "signature": "x"}]}}
    ),
}


@pytest.mark.parametrize("way", list(REFUSALS))
async def test_an_agent_whose_card_for_callers_is_not_to_be_had_keeps_the_other(world: World, way: str) -> None:
    async def answer(heard: Heard) -> object:
        return REFUSALS[way]() if heard.operation == "card" else await shout(heard)

    async with Agent(answer).serve() as other, somebody(world) as ada:
        card = other.make_card()
        other.card = {**card, "capabilities": {"streaming": False, "extendedAgentCard": True}}
        headers = {"Authorization": "Bearer s3cret"}
        peer = await ada.api.call(AddPeerRequest(address=other.url, headers=headers))
        assert [skill.id for skill in peer.skills] == ["shout"]
        assert (await sent(ada, peer.did)).text == "HELLO"
