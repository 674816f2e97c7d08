"""A server of several agents that work together with those of other servers.

python examples/distributed/server.py --port 9001 --name Server-A
python examples/distributed/server.py --port 9002 --name Server-B --connect http://127.0.0.1:9001
python examples/distributed/server.py --port 9003 --name Server-C --connect http://127.0.0.1:9001,http://127.0.0.1:9002

Any A2A client may talk to each of them, at its port. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

import anyio
from neighbours import OBSERVE, Neighbours
from pydantic import JsonValue
from roles import Coordinator, Courier, Monitor, Role, Worker

from mcp_a2a import Agent, Settings, TaskContext, open_node
from mcp_a2a.api.agents import GetAgentRequest

ROLES = {
    "mixed": {"coordinator", "worker", "monitor"},
    "coordinator": {"coordinator"},
    "worker": {"worker"},
    "monitor": {"monitor"},
}


def roles_of(name: str, kind: str, neighbours: Neighbours) -> tuple[Monitor, list[Role]]:
    """The agents of a server. Every server counts events; only where there is a monitor it can be asked."""
    monitor = Monitor(f"Monitor-{name}", name, neighbours)
    everybody: dict[str, list[Role]] = {
        "coordinator": [Coordinator(f"Coordinator-{name}", name, neighbours, monitor)],
        "worker": [
            Worker(f"Worker-A-{name}", name, neighbours, "data-processing", monitor),
            Worker(f"Worker-B-{name}", name, neighbours, "analytics", monitor),
        ],
        "monitor": [monitor],
    }
    return monitor, [role for group, roles in everybody.items() if group in ROLES[kind] for role in roles]


def agent_of(name: str, kind: str, neighbours: Neighbours) -> Agent:
    """The server as the network sees it: one agent, whose skills are those that work in it."""
    agent = Agent(name, f"A server of agents that work together ({kind})", concurrency=32)
    monitor, roles = roles_of(name, kind, neighbours)
    for role in roles:
        _add(agent, role)
    courier = Courier(f"Courier-{name}", name, neighbours)

    @agent.skill(default=True, tags=["distributed"])
    async def reception(text: str, task: TaskContext) -> str:
        """Take any text, and hand it to the agent that it is for."""
        for role in (courier, *roles):
            if role.matches(text):
                return await role.answer(text, task)
        await monitor.publish("message.received", text=text[:50])
        return roles[0].says(f"processed: {text}")

    @agent.skill(tags=["distributed"])
    async def introduce() -> str:
        """Tell on which port the node of this server listens for peers."""
        me = await neighbours.node.call(GetAgentRequest(agent="self"))
        return me.addresses[0].rpartition(":")[2]

    @agent.skill(id=OBSERVE, tags=[OBSERVE])
    async def observe(event: dict[str, JsonValue]) -> None:
        """Count something that happened at a neighbour."""
        monitor.observe(event)

    return agent


def _add(agent: Agent, role: Role) -> None:
    """Make a role a skill, for those who ask it by name."""

    @agent.skill(id=role.skill_id, name=role.name, description=inspect.getdoc(role), tags=[role.tag])
    async def ask(text: str, task: TaskContext) -> str:
        return await role.answer(text, task)


async def serve(options: argparse.Namespace) -> None:
    """Run a server until Ctrl-C."""
    neighbours = Neighbours()
    agent = agent_of(options.name, options.type, neighbours)
    settings = Settings(
        home=options.home or Path(".distributed") / options.name,
        identity="server",
        name=options.name,
        mdns=options.mdns,
        link_host="127.0.0.1",
        # Every agent that can dial it may use it. In production, be in a network: mcp-a2a invite, mcp-a2a join.
        accept="anyone",
    )
    async with open_node(settings, agent.service().card) as node, anyio.create_task_group() as tasks:
        neighbours.node = node
        for url in filter(None, options.connect.split(",")):
            tasks.start_soon(neighbours.meet, url)
        print(f"{options.name} at http://127.0.0.1:{options.port}/", flush=True)
        await agent.serve(settings, a2a_listen=f"127.0.0.1:{options.port}")
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="where A2A clients reach it")
    parser.add_argument("--name", required=True, help="for example Server-A")
    parser.add_argument("--connect", default="", metavar="URL[,URL]", help="servers that run already")
    parser.add_argument("--type", choices=ROLES, default="mixed", help="which agents it has")
    parser.add_argument("--home", type=Path, help="its data folder (.distributed/NAME)")
    parser.add_argument("--mdns", action="store_true", help="find others on the LAN, too")
    anyio.run(serve, parser.parse_args())
