"""Questions that a person answers at a terminal: yes or no, or a line of text.

Ctrl-C at a question ends the command like anywhere else (`KeyboardInterrupt`); the end of the input (Ctrl-D) is a no.
"""

from __future__ import annotations

import select
import sys
from contextlib import suppress

import typer

from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.session import Session

ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
"""What a person may type; a bare Enter is the answer that changes nothing."""

MAX_ANSWER = 65_536

SILENT_SECONDS = 1.0
"""How long a pipe may be silent before it is said that it is read."""


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
