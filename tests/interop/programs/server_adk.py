"""google-adk as a server (`to_a2a`): an agent without a model that does what the text says. Prints its URL."""

import asyncio
import socket

import uvicorn
from google.adk.a2a.utils.agent_to_a2a import to_a2a
from google.adk.agents import BaseAgent
from google.adk.events import Event
from google.genai import types


class Behaving(BaseAgent):
    async def _run_async_impl(self, ctx):
        said = ctx.user_content.parts
        text = next((part.text for part in said if part.text), "")
        match text:
            case "fail":
                raise RuntimeError("it broke")
            case "stream":
                for piece in ("one ", "two ", "three"):
                    yield self.event(ctx, [types.Part(text=piece)], partial=True)
                    await asyncio.sleep(0.05)
                yield self.event(ctx, [types.Part(text="one two three")])
            case "mirror":
                yield self.event(ctx, [part for part in said if part.inline_data])
            case "wait":
                yield self.event(ctx, [types.Part(text="waiting")], partial=True)
                await asyncio.sleep(60)
            case _:
                yield self.event(ctx, [types.Part(text=text.upper())])

    def event(self, ctx, parts, **more):
        content = types.Content(role="model", parts=parts)
        return Event(author=self.name, invocation_id=ctx.invocation_id, content=content, **more)


def main():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    port = listening.getsockname()[1]
    app = to_a2a(Behaving(name="adk_agent", description="Does what it is told"), host="127.0.0.1", port=port)
    print(f"http://127.0.0.1:{port}/", flush=True)
    config = uvicorn.Config(app, log_level="error", timeout_keep_alive=75)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


main()
