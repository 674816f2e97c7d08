"""`mcp-a2a agent init`: a commented file to start an agent from."""

from __future__ import annotations

import importlib.resources
import shlex
from pathlib import Path
from typing import Annotated

import typer

from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import session_of
from mcp_a2a.node.files.beneath import write_new
from mcp_a2a.own_command import own_command
from mcp_a2a.protocol.naming import shown_name, why_not_called

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
