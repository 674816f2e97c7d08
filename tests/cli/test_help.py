"""Help: every command has some, and every example in it is one that works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mcp_a2a.cli.app import app
from mcp_a2a.cli.examples import EXAMPLES, HEADINGS
from mcp_a2a.cli.help import page_of, summary
from mcp_a2a.cli.options import split
from mcp_a2a.cli.table import COMMANDS, Entry
from mcp_a2a.config import RelaySettings
from mcp_a2a.screen import width
from tests.cli.inside import call
from tests.screens import At

WANTED = {
    "serve", "demo", "discover", "show", "send", "task", "tasks", "cancel", "inbox", "allow", "answer", "peers",
    "trust", "block", "id", "list", "agent", "status", "version", "invite", "join", "networks", "leave", "rotate",
    "ping", "netcheck", "relay", "save", "callers", "forget", "repair",
    "name", "alias",
}  # fmt: skip


def parse(command: Any, words: list[str]) -> None:
    """Parse a command line to its end without running it."""
    context = command.make_context(command.name, words)
    if hasattr(command, "resolve_command") and context._protected_args:
        _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(inner, rest)


def test_every_command_that_was_promised_is_there() -> None:
    assert set(typer.main.get_command(app).commands) == WANTED


def tree(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group there is."""
    yield words
    for name in getattr(command, "commands", {}):
        inner = COMMANDS_BY_NAME[name].load() if not words else command.commands[name]
        yield from tree(inner, (*words, name))


COMMANDS_BY_NAME = {entry.name: entry for entry in COMMANDS}
EVERY = sorted(tree(typer.main.get_command(app)))


def help_of(words: tuple[str, ...], columns: int = 80, encoding: str = "utf-8") -> list[str]:
    """The lines of a command's help on a terminal of that width."""
    command = typer.main.get_command(app)
    context = command.make_context("mcp-a2a", [], resilient_parsing=True)
    for word in words:
        command = COMMANDS_BY_NAME[word].load() if context.parent is None else command.commands[word]
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    return page_of(command, context, At(columns, encoding)).splitlines()


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_and_group_has_help_with_examples(words: tuple[str, ...]) -> None:
    shown = help_of(words)
    assert "Examples:" in shown
    assert f"  {EXAMPLES[' '.join(words)][0]}" in shown


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_fits_the_terminal_and_names_options_whole(words: tuple[str, ...], columns: int) -> None:
    shown = help_of(words, columns)
    examples = [f"  {example}" for example in EXAMPLES[" ".join(words)]]
    assert [line for line in shown if width(line) > columns and line not in examples] == []
    assert [line for line in shown if line != line.rstrip()] == []


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_shows_no_types_of_python_and_no_braces(words: tuple[str, ...]) -> None:
    shown = "\n".join(help_of(words, 120))
    assert re.findall(r"<\w+( range)?>|\{|\}|\bbool\b|\.\.\.|\(s\)|\[\[", shown) == []


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_is_ascii_where_it_must_be(words: tuple[str, ...]) -> None:
    shown = "\n".join(help_of(words, 80, "ascii"))
    assert shown.isascii()
    assert "?" not in re.sub(r"\w\?", "", shown)


def test_no_name_of_an_option_is_too_long_for_its_help_to_stand_beside_it() -> None:
    for words in EVERY:
        assert [line for line in help_of(words) if re.fullmatch(r"  -\S+(, --\S+)?( \S+)?", line)] == []


def test_the_list_of_commands_is_grouped_and_says_each_in_a_line() -> None:
    shown = help_of(())
    listed = [name for _, names in HEADINGS for name in names if name in COMMANDS_BY_NAME]
    assert sorted(listed) == sorted(COMMANDS_BY_NAME)
    for name, entry in COMMANDS_BY_NAME.items():
        assert f"{name} {summary(entry.line)}" in [" ".join(line.split()) for line in shown]
    assert shown.index("Use agents:") < shown.index("Options:") < shown.index("Completion in your shell:")


@pytest.mark.parametrize("example", [example for examples in EXAMPLES.values() for example in examples])
def test_every_example_is_one_that_works(example: str) -> None:
    words = shlex.split(example)
    start = words.index("mcp-a2a") + 1
    end = words.index("|", start) if "|" in words[start:] else len(words)
    _, rest = split(words[start:end], {})
    parse(typer.main.get_command(app), rest)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_list_of_commands_says_what_the_help_of_each_begins_with(entry: Entry) -> None:
    assert (entry.load().help or "").split("\n\n")[0] == entry.line


def test_the_help_of_a_relay_names_the_defaults_that_it_has() -> None:
    shown = " ".join(" ".join(help_of(("relay", "serve"))).split())
    numbered = {
        name: field.default
        for name, field in RelaySettings.model_fields.items()
        if not isinstance(field.default, bool) and isinstance(field.default, int | float)
    }
    for name, default in {**numbered, "listen": RelaySettings.model_fields["listen"].default}.items():
        assert re.search(rf"--{name.replace('_', '-')} \S+ [^-]*\({re.escape(str(default))}\)\.", shown), name


@pytest.mark.parametrize("words", [(), ("send",), ("relay", "serve")])
def test_help_may_be_asked_for_by_a_word(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert call(tmp_path, "help", *words) == call(tmp_path, *words, "--help")
