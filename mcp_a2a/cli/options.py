"""The options that every command takes, read without a command-line library.

`mcp-a2a` on a pipe must answer an assistant within a few hundred milliseconds, so what decides between the server
and a command is found here, with nothing heavy imported. The options are accepted before and after the command, up to
`--`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from mcp_a2a import serving_options

VALUED = {"--home": "home", "--identity": "identity", "--name": "name"}
"""Options with a value, and the setting each is."""

ALLOW_STRANGERS = "--allow-strangers"
"""A flag of servers: the person who starts a server decides what it may send unasked, not one who only uses it."""

SERVER_OPTIONS = ("--listen", *serving_options.VALUED, *serving_options.SWITCHES, ALLOW_STRANGERS)
"""Options that begin a command line without a command, which then means `serve`."""

FLAGS = ("--no-mdns", "--json", "--no-color", "--ascii", "--quiet", "--verbose")
SHORT = {"-q": "--quiet", "-v": "--verbose"}


class UsageError(Exception):
    """The command line cannot be understood."""


@dataclass(frozen=True)
class Options:
    """The global options, given before or after the command."""

    settings: Mapping[str, str | bool] = field(default_factory=dict)
    """Flags that are settings; a variable counts where there is no flag."""
    json: bool = False
    color: bool = True
    ascii: bool = False
    """Marks, arrows and ellipses of ours in ASCII, whatever the terminal can show."""
    verbosity: int = 0
    """-1 quiet, 1 and 2 louder."""

    @property
    def is_quiet(self) -> bool:
        """True if only answers and errors are printed."""
        return self.verbosity < 0


def split(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> tuple[Options, list[str]]:
    """Take the global options out of a command line; what is left is the command.

    Raises:
        UsageError: an option that needs a value has none.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    words, rest = iter(argv[:end]), []
    settings: dict[str, str | bool] = {}
    flags: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if name in VALUED:
            settings[VALUED[name]] = value if equals else _value(name, next(words, None))
        elif set(word[1:]) == {"v"} and word[0] == "-":
            flags += ["--verbose"] * (len(word) - 1)
        elif SHORT.get(word, word) in FLAGS:
            flags.append(SHORT.get(word, word))
        else:
            rest.append(word)
    if "--no-mdns" in flags or _is_set(environ, "NO_MDNS"):
        settings["mdns"] = False
    return _options(settings, flags, environ), [*rest, *argv[end:]]


def no_such_option(word: str, own: Iterable[str]) -> str:
    """The error for an unknown option, with the closest of the command's own and of the global ones."""
    import difflib

    name = word.partition("=")[0]
    known = sorted({*own, *VALUED, *FLAGS})
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"There is no option {name!r}." + (f" Did you mean {close[0]}?" if close else "")


def _value(name: str, value: str | None) -> str:
    if value is None or value.startswith("--"):
        raise UsageError(f"{name} needs a value.")
    return value


def _options(settings: dict[str, str | bool], flags: Sequence[str], environ: Mapping[str, str]) -> Options:
    louder = flags.count("--verbose") or int(_is_set(environ, "VERBOSE"))
    quiet = "--quiet" in flags or (not louder and _is_set(environ, "QUIET"))
    return Options(
        settings=settings,
        json="--json" in flags or _is_set(environ, "JSON"),
        color="--no-color" not in flags and not _is_set(environ, "NO_COLOR") and not environ.get("NO_COLOR"),
        ascii="--ascii" in flags or _is_set(environ, "ASCII"),
        verbosity=-1 if quiet else louder,
    )


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(f"MCP_A2A_{name}", "").lower() in ("1", "true", "yes", "on")


# What a shell or a client hands to a command, made readable before anything else looks at it.

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
