"""Microsoft agent-framework as a client (`A2AAgent`) of the agent at a URL: prints what it read, as JSON."""

import asyncio
import json
import sys

import httpx
from a2a.client import A2ACardResolver
from agent_framework import AgentSession, Content, Message
from agent_framework.a2a import A2AAgent


async def observe(url):
    async with httpx.AsyncClient(timeout=30) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        async with A2AAgent(agent_card=card, name="remote") as agent:
            seen = {"hello": (await agent.run("hello")).text}
            seen["stream"] = "".join([update.text async for update in agent.run("stream", stream=True)])
            file = Content.from_data(b"\x00\x01binary", media_type="application/octet-stream")
            mirrored = await agent.run(Message(role="user", contents=[Content.from_text("mirror"), file]))
            seen["mirror"] = [one.uri for message in mirrored.messages for one in message.contents if one.uri]
            session = AgentSession()
            seen["ask"] = (await agent.run("ask", session=session)).text
            seen["reply"] = (await agent.run("blue", session=session)).text
    return seen


print(json.dumps(asyncio.run(observe(sys.argv[1].rstrip("/")))))
