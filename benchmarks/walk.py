"""The way of one `send_task` through the product: the modules it enters, in order, and the forms its message takes.

The tool is called over MCP in a process of its own, several times; an agent in a second process answers. A module
counts if more than half of the walks enter it, so that work which only happens at the same time falls out. A module is
entered when one of its functions starts; the constructor of a dataclass does not count, nor does a coroutine that goes
on where it waited. A form is a type of value that carries the message: a class of the product, a dict, JSON text or an
envelope.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from loads.flight import pin
from loads.servers import GENERATOR_CORE, PROGRAMS, Lines, end, process

WALKS = 9
WARM_UP = 5
REACH_SECONDS = 30
PARTS = ("before", "out", "back")
TITLES = {
    "before": "reading the client's line",
    "out": "from the tool's arguments to the envelope on the wire",
    "back": "from there to the answer",
}
BUDGET = 12
"""Modules out."""
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "walk", "version": "1"}}


@dataclass(frozen=True)
class Walk:
    """What most walks have in common, per part; the numbers are medians."""

    modules: dict[str, list[str]]
    forms: dict[str, list[str]]
    calls: dict[str, float]
    changes: dict[str, float]
    """From one module to another."""


class Walker:
    """An MCP server of the product that writes its walks down."""

    def __init__(self, running: subprocess.Popen[bytes], walks: Lines, text: str) -> None:
        self._process, self._walks, self._text = running, walks, text
        assert running.stdout is not None
        self._answers = Lines(running.stdout.fileno(), "the MCP server")
        self._number = 0

    def greet(self) -> None:
        self._ask("initialize", INITIALIZE)
        self._say({"method": "notifications/initialized"})

    def send_task(self) -> bool:
        """Call the tool; False if the agent did not answer with the text."""
        answer = self._ask("tools/call", {"name": "send_task", "arguments": {"agent": "echo", "message": self._text}})
        return self._text in answer

    def walk(self) -> dict[str, dict[str, list[str]]]:
        """One call, written down.

        Raises:
            RuntimeError: the task was not answered.
        """
        self._process.send_signal(signal.SIGUSR1)
        answered = self.send_task()
        self._process.send_signal(signal.SIGUSR2)
        if not answered:
            raise RuntimeError("a task was not answered")
        found: dict[str, dict[str, list[str]]] = json.loads(self._walks.next())
        return found

    def _ask(self, method: str, params: object) -> str:
        self._number += 1
        self._say({"id": self._number, "method": method, "params": params})
        while True:
            line = self._answers.next()
            if json.loads(line).get("id") == self._number:
                return line

    def _say(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


@contextmanager
def walker(python: str, home: Path) -> Iterator[Walker]:
    """An MCP server, as a client starts it, beside an agent of the same tree."""
    text = f"walk {uuid.uuid4().hex} " + "x" * 260
    variables = {"MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false", "MCP_A2A_LINK_HOST": "127.0.0.1"}
    with process([python, str(PROGRAMS / "echo_agent.py")], **variables) as (_, words):
        words.next()
        source, sink = os.pipe()
        running = subprocess.Popen(
            [python, str(PROGRAMS / "walking.py")],
            env={**os.environ, **variables, "WALK_FD": str(sink), "WALK_TEXT": text},
            pass_fds=[sink],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: pin(GENERATOR_CORE),  # noqa: PLW1509  one thread so far
            start_new_session=True,
        )
        os.close(sink)
        try:
            yield Walker(running, Lines(source, "the walk"), text)
        finally:
            end(running)
            os.close(source)


def walked(python: str = sys.executable, walks: int = WALKS) -> Walk:
    """Walk in the tree that this Python has installed.

    Raises:
        HungError: a process made no progress for 60 s.
        RuntimeError: a process ended, or a task was not answered.
    """
    with tempfile.TemporaryDirectory() as folder, walker(python, Path(folder)) as walking:
        walking.greet()
        deadline = time.monotonic() + REACH_SECONDS
        while not walking.send_task():
            if time.monotonic() > deadline:
                raise RuntimeError("the agent is not found")
            time.sleep(0.2)
        for _ in range(WARM_UP):
            walking.send_task()
        found = [walking.walk() for _ in range(walks)]
    return Walk(
        modules={part: common([one["modules"][part] for one in found]) for part in PARTS},
        forms={part: common([one["forms"][part] for one in found]) for part in PARTS},
        calls={part: statistics.median(one["calls"][part] for one in found) for part in PARTS},
        changes={part: statistics.median(one["changes"][part] for one in found) for part in PARTS},
    )


def common(lists: Sequence[Sequence[str]]) -> list[str]:
    """What more than half of the lists have, ordered by the median of the places."""
    places: dict[str, list[int]] = {}
    for one in lists:
        for place, name in enumerate(one):
            places.setdefault(name, []).append(place)
    often = [name for name in places if len(places[name]) > len(lists) / 2]
    return sorted(often, key=lambda name: statistics.median(places[name]))


def table(walk: Walk) -> str:
    """The walk as text, one module per line."""
    lines = []
    for part in PARTS:
        modules, forms = walk.modules[part], walk.forms[part]
        counts = f"{walk.calls[part]:.0f} calls of the product, {walk.changes[part]:.0f} changes of module"
        lines += [
            f"{TITLES[part]}: {len(modules)} modules, {counts}",
            *(f"  {number:>3}  {name}" for number, name in enumerate(modules, 1)),
            f"  {len(forms)} forms of the message: {', '.join(forms)}",
            "",
        ]
    both = len({*walk.modules["out"], *walk.modules["back"]})
    lines.append(f"modules to the wire {len(walk.modules['out'])} (budget {BUDGET}), there and back {both}")
    return "\n".join(lines)


def main() -> None:
    """Print the walk."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--walks", type=int, default=WALKS, help="how many calls are compared")
    parser.add_argument("--python", default=sys.executable, help="the Python of another tree")
    asked = parser.parse_args()
    walk = walked(asked.python, asked.walks)
    print(json.dumps(asdict(walk), indent=2) if asked.json else table(walk))


if __name__ == "__main__":
    main()
