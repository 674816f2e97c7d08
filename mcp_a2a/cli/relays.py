"""Commands of the operator of a relay."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.generated import options_from
from mcp_a2a.cli.help import HelpfulCommand, HelpfulGroup, help_of
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.relay_options import RelayOptions
from mcp_a2a.screen import put_end

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.api.request import A, Request
    from mcp_a2a.config import RelaySettings
    from mcp_a2a.relay_operator import ServingRelay

relay = typer.Typer(
    cls=HelpfulGroup,
    help="Run a relay for agents on other networks.\n\nA relay stores sealed messages until their recipients fetch "
    "them. It cannot read them.",
    add_completion=False,
)

Member = Annotated[
    str, typer.Argument(metavar="DID", help="did:key of an agent (mcp-a2a id) or of a network (mcp-a2a networks).")
]


@options_from(RelayOptions, "given", dict)
def serve(context: typer.Context, given: Mapping[str, object]) -> None:
    """Run a relay until Ctrl-C, and print its URL for `mcp-a2a invite --relay`.

    The URL contains the key of the relay, so that no other server can pose as it. A relay is closed by default: the
    first
    start prints the URL with a secret (&admit=…), and networks created with that URL are admitted. The secret is shown
    only
    once; `mcp-a2a relay url --new` creates another. With --open the relay serves all agents, within its limits.
    """
    import anyio

    from mcp_a2a.loop import run

    session = session_of(context)
    settings = _settings(session, given)

    async def operate() -> None:
        from mcp_a2a.relaying import serve_relay

        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with session.waiting("the relay to start") as started, serve_relay(settings) as serving:
                started()
                _say_where(session, serving, closed=settings.closed)
                async for _ in signals:
                    return

    run(operate)
    if session.options.verbosity >= 0:
        put_end(sys.stderr)


def _settings(session: Session, given: Mapping[str, object]) -> RelaySettings:
    from mcp_a2a.config import load_relay_settings

    return load_relay_settings({"home": session.settings().home, **given})


def _say_where(session: Session, serving: ServingRelay, *, closed: bool) -> None:
    fields: dict[str, JsonValue] = {
        "url": serving.admission_url or serving.url,
        "relay": str(serving.relay),
        "port": serving.port,
        "closed": closed,
        "folder": str(serving.folder),
        "warnings": list(serving.warnings),
    }
    note = session.output.note
    session.output.show_fields(fields, lambda: session.output.line(serving.admission_url or serving.url))
    note(f"This relay runs until Ctrl-C. Its data is in {serving.folder}")
    for warning in serving.warnings:
        note(f"Note: {warning}")
    if serving.admission_url is not None:
        note("The URL contains a secret that admits networks. It is shown only once, and is in no ticket.")
        note("Create a ticket:  mcp-a2a invite --network NAME --relay -   (it asks for the URL)")
    elif closed:
        note(
            "It is closed. Its URL with a new admission secret:  mcp-a2a relay url --new   Or:  mcp-a2a relay admit DID"
        )
    else:
        note(f"Create a ticket:  mcp-a2a invite --network NAME --relay '{serving.url}'")


def status(context: typer.Context) -> None:
    """Show the relay in this data folder: connections, stored messages, totals."""
    session = session_of(context)
    from mcp_a2a.api.relay import RelayStatusRequest

    view = _ask(session, RelayStatusRequest())
    session.output.show(view, lambda: session.output.line("\n".join(render.relay_lines(view))))


def url(
    context: typer.Context,
    new: Annotated[
        bool, typer.Option("--new", help="Create a new admission secret; the old one stops working.")
    ] = False,
) -> None:
    """Print the URL of the relay that runs in this data folder.

    With --new the URL contains an admission secret, which is shown only once. Admitted networks stay admitted.
    """
    session = session_of(context)
    from mcp_a2a.api.relay import RelayUrlRequest

    view = _ask(session, RelayUrlRequest(new=new))
    try:
        session.output.show(view, lambda: session.output.line(view.url))
    except OSError as error:
        if not view.admits:
            raise
        next_step = "The old secret no longer works. For another: mcp-a2a relay url --new"
        raise session.output.lost(error, next_step) from error
    if view.admits:
        session.output.note("It is shown only once. Use it with: mcp-a2a invite --network NAME --relay -")


def members(context: typer.Context) -> None:
    """List the agents and networks that are admitted or revoked."""
    session = session_of(context)
    from mcp_a2a.api.relay import RelayMembersRequest

    view = _ask(session, RelayMembersRequest())

    def tell() -> None:
        if view.members:
            for member in view.members:
                session.output.line("\n".join(render.relay_member_lines(member)))
        elif view.closed:
            session.output.note("No network is admitted yet: mcp-a2a relay url --new, or mcp-a2a relay admit DID")
        else:
            session.output.note("The list is empty: this relay is open, or it is not running.")

    session.output.show(view, tell)


def admit(
    context: typer.Context,
    member: Member,
    note: Annotated[str, typer.Option(metavar="TEXT", help="A note to yourself.")] = "",
) -> None:
    """Admit an agent, or all members of a network, to a closed relay."""
    session = session_of(context)
    from mcp_a2a.api.relay import RelayAdmitRequest

    view = _ask(session, RelayAdmitRequest(member=member, note=note))
    session.output.show(view, lambda: session.output.line(f"Admitted {view.member}."))


def revoke(context: typer.Context, member: Member) -> None:
    """Exclude an agent or a network from the relay. This takes effect within a second."""
    session = session_of(context)
    from mcp_a2a.api.relay import RelayRevokeRequest

    view = _ask(session, RelayRevokeRequest(member=member))
    session.output.show(view, lambda: session.output.line(f"Revoked {view.member}."))


def _ask(session: Session, request: Request[A]) -> A:
    from mcp_a2a.loop import run
    from mcp_a2a.relay_admin import ask_relay

    home = session.settings().home

    async def operate() -> A:
        async with session.waiting("the relay"):
            return await ask_relay(home, request)

    return run(operate)


for _name, _command in (
    ("serve", serve), ("url", url), ("status", status), ("members", members), ("admit", admit), ("revoke", revoke),
):  # fmt: skip
    relay.command(_name, cls=HelpfulCommand, help=help_of(_command))(_command)
