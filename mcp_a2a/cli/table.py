"""Every command with its line of help and the place of its function, which is imported when the command is used.

`mcp-a2a --help` and completion read this table and no command's module. Record: docs/decisions/0035-quick-reads.md.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

from mcp_a2a.cli.help import HelpfulCommand, HelpfulGroup, help_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer._click import Command, Context, Parameter


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
        alone.command(self.name, cls=HelpfulCommand, help=help_of(found))(found)
        return spare(typer.main.get_command(alone))


COMMANDS = (
    Entry("serve", "starting:serve", "Run the MCP server for an assistant."),
    Entry("demo", "starting:demo", "Try it out: two agents, an MCP server, and tasks between them."),
    Entry("discover", "finding:discover", "List the agents you can send tasks to."),
    Entry("show", "finding:show", "Show one agent: skills, inputs, addresses, words to compare."),
    Entry("send", "tasking:send", "Send a task and print the answer."),
    Entry("task", "tasking:show_task", "Show a task and its answer."),
    Entry("tasks", "tasking:list_tasks", "List tasks sent (→) and received (←), latest change first."),
    Entry("save", "files:save", "Save the files that came with a task."),
    Entry("cancel", "tasking:cancel", "Cancel a task you sent."),
    Entry("forget", "forgetting:forget", "Delete finished tasks: texts, files and results."),
    Entry("inbox", "mailbox:inbox", "Take tasks from your inbox."),
    Entry("answer", "mailbox:answer", "Answer a task from your inbox, or a question about a task you sent."),
    Entry("allow", "finding:allow", "Allow your assistants to send to an agent without asking you."),
    Entry("trust", "finding:trust", "Accept tasks from this agent, including any that are waiting."),
    Entry("block", "finding:block", "Block this agent and discard its pending messages."),
    Entry("invite", "networks:invite", "Create a ticket that lets others join a network."),
    Entry("join", "networks:join", "Join a network with a ticket."),
    Entry("networks", "networks:networks", "List your networks and their relays."),
    Entry("leave", "networks:leave", "Leave a network."),
    Entry("rotate", "networks:rotate", "Replace the secret of a network you created."),
    Entry("ping", "reach:ping", "Measure the round trip to an agent."),
    Entry("netcheck", "reach:netcheck", "Check the network from here: addresses, LAN, relays."),
    Entry("id", "machine:show_id", "Show who you are: name, key, and the words to compare."),
    Entry("name", "naming:name", "Show or choose the name that others see."),
    Entry("alias", "naming:alias", "Give an agent a name of your own."),
    Entry("list", "machine:list_identities", "List the identities in this data folder."),
    Entry("status", "machine:status", "Show this node: network, queues and agents."),
    Entry("repair", "repairing:repair", "Check the database, and repair it if it is damaged."),
    Entry("version", "machine:version", "Print the version; with -v also Python and libraries."),
    Entry("peers", "finding:peers", "List the agents you know and the strangers waiting for a decision."),
    Entry("callers", "callers:callers", "Manage the A2A clients that may call this identity over HTTP."),
    Entry("agent", "agents:agents", "Turn a Python function or a program into an agent."),
    Entry("relay", "relays:relay", "Run a relay for agents on other networks."),
)


class Commands(HelpfulGroup):
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


# Typer converts each value with pydantic, also a text for a text and an option that was not given. Importing pydantic
# takes a tenth of a second, half of what a short answer takes: no library looks at a value that is right already.
TEXTS = (str, str | None)
"""Types of parameters for which any text will do."""


def spare(command: Command) -> Command:
    """The command, and those in it, with parameters that pass such values on as they are."""
    command.get_params = partial(_parameters, command.get_params)  # type: ignore[method-assign]  # also that of --help
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            spare(inner)
    return command


def _parameters(listed: Callable[[Context], list[Parameter]], context: Context) -> list[Parameter]:
    parameters = listed(context)
    for parameter in parameters:
        if "process_value" not in vars(parameter):
            process = partial(_process, parameter, parameter.process_value)
            parameter.process_value = process  # type: ignore[method-assign]  # typer offers no class for parameters
    return parameters


def _process(
    parameter: Parameter, convert: Callable[[Context, object], object], context: Context, value: object
) -> object:
    if value is None and not parameter.required and (parameter.multiple or parameter.nargs == -1):
        value = ()  # as typer has it
    elif not _is_fine(parameter, value):
        return convert(context, value)
    return value if parameter.callback is None else parameter.callback(context, parameter, value)


def _is_fine(parameter: Parameter, value: object) -> bool:
    if parameter.multiple or parameter.nargs != 1:
        return False
    if value is None:
        return not parameter.required
    described = getattr(parameter, "type_descriptor", None)  # older versions convert without pydantic
    annotation = getattr(described, "annotation", None)
    if isinstance(value, str):
        return annotation in TEXTS and not getattr(described, "is_choice", True)
    return value is parameter.default and isinstance(value, int | float)
