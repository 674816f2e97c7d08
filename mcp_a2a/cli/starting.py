"""The commands that start servers: `serve`, and the demonstration."""

from __future__ import annotations

from typing import Annotated

import typer

from mcp_a2a.cli.generated import options_from
from mcp_a2a.cli.options import Options
from mcp_a2a.cli.session import session_of
from mcp_a2a.serving_options import ServingOptions


@options_from(ServingOptions, "serving", ServingOptions.of)
def serve(
    context: typer.Context,
    listen: Annotated[
        str | None, typer.Option(metavar="[HOST]:PORT", help="Serve over HTTP; without HOST for this machine only.")
    ] = None,
    *,
    serving: ServingOptions,
    allow_strangers: Annotated[
        bool,
        typer.Option(
            "--allow-strangers", help="Send to strangers without asking you. Variable: MCP_A2A_ALLOW_STRANGERS."
        ),
    ] = False,
) -> None:
    """Run the MCP server for an assistant.

    It speaks MCP on stdin and stdout, or with --listen at http://HOST:PORT/mcp. With --listen it also serves A2A: your
    own agent at http://HOST:PORT/, and every agent that this node sees at /a/NAME/.

    Without HOST, only your own programs on this machine are served. All other clients, including those that come
    through a proxy or a tunnel, need the token. The token is printed when it is created, and is stored with the
    identity.
    """
    from mcp_a2a.cli.serving import listening
    from mcp_a2a.cli.serving import serve as run_server

    settings = session_of(context).settings(allow_strangers=allow_strangers or None)
    run_server(settings, listening(listen, serving), Options())


def demo(context: typer.Context) -> None:
    """Try it out: two agents, an MCP server, and tasks between them.

    Everything runs in a temporary data folder and ends after a few seconds.
    """
    from mcp_a2a.cli.demo import run_demo

    run_demo(session_of(context))
