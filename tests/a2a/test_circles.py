"""Agents that ask each other by their URLs: how often work was passed on travels in the message."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_a2a import Agent, TaskContext
from mcp_a2a.api.a2a import HOP
from mcp_a2a.api.agents import AddPeerRequest
from mcp_a2a.api.tasks import SendTaskRequest
from tests.a2a.bindings import Failed
from tests.a2a.conftest import Served, serving


async def test_a_circle_of_agents_at_urls_stops(tmp_path: Path) -> None:
    hops: list[int] = []
    served: list[Served] = []

    def asking(number: int) -> Agent:
        agent = Agent(f"agent-{number}", description="Asks the other one")

        @agent.skill()
        async def ask(task: TaskContext) -> str:
            hops.append(task.hop)
            assert len(hops) < 8, "it goes on and on"
            other = SendTaskRequest(agent=served[1 - number].url, message="go", wait_seconds=20, hop=task.hop)
            return str((await served[number].node.call(other)).text)

        return agent

    async with serving(tmp_path / "0", asking(0)) as first, serving(tmp_path / "1", asking(1)) as second:
        served += [first, second]
        for asker, other in ((first, second), (second, first)):
            await asker.node.call(AddPeerRequest(address=other.url))
        await first.binding("jsonrpc").task("go")
    assert hops == [1, 2, 3, 4]


@pytest.mark.parametrize(("claimed", "is_taken"), [(3, True), (4, False), (99, False), (-7, True), ("4", True)])
@pytest.mark.parametrize("binding", ["jsonrpc", "rest"])
async def test_what_a_message_says_of_its_hops_only_shortens_its_chain(
    served: Served, binding: str, claimed: object, *, is_taken: bool
) -> None:
    client = served.binding(binding)
    if is_taken:
        assert (await client.task("hello", metadata={HOP: claimed}))["status"]["state"] == "TASK_STATE_COMPLETED"
        return
    with pytest.raises(Failed) as refused:
        await client.task("hello", metadata={HOP: claimed})
    assert refused.value.reason == "UNSUPPORTED_OPERATION"
