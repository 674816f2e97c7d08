"""Extensions and the extended card of an agent of ours, on each binding and in each version."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcp_a2a import Agent, AgentExtension, TaskContext
from mcp_a2a.protocol.signed_card import verify_card
from tests.a2a.bindings import said
from tests.a2a.conftest import Served, serving

NEEDED, OFFERED = "https://ext.example/needed/v1", "https://ext.example/offered/v1"
TOKEN = "t" * 40


def agent(*extensions: AgentExtension) -> Agent:
    made = Agent("extended", description="Has more to it", extensions=extensions)

    @made.skill
    async def tell(task: TaskContext) -> str:
        "Tell which extensions a message has."
        return " ".join(sorted(task.messages[0].extensions or ()))

    @made.skill(extended=True)
    async def reset(text: str) -> str:
        "Reset everything."
        return text

    return made


@pytest.fixture(scope="module")
async def offering(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    offered = AgentExtension(uri=OFFERED, description="Offered", params={"one": 1})
    async with serving(tmp_path_factory.mktemp("offering"), agent(offered)) as served:
        yield served


@pytest.fixture(scope="module")
async def insisting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    needed = AgentExtension(uri=NEEDED, required=True)
    async with serving(tmp_path_factory.mktemp("insisting"), agent(needed)) as served:
        yield served


OLDER = {"message": {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "x"}]}}
WAYS = {
    "JSON-RPC": ("/", "SendMessage", "SendStreamingMessage", said("x"), "A2A-Extensions"),
    "HTTP+JSON": ("/message:send", "", "/message:stream", said("x"), "A2A-Extensions"),
    "JSON-RPC 0.3": ("/", "message/send", "message/stream", OLDER, "X-A2A-Extensions"),
    "HTTP+JSON 0.3": ("/v1/message:send", "", "/v1/message:stream", OLDER, "X-A2A-Extensions"),
}


async def asked(served: Served, way: str, *uris: str, stream: bool = False) -> tuple[str | None, str]:
    """What the server says is active, and all that it answers."""
    path, method, streaming, params, name = WAYS[way]
    path = streaming if stream and not method else path
    method = streaming if stream and method else method
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params} if method else params
    headers = {name: ", ".join(uris)} if uris else {}
    async with served.web.post(f"{served.url}{path}", json=body, headers=headers) as response:
        assert {"A2A-Extensions", "X-A2A-Extensions"} & set(response.headers) <= {name}
        return response.headers.get(name), await response.text()


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("stream", [True, False])
async def test_an_extension_that_is_asked_for_is_active_and_said_so(
    offering: Served, way: str, *, stream: bool
) -> None:
    active, told = await asked(offering, way, "https://ext.example/other", OFFERED, stream=stream)
    assert active == OFFERED
    assert OFFERED in told  # the skill was told
    assert (await asked(offering, way, stream=stream))[0] is None


@pytest.mark.parametrize("way", list(WAYS))
async def test_a_request_without_an_extension_that_is_required_is_refused(insisting: Served, way: str) -> None:
    _, told = await asked(insisting, way)
    assert "EXTENSION_SUPPORT_REQUIRED" in told
    assert NEEDED in told
    active, told = await asked(insisting, way, NEEDED)
    assert (active, "EXTENSION_SUPPORT_REQUIRED" in told) == (NEEDED, False)


async def card_of(served: Served, token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with served.web.get(f"{served.url}/.well-known/agent-card.json", headers=headers) as response:
        return await response.json()


async def test_an_extension_is_in_the_card_with_all_that_is_said_of_it(offering: Served) -> None:
    (extension,) = (await card_of(offering))["capabilities"]["extensions"]
    assert extension == {"uri": OFFERED, "description": "Offered", "params": {"one": 1}}


CARDS = {
    "JSON-RPC": ("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": "GetExtendedAgentCard", "params": {}}),
    "JSON-RPC 0.3": ("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": "agent/getAuthenticatedExtendedCard"}),
    "HTTP+JSON": ("GET", "/extendedAgentCard", None),
    "JSON-RPC 0.3 by its other name": (
        "POST",
        "/",
        {"jsonrpc": "2.0", "id": 1, "method": "agent/authenticatedExtendedCard"},
    ),
    "HTTP+JSON 0.3": ("GET", "/v1/card", None),
    "0.2": ("GET", "/agent/authenticatedExtendedCard", None),
}


@pytest.mark.parametrize("way", list(CARDS))
async def test_a_skill_for_callers_that_are_known_is_in_the_extended_card_alone(tmp_path: Any, way: str) -> None:
    method, path, body = CARDS[way]
    async with serving(tmp_path, agent(), token=TOKEN) as served:
        shown = [await card_of(served), await card_of(served, TOKEN)]
        async with served.web.request(method, f"{served.url}{path}", json=body) as response:
            assert response.status == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with served.web.request(method, f"{served.url}{path}", json=body, headers=headers) as response:
            answer = json.loads(await response.read())
        extended = answer.get("result", answer)
        assert (await card_of(served)) == shown[0]
    for card in shown:
        assert [skill["id"] for skill in card["skills"]] == ["tell"]
        assert card["capabilities"]["extendedAgentCard"] is True
    assert [skill["id"] for skill in extended["skills"]] == ["tell", "reset"]
    assert all("extended" not in skill for skill in extended["skills"])
    assert verify_card(extended).key == verify_card(shown[0]).key is not None


async def test_where_no_token_is_asked_for_every_skill_is_in_the_card(offering: Served) -> None:
    assert [skill["id"] for skill in (await card_of(offering))["skills"]] == ["tell", "reset"]
