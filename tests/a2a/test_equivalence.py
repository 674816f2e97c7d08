"""The same operation over both bindings gives the same data, whichever binding began it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.a2a.conftest import Served

VARYING = frozenset({"id", "taskId", "contextId", "timestamp", "messageId", "nextPageToken", "totalSize"})


def constant(value: Any) -> Any:
    """What does not depend on which task it is."""
    match value:
        case dict():
            return {name: constant(inner) for name, inner in value.items() if name not in VARYING}
        case list():
            return [constant(inner) for inner in value]
        case _:
            return value


@pytest.mark.parametrize("text", ["hello", "ask", "authorize", "direct", "reject", "fail", "data", "stream"])
async def test_a_message_is_answered_alike(served: Served, text: str) -> None:
    rpc, rest = [await served.binding(name).send(text) for name in ("jsonrpc", "rest")]
    assert constant(rpc) == constant(rest)


@pytest.mark.parametrize("text", ["hello", "ask", "direct", "reject", "stream"])
async def test_a_stream_tells_alike(served: Served, text: str) -> None:
    rpc, rest = [await served.binding(name).stream(text) for name in ("jsonrpc", "rest")]
    assert constant(rpc) == constant(rest)


@pytest.mark.parametrize("begun", ["jsonrpc", "rest"])
async def test_a_task_is_the_same_by_both(served: Served, begun: str) -> None:
    rpc, rest = served.binding("jsonrpc"), served.binding("rest")
    task = await served.binding(begun).task("data", contextId=f"equal-{begun}")
    assert await rpc.get(task["id"]) == await rest.get(task["id"]) == task
    listing = {"contextId": f"equal-{begun}", "includeArtifacts": True, "pageSize": 3, "historyLength": 1}
    assert await rpc.list(**listing) == await rest.list(**listing)
    asked = await served.binding(begun).task("ask")
    other = rest if begun == "jsonrpc" else rpc
    done = await other.task("blue", taskId=asked["id"])
    assert done == await rpc.get(asked["id"]) == await rest.get(asked["id"])
