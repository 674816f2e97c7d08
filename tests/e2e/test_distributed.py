"""examples/distributed as its README has it: three servers that find each other and work together, counted.

Acceptance scenarios RS-01 to RS-07 of the system that the example is for.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import environment

SERVER = Path(__file__).parents[2] / "examples" / "distributed" / "server.py"
SECONDS = 30
NAMES = ("Server-A", "Server-B", "Server-C")


@dataclass(frozen=True)
class Server:
    """A running server of the example."""

    name: str
    url: str
    process: subprocess.Popen[str]

    def get(self, path: str) -> Any:
        return self._open(f"{self.url}{path}")

    def post(self, body: object, path: str = "") -> Any:
        headers = {"Content-Type": "application/json"}
        return self._open(urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(), headers))  # noqa: S310  ours

    def _open(self, request: urllib.request.Request | str) -> Any:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310  ours
            return json.load(response)

    def say(
        self, text: str, part: Callable[[str], dict[str, str]] = lambda text: {"type": "text", "content": text}
    ) -> str:
        """What it says to a text, asked with the guide's own curl body."""
        message = {"role": "user", "parts": [part(text)]}
        reply = self.post({"jsonrpc": "2.0", "id": "1", "method": "message/send", "params": {"message": message}})
        assert (reply["jsonrpc"], reply["id"]) == ("2.0", "1")
        task = reply["result"]
        assert task["status"]["state"] == "completed", task
        return str(task["artifacts"][0]["parts"][0]["text"])

    def counts(self) -> dict[str, int]:
        """What its monitor has counted."""
        found = re.findall(r"^  (\S+): (\d+)$", self.say("status report"), re.MULTILINE)
        return {kind: int(count) for kind, count in found}

    @property
    def others(self) -> dict[str, dict[str, Any]]:
        """Those it finds, by name."""
        return {peer["name"]: peer for peer in self.get("a2a/peers")["peers"] if peer["online"]}


Three = tuple[Server, Server, Server]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(home: Path, name: str, *connect: str) -> Iterator[Server]:
    port = free_port()
    words = ["--port", str(port), "--name", name, "--home", str(home / name), "--connect", ",".join(connect)]
    with subprocess.Popen(
        [sys.executable, str(SERVER), *words], env=environment(home), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{name} at http://127.0.0.1:{port}/\n"
            yield Server(name, f"http://127.0.0.1:{port}/", process)
            process.terminate()
            process.wait(SECONDS)
        finally:
            process.kill()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.05)  # other processes give no event


@contextmanager
def three_servers(home: Path) -> Iterator[Three]:
    """A, then B that was told of A, then C that was told of both: and all have found all."""
    with ExitStack() as stack:
        a = stack.enter_context(server(home, "Server-A"))
        b = stack.enter_context(server(home, "Server-B", a.url))
        c = stack.enter_context(server(home, "Server-C", a.url, b.url))
        for one in (a, b, c):
            until(lambda one=one: _answers(one))  # type: ignore[misc]
            until(lambda one=one: len(one.others) == 2)  # type: ignore[misc]
        yield a, b, c


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    with three_servers(tmp_path_factory.mktemp("distributed")) as three:
        yield three


def _answers(one: Server) -> bool:
    try:
        return bool(one.get("health"))
    except OSError:
        return False


def test_everybody_finds_everybody_with_skills_also_the_one_started_first(servers: Three) -> None:
    for one in servers:
        assert set(one.others) == set(NAMES) - {one.name}
        for name, peer in one.others.items():
            card = one.get(f"{peer['path'].removeprefix('/')}.well-known/agent-card.json")
            assert {f"coordinator_{name}", f"worker_a_{name}"} <= {
                skill["id"].replace(name.lower().replace("-", "_"), name) for skill in card["skills"]
            }


def test_a_card_lists_the_agents_of_its_server(servers: Three) -> None:
    for one in servers:
        card, suffix = one.get(".well-known/agent-card.json"), one.name.lower().replace("-", "_")
        listed = {skill["id"] for skill in card["skills"]}
        assert {f"{role}_{suffix}" for role in ("coordinator", "worker_a", "worker_b", "monitor")} <= listed
        assert all(skill["name"] and skill["description"] for skill in card["skills"])
        assert card["defaultInputModes"]
        assert card["defaultOutputModes"]


def test_a_reply_names_server_and_agent_whoever_spells_the_message_how(servers: Three) -> None:
    spellings: tuple[Callable[[str], dict[str, str]], ...] = (
        lambda text: {"type": "text", "content": text},
        lambda text: {"kind": "text", "text": text},
        lambda text: {"text": text},
    )
    for one in servers:
        for part in spellings:
            assert one.say("Hello", part) == f"[{one.name}] Coordinator-{one.name} processed: Hello"


def test_coordinating_goes_to_each_neighbour_once_and_is_counted_once_everywhere(servers: Three) -> None:
    a, b, c = servers
    before = [one.counts() for one in servers]
    lines = a.say("coordinate the analysis of data").splitlines()
    assert lines == [
        "[Server-A] Coordinator-Server-A Coordinated task across 2 servers, received 2 responses",
        "- Server-B: [Server-B] Worker-A-Server-B (data-processing) completed task #1",
        "- Server-C: [Server-C] Worker-A-Server-C (data-processing) completed task #1",
    ]
    # And from the others: what each of them counts twice or never would show in the sums.
    first = {"coordination.started": 1, "coordination.complete": 1, "task.completed": 2}
    _become(servers, before, first)
    for other in (b, c):
        assert "Coordinated task across 2 servers, received 2 responses" in other.say("coordinate from here")
    _become(servers, before, {kind: 3 * count for kind, count in first.items()})


def _become(servers: Three, before: list[dict[str, int]], more: dict[str, int]) -> None:
    for one, was in zip(servers, before, strict=True):
        wanted = was | {kind: was.get(kind, 0) + count for kind, count in more.items()}
        until(lambda one=one, wanted=wanted: sum(one.counts().values()) >= sum(wanted.values()))  # type: ignore[misc]
        assert one.counts() == wanted


def test_a_text_that_is_passed_on_comes_back_and_one_in_circles_ends(servers: Three) -> None:
    a, _, _ = servers
    assert a.say("forward Server-B Server-C: ping") == (
        "[Server-A] Courier-Server-A forwarded to Server-B: [Server-B] Courier-Server-B forwarded to Server-C: "
        "[Server-C] Coordinator-Server-C processed: ping"
    )
    circles = a.say("forward " + "Server-B Server-A " * 10 + ": ping")
    assert "This work was passed on 4 times" in circles
    assert 1 < circles.count("forwarded") < 10


def test_without_one_server_the_report_names_it_and_it_hears_what_it_missed_when_it_is_back(tmp_path: Path) -> None:
    with three_servers(tmp_path) as (a, b, c):
        c.process.kill()
        c.process.wait()
        lines = a.say("coordinate without C").splitlines()
        assert "Coordinated task across 2 servers, received 1 responses" in lines[0]
        assert any(line.startswith("- Server-B: [Server-B]") for line in lines)
        assert any(line.startswith("- Server-C: no answer:") for line in lines)
        # What it missed is kept for it, and its monitor counts each event once.
        with server(tmp_path, "Server-C", a.url, b.url) as back:
            until(lambda: _answers(back))
            missed = {"coordination.started": 1, "coordination.complete": 1, "task.completed": 1}
            until(lambda: sum(back.counts().values()) >= sum(missed.values()))
            assert back.counts() == missed
        for one in (a, b):
            one.process.send_signal(signal.SIGTERM)
            assert one.process.wait(SECONDS) == 0
