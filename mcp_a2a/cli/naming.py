"""Commands about names: what others call you, and what you call them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.arguments import check_other
from mcp_a2a.cli.columns import Column, Table
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.terminal import answered_for
from mcp_a2a.protocol.naming import why_not_called
from mcp_a2a.server.fence import shown_who

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.config import Settings

ALIASES = (Column("ALIAS", least=12), Column("WORDS", leaves=1), Column("AGENT", least=16))


def name(
    context: typer.Context,
    new: Annotated[str | None, typer.Argument(metavar="NAME", help="The name that others see.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget the name that you chose.")] = False,
) -> None:
    """Show or choose the name that others see.

    The name is kept for this identity. A program that is running takes it at once. In a process that was started with
    --name or MCP_A2A_NAME, that name wins. A name is a label: it proves nothing.
    """
    from mcp_a2a.store.folder import keep_name, open_folder

    session = session_of(context)
    settings = session.settings()
    if new is None and not reset:
        _show_name(session, settings)
        return
    if new is not None and reset:
        raise UsageError("Give a NAME or --reset, not both.")
    if new is not None and (why := why_not_called(new)) is not None:
        raise UsageError(f"You cannot be called {new!r}: {why}.")
    open_folder(settings.home)
    open_folder(settings.folder)
    keep_name(settings.folder, new)
    _show_name(session, settings)


def _show_name(session: Session, settings: Settings) -> None:
    from mcp_a2a.cli.machine import own_identity, told_of_name
    from mcp_a2a.store.folder import read_name

    told = told_of_name(settings.folder)
    called, kept = own_identity(settings).name, read_name(settings.folder)
    given = told.given if told is not None else settings.name
    fields: dict[str, JsonValue] = {"identity": settings.identity, "name": called, "kept": kept, "given": given}

    def tell() -> None:
        session.output.line(called)
        if kept is not None and called != kept:
            running = "The program that runs was started with --name or MCP_A2A_NAME, which wins"
            session.output.note(f"{kept} is kept. {running if told else '--name or MCP_A2A_NAME wins here'}.")

    session.output.show_fields(fields, tell)


def alias(
    context: typer.Context,
    agent: Annotated[
        str | None, typer.Argument(metavar="AGENT", help="The agent: name, did:key, URL, or its alias.")
    ] = None,
    called: Annotated[str | None, typer.Argument(metavar="ALIAS", help="Your name for it.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="ALIAS", help="Forget an alias.")] = None,
) -> None:
    """Give an agent a name of your own.

    Without arguments, your aliases are listed. In commands and tools, an alias means the key of the agent. It wins
    over any name that agents claim, and stays with the key. Other people never see it.
    """
    session = session_of(context)
    if remove is not None:
        if agent is not None:
            raise UsageError("--remove takes an alias and no agent.")
        _remove(session, remove)
    elif agent is None:
        _list(session)
    elif called is None:
        raise UsageError(f"What do you call it? mcp-a2a alias {shlex.quote(agent)} ALIAS")
    else:
        _give(session, agent, called)


def _list(session: Session) -> None:
    from mcp_a2a.store.aliases import Aliases

    aliases = Aliases(session.settings().home).all()

    def tell() -> None:
        if not aliases:
            session.output.note("You have no aliases. Give one: mcp-a2a alias AGENT ALIAS")
            return
        drawn = Table(ALIASES)
        for called, key in sorted(aliases.items()):
            drawn.add(called, _words(key) or "-", render.short_who(key))
        session.output.table(drawn)

    listed: list[JsonValue] = [
        {"alias": called, "did": session.output.who(key), "words": _words(key)}
        for called, key in sorted(aliases.items())
    ]
    session.output.show_fields({"aliases": listed}, tell)


def _words(key: str) -> str:
    """The fingerprint words of a key; none of a URL."""
    from mcp_a2a.errors.protocol import RemoteProtocolError
    from mcp_a2a.protocol.did import PeerId
    from mcp_a2a.protocol.names import fingerprint_words

    try:
        return fingerprint_words(PeerId.parse_untrusted(key))
    except RemoteProtocolError:
        return ""


def _give(session: Session, agent: str, called: str) -> None:
    from mcp_a2a.store.aliases import Aliases

    if (why := why_not_called(called)) is not None:
        raise UsageError(f"An agent cannot have the alias {called!r}: {why}.")
    check_other(agent)
    aliases = Aliases(session.settings().home)
    key = agent if _words(agent) else _key_of(session, agent)
    before = aliases.give(called, key)

    def tell() -> None:
        was = f" (it was {before})" if before is not None and before != called else ""
        session.output.line(f"{called} is your alias for {_words(key) or shown_who(key)}{was}")
        session.output.note(f"{shown_who(key)}\nTo be sure who that is, compare the words with its owner.")

    who = session.output.who(key)
    session.output.show_fields({"alias": called, "did": who, "words": _words(key), "before": before}, tell)


def _key_of(session: Session, agent: str) -> str:
    """The key, or the URL, of the agent that goes by this name now."""
    from mcp_a2a.api.agents import GetAgentRequest
    from mcp_a2a.cli.asking import as_typed

    request = GetAgentRequest(agent=agent, consent=answered_for())
    return session.ask(lambda node: as_typed(node, agent, lambda: node.call(request))).agent.did


def _remove(session: Session, called: str) -> None:
    from mcp_a2a.store.aliases import Aliases

    key = Aliases(session.settings().home).remove(called)
    session.output.show_fields(
        {"removed": called, "did": session.output.who(key)},
        lambda: session.output.line(f"{called} is no longer an alias."),
    )
