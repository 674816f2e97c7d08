"""The agents that a caller reaches: the owner all that this node knows, a client those that it was given.

What a client was not given does not exist for it (A2A 13.1): it is as unknown as an agent that never was, it takes as
long to say so, and the node looks for nothing. So a name that a client says is compared with the agents of its grant
alone. They are kept by key or URL: a name is a label that any other agent may choose as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.api.a2a import OWN_AGENT, OWNER
from mcp_a2a.api.agents import GetAgentRequest, PeersRequest
from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.naming import kind_of_agent
from mcp_a2a.protocol.text import preview

if TYPE_CHECKING:
    from mcp_a2a.api.agents import AgentDetail, AgentView
    from mcp_a2a.ports import NodeApi

Grants = Callable[[str], frozenset[str]]
"""Keys and URLs of the agents that a caller was given, and `OWN_AGENT`; as they are now."""

KNOWN_SECONDS = 2.0
"""A card is asked for again so soon: asking costs more than a request."""

MAX_KNOWN = 1_000


def own_agent_only(_: str) -> frozenset[str]:
    """The grant of a caller where none was said."""
    return frozenset({OWN_AGENT})


class Agents:
    """The agents of a node, as callers may reach them."""

    def __init__(self, node: NodeApi, grants: Grants) -> None:
        self._node = node
        self._grants = grants
        self._known: dict[str, tuple[float, AgentDetail]] = {}

    async def find(self, name: str, caller: str) -> tuple[str, AgentDetail]:
        """An agent as the node knows it ("self", a key or a URL), and its card as it was a moment ago.

        Raises:
            Fault: AGENT_NOT_FOUND for a client that was not given it, and for one that asks for what there is not.
            McpA2AError: what the node raised, for the owner.
        """
        if caller == OWNER:
            detail = await self._detail(name)
            return OWN_AGENT if name == OWN_AGENT else detail.agent.did, detail
        key = await self._granted_key(name, caller)
        try:
            return key, await self._detail(key)
        except McpA2AError:
            raise unknown(name) from None  # it went away

    async def granted(self, caller: str) -> list[AgentView]:
        """The agents behind this node that a client was given, as far as the node knows them."""
        grant = self._grants(caller)
        return [peer for peer in (await self._node.call(PeersRequest())).peers if peer.did in grant]

    async def _granted_key(self, name: str, caller: str) -> str:
        grant = self._grants(caller)
        if name in grant and kind_of_agent(name) != "url":
            return name
        # An agent at a URL that the owner removed: only the owner may name it again, no caller makes this node call it.
        known = {peer.did: peer for peer in await self.granted(caller)}
        if OWN_AGENT in grant:
            known[OWN_AGENT] = (await self._detail(OWN_AGENT)).agent
        found = [key for key, agent in known.items() if _is_called(agent, name)]
        if len(found) != 1:
            raise unknown(name)
        return found[0]

    def permits(self, caller: str, agent: str) -> bool:
        """True if a caller may go on with what it asked of an agent."""
        return caller == OWNER or agent in self._grants(caller)

    async def _detail(self, name: str) -> AgentDetail:
        now = anyio.current_time()
        until, detail = self._known.get(name, (0.0, None))
        if detail is None or now >= until:
            detail = await self._node.call(GetAgentRequest(agent=name))
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[name] = (now + KNOWN_SECONDS, detail)
        return detail


def unknown(name: str) -> Fault:
    """The fault for an unknown agent, or for one that the caller does not reach."""
    return Fault(Kind.AGENT_NOT_FOUND, f"There is no agent {preview(name, 128)} behind this node.")


def _is_called(agent: AgentView, name: str) -> bool:
    return name == agent.did or name.strip().casefold() == agent.name.casefold()
