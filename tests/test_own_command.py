"""What is written to be typed can be typed: the program is named by the path it was started by where no PATH has it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mcp_a2a.agent.reporting import line_of
from mcp_a2a.api.news import EventView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.cli.failure import report_failure
from mcp_a2a.cli.options import Options
from mcp_a2a.cli.output import Output
from mcp_a2a.cli.table import COMMANDS as TABLE
from mcp_a2a.errors.machine import SchemaTooNewError
from mcp_a2a.errors.networks import NetworkNotFoundError
from mcp_a2a.own_command import COMMANDS, own_command, typeable
from mcp_a2a.screen import put
from mcp_a2a_transports.relay.questions import NEWEST_URL_HINT
from tests.cli.inside import call
from tests.emulator import seen
from tests.screens import Terminal

PROSE = (
    "Upgrade mcp-a2a, then try again.",
    "mcp-a2a 0.1.0",
    "Anna   mcp-a2a 0.1.0",
    "Something unexpected happened in mcp-a2a: ValueError.",
    "It offers SOAP only, and mcp-a2a speaks JSON-RPC.",
    "They are, while mcp-a2a runs here.",
    "Install the extra: pip install 'mcp-a2a[grpc]'",
    "/var/lib/mcp-a2a status",
)


ELSEWHERE = (
    "This ticket admits one agent to the network 'shop'. On the other machine, run: mcp-a2a join",
    "Check the address: `mcp-a2a status` on that machine tells where it listens.",
    "Ask the sender for a new one (mcp-a2a invite).",
    "Copy the whole line that mcp-a2a invite printed.",
    "Copy the line that `mcp-a2a relay serve` prints: ws://HOST:6060/#did:key:…",
    "Ask its owner on another channel for the words (mcp-a2a id).",
    "Ask its owner to make room: mcp-a2a forget --older-than 30d, on that agent's machine.",
    "It is a closed relay: its operator must run `mcp-a2a relay admit did:key:z6Mk`, or the members cannot connect.",
    "The network may have got a new secret since (mcp-a2a rotate): ask for a new ticket.",
    "Ask its owner to start an agent, to run mcp-a2a invite again while that runs, and to send you the new ticket.",
    "A key has 56 characters; mcp-a2a id shows that of an agent on its machine.",
)
"""What is typed on another machine, where the program has another path."""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of the program, in a folder that no PATH has."""
    path = tmp_path / "bin" / "mcp-a2a"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o700)
    monkeypatch.setattr("sys.argv", [str(path)])
    monkeypatch.setenv("PATH", "/nowhere")
    return str(path)


def test_it_knows_every_command() -> None:
    assert set(COMMANDS) == {entry.name for entry in TABLE}


def test_it_is_named_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my tools").mkdir()
    started = tmp_path / "my tools" / "mcp-a2a"
    started.write_text("#!/bin/sh\n")
    started.chmod(0o700)
    monkeypatch.setattr("sys.argv", [str(started)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert own_command() == f"'{started}'"
    assert typeable("Run mcp-a2a inbox.") == f"Run '{started}' inbox."
    monkeypatch.setenv("PATH", str(started.parent))
    assert own_command() == "mcp-a2a"
    assert own_command(absolute=True) == f"'{started}'"
    monkeypatch.setattr("sys.argv", ["/somewhere/mcp_a2a/__main__.py"])
    assert own_command() == own_command(absolute=True) == f"{sys.executable} -m mcp_a2a"
    monkeypatch.setattr("sys.argv", ["words.py"])
    assert own_command() == "mcp-a2a"


def test_only_commands_change_and_never_the_name_of_the_program(started: str) -> None:
    assert [typeable(text) for text in PROSE] == list(PROSE)
    assert [typeable(text) for text in ELSEWHERE] == list(ELSEWHERE)
    assert typeable(f"{NEWEST_URL_HINT}\n{ELSEWHERE[0]}").count(started) == 1
    assert typeable("Ask its owner to trust you (mcp-a2a id shows who you are).").count(started) == 1
    assert typeable("See mcp-a2a serve --help, or mcp-a2a --help") == f"See {started} serve --help, or {started} --help"
    lines = "  | Run mcp-a2a inbox.\n| Then mcp-a2a id"
    assert typeable(f"{lines}\nmcp-a2a id") == f"{lines}\n{started} id", "what a sender wrote stays as it is"
    assert typeable(typeable("mcp-a2a task jdmp5a")) == f"{started} task jdmp5a"


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_errors_notes_logs_and_help_name_a_command_that_works(
    started: str, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    output = Output(Options(), terminal, terminal)
    report_failure(output, NetworkNotFoundError("shop", []))
    output.note("The task goes on. Follow it: mcp-a2a task jdmp5a")
    output.line("Now start one:\n  `mcp-a2a agent exec --name rev -- rev`")
    agent = AgentRef(name="anna", did="did:key:z6MkoPEBt6CcYHmSzagc3fT8f85FxTdDjE8TEYUzFaSUJ8Xj")
    event = EventView(kind="contact_request", at="2026-11-30T10:00:00Z", agent=agent)
    monkeypatch.setattr("sys.stderr", terminal)
    put(sys.stderr, line_of(event, as_json=False))
    shown = seen(terminal.said, columns)
    for rest in ("join", "invite --network NAME", "task jdmp5a", "agent exec --name rev -- rev", "inbox"):
        assert f"{started} {rest}" in shown.text
    assert " mcp-a2a " not in shown.text
    monkeypatch.undo()


def test_the_next_step_of_an_error_for_programs_and_the_examples_of_help_can_be_typed(
    started: str, tmp_path: Path
) -> None:
    asked = call(tmp_path / "home", "leave", "shop", "--json")
    assert f"{started} join" in json.loads(asked.stdout)["error"]["hint"]
    helped = call(tmp_path / "home", "send", "--help").stdout
    assert f'  {started} send word-counter "hello wide world"\n' in helped
    assert f"git diff | {started} send reviewer - --json" in helped


def test_an_error_says_of_the_program_itself_what_it_said(started: str) -> None:
    terminal = Terminal()
    report_failure(Output(Options(), terminal, terminal), SchemaTooNewError("/x", 99, 3))
    assert b"Upgrade mcp-a2a" in terminal.said
