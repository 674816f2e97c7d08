"""Commands about who may talk A2A to this identity over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import JsonValue

from mcp_a2a.cli.examples import epilog, help_of
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.store.callers import CallerFolder
from mcp_a2a.store.folder import open_folder

callers = typer.Typer(help="Clients that may talk A2A to this identity over HTTP, each with a token of its own.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call it; only you see the name.")]


def _folder(session: Session) -> CallerFolder:
    settings = session.settings()
    open_folder(settings.home)
    return CallerFolder(open_folder(settings.folder))


@callers.callback(invoke_without_command=True)
def list_callers(context: typer.Context) -> None:
    """List the clients that may talk A2A to this identity over HTTP; each sees its own tasks only."""
    if context.invoked_subcommand is not None:
        return
    session = session_of(context)
    rows = _folder(session).rows()
    listed: list[JsonValue] = [{"name": row.name, "since": row.since} for row in rows]

    def tell() -> None:
        for row in rows:
            session.output.line(f"{row.name:<24} since {row.since}")
        if not rows:
            session.output.note("Nobody but you. Let a client in: mcp-a2a callers add NAME")

    session.output.show_fields({"callers": listed}, tell)


def add(context: typer.Context, name: Name) -> None:
    """Let a client in, and print its token: it is shown this once."""
    session = session_of(context)
    token = _folder(session).add(name)

    def tell() -> None:
        session.output.line(token)
        session.output.note(f"{name} sends it as the header Authorization: Bearer TOKEN. It is not shown again.")

    session.output.show_fields({"name": name, "token": token}, tell)


def remove(context: typer.Context, name: Name) -> None:
    """Let a client in no more. Its tasks stay."""
    session = session_of(context)
    _folder(session).remove(name)
    session.output.show_fields({"name": name, "removed": True}, lambda: session.output.line(f"{name} is removed"))


callers.command("add", help=help_of(add), epilog=epilog("callers add"))(add)
callers.command("remove", help=help_of(remove), epilog=epilog("callers remove"))(remove)
