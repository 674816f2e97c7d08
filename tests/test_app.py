"""Opening a node as a program that embeds one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_a2a import open_node
from mcp_a2a.api.tasks import SendTaskRequest
from mcp_a2a.config import Settings
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.errors.machine import HomeUnusableError


async def test_an_error_of_an_operation_leaves_the_context_as_it_was_raised(tmp_path: Path) -> None:
    with pytest.raises(PeerNotFoundError):
        async with open_node(Settings(home=tmp_path, mdns=False)) as node:
            await node.call(SendTaskRequest(agent="nobody", message="hi"))


async def test_a_home_that_cannot_be_used_is_said_when_opening(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnusableError):
        async with open_node(Settings(home=tmp_path / "file", mdns=False)):
            pytest.fail("it opened")
