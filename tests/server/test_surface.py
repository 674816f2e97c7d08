"""What the server does besides its tools."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from mcp_a2a.server.surface import build_server
from tests.server.standin import StandIn


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


async def test_there_are_no_prompts_and_resources_to_list(connect: Callable[..., Client]):
    async with connect() as client:
        assert (await client.list_prompts()).prompts == []
        assert (await client.list_resources()).resources == []


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
