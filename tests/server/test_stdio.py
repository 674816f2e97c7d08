"""The stdio server as a process: it answers, says nothing else, and ends cleanly however it is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.server.test_protocol_eras import INITIALIZE, envelope

pytestmark = pytest.mark.slow

PROGRAM = [sys.executable, "-m", "tests.server.stdio_program"]


def line(number: int, method: str, params: dict[str, object]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


HELLO = line(1, "initialize", INITIALIZE)
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
CALL = line(2, "tools/call", {"name": "discover", "arguments": {}})


class Running:
    """The process, its answers, and how it ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.output = self.errors = b""

    def write(self, *lines: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def answer(self) -> dict[str, object]:
        assert self.process.stdout is not None
        message: dict[str, object] = json.loads(self.process.stdout.readline())
        return message

    def hear(self, word: bytes) -> None:
        """Read stderr up to this."""
        assert self.process.stderr is not None
        while word not in (heard := self.process.stderr.readline()):
            assert heard, f"{word!r} was never said"

    def end(self) -> int:
        self.output, self.errors = self.process.communicate(timeout=30)
        return self.process.returncode


@contextmanager
def running(*arguments: str, through: Sequence[str] = ()) -> Iterator[Running]:
    pipe = subprocess.PIPE
    command = [*through, *PROGRAM, *arguments]
    with subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.mark.parametrize("ending", ["EOF", "SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize(("loop", "busy"), [("asyncio", True), ("uvloop", False)])
def test_it_cleans_up_and_exits_with_0(loop: str, ending: str, busy: bool):  # noqa: FBT001
    with running(loop, *["hang"] * busy) as server:
        server.write(HELLO, INITIALIZED)
        server.answer()
        server.hear(b"started")
        if busy:
            server.write(CALL)
        if ending == "EOF":
            assert server.process.stdin is not None
            server.process.stdin.close()
            server.process.stdin = None
        else:
            server.process.send_signal(signal.Signals[ending])
        assert server.end() == 0
        assert b"cleaned up" in server.errors
        assert b"Traceback" not in server.errors


def test_one_that_was_told_to_outlive_its_terminal_does():
    with running(through=["nohup"]) as server:
        server.write(HELLO, INITIALIZED)
        server.answer()
        server.hear(b"started")
        server.process.send_signal(signal.SIGHUP)
        server.write(CALL)
        assert server.answer()["id"] == 2


def test_a_client_that_stops_reading_ends_it():
    with running() as server:
        server.write(HELLO, INITIALIZED)
        server.answer()
        assert server.process.stdout is not None
        server.process.stdout.close()
        server.process.stdout = None
        server.write(CALL)
        assert server.end() == 0
        assert b"cleaned up" in server.errors


def test_the_network_starts_behind_the_first_answer():
    with running() as server:
        server.hear(b"imported too early: []")
        server.write(HELLO)
        server.answer()
        server.hear(b"started")


def test_stdout_carries_nothing_but_messages_and_each_unreadable_line_is_answered():
    with running() as server:
        server.write(HELLO, INITIALIZED)
        server.answer()
        server.hear(b"started")
        server.write(*[b"garbage\n", b"{}\n", b'{"id":7,"method":\n'] * 100, CALL)
        answers = [server.answer() for _ in range(301)]
        assert [answer["id"] for answer in answers] == [None, None, 7] * 100 + [2]
        assert [code_of(answer) for answer in answers[:3]] == [-32700, -32600, -32700]
        server.process.send_signal(signal.SIGTERM)
        assert server.end() == 0
        assert server.output == b""
        assert b"unflushed noise" in server.errors


def code_of(answer: dict[str, object]) -> object:
    error = answer["error"]
    assert isinstance(error, dict)
    return error["code"]


def test_a_byte_order_mark_before_the_first_message_is_no_part_of_it():
    with running() as server:
        server.write(b"\xef\xbb\xbf", HELLO)
        assert server.answer()["id"] == 1


def test_a_client_that_asks_on_and_reads_nothing_is_not_read_any_further():
    with running() as server:
        server.write(HELLO, INITIALIZED)
        server.answer()
        server.hear(b"started")
        assert server.process.stdin is not None
        stdin = server.process.stdin.fileno()
        os.set_blocking(stdin, False)
        written, lists = 0, line(3, "tools/list", {}).replace(b'"id": 3', b'"id": %d')
        with pytest.raises(BlockingIOError):
            # An answer is larger than a request, so its pipe is full long before.
            for number in range(100_000):
                written += os.write(stdin, lists % (number + 10))
        memory = next(
            word for word in Path(f"/proc/{server.process.pid}/status").read_text().splitlines() if "VmRSS" in word
        )
        assert int(memory.split()[1]) < 300 * 1024, written


@pytest.mark.parametrize("version", ["2026-07-28", "2031-01-01"])
def test_a_probe_and_then_a_handshake_work(version: str):
    with running() as server:
        server.write(line(0, "server/discover", envelope(version)))
        assert server.answer()["id"] == 0
        server.write(HELLO, INITIALIZED, CALL)
        assert "result" in server.answer()
        assert "result" in server.answer()


def test_answers_come_through_a_shell_pipe():
    done = subprocess.run(
        PROGRAM, input=HELLO + INITIALIZED + CALL.rstrip(), capture_output=True, timeout=20, check=False
    )
    assert [json.loads(answer)["id"] for answer in done.stdout.splitlines()] == [1, 2]
    assert done.returncode == 0


def test_it_works_with_files_for_pipes(tmp_path: Path):
    questions, answers = tmp_path / "in", tmp_path / "out"
    questions.write_bytes(HELLO + INITIALIZED + CALL)
    with questions.open("rb") as source, answers.open("wb") as sink:
        done = subprocess.run(PROGRAM, stdin=source, stdout=sink, stderr=subprocess.PIPE, timeout=20, check=False)
    assert [json.loads(answer)["id"] for answer in answers.read_bytes().splitlines()] == [1, 2]
    assert done.returncode == 0


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_works_in_both_eras(mode: str):
    parameters = StdioServerParameters(command=PROGRAM[0], args=PROGRAM[1:])
    async with Client(stdio_client(parameters), mode=mode) as client:
        assert len((await client.list_tools()).tools) == 12
        result = await client.call_tool("discover", {})
    assert not result.is_error
