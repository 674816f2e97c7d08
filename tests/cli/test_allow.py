"""A person allows at a terminal what an assistant may send; what has no terminal does not."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import TextContent

from mcp_a2a.cli.terminal import answered_for
from mcp_a2a.protocol.naming import short_key
from tests.cli.inside import Finished, answer, call, run
from tests.e2e.command import MCP_A2A, Agent, agent, environment, until

SECONDS = 60.0
ASKS = {"MCP_A2A_ALLOW_STRANGERS": "", "MCP_A2A_NO_MDNS": "1"}


@contextmanager
def stranger(folder: Path) -> Iterator[Agent]:
    """An agent of another data folder that has dialled the node of `mine`, which runs, and whom nobody there added."""
    words = ("exec", "--name", "mallory", "--skill", "reverse", "--accept", "anyone", "--", "rev")
    mine, theirs = folder / "mine", folder / "theirs"
    alone = {"MCP_A2A_NO_MDNS": "1", "MCP_A2A_LINK_HOST": "127.0.0.1"}
    owner = subprocess.Popen(
        [MCP_A2A, "inbox", "--wait", "600"], env=environment(mine, **alone), stdout=subprocess.DEVNULL
    )
    try:
        with agent(theirs, *words, **alone) as running:
            until(lambda: answer(mine, "status", **ASKS)["running"], 30, "the node of mine runs")
            (address,) = answer(mine, "status", **ASKS)["listening"]
            answer(theirs, "--identity", "mallory", "peers", "add", address, **alone)
            yield running
    finally:
        owner.terminate()
        owner.wait()


def on_a_terminal(home: Path, *words: str, says: str = "") -> tuple[int, str]:
    """The command with a terminal for all its streams, whose person types `says` when asked; code and screen."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [MCP_A2A, *words], env=environment(home, **ASKS), stdin=slave, stdout=slave, stderr=slave, close_fds=True
    )
    os.close(slave)
    screen, answered = "", not says
    try:
        while select.select([master], [], [], SECONDS)[0]:
            try:
                read = os.read(master, 65_536)
            except OSError:  # Linux: the other end is closed
                break
            if not read:
                break
            screen += read.decode(errors="replace")
            if not answered and "[y/N]" in screen:
                os.write(master, says.encode())
                answered = True
        return process.wait(SECONDS), screen
    finally:
        process.kill()
        process.wait()
        os.close(master)


def without(home: Path, *words: str, stdin: str = "") -> Finished:
    return run(home, *words, stdin=stdin, **ASKS)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_script_sends_to_a_stranger_after_a_person_said_yes_at_a_terminal(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    with stranger(tmp_path) as mallory:
        did = mallory.did

        refused = without(mine, "send", did, "CANARY", "--wait", "0")
        assert refused.returncode == 5, refused.stderr
        assert f"mcp-a2a allow {did}" in refused.stderr
        assert without(mine, "allow", did, stdin="y\n").returncode == 2, "an answer that is no person's"

        code, screen = on_a_terminal(mine, "allow", did, says="n\n")
        assert code == 5, screen
        for shown in (did, str(mallory.ready["words"]), "mallory", "Nothing was changed"):
            assert shown in screen
        assert without(mine, "send", did, "CANARY", "--wait", "0").returncode == 5

        code, screen = on_a_terminal(mine, "allow", did, says="y\n")
        assert code == 0, screen
        sent = without(mine, "send", did, "abc", "--wait", "30")
        assert (sent.returncode, sent.stdout) == (0, "cba\n"), sent.stderr

        assert without(mine, "allow", did, "--undo").returncode == 0
        assert without(mine, "send", did, "CANARY", "--wait", "0").returncode == 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_person_types_at_a_terminal_is_sent_unasked(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    with stranger(tmp_path) as mallory:
        code, screen = on_a_terminal(mine, "send", mallory.did, "abc", "--wait", "30")
        assert code == 0, screen
        assert "cba" in screen


@pytest.mark.parametrize("words", [("bob",), ("localhost:7301",), ("z6MkhaXgBZDvotD",)])
def test_a_name_is_nothing_that_can_be_allowed(tmp_path: Path, words: Sequence[str]) -> None:
    finished = call(tmp_path, "allow", *words)
    assert finished.returncode == 2
    assert "any agent can claim any name" in finished.stderr


KEY = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"


@pytest.mark.parametrize("key", [KEY, KEY.removeprefix("did:key:"), short_key(KEY)])
def test_a_yes_that_comes_through_a_pipe_is_nobodys(tmp_path: Path, key: str) -> None:
    finished = call(tmp_path, "allow", key, stdin="y\n")
    assert finished.returncode == 2
    assert "needs a terminal" in finished.stderr


def test_a_process_without_a_terminal_answers_for_nothing() -> None:
    assert answered_for() == "ask"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "env", "asks"),
    [
        (["serve"], {}, True),
        (["--allow-strangers"], {}, False),
        (["serve", "--allow-strangers"], {}, False),
        ([], {"MCP_A2A_ALLOW_STRANGERS": "1"}, False),
    ],
)
async def test_a_server_asks_unless_it_was_started_not_to(
    tmp_path: Path,
    words: list[str],
    env: dict[str, str],
    asks: bool,  # noqa: FBT001
) -> None:
    server = StdioServerParameters(command=MCP_A2A, args=words, env=environment(tmp_path, **(ASKS | env)))
    async with Client(server) as client:
        result = await client.call_tool("get_agent", {"agent": "https://127.0.0.1:1/"})
    (said,) = result.content
    assert isinstance(said, TextContent)
    assert ("mcp-a2a allow https://127.0.0.1:1/" in said.text) == asks
    assert ("mcp-a2a peers add" in said.text) != asks


def test_only_a_server_takes_the_flag(tmp_path: Path) -> None:
    assert call(tmp_path, "send", "bob", "CANARY", "--allow-strangers").returncode == 2
