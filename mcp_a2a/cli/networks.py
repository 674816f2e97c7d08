"""Commands about networks: who belongs together, past one machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.views import (
    InviteRequest,
    InviteView,
    JoinRequest,
    JoinView,
    LeaveRequest,
    NetworksRequest,
    NetworksView,
    RotateRequest,
    RotateView,
)

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")

Name = Annotated[str, typer.Argument(metavar="NETWORK", help="Its name.")]


def duration(text: str) -> float:
    """Seconds of a time like 30m, 12h or 7d.

    Raises:
        UsageError: it is none.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(f"{text!r} is no time: write 30m, 12h or 7d.")
    return float(match[1]) * UNITS[match[2]]


def invite(
    context: typer.Context,
    network: Annotated[str, typer.Option(metavar="NAME", help="Which network; a new name makes a new one.")],
    relay: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A relay, as `relay serve` prints it. May be repeated.")
    ] = None,
    uses: Annotated[int | None, typer.Option(min=1, max=1000, help="How many agents may join with it.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="How long it is good: 30m, 12h, 7d.")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Also draw it, for a camera.")] = False,
) -> None:
    """Print one ticket that admits to a network: whoever has it can join, and task its agents.

    Without --uses and --expires it is good until the network is rotated. With them a relay counts, and hands the
    network's secret only to so many keys.
    """
    session = session_of(context)
    session.waiting_for = "the relay"
    request = InviteRequest(
        network=network,
        relays=tuple(relay or ()),
        uses=uses,
        expires_seconds=duration(expires) if expires is not None else None,
    )
    view = session.ask(lambda node: node.invite(request))
    session.output.show(view, lambda: _show_ticket(session, view))
    if qr:
        _draw(view.ticket)


def _show_ticket(session: Session, view: InviteView) -> None:
    session.output.line(view.ticket)
    limits = [f"{view.uses} {'agent' if view.uses == 1 else 'agents'}"] if view.uses is not None else []
    limits += [f"until {view.expires}"] if view.expires is not None else []
    whom = ", ".join(limits) or "everybody who has it, until mcp-a2a rotate"
    session.output.note(f"\nThis ticket admits to {view.network.name}: {whom}. Over there, run: mcp-a2a join")
    for warning in view.warnings:
        session.output.note(f"Note: {warning}")


def _draw(ticket: str) -> None:
    import segno  # noqa: PLC0415  for one option of one command

    # Capitals make a smaller picture, and are read the same.
    segno.make(ticket.upper(), error="l").terminal(out=sys.stderr, compact=True)


def join(
    context: typer.Context,
    ticket: Annotated[
        str | None, typer.Argument(metavar="[TICKET]", help="The ticket; without it, or as -, it is asked for.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, max=120, help="Seconds to wait for the relay.")] = 10.0,
) -> None:
    """Join a network by a ticket.

    Without an argument the ticket is asked for, so that it stays out of the list of processes and the history.
    """
    session = session_of(context)
    text = ticket if ticket not in (None, "-") else _ask_for_ticket(session)
    session.waiting_for = "the relay"
    view = session.ask(lambda node: node.join(JoinRequest(ticket=text or "", wait_seconds=wait)))
    session.output.show(view, lambda: _show_joined(session, view))


def _ask_for_ticket(session: Session) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.read()
    session.output.progress("Ticket: ")
    line = sys.stdin.readline()
    session.output.progress("")
    return line


def _show_joined(session: Session, view: JoinView) -> None:
    many = "agent" if view.agents_visible == 1 else "agents"
    verb = "Already in" if view.already_member else "Joined"
    session.output.line(f"{verb} {view.network.name}. {view.agents_visible} {many} visible.")
    for warning in view.warnings:
        session.output.note(f"Note: {warning}")


def networks(context: typer.Context) -> None:
    """List your networks, their relays, and how many agents are in them."""
    session = session_of(context)
    view = session.ask(lambda node: node.networks(NetworksRequest()))
    session.output.show(view, lambda: _show_networks(session, view))


def _show_networks(session: Session, view: NetworksView) -> None:
    if not view.networks:
        session.output.note("You are in no network. mcp-a2a join TICKET, or make one: mcp-a2a invite --network NAME")
        return
    session.output.line("\n".join(line for network in view.networks for line in render.network_lines(network)))


def leave(context: typer.Context, network: Name) -> None:
    """Leave a network: its members no longer see you, and you no longer see them."""
    session = session_of(context)
    session.waiting_for = "the relay"
    view = session.ask(lambda node: node.leave(LeaveRequest(network=network)))
    session.output.show(view, lambda: session.output.line(f"Left {view.name}."))


def rotate(
    context: typer.Context,
    network: Name,
    without: Annotated[
        list[str] | None, typer.Option(metavar="AGENT", help="Who shall be in it no longer. May be repeated.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give a network of yours a new secret, handed sealed to the members that stay.

    Tickets that were given out before admit nobody any more.
    """
    session = session_of(context)
    _confirm(session, network, without or (), yes=yes)
    session.waiting_for = "the relay"
    view = session.ask(lambda node: node.rotate(RotateRequest(network=network, without=tuple(without or ()))))
    session.output.show(view, lambda: _show_rotated(session, view))


def _confirm(session: Session, network: str, without: Sequence[str], *, yes: bool) -> None:
    if yes or not sys.stdin.isatty() or session.options.json:
        return
    out = f", and leave out {', '.join(without)}" if without else ""
    if not typer.confirm(f"Give {network} a new secret{out}? Older tickets stop working.", err=True):
        raise typer.Exit(Exit.DONE)


def _show_rotated(session: Session, view: RotateView) -> None:
    many = "member" if view.told == 1 else "members"
    session.output.line(f"{view.network.name} has a new secret, on its way to {view.told} {many}.")
    for agent in view.left_out:
        session.output.line(f"{agent.name} is no longer in it.")
    for warning in view.warnings:
        session.output.note(f"Note: {warning}")
