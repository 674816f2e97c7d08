"""What a model pays for an answer, in each form of it, fences included."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from mcp.client import Client
from pydantic import JsonValue

from mcp_a2a.api.agents import AgentDetail, DiscoverView, SkillView
from mcp_a2a.api.tasks import TaskPage
from mcp_a2a.api.view import AgentRef
from mcp_a2a.cli import render
from mcp_a2a.node.tasks.leasing import next_of_inbox
from mcp_a2a.protocol.moment import Moment
from tests.server.standin import CARD, StandIn, agent, leased, task
from tests.tokens import ENCODINGS, forms, tokens

Connect = Callable[..., Client]

TASK = "task-jdmp5afkeiwnvkbmzzqw2345"
CONTEXT = "ctx-3f2a9c0e4b7d4f53a1c2d3e4f5a6b7c8"
KEYS = (
    "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
    "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
    "did:key:z6MkwQ5nBTh1C3rEoVr4cLfK8sYtXuAxNbGp7mJdZ9vRqSeF",
)

ANSWER = 120
AGENT = 60


def answered(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "task_id": TASK, "agent": AgentRef(name="rev", did=KEYS[0]), "request": "stars are fun",
        "text": "nuf era srats", "answer": "nuf era srats", "asked_here": True, "context_id": CONTEXT, "route": "lan",
        "next": "Done. To go on in the same conversation, send_task with this context_id.",
    }  # fmt: skip
    return fields | changes


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_an_answer_of_three_words_is_at_most_120_tokens(connect: Connect, node: StandIn, encoding: str):
    node.answer = task(**answered())
    node.page = TaskPage(tasks=(node.answer,))
    async with connect() as client:
        for tool, arguments in (
            ("send_task", {"agent": "rev", "message": "stars are fun"}),
            ("send_task_by_skill", {"skill": "reverse", "message": "stars are fun"}),
            ("get_task_status", {"task_id": TASK}),
            ("reply_to_task", {"task_id": TASK, "message": "stars are fun"}),
            ("answer_task", {"task_id": TASK, "status": "completed"}),
            ("list_tasks", {"limit": 1}),
        ):
            for form, shown in forms(await client.call_tool(tool, arguments)).items():
                assert tokens(shown, encoding) <= ANSWER, (tool, form, shown)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("trust", ["own", "trusted", "member", "stranger"])
async def test_a_short_task_in_the_inbox_is_at_most_120_tokens(
    connect: Connect, node: StandIn, trust: str, encoding: str
):
    item = leased(task_id=TASK, trust=trust, text="count three words", context_id=CONTEXT)
    node.inbox = node.inbox.model_copy(update={"items": (item,), "next": next_of_inbox((item,), 0)})
    async with connect() as client:
        for form, shown in forms(await client.call_tool("check_inbox", {})).items():
            assert tokens(shown, encoding) <= ANSWER, (form, shown)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": Moment.WORKING, "done": False, "text": None, "next": "The agent has it. Call get_task_status later."},
        {"state": Moment.INPUT_REQUIRED, "done": False, "text": None, "question": "Which color?", "next": "Reply."},
        {"direction": "received", "text": "count three words", "asked_here": False, "route": None},
    ],
    ids=["working", "asking", "received"],
)
async def test_a_task_that_is_not_done_costs_no_more(connect: Connect, node: StandIn, changes: dict[str, object]):
    node.answer = task(**answered(**changes))
    async with connect() as client:
        for form, shown in forms(await client.call_tool("get_task_status", {"task_id": TASK})).items():
            # Of a task that was received, the request and the answer stand in fences of their own.
            assert tokens(shown) <= ANSWER + (20 if changes.get("direction") == "received" else 0), (form, shown)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("trust", ["own", "trusted", "stranger"])
async def test_one_agent_in_a_list_is_at_most_60_tokens(connect: Connect, node: StandIn, trust: str, encoding: str):
    skill = SkillView(id="reverse", name="reverse", description="Reverses text")
    listed = tuple(
        agent(name=f"rev{number}", did=key, description="", skills=(skill,), route="lan", rtt_ms=3.42, trust=trust)
        for number, key in enumerate(KEYS * 3)
    )
    async with connect() as client:
        paid: dict[str, list[int]] = {"text": [], "structured": []}
        for count in (1, 9):
            node.found = DiscoverView(agents=listed[:count], total=count)
            for form, shown in forms(await client.call_tool("discover", {})).items():
                paid[form].append(tokens(shown, encoding))
    for form, (one, nine) in paid.items():
        assert (nine - one) / 8 <= AGENT, form
        assert one <= AGENT, "with all that a list has beside its agents"


async def test_a_relay_is_named_once_for_all_addresses_that_it_told(connect: Connect, node: StandIn):
    relay = f"wss://relay.example:8443/#{KEYS[1]}"
    told = (f"10.0.0.2:7301 (relay {relay})", f"10.0.0.3:7301 (relay {relay})", f"{relay} (relay {relay})")
    node.detail = AgentDetail(
        agent=agent(), card=CARD, addresses=(*told, "10.0.0.2:7301 (mdns)", "127.0.0.1:1 (local)")
    )
    async with connect() as client:
        for form, shown in forms(await client.call_tool("get_agent", {"agent": "rev"})).items():
            assert shown.count("relay.example") == 1, (form, shown)
            assert "10.0.0.2:7301, 10.0.0.3:7301 (relay wss://relay.example:8443/)" in shown, form
            assert "10.0.0.2:7301 (LAN)" in shown, form
            assert "127.0.0.1:1 (this machine)" in shown, form
            assert KEYS[1] not in shown, form


@pytest.mark.parametrize("route", ["local", "lan", "direct", "relay", "http"])
async def test_a_model_reads_the_same_word_for_a_route_as_a_person(connect: Connect, node: StandIn, route: str):
    found = agent(name="rev", route=route, rtt_ms=None)
    word = render.route(found)
    node.found, node.detail = DiscoverView(agents=(found,), total=1), AgentDetail(agent=found, card=CARD)
    node.answer = task(**answered(route=route))
    async with connect() as client:
        every = await client.call_tool("discover", {})
        one = await client.call_tool("get_agent", {"agent": "rev"})
        sent = await client.call_tool("send_task", {"agent": "rev", "message": "hi"})
    fields = [result.structured_content or {} for result in (every, one, sent)]
    assert [fields[1]["agent"]["route"], fields[2]["route"]] == [word] * 2
    assert f"own, {word}" in forms(every)["text"]
    assert f"own, {word}." in forms(one)["text"]
    assert f" via {word}." in forms(sent)["text"]


async def test_the_listing_is_at_most_16_kilobytes_and_3000_tokens(connect: Connect):
    async with connect() as client:
        listed = (await client.list_tools()).model_dump(mode="json", by_alias=True, exclude_none=True)
    spelled = json.dumps(listed, ensure_ascii=False, separators=(",", ":"))
    assert len(spelled.encode()) <= 16_000
    assert tokens(spelled) <= 3_000


def empties(value: JsonValue, path: str = "") -> list[str]:
    """Where a value says nothing."""
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in empties(inner, f"{path}.{name}")]
    if isinstance(value, list) and value:
        return [found for inner in value for found in empties(inner, f"{path}[]")]
    return [path] if value in (None, "", [], {}) else []


async def test_no_field_says_nothing_and_no_key_is_said_twice(connect: Connect, node: StandIn):
    node.answer = task(**answered())
    node.page = TaskPage(tasks=(node.answer,))
    node.found = DiscoverView(agents=(agent(),), total=1)
    node.inbox = node.inbox.model_copy(update={"items": (leased(task_id=TASK),)})
    async with connect() as client:
        for tool, arguments in (
            ("get_task_status", {"task_id": TASK}), ("list_tasks", {}), ("discover", {}), ("check_inbox", {}),
            ("get_agent", {"agent": "rev"}),
        ):  # fmt: skip
            result = await client.call_tool(tool, arguments)
            assert empties(result.structured_content) == [], tool
            for form, shown in forms(result).items():
                if tool not in ("check_inbox", "get_agent"):
                    assert shown.count("z6Mk") == 1, (tool, form)
                assert shown.count("did:key:") <= (tool == "get_agent"), (tool, form)


async def test_an_agent_that_shows_no_key_has_no_field_for_one(connect: Connect, node: StandIn):
    node.detail = AgentDetail(agent=agent(did="https://a.example/", words=""), card=CARD)
    async with connect() as client:
        for tool in ("get_agent", "accept_contact"):
            result = await client.call_tool(tool, {"agent": "https://a.example/"})
            assert empties(result.structured_content) == [], tool
            assert "ingerprint" not in forms(result)["text"], tool
