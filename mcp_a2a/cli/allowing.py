"""The command that lets a person allow what an assistant may send, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.arguments import check_agent
from mcp_a2a.cli.asking import insist
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.terminal import can_confirm
from mcp_a2a.protocol.naming import key_beginning
from mcp_a2a.protocol.web_url import is_web

if TYPE_CHECKING:
    from mcp_a2a.api.agents import ConsentRequest, ConsentView


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
    if not (is_web(key) or key.startswith("did:") or key_beginning(key)):
        raise UsageError("Name the agent by its did:key, its URL or your alias: any agent can claim any name.")
    check_agent(key, beginning=True)
    if undo:
        done = _ask(session, ConsentRequest(agent=key, answer="forgotten"))
        again = f"You are asked again before anything is sent to {done.key}"
        session.output.show(done, lambda: session.output.line(again))
        return
    if not can_confirm():
        raise UsageError(
            "A person has to confirm this, so it needs a terminal. To let a server send without asking, start it with "
            "--allow-strangers."
        )
    view = _ask(session, ConsentRequest(agent=key, meet=True))
    session.output.ask("".join(f"{line}\n" for line in render.consent_lines(view)))
    insist(session, "Let your assistants send tasks and files to it?")
    done = _ask(session, ConsentRequest(agent=view.agent.did, answer="allowed", files=True))
    session.output.show(
        done, lambda: session.output.line(f"Your assistants may now send tasks and files to {done.key}")
    )


def _ask(session: Session, request: ConsentRequest) -> ConsentView:
    return session.ask(lambda node: node.call(request))
