"""The official SDK 1.x as a server: an agent that does what the text of a message says. Prints its port."""

import asyncio
import socket
import sys

import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value
from starlette.applications import Starlette


class Behaving(AgentExecutor):
    async def execute(self, context, queue):
        text = context.get_user_input()
        if text == "direct":
            await queue.enqueue_event(Message(message_id="r", role=Role.ROLE_AGENT, parts=[Part(text="no task here")]))
            return
        task = context.current_task
        if task is None:
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            task = Task(id=context.task_id, context_id=context.context_id, status=status, history=[context.message])
            await queue.enqueue_event(task)
        await self.work(text, context, TaskUpdater(queue, task.id, task.context_id))

    async def work(self, text, context, updater):
        said = lambda text: updater.new_agent_message([Part(text=text)])  # noqa: E731
        match text:
            case "ask":
                await updater.requires_input(said("which?"))
            case "wait":
                await updater.start_work(said("waiting"))
                await asyncio.sleep(600)
            case "fail":
                await updater.failed(said("it broke"))
            case "stream":
                await updater.start_work()
                for number, piece in enumerate(("one ", "two ", "three")):
                    await updater.add_artifact(
                        [Part(text=piece)], artifact_id="a", append=number > 0, last_chunk=number == 2
                    )
                    await asyncio.sleep(0.05)
                await updater.complete()
            case "mirror":
                parts = [part for part in context.message.parts if not part.HasField("text")]
                await updater.add_artifact(parts)
                await updater.complete()
            case "data":
                await updater.add_artifact([Part(data=ParseDict({"one": 1, "list": [1, 2]}, Value()))])
                await updater.complete()
            case "slowly":  # a reply: whoever asks meanwhile is shown the question, still
                await asyncio.sleep(1.5)
                await updater.add_artifact([Part(text="SLOWLY")], name="result")
                await updater.complete()
            case _:
                await updater.add_artifact([Part(text=text.upper())], name="result")
                await updater.complete()

    async def cancel(self, context, queue):
        task = context.current_task
        await TaskUpdater(queue, task.id, task.context_id).cancel()


def main():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # before the port is printed: whoever reads it connects at once
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    binding = sys.argv[1]
    card = AgentCard(
        name="sdk-agent",
        description="Does what it is told",
        version="1",
        supported_interfaces=[AgentInterface(url=url, protocol_binding=binding, protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=sys.argv[2:] != ["polling"]),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="behave", name="Behave", description="Does what it is told", tags=["test"])],
    )
    handler = DefaultRequestHandler(agent_executor=Behaving(), task_store=InMemoryTaskStore(), agent_card=card)
    routes = create_jsonrpc_routes(handler, "/") if binding == "JSONRPC" else create_rest_routes(handler)
    app = Starlette(routes=[*create_agent_card_routes(card), *routes])
    print(url, flush=True)
    config = uvicorn.Config(app, log_level="error", timeout_keep_alive=75)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


main()
