"""The command by which a person types this program: its name if the shell finds it, else the path of its start.

Texts say `mcp-a2a COMMAND` everywhere; what is written for a terminal goes through `typeable`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import PurePath

NAME = "mcp-a2a"

COMMANDS = (
    *("serve", "demo", "discover", "show", "send", "task", "tasks", "save", "cancel", "forget", "inbox", "answer"),
    *("allow", "trust", "block", "invite", "join", "networks", "leave", "rotate", "ping", "netcheck", "id", "name"),
    *("alias", "list", "status", "repair", "version", "peers", "callers", "agent", "relay"),
)
"""Words that follow the name in a command to type, as opposed to the name of the program."""

_TYPED = re.compile(rf"(?<![\w/.-])mcp-a2a(?=[ \u00a0](?:--?[a-z]|(?:{'|'.join(COMMANDS)})(?![\w-])))")

_QUOTED = re.compile(r" *\| ")
"""The beginning of a line that another has written (`cli.render`): its text stays as it is."""

_SENTENCE_END = re.compile(r"((?<=[.!?])\s+)")
_ELSEWHERE = re.compile(
    r"\b(?:other|that|its|agent's)\smachine\b|\b(?:operator|sender|channel|printed|prints)\b"
    r"|\bowner\sto\s(?:start|make|run)\b|\bnew\ssecret\ssince\b"
)
"""Words of a sentence whose command is for another machine, where the path is another."""


def own_command(*, absolute: bool = False) -> str:
    """The words that start this program in a shell; with `absolute` from any folder."""
    started = sys.argv[0]
    if PurePath(started).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m mcp_a2a"
    if PurePath(started).stem != NAME:  # another program, of which we are a library
        return NAME
    found = shutil.which(NAME)
    if absolute:
        return shlex.quote(os.path.abspath(started))  # noqa: PTH100  a link stays a link
    if found is not None and os.path.exists(started) and os.path.samefile(found, started):  # noqa: PTH110, PTH121
        return NAME
    return shlex.quote(started)


def typeable(text: str, *, space: str = " ") -> str:
    """The text with each command of ours as it can be typed here; `space` stands between words of the path."""
    if NAME not in text:
        return text
    own = own_command()
    if own == NAME:
        return text
    return "\n".join(line if _QUOTED.match(line) else _line(line, own.replace(" ", space)) for line in text.split("\n"))


def _line(line: str, own: str) -> str:
    sentences = (
        sentence if _ELSEWHERE.search(sentence) else _TYPED.sub(lambda _: own, sentence)
        for sentence in _SENTENCE_END.split(line)
    )
    return "".join(sentences)
