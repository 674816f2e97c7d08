"""The standard streams of a process, made usable before its event loop exists."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

STANDARD = ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY))

MARKS = {
    "…": "...", "→": "->", "←": "<-", "✓": "ok", "✗": "no", "\N{EN DASH}": "-", "—": "-", "“": '"', "”": '"',
    "█": "#", "░": ".", "·": "-",
}  # fmt: skip
"""Marks of our own choice, and their spelling in ASCII."""

ERRORS = "marks"
"""The codec error handler that writes them so."""


def open_standard_streams() -> None:
    """Open the null device for each standard descriptor that is closed, and let no character stop a stream.

    libuv aborts the process when the descriptor of an event loop is 0, 1 or 2, and a database or socket with such a
    number would be written to by whatever prints. A stream with a narrow encoding shows our marks in ASCII, and a
    question mark instead of another character that it lacks.
    """
    for descriptor, name, mode in STANDARD:
        if _is_closed(descriptor):
            # The lowest free number is taken, and all numbers below this one are open by now.
            opened = os.open(os.devnull, mode)
            os.set_inheritable(opened, True)  # noqa: FBT003  as the system's own are
            setattr(sys, name, _text(opened, mode))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def _text(descriptor: int, mode: int) -> TextIO:
    return open(descriptor, "r" if mode == os.O_RDONLY else "w", encoding="utf-8", closefd=False)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """The codec error handler `marks`: our marks in ASCII, other letters that are lacking as a question mark."""
    if isinstance(error, UnicodeEncodeError):
        return "".join(MARKS.get(letter, "?") for letter in error.object[error.start : error.end]), error.end
    if isinstance(error, UnicodeDecodeError):
        return "\N{REPLACEMENT CHARACTER}", error.end
    raise error


codecs.register_error(ERRORS, _in_ascii)
