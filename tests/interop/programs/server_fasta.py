"""fasta2a with pydantic-ai as a server, 0.6 or 2.x: an agent whose model is a function. Prints its URL."""

import asyncio
import socket

import uvicorn
from fasta2a.pydantic_ai import agent_to_a2a
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.function import FunctionModel


def asked(messages):
    prompts = [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    contents = [one for content in prompts for one in ([content] if isinstance(content, str) else content)]
    return [one for one in contents if isinstance(one, str)][-1]


async def answer(messages, info):
    text = asked(messages)
    if text == "fail":
        raise RuntimeError("it broke")
    if text == "wait":
        await asyncio.sleep(60)
    return ModelResponse(parts=[TextPart("one two three" if text == "stream" else text.upper())])


async def stream(messages, info):
    text = asked(messages)
    if text == "fail":
        raise RuntimeError("it broke")
    if text == "wait":
        await asyncio.sleep(60)
    for piece in ("one ", "two ", "three") if text == "stream" else (text.upper(),):
        yield piece


def main():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    agent = Agent(FunctionModel(answer, stream_function=stream), name="fasta")
    app = agent_to_a2a(agent, name="fasta-agent", url=url, description="Does what it is told")
    print(url, flush=True)
    config = uvicorn.Config(app, log_level="critical", timeout_keep_alive=75)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


main()
