"""Commands about who may talk A2A to this identity over HTTP."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli.arguments import check_agent
from mcp_a2a.cli.columns import Column, Table
from mcp_a2a.cli.help import HelpfulCommand, HelpfulGroup, help_of
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.render import short_who
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.naming import kind_of_agent
from mcp_a2a.protocol.web_url import agent_url

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.ports import NodeApi
    from mcp_a2a.store.callers import CallerFolder, CallerRow

callers = typer.Typer(
    help="Manage the A2A clients that may call this identity over HTTP.",
    cls=HelpfulGroup,
    add_completion=False,
)

CALLERS = (Column("CLIENT", least=12), Column("SINCE"), Column("AGENTS", least=16, leaves=1))

Agents = Annotated[
    list[str] | None,
    typer.Option("--agent", metavar="AGENT", help="An agent that the client may use, or self. Repeatable."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Your name for the client; others do not see it.")]


def _folder(session: Session) -> CallerFolder:
    from mcp_a2a.store.callers import CallerFolder
    from mcp_a2a.store.folder import open_folder

    settings = session.settings()
    open_folder(settings.home)
    return CallerFolder(open_folder(settings.folder))


@callers.callback(invoke_without_command=True)
def list_callers(context: typer.Context) -> None:
    """List the A2A clients that may call this identity over HTTP, and the agents each may use."""
    if context.invoked_subcommand is not None:
        return
    session = session_of(context)
    rows = _folder(session).rows()
    listed: list[JsonValue] = [
        {"name": row.name, "since": row.since, "agents": _listed(session, row.agents)} for row in rows
    ]

    def tell() -> None:
        if rows:
            session.output.table(_drawn(rows))
        else:
            session.output.note("No clients yet. Add one: mcp-a2a callers add NAME")

    session.output.show_fields({"callers": listed}, tell)


def _drawn(rows: Sequence[CallerRow]) -> Table:
    drawn = Table(CALLERS)
    for row in rows:
        drawn.add(
            row.name,
            row.since[:10],
            _shown(row.agents),
        )
    return drawn


def _shown(agents: Sequence[str]) -> str:
    return ", ".join(_named(agents, short_who))


def _listed(session: Session, agents: Sequence[str]) -> list[JsonValue]:
    return list(_named(agents, session.output.who))


def _named(agents: Sequence[str], name: Callable[[str], str]) -> Iterator[str]:
    """The owner's name for each agent: only the own agent has a word of its own."""
    from mcp_a2a.api.a2a import OWN_AGENT

    return (agent if agent == OWN_AGENT else name(agent) for agent in agents)


def add(context: typer.Context, name: Name, agent: Agents = None) -> None:
    """Create a client and print its token, which is shown only once.

    The client may use your own agent, or the agents named with --agent. It sees only its own tasks.
    """
    from mcp_a2a.api.a2a import OWN_AGENT

    session = session_of(context)
    folder = _folder(session)
    folder.check_new(name)
    keys = _keys(session, agent or [OWN_AGENT])
    token = folder.add(name, keys)

    def tell() -> None:
        session.output.line(token)
        session.output.note(
            f"{name} sends this token in the header Authorization: Bearer TOKEN. It is shown only once."
        )

    fields: dict[str, JsonValue] = {"name": name, "token": token, "agents": _listed(session, keys)}
    try:
        session.output.show_fields(fields, tell)
    except OSError as error:
        folder.remove(name)  # its token is kept nowhere, so it would be in the way of another by this name
        next_step = f"So {name} was not added. Add it again, and write the token somewhere else."
        raise session.output.lost(error, next_step) from error


def grant(context: typer.Context, name: Name, agent: Agents = None) -> None:
    """Replace the agents that a client may use. This takes effect at once; the token stays valid."""
    session = session_of(context)
    if not agent:
        raise UsageError(f"Which agents? mcp-a2a callers grant {shlex.quote(name)} --agent AGENT, or --agent self")
    folder = _folder(session)
    folder.check_known(name)
    keys = _keys(session, agent)
    folder.grant(name, keys)
    session.output.show_fields(
        {"name": name, "agents": _listed(session, keys)},
        lambda: session.output.line(f"{name} may use {_shown(keys)}."),
    )


def _keys(session: Session, agents: Sequence[str]) -> list[str]:
    """The agents that are meant, by key or URL: what is called so tomorrow may be another."""
    from mcp_a2a.api.a2a import OWN_AGENT

    named = [agent for agent in agents if agent != OWN_AGENT]
    for agent in named:
        check_agent(agent)

    async def resolve(node: NodeApi) -> list[str]:
        return [await _key(node, agent) for agent in named]

    found = dict(zip(named, session.ask(resolve) if named else [], strict=True))
    return list(dict.fromkeys(found.get(agent, OWN_AGENT) for agent in agents))


async def _key(node: NodeApi, agent: str) -> str:
    from mcp_a2a.api.a2a import OWN_AGENT
    from mcp_a2a.api.agents import GetAgentRequest, PeersRequest

    me = (await node.call(GetAgentRequest(agent=OWN_AGENT))).agent
    if agent.strip().casefold() in (me.did.casefold(), me.name.casefold()):
        return OWN_AGENT
    if kind_of_agent(agent) == "url":
        peers = (await node.call(PeersRequest())).peers
        known = next((peer.did for peer in peers if peer.did in (agent, agent_url(agent))), None)
        if known is None:
            raise ConfigurationError(
                f"{agent} is not one of your agents yet.", f"Add it first: mcp-a2a peers add {shlex.quote(agent)}"
            )
        return known
    return (await node.call(GetAgentRequest(agent=agent))).agent.did


def remove(context: typer.Context, name: Name) -> None:
    """Revoke a client's token. The client's tasks are kept."""
    session = session_of(context)
    _folder(session).remove(name)
    session.output.show_fields({"name": name, "removed": True}, lambda: session.output.line(f"Removed {name}."))


callers.command("add", cls=HelpfulCommand, help=help_of(add))(add)
callers.command("grant", cls=HelpfulCommand, help=help_of(grant))(grant)
callers.command("remove", cls=HelpfulCommand, help=help_of(remove))(remove)
