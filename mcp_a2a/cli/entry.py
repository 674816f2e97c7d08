"""What the operating system hands to a process, made usable before anything else is imported.

Descriptors 0 to 2 exist, so that no socket or event loop gets one of their numbers; the standard streams write every
character; the words of the command line are Unicode.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import MutableMapping, Sequence
from typing import TextIO

from mcp_a2a.cli.options import UsageError

STANDARD = ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY))


def open_standard_streams() -> None:
    """Open the null device for each standard descriptor that is closed, and let no character stop a stream.

    libuv aborts the process when the descriptor of an event loop is 0, 1 or 2, and a database or socket with such a
    number would be written to by whatever prints. A stream with a narrow encoding shows a question mark instead of a
    character that it lacks.
    """
    for descriptor, name, mode in STANDARD:
        if _is_closed(descriptor):
            # The lowest free number is taken, and all numbers below this one are open by now.
            opened = os.open(os.devnull, mode)
            os.set_inheritable(opened, True)  # noqa: FBT003  as the system's own are
            setattr(sys, name, _text(opened, mode))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def _text(descriptor: int, mode: int) -> TextIO:
    return open(descriptor, "r" if mode == os.O_RDONLY else "w", encoding="utf-8", closefd=False)


def unicode_words(argv: Sequence[str]) -> list[str]:
    """The words of the command line as Unicode text.

    Python keeps each byte that is not of the locale's encoding as half a surrogate pair; what is UTF-8 under another
    locale becomes readable again.

    Raises:
        UsageError: a word is not UTF-8.
    """
    return [_unicode(word, f"Argument {number}") for number, word in enumerate(argv, start=1)]


def check_environment(environ: MutableMapping[str, str]) -> None:
    """Make the variables that we read usable.

    Raises:
        UsageError: a variable of ours is not UTF-8.
    """
    for name, value in list(environ.items()):
        if name.upper().startswith("MCP_A2A_"):
            environ[name] = _unicode(value, name)
    # A terminal that does not know its size says 0, and help of no width is empty.
    for name in ("COLUMNS", "LINES"):
        if name in environ and not (environ[name].isascii() and environ[name].isdigit() and int(environ[name]) > 0):
            del environ[name]


def _unicode(word: str, what: str) -> str:
    try:
        return os.fsencode(word).decode()
    except UnicodeError:
        raise UsageError(f"{what} is not UTF-8: {word!a}.") from None
