"""Commands that try out what can be reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.arguments import check_other
from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.finding import Agent
from mcp_a2a.cli.session import Session, session_of

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.api.diagnostics import PingView
    from mcp_a2a.ports import NodeApi


def ping(
    context: typer.Context,
    agent: Agent,
    count: Annotated[int, typer.Option("--count", "-c", min=1, max=1000, help="How many messages to send")] = 4,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="How long to wait for each answer")
    ] = 5.0,
) -> None:
    """Measure the round trip to an agent.

    Each message is sealed and answered with a signed receipt, so this tests the whole path, including the keys.
    """
    import anyio

    from mcp_a2a.api.diagnostics import PingRequest

    session = session_of(context)
    session.waiting_for = agent
    check_other(agent)
    replies: list[PingView] = []

    async def operate(node: NodeApi) -> None:
        for number in range(count):
            if number:
                await anyio.sleep(1)
            reply = await node.call(PingRequest(agent=agent, timeout_seconds=timeout))
            replies.append(reply)
            session.waiting_for = "the next"
            if not session.options.json:
                session.output.progress("")
                session.output.line("\n".join(render.ping_lines(reply)), "red" if reply.ms is None else "")

    try:
        session.ask(operate)
    except KeyboardInterrupt:
        _summarize(session, agent, replies)
        raise
    _summarize(session, agent, replies)
    raise typer.Exit(Exit.DONE if any(reply.ms is not None for reply in replies) else Exit.UNREACHABLE)


def _summarize(session: Session, agent: str, replies: Sequence[PingView]) -> None:
    from statistics import median

    session.output.progress("")
    times = [reply.ms for reply in replies if reply.ms is not None]
    listed: list[JsonValue] = [session.output.fields(reply) for reply in replies]
    fields: dict[str, JsonValue] = {"agent": agent, "sent": len(replies), "received": len(times), "replies": listed}

    def tell() -> None:
        spread = f"   min {min(times):.1f}   median {median(times):.1f}   max {max(times):.1f} ms" if times else ""
        session.output.line(f"{len(replies)} sent, {len(times)} answered{spread}")

    session.output.show_fields(fields, tell)


def netcheck(context: typer.Context) -> None:
    """Check the network from here: addresses, LAN, relays."""
    from mcp_a2a.api.diagnostics import NetcheckRequest

    session = session_of(context)
    session.waiting_for = "the relays"
    view = session.ask(lambda node: node.call(NetcheckRequest()))
    session.output.show(view, lambda: session.output.table(render.checks_table(view, session.output.mark)))
    raise typer.Exit(Exit.DONE if any(check.ok for check in view.checks) else Exit.UNREACHABLE)
