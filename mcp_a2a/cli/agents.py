"""Commands that make this process an agent."""

from __future__ import annotations

import importlib.resources
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_a2a.cli.generated import options_from
from mcp_a2a.cli.help import HelpfulCommand, HelpfulGroup, help_of
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.node.files.safe_open import write_new
from mcp_a2a.own_command import own_command
from mcp_a2a.protocol.naming import shown_name, why_not_called
from mcp_a2a.screen import put_end
from mcp_a2a.serving_options import ServingOptions

if TYPE_CHECKING:
    from mcp_a2a.agent.service import Service
    from mcp_a2a.api.agents import AgentDetail
    from mcp_a2a.config import Settings
    from mcp_a2a.node.worker.command import CommandSkill
    from mcp_a2a.protocol.model import AgentSkill
    from mcp_a2a.server.hosting import Served
    from mcp_a2a.server.listening import Listening

agents = typer.Typer(
    cls=HelpfulGroup,
    help="Turn a Python function or a program into an agent.",
    add_completion=False,
)

A2AListen = Annotated[
    str | None, typer.Option(metavar="[HOST]:PORT", help="Serve A2A over HTTP; without HOST for this machine only.")
]

Accept = Annotated[
    str | None,
    typer.Option(metavar="trusted|anyone", help="Whose tasks to accept right away; others wait for your decision."),
]

Variables = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="An environment variable to pass to the program. Repeatable."),
]

AcceptRate = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="With --accept anyone: new tasks per minute from each stranger (30)."),
]


@options_from(ServingOptions, "serving", ServingOptions.of)
def run_file(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="FILE.py[:NAME]", help="A Python file with an Agent or @skill functions.")
    ],
    accept: Accept = None,
    accept_rate: AcceptRate = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Tasks to run at a time, instead of the agent's own limit.")
    ] = None,
    a2a_listen: A2AListen = None,
    *,
    serving: ServingOptions,
) -> None:
    """Run an agent from a Python file, until Ctrl-C."""
    from mcp_a2a.agent.hosting import agent_settings
    from mcp_a2a.agent.loading import load_agent
    from mcp_a2a.agent.service import Service
    from mcp_a2a.cli.serving import listening

    where = listening(a2a_listen, serving, "--a2a-listen")
    session = session_of(context)
    agent = load_agent(target)
    settings = agent_settings(session.settings(accept=accept, accept_rate=accept_rate), agent.name)
    service = agent.service(settings.called)
    if concurrency is not None:
        service = Service(service.card, service.handler, concurrency)
    _serve(session, service, settings, where)


@options_from(ServingOptions, "serving", ServingOptions.of)
def run_command(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND…", help="The program to run for each task.")
    ] = None,
    skill: Annotated[
        list[str] | None, typer.Option(metavar="ID[=DESCRIPTION]", help="A skill to offer. Repeatable.")
    ] = None,
    description: Annotated[str, typer.Option(help="One sentence about the agent.")] = "",
    accept: Accept = None,
    accept_rate: AcceptRate = None,
    env: Variables = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Tasks to run at a time.")] = 1,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time limit for a task.")] = 3_600.0,
    idle_timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Time limit without any output.")
    ] = 600.0,
    max_output: Annotated[int, typer.Option(min=1, metavar="BYTES", help="Output limit.")] = 524_288,
    a2a_listen: A2AListen = None,
    *,
    serving: ServingOptions,
) -> None:
    """Run any program as an agent: it reads the task on stdin and prints the result.

    The program is started once for each task, without a shell. Everything that it starts ends with it. Its environment
    has PATH, HOME, LANG, LC_*, TERM, TMPDIR, USER, the variables named with --env, and MCP_A2A_SKILL, _TASK_ID,
    _SENDER, _ATTEMPT, _HOP and _FILES.

    If the exit code is not 0, the task fails with the end of the program's error output. If a signal kills the
    program, it is started again.
    """
    from mcp_a2a.agent.hosting import agent_settings
    from mcp_a2a.cli.serving import listening
    from mcp_a2a.node.worker.command import CommandSkill, Limits, cleaned_environment, find_command
    from mcp_a2a.store.work_folder import workroom

    if not command:
        raise UsageError("Name the program after two dashes: mcp-a2a agent exec --name rev -- rev")
    where = listening(a2a_listen, serving, "--a2a-listen")
    session = session_of(context)
    environment = cleaned_environment(os.environ, env or ())
    find_command(command, environment)
    limits = Limits(idle_timeout, timeout, max_output)
    settings = agent_settings(session.settings(accept=accept, accept_rate=accept_rate), _name_of(session, command))
    cards = _skills(skill or [], command)
    with workroom(settings.home) as room:
        skills = {card.id: CommandSkill(card.id, command, environment, limits, room) for card in cards}
        _serve(session, _service_of(settings, description, cards, skills, concurrency), settings, where)


