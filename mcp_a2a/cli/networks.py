"""Commands about networks: who belongs together, past one machine."""

from __future__ import annotations

import re
import select
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.arguments import check_agent, check_counted, check_ticket, known_network
from mcp_a2a.cli.asking import insist, say_that_it_is_read
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.steps import Steps
from mcp_a2a.errors.networks import NotOwnerError, TicketError, TicketPlaceError
from mcp_a2a.plurals import many
from mcp_a2a.protocol.naming import shown_name
from mcp_a2a.protocol.text import clean, preview

if TYPE_CHECKING:
    from mcp_a2a.api.networks import InviteView, JoinView, NetworksView, RotateView
    from mcp_a2a.screen import Screen

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhd])", re.ASCII)

MAX_EXPIRES_SECONDS = 30 * 86_400
"""A relay keeps no invitation for longer."""

MAX_TICKET_INPUT = 65_536
"""More than any ticket, with all that a mail client puts around its lines."""

PASTE_SECONDS = 0.2
"""Seconds in which the next line of a pasted text must come."""

Name = Annotated[str, typer.Argument(metavar="NETWORK", help="Name of the network.")]


def duration(text: str) -> float:
    """Seconds of a time like 30m, 12h or 7d.

    Raises:
        UsageError: it is none.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * UNITS[match[2]] if match is not None else 0.0
    if seconds <= 0:
        raise UsageError(f"{text!r} is not a duration. Use 30m, 12h or 7d.")
    if seconds > MAX_EXPIRES_SECONDS:
        raise UsageError("A ticket is valid for 30d at most. Without --expires and --uses it does not expire.")
    return seconds


def invite(
    context: typer.Context,
    network: Annotated[str, typer.Option(metavar="NAME", help="The network; a new name creates a new network.")],
    relay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="URL of a relay, as mcp-a2a relay serve prints it, or - to be asked for it. Repeatable."
        ),
    ] = None,
    uses: Annotated[int | None, typer.Option(min=1, max=1000, help="How many agents may join")] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long the ticket is valid: 30m, 12h, 7d.")
    ] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Also draw a QR code.")] = False,
) -> None:
    """Create a ticket that lets others join a network.

    Anyone with the ticket can join and send tasks to the agents in the network. Without --uses and --expires the
    ticket is valid until the network is rotated. With them, a relay counts who joins.

    The URL of a closed relay contains a secret (&admit=…). Use --relay - to type it, or to read it from stdin: then
    it is in no process list and no shell history. Tickets do not contain it.
    """
    from mcp_a2a.api.networks import InviteRequest
    from mcp_a2a.protocol.relay_url import parse_relay_url

    session = session_of(context)
    session.waiting_for = "the relay"
    name = preview(network, 64).strip()
    if not name:
        raise UsageError("A network needs a name, as in mcp-a2a invite --network shop")
    expires_seconds = duration(expires) if expires is not None else None
    for url in relay or ():
        if url != "-":
            parse_relay_url(url)
    request = InviteRequest(network=network, uses=uses, expires_seconds=expires_seconds)
    if not relay and (uses is not None or expires is not None):
        check_counted(session.settings(), name)
    urls = tuple(_read_url(session) if url == "-" else url for url in relay or ())
    request = request.model_copy(update={"relays": urls})
    view = session.ask(lambda node: node.call(request))
    session.output.show(view, lambda: _show_ticket(session, view))
    if qr:
        session.output.drawing(partial(_draw, view.ticket))


def _read_url(session: Session) -> str:
    """The URL of a relay, from a prompt or the next line of stdin."""
    if sys.stdin.isatty():
        session.output.ask("URL of the relay: ")
    text = sys.stdin.readline(MAX_TICKET_INPUT).strip()
    if not text:
        raise UsageError("--relay - reads the URL of a relay from stdin, but stdin is empty.")
    from mcp_a2a.protocol.relay_url import parse_relay_url

    parse_relay_url(text)
    return text


def _show_ticket(session: Session, view: InviteView) -> None:
    session.output.line(view.ticket)
    note, name = session.output.note, view.network.name
    note(f"\nThis ticket admits {_whom(view)} to the network {name!r}. On the other machine, run: mcp-a2a join")
    if view.uses is None:
        note("Give it only to people who may send tasks to your agents. mcp-a2a rotate makes it invalid.")
    for warning in view.warnings:
        note(f"Note: {warning}")


def _whom(view: InviteView) -> str:
    whom = "every agent that has it" if view.uses is None else many(view.uses, "agent")
    return f"{whom}, until {view.expires[:16].replace('T', ' ')} UTC," if view.expires is not None else whom


def _draw(ticket: str, screen: Screen) -> None:
    import segno

    try:
        # Capitals make a smaller picture, and are read the same.
        picture = segno.make(ticket.upper(), error="l", micro=False)
    except segno.DataOverflowError:
        screen.write("This ticket is too long for a QR code.\n")
        return
    compact = screen.can_write("▀▄█")  # else with colors of the background, and twice as wide
    wide = picture.symbol_size()[0] * (1 if compact else 2)
    if screen.columns is not None and wide > screen.columns:
        screen.write(screen.fitted(f"The QR code needs {wide} columns; this terminal has {screen.columns}.") + "\n")
    elif not compact and not screen.color:
        screen.write(screen.fitted("A QR code needs block characters or colors, and this terminal has neither.") + "\n")
    else:
        picture.terminal(out=screen.stream, compact=compact)


def join(
    context: typer.Context,
    ticket: Annotated[
        str | None, typer.Argument(metavar="[TICKET]", help="The ticket. Better without: you are asked for it.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, max=120, metavar="SECONDS", help="How long to wait for the relay")
    ] = 10.0,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow a relay at an address of this machine.")
    ] = False,
) -> None:
    """Join a network with a ticket.

    Without an argument you are asked for the ticket: then it is in no process list and no shell history.
    """
    from mcp_a2a.api.networks import JoinRequest

    session = session_of(context)
    text = ticket if ticket is not None and ticket != "-" else _read_ticket(session)
    check_ticket(text)
    session.waiting_for = "the relay"
    request = JoinRequest(ticket=text, wait_seconds=wait, allow_private=allow_private)
    try:
        view = session.ask(lambda node: node.call(request))
    except TicketPlaceError as error:
        if not sys.stdin.isatty() or session.options.json:
            raise
        insist(session, clean(f"{error.message} Call it?"))
        view = session.ask(lambda node: node.call(request.model_copy(update={"allow_private": True})))
    session.output.show(view, lambda: _show_joined(session, view))


def _read_ticket(session: Session) -> str:
    if not sys.stdin.isatty():
        say_that_it_is_read(session, "the ticket")
        return sys.stdin.read(MAX_TICKET_INPUT)
    session.output.ask("Ticket: ")
    text = sys.stdin.readline()
    # A mail client may have broken it into lines: what was pasted is there already.
    while not _is_whole(text) and select.select([sys.stdin], [], [], PASTE_SECONDS)[0]:
        line = sys.stdin.readline()
        if not line or len(text) > MAX_TICKET_INPUT:
            break
        text += line
    return text


def _is_whole(text: str) -> bool:
    from mcp_a2a.protocol.ticket import Ticket

    try:
        Ticket.parse_untrusted(text)
    except TicketError:
        return False
    return True


def _show_joined(session: Session, view: JoinView) -> None:
    verb = "Already in" if view.already_member else "Joined"
    session.output.line(f"{verb} {view.network.name}. {many(view.agents_visible, 'other agent')} visible.")
    if view.invited_by is not None:
        session.output.note(f"Invited by {shown_name(view.invited_by.name)}   {view.invited_by.did}")
    for warning in view.warnings:
        session.output.note(f"Note: {warning}")


def networks(context: typer.Context) -> None:
    """List your networks and their relays."""
    session = session_of(context)
    view = session.read(_networks, at_rest=True)
    session.show(view, lambda: _show_networks(session, view))


def _networks() -> Steps[NetworksView]:
    return cast("NetworksView", (yield "networks", {}))


def _show_networks(session: Session, view: NetworksView) -> None:
    if not view.networks:
        session.output.note(
            "You are in no network. Join one with its ticket: mcp-a2a join\nMake one: mcp-a2a invite --network NAME"
        )
        return
    session.output.line("\n".join(line for network in view.networks for line in render.network_lines(network)))


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def leave(context: typer.Context, network: Name, yes: Yes = False) -> None:
    """Leave a network.

    Its members no longer see you, and you no longer see them.
    """
    from mcp_a2a.api.networks import LeaveRequest
    from mcp_a2a.store.keyfile import published_did

    session = session_of(context)
    settings = session.settings()
    row = known_network(settings, network)
    if _is_asked(session, yes=yes) and row.owner == published_did(settings.folder):
        insist(session, clean(f"You made {row.name}. When you leave, it can no longer be rotated. Leave anyway?"))
    session.waiting_for = "the relay"
    view = session.ask(lambda node: node.call(LeaveRequest(network=network)))
    session.output.show(view, lambda: session.output.line(f"Left {view.name}."))


def rotate(
    context: typer.Context,
    network: Name,
    without: Annotated[list[str] | None, typer.Option(metavar="AGENT", help="A member to remove. Repeatable.")] = None,
    yes: Yes = False,
) -> None:
    """Replace the secret of a network you created.

    The remaining members receive the new secret sealed. Tickets created before stop working. To remove a person, name
    all of their agents: agents in one data folder share the secrets they receive.
    """
    from mcp_a2a.api.networks import RotateRequest
    from mcp_a2a.store.keyfile import published_did

    session = session_of(context)
    out = tuple(without or ())
    for agent in out:
        check_agent(agent)
    settings = session.settings()
    row = known_network(settings, network)
    if row.owner != published_did(settings.folder):
        raise NotOwnerError(row.name, row.owner)
    request = RotateRequest(network=network, without=out)
    if _is_asked(session, yes=yes):
        if out:  # a person is asked about members only
            session.ask(lambda node: node.call(request.model_copy(update={"check_only": True})))
        leaving = f", and remove {', '.join(out)}" if out else ""
        insist(session, clean(f"Give {row.name} a new secret{leaving}? Older tickets stop working."))
    session.waiting_for = "the relay"
    view = session.ask(lambda node: node.call(request))
    session.output.show(view, lambda: _show_rotated(session, view))


def _is_asked(session: Session, *, yes: bool) -> bool:
    """True if a person is there to be asked first."""
    return not yes and sys.stdin.isatty() and not session.options.json


def _show_rotated(session: Session, view: RotateView) -> None:
    session.output.line(f"{view.network.name} has a new secret, on its way to {many(view.told, 'member')}.")
    for agent in view.left_out:
        session.output.line(f"{agent.name} is no longer in it.")
    if view.left_out and view.stay:
        session.output.note(
            f"These stay: {', '.join(agent.name for agent in view.stay)}. If one of them shares a data folder with a "
            "removed agent, both have the new secret: run this again, with --without for every agent in that folder."
        )
    for warning in view.warnings:
        session.output.note(f"Note: {warning}")
