"""Runs an agent: opens its node, says that it is ready, works until it is told to stop."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from mcp_a2a.agent.console import Console, console, silent
from mcp_a2a.agent.loading import registry
from mcp_a2a.agent.service import Service, slug
from mcp_a2a.api.agents import AgentDetail, GetAgentRequest
from mcp_a2a.app import announce_a2a, open_node
from mcp_a2a.config import Settings, load_settings
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.front.signals import ending_signals
from mcp_a2a.logs import clean_last_resort
from mcp_a2a.loop import run, unwrapped
from mcp_a2a.node.worker.worker import Worker
from mcp_a2a.secrecy import keep_memory_private
from mcp_a2a.streams import open_standard_streams

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

    from mcp_a2a.agent.definition import Agent
    from mcp_a2a.ports import NodeApi
    from mcp_a2a.server.hosting import Served
    from mcp_a2a.server.listening import Listening


def agent_settings(settings: Settings, name: str) -> Settings:
    """The settings of an agent: its own identity and name, where no others were chosen."""
    chosen = settings.model_fields_set
    return settings.model_copy(
        update={
            "identity": settings.identity if "identity" in chosen else slug(name),
            "own_name": name,
        }
    )


async def host(
    agent: Agent,
    settings: Settings,
    *,
    to: Console | None = None,
    stopping: anyio.Event | None = None,
    a2a_listen: str | None = None,
) -> None:
    """Run an agent of Python functions until `stopping` is set, or for ever."""
    settings = agent_settings(settings, agent.name)
    a2a = _listening(a2a_listen) if a2a_listen is not None else None
    await host_service(agent.service(settings.called), settings, to or silent(), stopping or anyio.Event(), a2a)


def _listening(address: str) -> Listening:
    from mcp_a2a.server.listening import Listening  # noqa: PLC0415  most agents serve no HTTP

    return Listening(address)


async def host_service(
    service: Service, settings: Settings, to: Console, stopping: anyio.Event, a2a: Listening | None = None
) -> None:
    """Offer a service under the identity of the settings until `stopping` is set; with `a2a` over HTTP as well.

    Raises:
        ConfigurationError: the node cannot run here, or the identity is in use for something else.
    """
    try:
        await _host(service, settings, to, stopping, a2a)
    except BaseExceptionGroup as group:
        # Who embeds an agent catches our errors, not the task groups that they passed through.
        raise unwrapped(group) from group


async def _host(
    service: Service, settings: Settings, to: Console, stopping: anyio.Event, a2a: Listening | None
) -> None:
    clean_last_resort()
    async with open_node(settings, service.card) as node, anyio.create_task_group() as tasks:
        me = await node.call(GetAgentRequest(agent="self"))
        _check_same(me, service, settings)
        to.ready(me, await _serve_a2a(tasks, node, a2a, settings, stopping, to) if a2a is not None else None)
        if to.watch is not None:
            tasks.start_soon(to.watch, node)
        worker = Worker(
            node,
            service.handler,
            holder=f"{os.getpid()}-{uuid.uuid4().hex[:12]}",
            concurrency=service.concurrency,
            renew_seconds=settings.lease_seconds / 3,
            log=to.task,
        )
        await worker.run(stopping)
        tasks.cancel_scope.cancel()


async def _serve_a2a(
    tasks: TaskGroup, node: NodeApi, a2a: Listening, settings: Settings, stopping: anyio.Event, to: Console
) -> Served:
    from mcp_a2a.server.hosting import host as host_http  # noqa: PLC0415  most agents serve no HTTP

    async def serve(*, task_status: TaskStatus[Served]) -> None:
        await host_http(node, None, a2a, settings, tell=to.client, task_status=task_status)
        stopping.set()  # the server has taken the signals for itself: asyncio knows one handler for each

    served: Served = await tasks.start(serve)
    tasks.start_soon(announce_a2a, settings, a2a.address, served.url)
    return served


def _check_same(me: AgentDetail, service: Service, settings: Settings) -> None:
    """Another process may own this identity's node already, and offer something else there."""
    if me.card.skills != service.card.skills or me.card.name != service.card.name:
        pid = me.node.pid if me.node else "another process"
        raise ConfigurationError(
            f"The identity {settings.identity!r} is in use by {me.card.name} (process {pid}), "
            f"so {service.card.name} cannot be offered there.",
            "Stop that process, or run this agent under an identity of its own: --identity NAME.",
        )


@asynccontextmanager
async def until_signalled() -> AsyncIterator[anyio.Event]:
    """An event that SIGINT, SIGTERM or the closing of the terminal sets, unless nohup asked to outlive that."""
    stopping = anyio.Event()

    async def listen() -> None:
        with anyio.open_signal_receiver(*ending_signals()) as signals:
            async for _ in signals:
                stopping.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        yield stopping
        tasks.cancel_scope.cancel()


def run_from_script(agent: Agent) -> None:
    """`Agent.run`: what a file that is started with `python FILE.py` does.

    Raises:
        SystemExit: the agent cannot run; the reason was printed.
    """
    keep_memory_private(os.environ)
    registry.runs(agent)
    open_standard_streams()

    async def serve() -> None:
        async with until_signalled() as stopping:
            await host(agent, load_settings({}), to=console(), stopping=stopping)

    try:
        registry.whole(agent, "__main__")
        run(serve)
    except McpA2AError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # before it was ready, and listened for signals
