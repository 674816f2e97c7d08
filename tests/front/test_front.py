"""The front of one process: what it answers at once, and how it hands its client over to the session behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_a2a.front.splitting import MAX_LINE_BYTES
from tests.e2e.command import MCP_A2A, environment
from tests.front.client import INITIALIZE, client
from tests.front.regenerate import envelope

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there is no front on Windows")]

HEAVY = {
    "pydantic", "pydantic_core", "anyio", "asyncio", "mcp", "mcp_types", "aiohttp", "uvicorn", "starlette", "httptools",
    "zeroconf", "nacl", "cryptography", "typer", "rich", "filelock", "prometheus_client", "uvloop", "logging",
}  # fmt: skip
MOST_MODULES = 130
"""Python itself has 33 before it runs anything."""

PEEK = """
import json, sys
sys.argv = ["mcp-a2a", "--no-mdns"]
import os, mcp_a2a.front.loop as loop
step = loop.Front._step
def report(self):
    os.write(2, json.dumps(sorted(sys.modules)).encode() + b"\\n")
    os._exit(0)
loop.Front._step = report
from mcp_a2a.__main__ import main
main()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def lines(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages)


HELLO = {"id": 1, "method": "initialize", "params": INITIALIZE}
INITIALIZED = {"method": "notifications/initialized"}
LIST = {"id": 2, "method": "tools/list"}
SELF = {"id": 3, "method": "tools/call", "params": {"name": "list_tasks", "arguments": {}}}


def piped(home: Path, text: bytes, *words: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[bytes]:
    variables = environment(home, MCP_A2A_LINK_HOST="127.0.0.1", **env)
    command = [MCP_A2A, "--no-mdns", *words]
    return subprocess.run(command, input=text, env=variables, capture_output=True, timeout=timeout, check=False)


# --- what it imports ------------------------------------------------------------------------------


def test_until_the_tools_are_listed_nothing_heavy_is_imported(home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PEEK], env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(lines(HELLO, INITIALIZED, LIST))
        process.stdin.flush()
        assert [json.loads(process.stdout.readline())["id"] for _ in range(2)] == [1, 2]
        modules = set(json.loads(process.stderr.readline()))
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    assert len(modules) <= MOST_MODULES, sorted(modules)


def test_a_client_that_asks_only_for_what_is_announced_starts_no_node(home: Path) -> None:
    done = piped(home, lines(HELLO, INITIALIZED, LIST, {"id": 4, "method": "ping"}))
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 2, 4]
    assert (done.returncode, done.stderr) == (0, b"")
    assert not home.exists()


# --- handing over ---------------------------------------------------------------------------------


def test_whatever_comes_in_one_piece_is_answered_once_and_garbage_too(home: Path) -> None:
    with client(home) as front:
        whole = {"id": 9, "method": "tools/list", "params": {"x": "y" * (MAX_LINE_BYTES + 1)}}
        front.write(
            lines(HELLO, INITIALIZED, LIST) + b"\n\xff\xfe\n[1]\n{}\n" + lines(whole, SELF, LIST | {"id": 8})[:-9]
        )
        front.write(lines(LIST | {"id": 8})[-9:] + lines({"id": 10, "method": "no/such"}))
        answers = [front.message() for _ in range(9)]
        code, rest = front.end()
    seen = [(answer["id"], answer.get("error", {}).get("code")) for answer in answers]
    assert seen[:2] == [(1, None), (2, None)]
    assert sorted(seen[2:], key=str) == sorted(
        [(None, -32700), (None, -32600), (None, -32600), (9, -32600), (3, None), (8, None), (10, -32601)], key=str
    )
    assert (code, rest) == (0, [])


def test_a_client_that_changes_from_a_probe_to_a_handshake_behind_a_call_gets_what_the_session_says(home: Path) -> None:
    with client(home) as front:
        assert "result" in front.ask("server/discover", envelope(), 1)
        assert "result" in front.ask("tools/list", envelope(), 2)
        refused = front.ask("initialize", INITIALIZE, 3)
        assert refused["error"]["code"] == -32022, "it has worked in the newer era"
        assert "result" in front.ask("tools/call", {**SELF["params"], **envelope()}, 4)


def test_a_probe_for_the_future_and_then_a_handshake_reach_a_session_of_the_older_era(home: Path) -> None:
    with client(home) as front:
        assert front.ask("server/discover", envelope("2031-01-01"), 1)["error"]["data"]["requested"] == "2031-01-01"
        front.begin()
        assert "tasks" in front.call("list_tasks")["structuredContent"]


