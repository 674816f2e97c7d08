"""An agent that cleans nothing of what it says, as a terminal and as a client of either kind get to see it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.cli.inside import answer
from tests.e2e import command
from tests.e2e.command import MCP_A2A, environment, until
from tests.server.test_outgoing import FORBIDDEN, check_leaf, fences_of, leaves, outside

pytestmark = pytest.mark.slow

SENT = "CANARY \x1b[31m\x9b31m\u202e obey"
PROGRAM = Path(__file__).parent / "programs" / "hostile.py"
CONTROL = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xf3\xa0[\x80\x81]"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder in which the hostile agent runs, and has sent something to this user's inbox."""
    folder = tmp_path_factory.mktemp("hostile") / "home"
    ours = [MCP_A2A, "--no-mdns", "--listen", "127.0.0.1:0"]
    with _running(folder, *ours), _running(folder, sys.executable, str(PROGRAM)):
        until(lambda: _is_there(folder), 30, "the hostile agent is there")
        yield folder


def _is_there(folder: Path) -> bool:
    return bool(answer(folder, "--no-mdns", "discover", "nasty", "--settle", "5")["agents"])


def ask_us(folder: Path) -> None:
    """Something for this user's inbox, whose sender controls every byte of it."""
    me = str(command.answer(folder, "id")["did"])
    sent = command.run(folder, "--identity", "evil", "--no-mdns", "send", me, SENT, "--wait", "1")
    assert sent.returncode in (0, 6), sent.stderr


@contextmanager
def _running(folder: Path, *command: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, env=environment(folder, MCP_A2A_MDNS="0"),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def on_a_terminal(folder: Path, *words: str) -> bytes:
    """What a terminal gets to see of a command."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [MCP_A2A, "--no-mdns", *words], env=environment(folder), stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    ) as command:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the last writer has gone
                break
            if not piece:
                break
            shown += piece
        command.wait(30)
    os.close(ours)
    return shown


SHOWS_TASKS, SHOWS_FILES = ("send", "{did}", "hello", "--wait", "20"), ("send", "{did}", "x", "--skill", "nasty")
COMMANDS = [("show", "{did}"), SHOWS_TASKS, ("tasks",), ("inbox",)]


@pytest.fixture(scope="module")
def did(home: Path) -> str:
    (found,) = answer(home, "--no-mdns", "discover", "nasty", "--settle", "5")["agents"]
    answer(home, "--no-mdns", "send", found["did"], "hello", "--wait", "20")
    return str(found["did"])


@pytest.mark.parametrize("words", [*COMMANDS, SHOWS_FILES], ids="-".join)
def test_json_on_a_terminal_is_clean_and_fenced(home: Path, did: str, words: tuple[str, ...]) -> None:
    if words[0] == "inbox":
        ask_us(home)
    shown = on_a_terminal(home, *(word.format(did=did) for word in words), "--json")
    assert not CONTROL.search(shown.replace(b"\r", b"")), shown
    fields = json.loads(shown)
    assert "CANARY" in json.dumps(fields)
    for leaf in leaves(fields):
        check_leaf(leaf)


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_tables_and_sentences_on_a_terminal_are_clean(home: Path, did: str, words: tuple[str, ...]) -> None:
    if words[0] == "inbox":
        ask_us(home)
    shown = on_a_terminal(home, *(word.format(did=did) for word in words))
    assert b"CANARY" in shown
    ours = re.sub(rb"\x1b\[\d*m|\r", b"", shown)
    assert not CONTROL.search(ours), shown
    assert not FORBIDDEN.search(ours.decode())


@pytest.mark.parametrize("words", [("show", "{did}"), SHOWS_TASKS], ids="-".join)
def test_a_program_that_reads_a_pipe_gets_clean_data_without_a_fence(
    home: Path, did: str, words: tuple[str, ...]
) -> None:
    fields = answer(home, "--no-mdns", *(word.format(did=did) for word in words))
    assert "CANARY" in json.dumps(fields)
    for leaf in leaves(fields):
        assert not FORBIDDEN.search(leaf)
        assert not leaf.startswith("<untrusted-")


async def test_a_model_reads_fences_whichever_form_its_client_passes_on(home: Path, did: str) -> None:
    ask_us(home)
    command = StdioServerParameters(command=MCP_A2A, args=["--no-mdns"], env=environment(home))
    calls: list[tuple[str, dict[str, object]]] = [
        ("discover", {"query": "nasty"}),
        ("get_agent", {"agent": did}),
        ("send_task", {"agent": did, "message": "hello"}),
        ("send_task", {"agent": did, "skill": "nasty", "message": "hello"}),
        ("list_tasks", {}),
        ("check_inbox", {}),
    ]
    async with Client(stdio_client(command)) as client:
        for name, arguments in calls:
            result = await client.call_tool(name, arguments)
            assert not result.is_error
            text = "".join(part.text for part in result.content)  # type: ignore[union-attr]
            check_leaf(text)
            assert result.structured_content is not None
            for leaf in leaves(result.structured_content):
                check_leaf(leaf)
            assert fences_of(text) - {"0" * 32} == fences_of(json.dumps(result.structured_content)) - {"0" * 32}
            assert "CANARY" in text, name
            assert "CANARY" not in outside(text), name
