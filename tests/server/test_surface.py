"""What the server does besides its tools."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, GetPromptResult, TextContent, TextResourceContents
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from mcp_a2a.api.agents import AgentDetail, DiscoverView, GetAgentRequest
from mcp_a2a.api.tasks import TaskPage
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.server.fence import LIST_NOTICE
from mcp_a2a.server.surface import build_server
from tests.front.regenerate import envelope, handshake, told
from tests.server.standin import CARD, StandIn, agent, task
from tests.server.test_tools import outside_fences

Connect = Callable[..., Client]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    ours = logging.getLogger("mcp_a2a")
    level = ours.level
    yield ours
    ours.setLevel(level)


async def test_an_unknown_prompt_is_the_clients_mistake_and_no_crash(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
):
    async with connect() as client:
        with pytest.raises(MCPError, match="no such prompt") as caught:
            await client.get_prompt("nothing")
    assert caught.value.error.code == INVALID_PARAMS
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_unknown_tool_is_an_error_of_the_protocol(connect: Connect, caplog: pytest.LogCaptureFixture):
    async with connect() as client:
        with pytest.raises(MCPError, match="Unknown tool: no_such_tool") as caught:
            await client.call_tool("no_such_tool", {})
    assert caught.value.error.code == INVALID_PARAMS
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("tools/call", {"name": "discover", "arguments": []}, "params.arguments: it should be an object (got [])"),
        ("tools/call", {}, "params.name: it is required"),
        ("prompts/get", {"name": "ask", "arguments": {"agent": 5}}, "params.arguments.agent: it should be a text"),
        ("resources/read", {"uri": 5}, "params.uri: it should be a text (got 5)"),
        ("tools/list", {"cursor": "next"}, "tools/list has one page: call it without a cursor."),
        ("resources/list", {"cursor": 5}, "resources/list"),
    ],
)
async def test_what_is_wrong_with_a_request_is_said(method: str, params: dict[str, object], says: str):
    for first in ([], [("initialize", handshake(HANDSHAKE_PROTOCOL_VERSIONS[-1]))]):
        given = params if first else {**envelope(), **params}
        *_, line = await told(*first, (method, given))
        error = json.loads(line)["error"]
        assert error["code"] == INVALID_PARAMS
        assert says in error["message"]
        assert method in error["message"]


# --- prompts ---------------------------------------------------------------------------------------


def words_of(result: GetPromptResult) -> str:
    (message,) = result.messages
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_each_prompt_that_is_listed_is_there(connect: Connect):
    async with connect() as client:
        listed = (await client.list_prompts()).prompts
        assert {prompt.name for prompt in listed} == {"inbox", "ask"}
        for prompt in listed:
            needed = {one.name: "rev" for one in prompt.arguments or () if one.required}
            words = words_of(await client.get_prompt(prompt.name, needed))
            for tool in ("check_inbox", "answer_task", "accept_contact") if prompt.name == "inbox" else ("send_task",):
                assert tool in words


async def test_asking_an_agent_names_it_and_holds_what_is_to_be_sent(connect: Connect):
    async with connect() as client:
        bare = words_of(await client.get_prompt("ask", {"agent": "rev"}))
        whole = words_of(await client.get_prompt("ask", {"agent": "r\x1b[31me\nv", "message": "stars are fun"}))
    assert "the agent rev a task" in bare
    assert "ask me what to send" in bare
    assert "the agent re v a task" in whole
    assert whole.endswith("stars are fun")


async def test_null_for_an_argument_of_a_prompt_is_not_given():
    for first in ([], [("initialize", handshake(HANDSHAKE_PROTOCOL_VERSIONS[-1]))]):
        era = {} if first else envelope()
        asked = {"name": "ask", "arguments": {"agent": "rev", "message": None}}
        bare = {"name": "ask", "arguments": {"agent": None}}
        *_, made, refused = await told(*first, ("prompts/get", {**era, **asked}), ("prompts/get", {**era, **bare}))
        assert "ask me what to send" in made
        assert "needs the argument agent" in json.loads(refused)["error"]["message"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("nothing", {}),
        ("", {}),
        ("ask", {}),
        ("ask", {"agent": " "}),
        ("ask", {"agent": "x" * 600}),
        ("ask", {"agent": "rev", "message": "x" * 20_001}),
        ("ask", {"agent": "rev", "mesage": "hi"}),
        ("inbox", {"agent": "rev"}),
    ],
)
async def test_a_prompt_that_cannot_be_made_is_an_error_of_the_protocol(
    connect: Connect, name: str, arguments: dict[str, str]
):
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
    assert caught.value.error.code == INVALID_PARAMS


async def test_no_peer_has_a_word_in_what_is_listed(connect: Connect, node: StandIn):
    node.found = DiscoverView(agents=(agent(name="CANARY", description="CANARY"),), total=1)
    node.page = TaskPage(tasks=(task(text="CANARY", request="CANARY"),))
    async with connect() as client:
        listed = [
            (await client.list_prompts()).model_dump_json(),
            (await client.list_resources()).model_dump_json(),
            (await client.list_resource_templates()).model_dump_json(),
        ]
    assert "CANARY" not in "".join(listed)
    assert sum(map(len, listed)) < 2_500


# --- resources -------------------------------------------------------------------------------------


async def text_at(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert (str(content.uri), content.mime_type) == (uri, "text/plain")
    return content.text


async def test_agents_and_tasks_can_be_handed_over_by_name(connect: Connect, node: StandIn):
    node.answer = task(text="nuf era srats", request="stars are fun")
    node.page = TaskPage(tasks=(node.answer,))
    async with connect() as client:
        for resource in (await client.list_resources()).resources:
            assert await text_at(client, str(resource.uri))
        templates = {found.uri_template for found in (await client.list_resource_templates()).resource_templates}
        assert templates == {"a2a://agents/{agent}", "a2a://tasks/{task_id}"}
        assert "word-counter" in await text_at(client, "a2a://agents")
        assert "task-abc: completed" in await text_at(client, "a2a://tasks")
        assert "word-counter" in await text_at(client, "a2a://agents/word%20counter")
        assert node.asked[-1] == GetAgentRequest(agent="word counter")
        assert "nuf era srats" in await text_at(client, "a2a://tasks/task-abc")


async def test_what_peers_wrote_is_fenced_in_a_resource_and_not_more_than_a_client_takes(
    connect: Connect, node: StandIn
):
    huge = "CANARY " * 20_000
    node.found = DiscoverView(agents=(agent(description=huge),) * 100, total=100)
    node.answer = task(text=huge, request=huge, question=huge[:4096])
    node.page = TaskPage(tasks=(node.answer,) * 12)
    node.detail = AgentDetail(agent=agent(), card=CARD.model_copy(update={"description": huge[:4000]}))
    async with connect() as client:
        for uri in ("a2a://agents", "a2a://tasks", "a2a://agents/x", "a2a://tasks/task-abc"):
            text = await text_at(client, uri)
            assert "CANARY" in text
            assert "CANARY" not in outside_fences(text)
            assert len(text.encode()) <= 50_000


@pytest.mark.parametrize("many", [1, 2])
async def test_a_list_of_agents_that_is_handed_over_says_what_is_in_the_fences(
    connect: Connect, node: StandIn, many: int
):
    node.found = DiscoverView(agents=(agent(description="CANARY"),) * many, total=many)
    async with connect() as client:
        text = await text_at(client, "a2a://agents")
    assert LIST_NOTICE in outside_fences(text), "no description of a tool comes with it"


MISSING = ["a2a://nothing", "a2a://agents/", "a2a://tasks/a/b", "a2a://agents/x?y=1", "file:///etc/passwd", "test://x"]


@pytest.mark.parametrize("uri", [*MISSING, "a2a://agents/" + "x" * 3_000])
async def test_an_unknown_resource_is_an_error_in_the_code_of_the_era(
    connect: Connect, mode: str, uri: str, caplog: pytest.LogCaptureFixture
):
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert caught.value.error.code == (-32602 if mode == "auto" else -32002)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_agent_or_task_that_is_not_known_is_no_resource_either(connect: Connect, mode: str, node: StandIn):
    async with connect() as client:
        for failure, uri in (
            (PeerNotFoundError("bob"), "a2a://agents/bob"),
            (TaskNotFoundError("task-x"), "a2a://tasks/task-x"),
        ):
            node.failure = failure
            with pytest.raises(MCPError, match=r"bob|task-x") as caught:
                await client.read_resource(uri)
            assert caught.value.error.code == (-32602 if mode == "auto" else -32002)
        node.failure = StorageFullError("/home/me")
        with pytest.raises(MCPError) as caught:
            await client.read_resource("a2a://agents")
    assert caught.value.error.code == -32603


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize(("asked", "level"), [("debug", 10), ("notice", 20), ("warning", 30), ("emergency", 50)])
async def test_a_client_may_say_how_much_is_logged(node: StandIn, logger: logging.Logger, asked: str, level: int):
    async with Client(build_server(node), mode="legacy") as client:
        await client.set_logging_level(asked)  # type: ignore[arg-type]
    assert logger.level == level


async def test_tools_added_in_the_sdks_way_are_served_beside_ours(node: StandIn, mode: str):
    server = build_server(node)

    @server.tool()
    async def extra() -> str:
        """More."""
        return "more"

    async with Client(server, mode=mode) as client:
        assert {"extra", "discover"} <= {tool.name for tool in (await client.list_tools()).tools}
        assert (await client.call_tool("extra", {})).structured_content == {"result": "more"}
