"""The order of a stream: nothing is submitted twice, and a task is worked on before anything of it is made."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mcp_a2a.protocol.model import TaskState
from mcp_a2a.protocol.state import is_terminal
from mcp_a2a.protocol.task.table import TRANSITIONS, going_on
from tests.a2a.bindings import said
from tests.a2a.conftest import Served


def older(text: str, **message: Any) -> Any:
    return {"message": {"kind": "message", "messageId": "m-1", "role": "user", **message,
                        "parts": [{"kind": "text", "text": text}]}}  # fmt: skip


CALLS = {
    "JSON-RPC 1.0": ("/", "SendStreamingMessage", said),
    "JSON-RPC 0.3": ("/", "message/stream", older),
    "HTTP+JSON 1.0": ("/message:stream", None, said),
    "HTTP+JSON 0.3": ("/v1/message:stream", None, older),
}


async def streamed(served: Served, way: str, text: str, **message: Any) -> list[Any]:
    path, method, made = CALLS[way]
    params = made(text, **message)
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params} if method else params
    async with served.web.post(f"{served.url}{path}", json=body) as response:
        told = await response.text()
    events = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    return [event["result"] if method else event for event in events]


def shape(event: Any) -> str:
    """A state, or that something was made."""
    event = next((event[name] for name in ("task", "statusUpdate", "artifactUpdate") if name in event), event)
    if "artifact" in event:
        return "made"
    return re.sub("^TASK_STATE_", "", event["status"]["state"]).replace("-", "_").upper()


@pytest.mark.parametrize("way", list(CALLS))
async def test_a_reply_does_not_submit_a_task_again(served: Served, way: str) -> None:
    asked = await streamed(served, way, "ask")
    first = asked[0].get("task", asked[0])
    rest = await streamed(served, way, "blue", taskId=first["id"])
    assert "SUBMITTED" not in map(shape, rest)
    assert shape(rest[0]) in ("WORKING", "COMPLETED")
    assert shape(rest[-1]) == "COMPLETED"


@pytest.mark.parametrize("way", list(CALLS))
@pytest.mark.parametrize("text", ["stream", "hello"])
async def test_a_task_is_worked_on_before_the_first_piece_of_its_result(served: Served, way: str, text: str) -> None:
    shapes = [shape(event) for event in await streamed(served, way, text)]
    if "made" in shapes:
        assert "WORKING" in shapes[: shapes.index("made")]
    assert "SUBMITTED" not in shapes[1:]


async def test_a_list_of_what_is_worked_on_has_a_task_that_was_replied_to(served: Served) -> None:
    client = served.binding("jsonrpc")
    asked = await client.task("ask", contextId="replied")
    await client.task("blue", {"returnImmediately": True}, taskId=asked["id"])
    assert (await client.list(contextId="replied", status="TASK_STATE_SUBMITTED"))["tasks"] == []


@pytest.mark.parametrize("state", list(TaskState))
def test_no_state_leads_back_to_submitted(state: TaskState) -> None:
    began = state != TaskState.SUBMITTED
    assert (TaskState.SUBMITTED in TRANSITIONS[state].values()) == (not began)
    if not is_terminal(state):
        assert going_on(state, TaskState.SUBMITTED) == (TaskState.WORKING if began else TaskState.SUBMITTED)
