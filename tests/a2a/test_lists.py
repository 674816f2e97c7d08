"""Empty lists are left out, as ProtoJSON has it, whichever binding and version writes them; lists of a card are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.a2a.bindings import said
from tests.a2a.conftest import Served


def empty_lists(value: Any, where: str = "") -> Iterator[str]:
    if value == []:
        yield where
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from empty_lists(inner, f"{where}.{name}")


async def told(served: Served, method: str, path: str, body: Any) -> list[Any]:
    """What is answered: the JSON of the body, or of each event."""
    async with served.web.request(method, f"{served.url}{path}", json=body) as response:
        text = await response.text()
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")] or [json.loads(text)]


CURRENT = said("hello", extensions=[], referenceTaskIds=[])
OLDER = {"message": {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hello"}],
                     "extensions": [], "referenceTaskIds": []}}  # fmt: skip
CALLS = {
    "SendMessage": ("/", {"method": "SendMessage", "params": CURRENT}),
    "SendStreamingMessage": ("/", {"method": "SendStreamingMessage", "params": CURRENT}),
    "message/send": ("/", {"method": "message/send", "params": OLDER}),
    "message/stream": ("/", {"method": "message/stream", "params": OLDER}),
    "message:send": ("/message:send", CURRENT),
    "message:stream": ("/message:stream", CURRENT),
    "v1/message:send": ("/v1/message:send", OLDER),
    "v1/message:stream": ("/v1/message:stream", OLDER),
}


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize("history", [None, 0])
async def test_no_empty_list_is_written(served: Served, call: str, history: int | None) -> None:
    path, body = CALLS[call]
    params = body.get("params", body)
    params = {**params, "configuration": {} if history is None else {"historyLength": history}}
    body = {"jsonrpc": "2.0", "id": 1, **body, "params": params} if "method" in body else params
    events = await told(served, "POST", path, body)
    assert "HELLO" in json.dumps(events)
    assert list(empty_lists(events)) == []


async def test_every_skill_of_a_card_says_what_it_reads_and_writes(served: Served) -> None:
    (card,) = await told(served, "GET", "/.well-known/agent-card.json", None)
    assert card["skills"]
    for skill in card["skills"]:
        assert skill["inputModes"]
        assert skill["outputModes"]
