"""Answers of a person at the terminal, and texts and credentials from the standard input."""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.options import UsageError
from mcp_a2a.cli.session import Session
from mcp_a2a.cli.terminal import answered_for
from mcp_a2a.errors.web import AddressNotAllowedError
from mcp_a2a.protocol.naming import kind_of_agent

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
"""The answers that a person may type; a bare Enter is the one that changes nothing."""

MAX_ANSWER = 65_536

SILENT_SECONDS = 1.0
"""Seconds of silence of a pipe after which a line says that it is read."""


def agrees(session: Session, question: str) -> bool:
    """A person's yes or no. Any other word is asked about again.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    while True:
        session.output.ask(f"{question} [y/N]: ")
        line = sys.stdin.readline(MAX_ANSWER)
        if not line.endswith("\n"):
            session.output.ask("\n")  # so that what is said next begins a line
            if not line:
                return False
        answer = ANSWERS.get(line.strip().casefold())
        if answer is not None:
            return answer
        session.output.ask("Please answer y or n.\n")


def say_that_it_is_read(session: Session, what: str) -> None:
    """Say that standard input is read, where nothing comes of it: a program that waits in silence looks broken."""
    with suppress(OSError, ValueError):  # what is no descriptor is read at once
        if not select.select([sys.stdin.fileno()], [], [], SILENT_SECONDS)[0]:
            session.output.note(f"Reading {what} from standard input, until its end.")


async def next_line(session: Session, prompt: str) -> str:
    """Ask for a line of text while a node runs; empty at the end of the input.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    import anyio

    session.output.ask(prompt)
    with session.unobserved():
        with suppress(OSError, ValueError):  # what is no descriptor that can be waited for is read at once
            await anyio.wait_readable(sys.stdin.fileno())
        line = sys.stdin.readline(MAX_ANSWER)
    if not line.endswith("\n"):
        session.output.ask("\n")
    return line


def insist(session: Session, question: str, *, otherwise: str = "Nothing was changed.") -> None:
    """Go on only with a yes.

    Raises:
        typer.Exit: the person said no.
        KeyboardInterrupt: Ctrl-C.
    """
    if not agrees(session, question):
        session.output.note(otherwise)
        raise typer.Exit(Exit.REFUSED)


# Agents at URLs on the command line: a URL that a person types may be private, and credentials are no arguments.

T = TypeVar("T")

MAX_TOKEN = 16_384
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")

TokenStdin = Annotated[bool, typer.Option("--token-stdin", help="Read a bearer token for this agent from stdin.")]
HeaderEnv = Annotated[
    list[str] | None,
    typer.Option(
        "--header-env",
        metavar="NAME=VAR",
        help="Send this header to the agent, with the value of an environment variable. Repeatable.",
    ),
]


def credentials(address: str, header_env: Sequence[str] | None, *, token_stdin: bool) -> dict[str, str] | None:
    """The headers that were asked for; None without an option that asks for one.

    Raises:
        UsageError: a header cannot be read, or the address takes none.
    """
    if not token_stdin and not header_env:
        return None
    if kind_of_agent(address) != "url":
        raise UsageError("Credentials are only for A2A agents at URLs: mcp-a2a peers add https://… --token-stdin")
    headers = dict(map(_header, header_env or ()))
    if token_stdin:
        headers["Authorization"] = f"Bearer {_credential(sys.stdin.read(MAX_TOKEN), 'stdin')}"
    return headers


def _header(text: str) -> tuple[str, str]:
    name, equals, variable = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise UsageError("--header-env takes NAME=VAR, for example X-API-Key=AGENT_KEY")
    if variable not in os.environ:
        raise UsageError(f"The environment has no variable {variable}.")
    return name, _credential(os.environ[variable], variable)


def _credential(text: str, where: str) -> str:
    value = text.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise UsageError(f"{where} is not a usable credential: it must be one line of plain characters.")
    return value


async def as_typed(node: NodeApi, agent: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a node about an agent that a person named: a URL may then lead anywhere."""
    try:
        return await ask()
    except AddressNotAllowedError:
        if kind_of_agent(agent) != "url" or answered_for() != "typed":
            raise
        from mcp_a2a.api.agents import AddPeerRequest

        await node.call(AddPeerRequest(address=agent))
        return await ask()
