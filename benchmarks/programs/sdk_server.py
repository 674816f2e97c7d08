"""The official SDK's server as its documentation sets it up: its request handler, tasks in memory, uvicorn.

Runs in an environment of its own. It answers as `echo_agent.py` does: a completed task with the text as its artifact.
Prints its URL.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from a2a.helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part
from a2a.utils.errors import UnsupportedOperationError
from starlette.applications import Starlette


class Echo(AgentExecutor):
    """Returns the text."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.add_artifact([Part(text=context.get_user_input())], name="result")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise UnsupportedOperationError


def card(url: str) -> AgentCard:
    return AgentCard(
        name="echo",
        description="Returns the text",
        version="1.0.0",
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        capabilities=AgentCapabilities(streaming=True),
        supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")],
        skills=[AgentSkill(id="echo", name="Echo", description="Return the text.", tags=["echo"])],
    )


def main() -> None:
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # named, or its event loop leaves Nagle on
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)  # who connects now waits until uvicorn is ready
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        handler = DefaultRequestHandler(agent_executor=Echo(), task_store=InMemoryTaskStore(), agent_card=card(url))
        app = Starlette(routes=[*create_agent_card_routes(card(url)), *create_jsonrpc_routes(handler, "/")])
        # Its own default lets idle connections go after 5 s, as its client does: under load they then die in use.
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_keep_alive=75))
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        server.run(sockets=[listener])


main()
