"""What a shell or a client hands to a command, made readable before anything else looks at it."""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping, Sequence

from mcp_a2a.cli.options import UsageError

_SIZE = re.compile(r"0*[1-9][0-9]{0,3}")


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
    for name in ("COLUMNS", "LINES"):
        if name in environ and not _SIZE.fullmatch(environ[name]):
            del environ[name]  # a terminal that does not know its size says 0, and lines of no width are none


def _unicode(word: str, what: str) -> str:
    try:
        return os.fsencode(word).decode()
    except UnicodeError:
        raise UsageError(f"{what} is not UTF-8: {word!a}.") from None
