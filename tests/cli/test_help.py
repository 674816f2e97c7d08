"""Help: every command has some, and every example in it is one that works."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from mcp_a2a.cli.app import app
from mcp_a2a.cli.examples import EXAMPLES
from mcp_a2a.cli.options import split
from mcp_a2a.cli.relays import DEFAULTS
from mcp_a2a.cli.table import COMMANDS, Entry
from mcp_a2a.config import RelaySettings

WANTED = {
    "serve", "demo", "discover", "show", "send", "task", "tasks", "cancel", "inbox", "allow", "answer", "peers",
    "trust", "block", "id", "list", "agent", "status", "version", "invite", "join", "networks", "leave", "rotate",
    "ping", "netcheck", "relay", "save", "callers", "forget", "repair",
}  # fmt: skip


def parse(command: Any, words: list[str]) -> None:
    """Parse a command line to its end without running it."""
    context = command.make_context(command.name, words)
    if hasattr(command, "resolve_command") and context._protected_args:
        _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(inner, rest)


def test_every_command_that_was_promised_is_there() -> None:
    assert set(typer.main.get_command(app).commands) == WANTED


def test_every_command_has_help_with_examples() -> None:
    runner = CliRunner()
    names = [[entry.name] for entry in COMMANDS if entry.name not in ("agent", "relay")]
    names += [["agent", "run"], ["agent", "exec"]]
    names += [["relay", name] for name in ("serve", "url", "status", "members", "admit", "revoke")]
    for words in names:
        shown = runner.invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
        assert shown.exit_code == 0
        assert "Examples:" in shown.output, words
        assert EXAMPLES[" ".join(words)][0] in shown.output


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
    assert {name: RelaySettings.model_fields[name].default for name in DEFAULTS} == DEFAULTS
    numbered = {
        name
        for name, field in RelaySettings.model_fields.items()
        if not isinstance(field.default, bool) and isinstance(field.default, int | float)
    }
    assert {*numbered, "listen"} == set(DEFAULTS)
