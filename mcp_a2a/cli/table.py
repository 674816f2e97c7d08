"""Every command with its line of help and the place of its function, which is imported when the command is used.

`mcp-a2a --help` and completion read this table and no command's module. Record: docs/decisions/0035-quick-reads.md.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

from mcp_a2a.cli.coercion import spare
from mcp_a2a.cli.examples import epilog, help_of

if TYPE_CHECKING:
    from typer._click import Command, Context


@dataclass(frozen=True)
class Entry:
    """One command, or a group of them."""

    name: str
    place: str
    """MODULE:NAME below `mcp_a2a.cli`: of a function, or of the `typer.Typer` of a group."""
    line: str
    """The first paragraph of its help."""

    def load(self) -> Command:
        """The command itself."""
        module, _, attribute = self.place.partition(":")
        found = getattr(importlib.import_module(f"mcp_a2a.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            group = spare(typer.main.get_command(found))
            group.name = self.name
            return group
        alone = typer.Typer(add_completion=False)
        alone.command(self.name, help=help_of(found), epilog=epilog(self.name))(found)
        return spare(typer.main.get_command(alone))


COMMANDS = (
    Entry(
        "serve",
        "starting:serve",
        "Serve MCP to an assistant: on stdin and stdout, or with --listen at http://HOST:PORT/mcp.",
    ),
    Entry(
        "demo",
        "starting:demo",
        "Start two agents and an MCP server, send tasks from end to end, and clean up. Takes some seconds.",
    ),
    Entry("discover", "finding:discover", "List the agents you can send tasks to."),
    Entry("show", "finding:show", "Show everything about one agent: skills, inputs, addresses, fingerprint words."),
    Entry("send", "tasking:send", "Send a task and print its answer."),
    Entry("task", "tasking:show_task", "Show where a task stands, and its answer; waits a moment for it."),
    Entry("tasks", "tasking:list_tasks", "List tasks, sent (→) and received (←), the newest change first."),
    Entry(
        "save",
        "files:save",
        "Write the files that came with a task, under harmless names; nothing is overwritten.",
    ),
    Entry("cancel", "tasking:cancel", "Withdraw a task you sent; its worker stops."),
    Entry(
        "forget",
        "forgetting:forget",
        "Remove the texts, files and results of finished tasks, sent and received, and free their space.",
    ),
    Entry(
        "inbox",
        "mailbox:inbox",
        "Take tasks that others sent you; each is yours for 15 minutes, then it is offered again.",
    ),
    Entry(
        "answer",
        "mailbox:answer",
        "Answer a task from your inbox; or, for a task you sent, the question that its agent asked.",
    ),
    Entry(
        "allow",
        "allowing:allow",
        "Let your assistants and scripts send tasks and files to an agent, without being asked again.",
    ),
    Entry("trust", "finding:trust", "Take tasks of this agent from now on, and those of it that wait."),
    Entry("block", "finding:block", "Take nothing of this agent any more, and drop what waits."),
    Entry(
        "invite",
        "networks:invite",
        "Print one ticket that admits to a network: whoever has it can join, and task its agents.",
    ),
    Entry("join", "networks:join", "Join a network by a ticket."),
    Entry("networks", "networks:networks", "List your networks, their relays, and how many agents are in them."),
    Entry("leave", "networks:leave", "Leave a network: its members no longer see you, and you no longer see them."),
    Entry("rotate", "networks:rotate", "Give a network of yours a new secret, handed sealed to the members that stay."),
    Entry(
        "ping",
        "reach:ping",
        "Send sealed messages to an agent's node and time its signed receipts: the whole way, keys and all.",
    ),
    Entry("netcheck", "reach:netcheck", "Try out what of the network works from here: listening, the LAN, each relay."),
    Entry("id", "machine:show_id", "Show who you are to others: name, key, and the words to compare."),
    Entry("list", "machine:list_identities", "List the identities of this data folder, and which of them run."),
    Entry("status", "machine:status", "Show this node and its network: listeners, sources of agents, queues, agents."),
    Entry(
        "repair",
        "repairing:repair",
        "Check the database of this identity from end to end, and save what can be read where it is damaged.",
    ),
    Entry("version", "machine:version", "Print the version; with -v also those of what it runs on."),
    Entry("peers", "finding:peers", "Everybody known by key, and the strangers who wait for your decision."),
    Entry(
        "callers",
        "callers:callers",
        "Clients that may talk A2A to this identity over HTTP, each with a token of its own.",
    ),
    Entry("agent", "agents:agents", "Make a Python file or a program an agent."),
    Entry(
        "relay",
        "relays:relay",
        "Run a relay: it keeps sealed messages for agents that are elsewhere, or not there, and can read none of them.",
    ),
)


class Commands(TyperGroup):
    """The group of all commands: it lists them by the table, and imports the one that is used."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # what typer makes a group with
        self.entries = {entry.name: entry for entry in COMMANDS}
        for entry in COMMANDS:
            self.add_command(TyperCommand(entry.name, help=entry.line))
        spare(self)

    @override
    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """The command that words begin with, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, (self.entries[name].load() if name in self.entries else command), rest
