"""What the front answers by itself is what the SDK answers, in every version of the protocol and in both eras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from mcp_a2a.front.announced import FILE, Announced
from tests.front.regenerate import COMMAND, LISTS, envelope, handshake, made, told, written

FULL = {
    "roots": {"listChanged": True},
    "sampling": {},
    "elicitation": {"form": {}, "url": {}},
    "experimental": {"x": {}},
    "extensions": {"io.modelcontextprotocol/tasks": {}},
}
Request = tuple[str, dict[str, Any] | None]


def line_of(announced: Announced, number: object, request: Request) -> bytes | None:
    method, params = request
    message = {"jsonrpc": "2.0", "id": number, "method": method}
    return announced.answer(message if params is None else {**message, "params": params})


async def agreed(*requests: Request) -> None:
    """Assert that the front answers these as the SDK does."""
    announced = Announced()
    for number, (request, line) in enumerate(zip(requests, await told(*requests), strict=True), start=1):
        answer = line_of(announced, number, request)
        assert answer is not None, request
        assert json.loads(answer) == json.loads(line)
        assert answer.decode().rstrip("\n") == line


async def test_the_answers_in_the_file_are_those_of_the_sdk() -> None:
    assert FILE.read_text(encoding="utf-8") == written(await made()), f"tools or words have changed: run {COMMAND}"


@pytest.mark.parametrize("version", [*HANDSHAKE_PROTOCOL_VERSIONS, "2026-07-28", "1999-01-01", "draft"])
async def test_a_handshake_and_all_that_follows_it_is_answered_as_by_the_sdk(version: str) -> None:
    hello = {**handshake(version), "capabilities": FULL}
    await agreed(("initialize", hello), ("ping", None), *((one, None) for one in LISTS), ("tools/list", {}))


async def test_the_newer_era_is_answered_as_by_the_sdk() -> None:
    everything = envelope(**{"io.modelcontextprotocol/clientCapabilities": FULL, "progressToken": 7})
    await agreed(("server/discover", everything), *((one, everything) for one in LISTS))
    await agreed(("tools/list", envelope()), ("server/discover", envelope()))


@pytest.mark.parametrize("probe", ["2026-07-28", "2031-01-01"])
async def test_a_probe_and_then_a_handshake_are_answered_as_by_the_sdk(probe: str) -> None:
    older = ("initialize", handshake("2025-06-18"))
    await agreed(("server/discover", envelope(probe)), ("server/discover", envelope()), older, ("tools/list", None))


async def test_the_parts_of_an_implementation_that_are_known_are_taken() -> None:
    client = {
        "name": "c", "version": "1", "title": "C", "websiteUrl": "https://c.example",
        "icons": [{"src": "https://c.example/i.png", "mimeType": "image/png", "sizes": ["48x48"]}],
    }  # fmt: skip
    await agreed(("initialize", {**handshake("2025-11-25"), "clientInfo": client}), ("tools/list", None))


async def test_null_is_not_given() -> None:
    unset: dict[str, Any] = {
        "capabilities": {"roots": None, "sampling": {"tools": None}, "elicitation": {"form": {}, "url": None}},
        "clientInfo": {"name": "c", "version": "1", "title": None, "icons": None},
        "_meta": None,
    }
    lists: list[Request] = [(one, {"cursor": None, "_meta": None}) for one in LISTS]
    await agreed(("initialize", {**handshake("2025-11-25"), **unset}), *lists)
    newer = envelope(**{"io.modelcontextprotocol/clientCapabilities": unset["capabilities"]})
    await agreed(("server/discover", newer), *((one, {**newer, "cursor": None}) for one in LISTS))
    announced = Announced()
    line_of(announced, 1, ("initialize", handshake("2025-11-25")))
    for number, given in enumerate(({}, {"params": None}), start=2):
        assert announced.answer({"jsonrpc": "2.0", "id": number, "method": "tools/list", **given}), given


UNCERTAIN: list[list[Request]] = [
    [("tools/list", None)],
    [("ping", None)],
    [("tools/call", {"name": "discover"})],
    [("initialize", {})],
    [("initialize", {**handshake("2025-11-25"), "capabilities": {"roots": 5}})],
    [("initialize", {**handshake("2025-11-25"), "capabilities": {"roots": {"listChanged": {}}}})],
    [("initialize", {**handshake("2025-11-25"), "capabilities": {"extensions": {"x": None}}})],
    [("initialize", {**handshake("2025-11-25"), "capabilities": None})],
    [("initialize", {**handshake("2025-11-25"), "clientInfo": {"name": "c"}})],
    [("initialize", {**handshake("2025-11-25"), "clientInfo": {"name": "c", "version": None}})],
    [("initialize", {**handshake("2025-11-25"), "clientInfo": {"name": "c", "version": 1}})],
    [("initialize", {**handshake("2025-11-25"), "protocolVersion": 7})],
    [("server/discover", {})],
    [("server/discover", envelope(**{"io.modelcontextprotocol/clientCapabilities": 5}))],
    [("server/discover", envelope(**{"io.modelcontextprotocol/logLevel": 5}))],
    [("tools/list", envelope("2031-01-01"))],
    [("server/discover", envelope()), ("tools/list", envelope()), ("initialize", handshake("2025-11-25"))],
    [("initialize", handshake("2025-11-25")), ("initialize", handshake("2025-11-25"))],
    [("initialize", handshake("2025-11-25")), ("server/discover", envelope())],
    [("initialize", handshake("2025-11-25")), ("tools/list", {"cursor": "x"})],
    [("initialize", handshake("2025-11-25")), ("tools/list", {"_meta": {"progressToken": {}}})],
    [("initialize", handshake("2025-11-25")), ("tools/list", envelope())],
    [("initialize", handshake("2025-11-25")), ("unknown/method", None)],
]


@pytest.mark.parametrize("requests", UNCERTAIN, ids=lambda requests: " ".join(method for method, _ in requests))
def test_what_only_the_session_can_judge_is_left_to_it(requests: list[Request]) -> None:
    announced = Announced()
    *before, last = requests
    for number, request in enumerate(before):
        assert line_of(announced, number, request) is not None
    assert line_of(announced, 99, last) is None


@pytest.mark.parametrize("number", [None, True, 1.5, [], 2**70, "a\ud800"])
def test_a_request_with_an_odd_id_is_left_to_the_session(number: object) -> None:
    assert line_of(Announced(), number, ("initialize", handshake("2025-11-25"))) is None


def test_after_a_line_of_unknown_effect_nothing_more_is_answered() -> None:
    announced = Announced()
    assert line_of(announced, 1, ("initialize", {})) is None
    assert line_of(announced, 2, ("initialize", handshake("2025-11-25"))) is None


def test_a_call_and_a_cancellation_change_nothing_about_what_is_announced() -> None:
    announced = Announced()
    line_of(announced, 1, ("initialize", handshake("2025-11-25")))
    announced.answer({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert line_of(announced, 2, ("tools/call", {"name": "discover"})) is None
    announced.answer({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}})
    assert line_of(announced, 3, ("tools/list", None)) is not None


@pytest.mark.parametrize("content", [None, "{", '{"release": "0.0.0", "legacy": {"initialize": {}}}'])
def test_a_file_of_another_release_or_none_answers_nothing(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "answers.json"
    if content is not None:
        file.write_text(content)
    assert line_of(Announced(file), 1, ("initialize", handshake("2025-11-25"))) is None
