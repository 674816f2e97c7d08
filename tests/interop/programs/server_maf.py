"""Microsoft agent-framework as a server (`A2AExecutor`): an agent without a model. Prints its URL."""

import asyncio
import logging
import socket
import sys

import uvicorn
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from agent_framework import AgentResponse, AgentResponseUpdate, BaseAgent, Content, Message, ResponseStream
from agent_framework.a2a import A2AExecutor
from starlette.applications import Starlette

logging.disable(logging.CRITICAL)


class Behaving(BaseAgent):
    def run(self, messages=None, *, stream=False, session=None, **_):
        text = messages if isinstance(messages, str) else messages[-1].text
        return self.streamed(text) if stream else self.answer(text)

    async def answer(self, text):
        if text == "fail":
            raise RuntimeError("it broke")
        if text == "wait":
            await asyncio.sleep(60)
        words = ["one", "two"] if text == "several" else [text.upper()]
        return AgentResponse(messages=[Message(role="assistant", contents=[word]) for word in words])

    def streamed(self, text):
        async def updates():
            if text == "fail":
                raise RuntimeError("it broke")
            for piece in ("one ", "two ", "three") if text == "stream" else (text.upper(),):
                yield AgentResponseUpdate(role="assistant", contents=[Content.from_text(piece)])

        return ResponseStream(updates(), finalizer=AgentResponse.from_updates)


def main():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    card = AgentCard(
        name="maf-agent",
        description="Does what it is told",
        version="1",
        supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=sys.argv[1] == "streaming"),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="behave", name="Behave", description="Does what it is told", tags=["test"])],
    )
    executor = A2AExecutor(Behaving(name="maf"), stream=sys.argv[2:] == ["chunks"])
    handler = DefaultRequestHandler(agent_executor=executor, task_store=InMemoryTaskStore(), agent_card=card)
    app = Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/")])
    print(url, flush=True)
    config = uvicorn.Config(app, log_level="error", timeout_keep_alive=75)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


main()