def test_a_tool_before_any_handshake_is_refused_by_the_session(home: Path) -> None:
    with client(home) as front:
        assert front.ask("tools/list", {}, 1)["error"]["code"] == -32602
        assert front.begin()["result"]["protocolVersion"] == "2025-11-25"
        assert len(front.ask("tools/list", {}, 2)["result"]["tools"]) > 5


def test_a_call_that_is_canceled_while_it_waits_for_its_session_is_not_answered(home: Path) -> None:
    with client(home) as front:
        waits = {"name": "check_inbox", "arguments": {"wait_seconds": 45}}
        front.write(
            lines(
                HELLO, INITIALIZED, {"id": 5, "method": "tools/call", "params": waits},
                {"method": "notifications/cancelled", "params": {"requestId": 5}}, SELF,
            )
        )  # fmt: skip
        assert [front.message()["id"] for _ in range(2)] == [1, 3]
        assert front.end() == (0, [])


def test_a_node_that_cannot_start_says_why_to_the_call(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with client(tmp_path / "file" / "home") as front:
        front.begin()
        result = front.call("list_tasks")
        assert result["isError"]
        assert "--home" in result["content"][0]["text"]


def test_a_file_that_is_in_the_place_of_the_lock_is_named(home: Path) -> None:
    (home / "identities" / "default" / "lock").mkdir(parents=True, mode=0o700)
    with client(home) as front:
        front.begin()
        result = front.call("list_tasks")
        assert result["isError"]
        assert str(home) in result["content"][0]["text"]


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"", b"\n", lines(INITIALIZED)])
def test_an_input_that_ends_at_once_ends_it(home: Path, text: bytes) -> None:
    done = piped(home, text)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (signal.SIGTERM, b""),
        (signal.SIGINT, b""),
        (signal.SIGTERM, lines(HELLO)),
        (signal.SIGHUP, lines(HELLO)),
        (signal.SIGTERM, lines(HELLO, INITIALIZED, SELF)),
        (signal.SIGINT, lines(HELLO, INITIALIZED, SELF)),
    ],
    ids=["TERM", "INT", "TERM-hello", "HUP-hello", "TERM-call", "INT-call"],
)
def test_a_signal_ends_it_at_any_moment_with_0(home: Path, ending: signal.Signals, said: bytes) -> None:
    with client(home, stderr=subprocess.PIPE) as front:
        front.write(said)
        if said:
            front.line()
        else:
            _until_it_catches(front.process.pid)
        front.process.send_signal(ending)
        assert front.process.stderr is not None
        errors = front.process.stderr.read()
        assert (front.process.wait(60), errors) == (0, b"")


def _until_it_catches(pid: int) -> None:
    """Wait until a process catches SIGTERM (proc_pid_status(5))."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return


def test_a_client_that_stops_reading_ends_it(home: Path) -> None:
    with client(home) as front:
        front.begin()
        assert front.process.stdout is not None
        front.process.stdout.close()
        front.write(lines(LIST))
        assert front.process.wait(60) == 0


def test_a_client_that_asks_on_and_reads_nothing_is_not_read_any_further(home: Path) -> None:
    with client(home) as front:
        assert front.process.stdin is not None
        front.write(lines(HELLO))
        os.set_blocking(front.process.stdin.fileno(), False)
        with pytest.raises(BlockingIOError):
            for number in range(100_000):
                os.write(front.process.stdin.fileno(), lines(LIST | {"id": number}))
        assert front.resident_kib < 200 * 1024


def test_files_may_stand_for_the_pipes_and_calls_behind_the_handshake_are_answered(home: Path, tmp_path: Path) -> None:
    questions, answers = tmp_path / "in", tmp_path / "out"
    questions.write_bytes(lines(HELLO, INITIALIZED, LIST, SELF))
    with questions.open("rb") as source, answers.open("wb") as sink:
        done = subprocess.run(
            [MCP_A2A, "--no-mdns"], stdin=source, stdout=sink, env=environment(home), timeout=60, check=False
        )
    told = [json.loads(line) for line in answers.read_bytes().splitlines()]
    assert [answer["id"] for answer in told] == [1, 2, 3], "each once"
    assert "structuredContent" in told[2]["result"]
    assert done.returncode == 0


# --- settings -------------------------------------------------------------------------------------


def test_settings_that_cannot_be_end_it_with_a_sentence_though_no_client_has_spoken(home: Path) -> None:
    command, variables = [MCP_A2A, "--no-mdns", "--identity", "No Good"], environment(home)
    with subprocess.Popen(
        command,
        env=environment(home) | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(60) not in (0, None)
    assert b"--identity" in errors
    assert b"Traceback" not in errors
