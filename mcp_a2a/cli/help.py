"""Help as a person reads it: usage, what the command does, its options without the names of Python's types, examples.

It is plain lines, fitted to the terminal. An option's name is never cut: where its line has no room for what it does,
that stands below.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typing_extensions import override

from mcp_a2a.cli.examples import EXAMPLES, HEADINGS, VARIABLES
from mcp_a2a.cli.options import Options
from mcp_a2a.own_command import typeable
from mcp_a2a.screen import GLUE, Screen, commands_whole, padded, paragraphs, width, wrapped

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter, Parameter

UNLIMITED = 80
"""Columns of help that goes into a pipe."""

WIDEST = 100
"""Columns beyond which lines are harder to read."""

NAMES = 26
"""Columns for names of options; a longer one has a line of its own."""

_SENTENCE = re.compile(r"(.+?[.!?])(?:\s|$)", re.DOTALL)

Row = tuple[str, str]


def help_of(command: Callable[..., None]) -> str:  # type: ignore[explicit-any]  # each has its own options
    """A command's docstring, a line per paragraph: the terminal breaks it where it ends."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def summary(text: str) -> str:
    """The first sentence of a help text, without its full stop: what a list of commands shows."""
    first = " ".join(text.partition("\n\n")[0].split())
    match = _SENTENCE.match(first)
    return (match[1] if match else first).rstrip(".")


def rows_of(parameters: Iterable[Parameter], context: Context) -> Iterator[Row]:
    """Each argument or option with what it does."""
    for parameter in parameters:
        if isinstance(parameter, TyperArgument) and not parameter.hidden:
            yield _placeholder(parameter), parameter.help or ""
        if isinstance(parameter, TyperOption) and not parameter.hidden:
            yield _names(parameter), _about(parameter, context)


def _names(option: TyperOption) -> str:
    names = sorted([*option.opts, *option.secondary_opts], key=len) if len(option.opts) > 1 else option.opts
    both = " / ".join([", ".join(names), *option.secondary_opts]) if option.secondary_opts else ", ".join(names)
    return both if option.is_flag else f"{both} {_placeholder(option)}"


def _placeholder(parameter: TyperOption | TyperArgument) -> str:
    """The placeholder of a value: never the name of a type."""
    if parameter.metavar is not None:
        return parameter.metavar
    if isinstance(parameter, TyperArgument):
        return parameter.name.upper()
    return "N" if parameter.type_descriptor.annotation in (int, float) else "TEXT"


def _about(option: TyperOption, context: Context) -> str:
    """The effect of an option, its values and its default."""
    facts = []
    default = option.get_default(context, call=False)
    if option.is_flag or default is None or default == "":
        return option.help or ""
    if option.min is not None and option.max is not None:
        facts.append(f"{option.min:g} to {option.max:g}")
    facts.append(f"default {default:g}" if isinstance(default, int | float) else f"default {default}")
    return f"{(option.help or '').rstrip('.')} ({', '.join(facts)})."


def usage(command: TyperCommand | TyperGroup, context: Context) -> str:
    """The usage line of a command."""
    words = [context.command_path]
    arguments = [one for one in command.params if isinstance(one, TyperArgument) and not one.hidden]
    if any(isinstance(one, TyperOption) for one in command.params):
        words.append("[OPTIONS]")
    for argument in arguments:
        name = _placeholder(argument)
        words.append(name if argument.required or name.startswith(("[", "-")) else f"[{name}]")
    if isinstance(command, TyperGroup):
        words.append("[COMMAND]" if command.invoke_without_command else "COMMAND")
    return " ".join(words)


class Page:
    """The help of one command, line by line."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._columns = min(screen.columns or UNLIMITED, WIDEST)
        self._lines: list[str] = []

    def prose(self, text: str, indent: int = 0) -> None:
        """Paragraphs of sentences."""
        for line in self._screen.letters(text).split("\n"):
            self._lines += paragraphs(" " * indent + commands_whole(line), self._columns)

    def usage(self, text: str) -> None:
        """The line that says how the command is typed."""
        self._lines += wrapped(f"Usage: {self._screen.letters(text)}", self._columns, hanging=len("Usage: "))

    def heading(self, text: str) -> None:
        """Write the heading of the next lines."""
        self._lines += ["", self._screen.styled(f"{text}:", "bold")]

    def rows(self, rows: Sequence[Row]) -> None:
        """Names, and beside or below each what it is."""
        names = [self._screen.letters(name) for name, _ in rows]
        room = min(NAMES, max((width(name) for name in names), default=0), self._columns // 2)
        for name, (_, about) in zip(names, rows, strict=True):
            head = "  " + padded(name, room) + "  "
            text = commands_whole(self._screen.letters(about))
            if width(name) > room:
                self._lines += wrapped("  " + name, self._columns, hanging=6)
                head = " " * len(head)
            self._lines += wrapped(head + text, self._columns, hanging=len(head)) if text else [head.rstrip()]

    def whole(self, lines: Iterable[str]) -> None:
        """Lines to copy: the terminal breaks those that are too long."""
        self._lines += [f"  {typeable(self._screen.letters(line))}" for line in lines]

    def text(self) -> str:
        """All of it."""
        return "\n".join(line.replace(GLUE, " ").rstrip() for line in self._lines) + "\n"


def page_of(command: TyperCommand | TyperGroup, context: Context, screen: Screen) -> str:
    """The whole help of a command."""
    page = Page(screen)
    page.usage(usage(command, context))
    page.prose("\n" + (command.help or ""))
    if isinstance(command, TyperGroup):
        for title, rows in command_groups(command, context):
            page.heading(title)
            page.rows(rows)
    _tell_parameters(page, command, context)
    name = " ".join(context.command_path.split()[1:])
    if name in EXAMPLES:
        page.heading("Examples")
        page.whole(EXAMPLES[name])
    if name in VARIABLES:
        page.heading("Variables")
        page.prose(VARIABLES[name], indent=2)
    if command.epilog:
        page.prose("\n" + command.epilog)
    return page.text()


def _tell_parameters(page: Page, command: TyperCommand | TyperGroup, context: Context) -> None:
    parameters = command.get_params(context)
    arguments = [one for one in parameters if isinstance(one, TyperArgument)]
    completion = [one for one in parameters if one.name in ("install_completion", "show_completion")]
    options = [one for one in parameters if isinstance(one, TyperOption) and one not in completion]
    for title, group in (("Arguments", arguments), ("Options", options), ("Completion in your shell", completion)):
        if rows := list(rows_of(group, context)):
            page.heading(title)
            page.rows(rows)


def command_groups(group: TyperGroup, context: Context) -> Iterator[tuple[str, list[Row]]]:
    """The commands of a group under headings, with what each does."""
    rows = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            rows[name] = summary(command.help or "")
    for title, names in HEADINGS if context.parent is None else ():
        if listed := [(name, rows.pop(name)) for name in names if name in rows]:
            yield title, listed
    if rows:
        yield "Commands", list(rows.items())


def _screen(context: Context) -> Screen:
    options = getattr(context.obj, "options", None)
    if not isinstance(options, Options):  # a program that uses the command line as a library
        return Screen(sys.stdout)
    return Screen(sys.stdout, color=options.color, ascii_only=options.ascii)


class HelpfulCommand(TyperCommand):
    """A command with this help."""

    @override
    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        formatter.write(page_of(self, ctx, _screen(ctx)))


class HelpfulGroup(TyperGroup):
    """A group of commands with this help."""

    @override
    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        formatter.write(page_of(self, ctx, _screen(ctx)))
