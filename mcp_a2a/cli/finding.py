"""Commands about agents: who is there, and whom we trust."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.arguments import check_address, check_agent, check_other
from mcp_a2a.cli.asking import HeaderEnv, TokenStdin, as_typed, credentials, insist
from mcp_a2a.cli.help import HelpfulCommand, HelpfulGroup, help_of
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.steps import Steps
from mcp_a2a.cli.terminal import answered_for, can_confirm
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.plurals import many
from mcp_a2a.protocol.naming import kind_of_agent
from mcp_a2a.server.fence import shown_who

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.api.agents import AgentDetail, ConsentRequest, ConsentView, DiscoverView, PeersView, SetTrustView
    from mcp_a2a.ports import NodeApi

Agent = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name or did:key.")]


def discover(
    context: typer.Context,
    query: Annotated[str | None, typer.Argument(help="Words to look for in names, descriptions and skills.")] = None,
    skill: Annotated[str | None, typer.Option(metavar="ID", help="Only agents with this skill.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many agents to show at most")] = 20,
    settle: Annotated[
        float, typer.Option(min=0, max=45, metavar="SECONDS", help="How long to wait for the first answers")
    ] = 2.0,
) -> None:
    """List the agents you can send tasks to."""
    session = session_of(context)
    session.waiting_for = "other agents"
    request: dict[str, JsonValue] = {"query": query, "skill": skill, "limit": limit, "settle_seconds": settle}
    view = session.read(partial(_found, request))
    session.output.show(view, lambda: _show_found(session, view))


def _found(request: Mapping[str, JsonValue]) -> Steps[DiscoverView]:
    return cast("DiscoverView", (yield "discover", request))


def _show_found(session: Session, view: DiscoverView) -> None:
    if view.agents:
        session.output.table(render.agents_table(view.agents))
    if view.total > len(view.agents):
        session.output.note(f"{view.total - len(view.agents)} more. Raise --limit, or add a search word.")
    if view.reason:
        session.output.note(view.reason if view.agents else f"No agents found. {view.reason}")


def show(
    context: typer.Context, agent: Annotated[str, typer.Argument(help="The agent's name, did:key or URL, or self.")]
) -> None:
    """Show one agent: skills, inputs, addresses, words to compare."""
    session = session_of(context)
    check_agent(agent)
    session.waiting_for = agent
    view = _at_url(session, agent) if kind_of_agent(agent) == "url" else session.read(partial(_agent, agent))
    session.output.show(view, lambda: session.output.line("\n".join(render.agent_lines(view))))


def _agent(agent: str) -> Steps[AgentDetail]:
    return cast("AgentDetail", (yield "get_agent", {"agent": agent}))


def _at_url(session: Session, agent: str) -> AgentDetail:
    """An agent by its URL, which may have to be called first."""
    from mcp_a2a.api.agents import GetAgentRequest

    request = GetAgentRequest(agent=agent, consent=answered_for())
    return session.ask(lambda node: as_typed(node, agent, lambda: node.call(request)))


peers = typer.Typer(
    help="List the agents you know and the strangers waiting for a decision.",
    cls=HelpfulGroup,
    add_completion=False,
)


@peers.callback(invoke_without_command=True)
def list_peers(context: typer.Context) -> None:
    """List the agents you know, online or not, and the strangers waiting for your decision."""
    if context.invoked_subcommand is not None:
        return
    session = session_of(context)
    view = session.read(_known_agents, at_rest=True)
    session.show(view, lambda: _show_peers(session, view))


def _known_agents() -> Steps[PeersView]:
    yield "discover", {"settle_seconds": 1.0}  # so that who is there is not shown as away
    return cast("PeersView", (yield "peers", {}))


def add_peer(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Argument(metavar="ADDRESS", help="HOST:PORT (its mcp-a2a status shows it), or the URL of an A2A agent."),
    ],
    token_stdin: TokenStdin = False,
    header_env: HeaderEnv = None,
) -> None:
    """Add an agent by its address, where discovery does not find it.

    From then on, an A2A agent at a URL is listed like any other. Its credential is stored in the data folder, which
    only you can read, and is sent to that host only. Adding the URL again without a credential keeps the old one.
    """
    from mcp_a2a.api.agents import AddPeerRequest

    session = session_of(context)
    session.waiting_for = address
    check_address(address)
    headers = credentials(address, header_env, token_stdin=token_stdin)
    view = session.ask(lambda node: node.call(AddPeerRequest(address=address, headers=headers)))
    session.output.show(view, lambda: session.output.table(render.agents_table([view])))


def remove_peer(
    context: typer.Context, agent: Annotated[str, typer.Argument(metavar="URL", help="The URL of an A2A agent.")]
) -> None:
    """Remove an A2A agent at a URL and its credential, and cancel its open tasks."""
    from mcp_a2a.api.agents import SetTrustRequest

    if kind_of_agent(agent) != "url":
        raise UsageError(
            "Only agents at URLs can be removed. For other agents: mcp-a2a trust AGENT --undo, or mcp-a2a block AGENT"
        )
    check_agent(agent)
    session = session_of(context)
    view = session.ask(lambda node: node.call(SetTrustRequest(agent=agent, level="stranger")))
    who = f"{view.agent.name} ({shown_who(view.agent.did)})"
    session.output.show(view, lambda: session.output.line(f"Removed {who}."))


peers.command("add", cls=HelpfulCommand, help=help_of(add_peer))(add_peer)
peers.command("remove", cls=HelpfulCommand, help=help_of(remove_peer))(remove_peer)


def _show_peers(session: Session, view: PeersView) -> None:
    if view.peers:
        session.output.table(render.agents_table(view.peers, looked=not session.is_resting))
    else:
        session.output.note("You know no agents yet. Look around: mcp-a2a discover")
    if view.contacts:
        session.output.note("\nThese strangers sent you something. Decide: mcp-a2a trust DID, or mcp-a2a block DID")
    for contact in view.contacts:
        session.output.line("\n".join(render.contact_lines(contact)))


Undo = Annotated[bool, typer.Option("--undo", help="Undo the decision: the agent is a stranger again.")]


def trust(context: typer.Context, agent: Agent, undo: Undo = False) -> None:
    """Accept tasks from this agent, including any that are waiting.

    First compare the words with those that its owner sees by running `mcp-a2a id`.
    """
    _decide(session_of(context), agent, "stranger" if undo else "trusted")


def block(context: typer.Context, agent: Agent, undo: Undo = False) -> None:
    """Block this agent and discard its pending messages."""
    _decide(session_of(context), agent, "stranger" if undo else "blocked")


def _decide(session: Session, agent: str, level: Literal["trusted", "blocked", "stranger"]) -> None:
    from mcp_a2a.api.agents import DiscoverRequest, SetTrustRequest

    check_other(agent)
    request = SetTrustRequest(agent=agent, level=level)

    async def operate(node: NodeApi) -> SetTrustView:
        try:
            return await node.call(request)
        except PeerNotFoundError:  # a node that has just started has met no agent yet
            await node.call(DiscoverRequest())
            return await node.call(request)

    session.waiting_for = agent
    view = session.ask(operate)
    session.output.show(view, lambda: session.output.line(_decision(view, level)))


def _decision(view: SetTrustView, level: str) -> str:
    who = f"{view.agent.name} ({view.agent.words})"
    match level:
        case "trusted":
            text = f"{who} may send you tasks."
        case "blocked":
            text = f"{who} is blocked."
        case _:
            text = f"{who} is a stranger again: its messages wait for your decision."
    if view.released:
        text += f" {many(view.released, 'waiting message')} delivered."
    if view.dropped:
        text += f" {many(view.dropped, 'waiting message')} discarded."
    return text


# The command that lets a person allow what an assistant may send, and to whom.


def allow(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The agent's did:key or URL, or your alias for it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Ask me again from now on.")] = False,
) -> None:
    """Allow your assistants to send to an agent without asking you.

    You see who the agent is and confirm at the terminal; no option confirms for you. This does not change what the
    agent may send to you: `mcp-a2a trust` does.
    """
    from mcp_a2a.api.agents import ConsentRequest
    from mcp_a2a.store.aliases import Aliases

    session = session_of(context)
    key = Aliases(session.settings().home).meant(key)
    if kind_of_agent(key) == "name":
        raise UsageError("Name the agent by its did:key, its URL or your alias: any agent can claim any name.")
    check_agent(key, beginning=True)
    if undo:
        done = _ask_consent(session, ConsentRequest(agent=key, answer="forgotten"))
        again = f"You are asked again before anything is sent to {done.key}"
        session.output.show(done, lambda: session.output.line(again))
        return
    if not can_confirm():
        raise UsageError(
            "A person has to confirm this, so it needs a terminal. To let a server send without asking, start it with "
            "--allow-strangers."
        )
    view = _ask_consent(session, ConsentRequest(agent=key, meet=True))
    session.output.ask("".join(f"{line}\n" for line in render.consent_lines(view)))
    insist(session, "Let your assistants send tasks and files to it?")
    done = _ask_consent(session, ConsentRequest(agent=view.agent.did, answer="allowed", files=True))
    session.output.show(
        done, lambda: session.output.line(f"Your assistants may now send tasks and files to {done.key}")
    )


def _ask_consent(session: Session, request: ConsentRequest) -> ConsentView:
    return session.ask(lambda node: node.call(request))
