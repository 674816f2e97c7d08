"""The commands that start servers: `serve`, and the demonstration."""

from __future__ import annotations

from typing import Annotated

import typer

from mcp_a2a.cli import serving_options
from mcp_a2a.cli.session import session_of


def serve(
    context: typer.Context,
    listen: Annotated[
        str | None, typer.Option(metavar="[HOST]:PORT", help="Serve over HTTP; without HOST for this machine only.")
    ] = None,
    public_url: serving_options.PublicUrl = None,
    card: serving_options.CardStyle = "dual",
    tls_cert: serving_options.TlsCert = None,
    tls_key: serving_options.TlsKey = None,
    behind_proxy: serving_options.BehindProxy = False,
    a2a_push: serving_options.Push = False,
    a2a_push_local: serving_options.PushLocal = False,
    token: serving_options.AskToken = False,
    show_token: serving_options.ShowToken = False,
    grpc_listen: serving_options.GrpcListen = None,
    grpc_in_card: serving_options.GrpcInCard = False,
    allow_strangers: serving_options.AllowStrangers = False,
) -> None:
    """Run the MCP server for an assistant.

    It speaks MCP on stdin and stdout, or with --listen at http://HOST:PORT/mcp. With --listen it also serves A2A: your
    own agent at http://HOST:PORT/, and every agent that this node sees at /a/NAME/.

    Without HOST, only your own programs on this machine are served. All other clients, including those that come
    through a proxy or a tunnel, need the token. The token is printed when it is created, and is stored with the
    identity.
    """
    from mcp_a2a.cli import serving

    where = serving.listening(
        listen,
        urls=public_url,
        card=card,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
        push=a2a_push,
        push_local=a2a_push_local,
        token=token,
        show_token=show_token,
        grpc=grpc_listen,
        grpc_in_card=grpc_in_card,
    )
    serving.serve(session_of(context).settings(allow_strangers=allow_strangers or None), where)


def demo(context: typer.Context) -> None:
    """Try it out: two agents, an MCP server, and tasks between them.

    Everything runs in a temporary data folder and ends after a few seconds.
    """
    from mcp_a2a.cli.demo import run_demo

    run_demo(session_of(context))
