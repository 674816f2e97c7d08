"""The other servers, as one of them sees them: found by their URL once, and from then on peers.

A URL is enough to begin with: every server tells A2A clients where its node listens (its skill `introduce`).
Dialling that makes a link, and a link is mutual: a server that was started first learns of those that came later. All
that servers say to each other travels sealed on these links; the node finds, redials and delivers.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import anyio
from pydantic import JsonValue

from mcp_a2a import McpA2AError, NodeApi, Part
from mcp_a2a.api.agents import AddPeerRequest, AgentView, PeersRequest
from mcp_a2a.api.tasks import CancelRequest, SendTaskRequest

RETRY_SECONDS = 0.5

OBSERVE = "observe"
"""The skill that takes events."""


@dataclass(frozen=True)
class Result:
    """What became of a task at a neighbour."""

    peer: str
    answered: bool
    text: str


class Neighbours:
    """Asks other servers for things, and tells them what happened."""

    node: NodeApi
    """There as soon as the server runs."""

    # --- finding them ------------------------------------------------------------------------------------------------

    async def meet(self, url: str) -> None:
        """Become a peer of the server at a URL, however long it takes to come up."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                try:
                    address = await _ask_where(session, url)
                    await self.node.call(AddPeerRequest(address=address))
                except (aiohttp.ClientError, TimeoutError, LookupError, McpA2AError):
                    await anyio.sleep(RETRY_SECONDS)
                else:
                    return

    async def with_tag(self, tag: str) -> list[AgentView]:
        """Those that have a skill with a tag, also when they are down at the moment."""
        known = (await self.node.call(PeersRequest())).peers
        return [peer for peer in known if any(tag in skill.tags for skill in peer.skills)]

    async def connected(self) -> list[str]:
        """Names of those that are there."""
        return sorted(peer.name for peer in (await self.node.call(PeersRequest())).peers if peer.online)

    # --- asking and telling ------------------------------------------------------------------------------------------

    async def ask(self, agent: str, text: str, *, hop: int, seconds: float, skill: str | None = None) -> Result:
        """Have a neighbour do something now or not at all. What it is done for says how often it was passed on."""
        request = SendTaskRequest(
            agent=agent, message=text, skill=skill, wait_seconds=seconds, hop=hop, queue=False, consent="waived"
        )
        try:
            view = await self.node.call(request)
            if not view.done:
                await self.node.call(CancelRequest(task_id=view.task_id))
                return Result(view.agent.name, answered=False, text=f"nothing came within {seconds:g} s")
        except McpA2AError as error:
            return Result(agent, answered=False, text=error.message)
        if view.state != "completed":
            return Result(view.agent.name, answered=False, text=view.error.message if view.error else view.state.value)
        return Result(view.agent.name, answered=True, text=view.text or "")

    async def ask_all(
        self, peers: Sequence[AgentView], tag: str, text: str, *, hop: int, seconds: float
    ) -> list[Result]:
        """Have each of them do something with its first skill of that tag, all at the same time."""
        results: dict[str, Result] = {}

        async def ask(peer: AgentView) -> None:
            skill = next(skill.id for skill in peer.skills if tag in skill.tags)
            result = await self.ask(peer.did, text, hop=hop, seconds=seconds, skill=skill)
            results[peer.did] = Result(peer.name, result.answered, result.text)

        async with anyio.create_task_group() as tasks:
            for peer in peers:
                tasks.start_soon(ask, peer)
        return [results[peer.did] for peer in peers]

    async def tell(self, event: dict[str, JsonValue]) -> None:
        """Tell all monitors: each hears it exactly once, one that is down when it is back."""
        for peer in await self.with_tag(OBSERVE):
            request = SendTaskRequest(
                agent=peer.did, message="", parts=(Part(data=event),), skill=OBSERVE, consent="waived"
            )
            await self.node.call(request.model_copy(update={"wait_seconds": 0}))


def new_event(kind: str, **facts: JsonValue) -> dict[str, JsonValue]:
    """Something that happened."""
    return {"id": uuid.uuid4().hex, "kind": kind, "facts": facts}


async def _ask_where(session: aiohttp.ClientSession, url: str) -> str:
    """HOST:PORT of the node behind a URL, asked as any A2A client would."""
    message = {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": "Where does your node listen?"}]}
    body = {"message": message, "metadata": {"skill": "introduce"}}
    async with session.post(f"{url.rstrip('/')}/message:send", json=body, headers={"A2A-Version": "1.0"}) as response:
        response.raise_for_status()
        task = (await response.json())["task"]
    return f"{urlsplit(url).hostname}:{task['artifacts'][0]['parts'][0]['text']}"
