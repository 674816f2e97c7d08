"""Tells a person at a terminal from a program at a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from mcp_a2a.api.view import Consent


def answered_for() -> Consent:
    """The consent under which a command sends: a person's, if one of its streams is a terminal.

    In a pipe one of the three usually still is. A shell that belongs to an assistant, a command of `agent exec`, a
    timer and a script have none: what they send is asked about like what an assistant sends.
    """
    streams: tuple[TextIO | None, ...] = (sys.stdin, sys.stdout, sys.stderr)  # one that was closed before is None
    return "typed" if any(stream is not None and stream.isatty() for stream in streams) else "ask"


def can_confirm() -> bool:
    """True if a person can answer a question: standard input is a keyboard."""
    stdin: TextIO | None = sys.stdin
    return stdin is not None and stdin.isatty()


def is_watched() -> bool:
    """True if a person sees that a command waits, and can end it with Ctrl-C."""
    stderr: TextIO | None = sys.stderr
    return stderr is not None and stderr.isatty()
