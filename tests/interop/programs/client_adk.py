"""google-adk as a client (`RemoteA2aAgent`) of the agent at a URL: prints what it read of each text, as JSON."""

import asyncio
import json
import sys

from google.adk.agents.remote_a2a_agent import RemoteA2aAgent
from google.adk.runners import InMemoryRunner
from google.genai import types

FILE = types.Part(inline_data=types.Blob(data=b"\x00\x01binary", mime_type="application/octet-stream"))


async def observe(url):
    agent = RemoteA2aAgent(name="remote", agent_card=f"{url}/.well-known/agent-card.json")
    runner = InMemoryRunner(agent=agent, app_name="interop")
    seen = {}

    async def ask(name, *parts, session=None):
        session = session or await runner.session_service.create_session(app_name="interop", user_id="me")
        read = {"texts": [], "files": [], "errors": []}
        message = types.Content(role="user", parts=list(parts))
        async for event in runner.run_async(user_id="me", session_id=session.id, new_message=message):
            for part in event.content.parts if event.content else ():
                if part.text:
                    read["texts"].append(part.text)
                if part.inline_data:
                    read["files"].append(part.inline_data.data.hex())
            if event.error_message:
                read["errors"].append(event.error_message)
        seen[name] = read
        return session

    def text(words):
        return types.Part(text=words)

    await ask("hello", text("hello"))
    await ask("stream", text("stream"))
    await ask("fail", text("fail"))
    await ask("mirror", text("mirror"), FILE)
    session = await ask("ask", text("ask"))
    await ask("reply", text("blue"), session=session)
    return seen


print(json.dumps(asyncio.run(observe(sys.argv[1].rstrip("/")))))
