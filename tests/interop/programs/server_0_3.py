"""The official SDK 0.3 as a server: an agent that does what the text of a message says. Prints its port."""

import asyncio
import socket
import sys

import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.apps import A2ARESTFastAPIApplication, A2AStarletteApplication
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentSkill, DataPart, Part, TaskState, TextPart
from a2a.utils import new_agent_text_message, new_task


class Behaving(AgentExecutor):
    async def execute(self, context, queue):
        text = context.get_user_input()
        if text == "direct":
            await queue.enqueue_event(new_agent_text_message("no task here"))
            return
        task = context.current_task
        if task is None:
            task = new_task(context.message)
            await queue.enqueue_event(task)
        await self.work(text, context, TaskUpdater(queue, task.id, task.context_id))

    async def work(self, text, context, updater):
        def part(text):
            return Part(root=TextPart(text=text))

        match text:
            case "ask":
                await updater.update_status(
                    TaskState.input_required, updater.new_agent_message([part("which?")]), final=True
                )
            case "wait":
                await updater.start_work(updater.new_agent_message([part("waiting")]))
                await asyncio.sleep(600)
            case "fail":
                await updater.failed(updater.new_agent_message([part("it broke")]))
            case "stream":
                await updater.start_work()
                for number, piece in enumerate(("one ", "two ", "three")):
                    await updater.add_artifact(
                        [part(piece)], artifact_id="a", append=number > 0, last_chunk=number == 2
                    )
                    await asyncio.sleep(0.05)
                await updater.complete()
            case "mirror":
                await updater.add_artifact([one for one in context.message.parts if one.root.kind != "text"])
                await updater.complete()
            case "data":
                await updater.add_artifact([Part(root=DataPart(data={"one": 1, "list": [1, 2]}))])
                await updater.complete()
            case "slowly":  # a reply: whoever asks meanwhile is shown the question, still
                await asyncio.sleep(1.5)
                await updater.add_artifact([part("SLOWLY")], name="result")
                await updater.complete()
            case _:
                await updater.add_artifact([part(text.upper())], name="result")
                await updater.complete()

    async def cancel(self, context, queue):
        task = context.current_task
        await TaskUpdater(queue, task.id, task.context_id).cancel()


def main():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # before the port is printed: whoever reads it connects at once
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    binding, *manner = sys.argv[1:]
    card = AgentCard(
        name="sdk-agent",
        description="Does what it is told",
        version="1",
        url=url,
        preferred_transport=binding,
        capabilities=AgentCapabilities(streaming=manner != ["polling"]),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="behave", name="Behave", description="Does what it is told", tags=["test"])],
    )
    handler = DefaultRequestHandler(agent_executor=Behaving(), task_store=InMemoryTaskStore())
    serves = A2ARESTFastAPIApplication if binding == "HTTP+JSON" else A2AStarletteApplication
    app = serves(agent_card=card, http_handler=handler).build()
    print(url, flush=True)
    config = uvicorn.Config(app, log_level="error", timeout_keep_alive=75)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


main()
