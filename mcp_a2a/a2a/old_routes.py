"""Routes that clients of older systems call beside A2A, and what an agent behind this node is called in a path."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import JsonValue

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.body import Reply, dump, parse
from mcp_a2a.a2a.faults import Fault, Kind, told
from mcp_a2a.api.a2a import OWNER, A2ASendRequest
from mcp_a2a.api.agents import DiscoverRequest
from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.model import Message, Part, Role

if TYPE_CHECKING:
    from mcp_a2a.a2a.grants import Agents
    from mcp_a2a.ports import NodeApi

BEHIND = "/a/"
"""Below this is a path for every agent behind this node."""


async def serve(node: NodeApi, agents: Agents, method: str, path: str, body: bytes, caller: str) -> tuple[int, Reply]:
    """Answer a request: status and reply.

    Raises:
        Fault, McpA2AError
    """
    if path == "/a2a/peers" and method == "GET":
        return 200, Reply(dump({"peers": await _peers(node, agents, caller)}))
    if path == "/a2a/send" and method == "POST":
        return await _send(node, agents, body, caller)
    raise Fault(Kind.METHOD_NOT_FOUND, f"There is no {method} {path}.")


async def _peers(node: NodeApi, agents: Agents, caller: str) -> list[JsonValue]:
    if caller == OWNER:
        found = (await node.call(DiscoverRequest(limit=200, settle_seconds=1.0))).agents
    else:  # a client makes this node look around for nothing
        found = tuple(await agents.granted(caller))
    return [
        {"name": agent.name, "did": agent.did, "online": agent.online, "path": f"{BEHIND}{quote(agent.did, safe=':')}/"}
        for agent in found
    ]


async def _send(node: NodeApi, agents: Agents, body: bytes, caller: str) -> tuple[int, Reply]:
    fields = parse(body)
    target, text = (fields.get("target"), fields.get("message")) if isinstance(fields, dict) else (None, None)
    if not isinstance(target, str) or not isinstance(text, str) or not target or not text:
        raise Fault(Kind.INVALID_PARAMS, 'The body must be {"target": AGENT, "message": TEXT}.')
    agent = target if caller == OWNER else (await agents.find(target, caller))[0]
    message = Message(message_id=uuid.uuid4().hex, role=Role.USER, parts=(Part(text=text),))
    try:
        answer = await node.call(A2ASendRequest(agent=agent, caller=caller, message=message))
    except McpA2AError as error:
        fault = told(error)
        return fault.kind.value.http, Reply(dump({"ok": False, "error": fault.message}), fault=fault.kind)
    return 200, Reply(dump({"ok": True, "result": legacy.JSON_RPC.task(answer.task)}))
