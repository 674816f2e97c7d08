"""Makes the answers of the front by asking the SDK: `python -m tests.front.regenerate`."""

from __future__ import annotations

import json
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from mcp_a2a.front.announced import FILE
from mcp_a2a.server.protocol_eras import serve_streams
from mcp_a2a.server.surface import build_server
from mcp_a2a.version import __version__

COMMAND = "python -m tests.front.regenerate"
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
UNKNOWN_VERSION = "?"


class NoNode:
    """A node that answers nothing: what needs one has no place in the front."""

    def __getattr__(self, name: str) -> object:
        raise LookupError(name)


def envelope(version: str = MODERN_PROTOCOL_VERSIONS[-1], **more: object) -> dict[str, object]:
    """Parameters as the newer era has them."""
    return {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
            **more,
        }
    }


def handshake(version: str) -> dict[str, object]:
    """Parameters of `initialize`."""
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


async def told(*requests: tuple[str, dict[str, object] | None]) -> list[str]:
    """The lines with which the SDK answers these requests, numbered from 1, of one client."""
    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](100)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](100)
    lines: list[str] = []
    async with anyio.create_task_group() as group, to_server, from_server:
        group.start_soon(serve_streams, build_server(NoNode()), incoming, outgoing, lambda: None)  # type: ignore[arg-type]
        for number, (method, params) in enumerate(requests, start=1):
            request = JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=params)
            await to_server.send(SessionMessage(request))
            message = (await from_server.receive()).message
            lines.append(message.model_dump_json(by_alias=True, exclude_unset=True))
            assert isinstance(message, JSONRPCResponse) or method != "initialize", lines[-1]
    return lines


async def made() -> dict[str, Any]:
    """What the file is to hold: of the lists, those that need no node."""
    legacy = HANDSHAKE_PROTOCOL_VERSIONS
    methods = ("initialize", "ping", *LISTS)
    older = await told(*((method, handshake(legacy[-1]) if method == "initialize" else None) for method in methods))
    newer = await told(*((method, envelope()) for method in ("server/discover", *LISTS)))
    (refused,) = await told(("server/discover", envelope(UNKNOWN_VERSION)))
    return {
        "about": f"Made by {COMMAND}. Do not edit.",
        "release": __version__,
        "versions": {"legacy": list(legacy), "modern": list(MODERN_PROTOCOL_VERSIONS)},
        "legacy": _results(methods, older),
        "modern": {**_results(("server/discover", *LISTS), newer), "unsupported": json.loads(refused)["error"]},
    }


def _results(methods: tuple[str, ...], lines: list[str]) -> dict[str, Any]:
    answers = {method: json.loads(line) for method, line in zip(methods, lines, strict=True)}
    return {method: answer["result"] for method, answer in answers.items() if "result" in answer}


def written(content: dict[str, Any]) -> str:
    """The text of the file."""
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(anyio.run(made)), encoding="utf-8")