def _service_of(
    settings: Settings,
    description: str,
    cards: Sequence[AgentSkill],
    skills: Mapping[str, CommandSkill],
    concurrency: int,
) -> Service:
    from mcp_a2a.agent.service import Router, Service, service_card

    name = settings.called or shown_name(settings.identity)
    return Service(service_card(name, description, "0.0.0", cards), Router(name, skills), concurrency)


def _name_of(session: Session, command: list[str]) -> str:
    if (given := session.settings().name) is not None:
        return given
    name = shown_name(Path(command[0]).name) or "command"
    if (why := why_not_called(name)) is not None:
        raise UsageError(f"An agent cannot be called {name!r}: {why}. Name it: --name NAME")
    return name


def _skills(texts: list[str], command: list[str]) -> list[AgentSkill]:
    from mcp_a2a.agent.service import slug
    from mcp_a2a.protocol.model import AgentSkill

    program = Path(command[0]).name
    cards: dict[str, AgentSkill] = {}
    for text in texts or [slug(program)]:
        skill_id, _, description = text.partition("=")
        if not skill_id.strip() or len(skill_id) > 128 or skill_id in cards:
            raise UsageError(
                f"--skill {text!r}: give each skill an id of its own, as in --skill reverse='Reverses text'."
            )
        name = skill_id.replace("-", " ").replace("_", " ").capitalize()
        cards[skill_id] = AgentSkill(
            id=skill_id,
            name=name,
            description=description or f"{name}, done by {program}",
            input_modes=("text/plain", "*/*"),  # a program finds files of any kind in its folder
        )
    return list(cards.values())


def _serve(session: Session, service: Service, settings: Settings, a2a: Listening | None) -> None:
    from mcp_a2a.agent.console import console
    from mcp_a2a.agent.hosting import host_service, until_signalled
    from mcp_a2a.cli.exits import leave_soon
    from mcp_a2a.cli.serving import applied, check_ports
    from mcp_a2a.loop import run

    settings = applied(settings, a2a)
    options = session.options
    to = console(as_json=options.json, quiet=options.is_quiet, ascii_only=options.ascii)
    if a2a is not None:
        check_ports(a2a)

    async def operate() -> None:
        async with until_signalled() as stopping, session.waiting(f"{service.card.name} to start") as started:

            def ready(me: AgentDetail, served: Served | None) -> None:
                started()
                to.ready(me, served)

            await host_service(service, settings, replace(to, ready=ready), stopping, a2a)
        leave_soon()

    run(operate)
    if options.verbosity >= 0:
        put_end(sys.stderr)


# `mcp-a2a agent init`: a commented file to start an agent from.

NAME_IN_STARTER = "my-agent"

SOURCE_MODE = 0o666
"""It is source like any other, and no secret: the umask says who may read it."""


def starter_source(name: str, file: str) -> str:
    """The source of an agent with this name, as it is written to this file."""
    text = importlib.resources.files("mcp_a2a.agent").joinpath("starter.py").read_text("utf-8")
    return text.replace(NAME_IN_STARTER, name).replace("THIS_FILE", file)


def init(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="The file to write.")] = Path("my_agent.py"),
) -> None:
    """Write a commented Python file to start an agent from.

    The agent is named after the file. An existing file is never changed.
    """
    if file.suffix != ".py":
        raise UsageError(f"{str(file)!r} is not a Python file: mcp-a2a agent init my_agent.py")
    name = shown_name(file.stem.replace("_", "-"))
    if (why := why_not_called(name)) is not None:
        raise UsageError(f"No agent can be named after {str(file)!r}: {why}. Name another file.")
    try:
        write_new(file, iter((starter_source(name, file.name).encode(),)), mode=SOURCE_MODE)
    except FileExistsError:
        raise UsageError(f"{file} already exists. Choose another file.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from None
    output = session_of(context).output

    def tell() -> None:
        output.line(f"Created {file}: the agent {name}, with two skills.")
        output.note("Start it, and try it from another terminal:")
        output.verbatim(f"  {own_command()} agent run {shlex.quote(str(file))}")
        output.verbatim(f'  {own_command()} send {name} "hello wide world"')

    output.show_fields({"file": str(file.absolute()), "name": name}, tell)


agents.command("init", cls=HelpfulCommand, help=help_of(init))(init)
agents.command("run", cls=HelpfulCommand, help=help_of(run_file))(run_file)
agents.command("exec", cls=HelpfulCommand, help=help_of(run_command))(run_command)
