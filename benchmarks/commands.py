"""What a command costs before and beside its answer, and what a start costs with a long history.

Each command is a process of its own, as a person starts it, beside `python -c pass` and `import typer` of the same
interpreter: the ratio is what to watch on a busy machine. Times are the best of several, in milliseconds; `cpu` counts
this process only, and not the node that it asks. A start lasts from the process to the answer of a tool call over
stdio, and to the answer of `mcp-a2a tasks`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import anyio

from benchmarks.history import LONG, a_task, multiply
from mcp_a2a.store.opening import open_database
from mcp_a2a.store.records import insert_task

ROUNDS = 5
MCP_A2A = (sys.executable, "-m", "mcp_a2a")
HELP = ("--help", "version", "send --help", "agent exec --help", "relay serve --help")
READS = ("tasks", "tasks --json", "discover", "status", "peers", "networks", "inbox", "id", "list")
AT_REST = ("tasks", "peers", "networks")
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}

Figures = dict[str, dict[str, float]]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCP_A2A_")}
    return kept | {"MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false", "MCP_A2A_LINK_HOST": "127.0.0.1"}


def timed(command: Sequence[str], home: Path, rounds: int = ROUNDS) -> dict[str, float]:
    """The quickest run of a command, and the least CPU that one has taken."""
    walls, cpus = [], []
    for _ in range(rounds):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, env=environment(home), check=True, capture_output=True, stdin=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"wall": round(min(walls) * 1000, 1), "cpu": round(min(cpus) * 1000, 1)}


@contextmanager
def server(home: Path) -> Iterator[float]:
    """An MCP server on a pipe; yields the seconds until a tool has answered."""
    began = time.perf_counter()
    with subprocess.Popen(
        [*MCP_A2A, "serve"], env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        call = {"name": "list_tasks", "arguments": {"state": "completed", "limit": 5}}
        for message in (
            {"id": 1, "method": "initialize", "params": INITIALIZE},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": call},
        ):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline()).get("id") != 2:
            pass
        yield time.perf_counter() - began
        process.stdin.close()
        process.stdout.read()


def build(home: Path, count: int) -> None:
    """A data folder whose identity has so many finished tasks, as its last process left it."""
    with server(home):
        pass
    path = home / "identities" / "default" / "node.db"
    if count:
        anyio.run(fill, path, count)


async def fill(path: Path, count: int) -> None:
    async with open_database(path, "benchmark") as database:
        await database.write(lambda connection: insert_task(connection, a_task(time.time())))
    with closing(sqlite3.connect(path)) as connection, connection:
        multiply(connection, "task-0", count)
    async with open_database(path, "benchmark"):  # it reads everything once, as after any change from outside
        pass


def start(home: Path, rounds: int) -> dict[str, float]:
    """Milliseconds from a start to the answer of a tool, and of a command after that."""
    tools, reads = [], []
    for _ in range(rounds):
        with server(home) as seconds:
            tools.append(seconds)
            reads.append(timed([*MCP_A2A, "tasks"], home, rounds=1)["wall"])
    return {"tool": round(min(tools) * 1000, 1), "command": min(reads)}


def measure(count: int, rounds: int) -> Figures:
    """All of it, by what was run."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short", Path(folder) / "long"
        for code in ("pass", "import typer"):
            figures[f"python -c '{code}'"] = timed([sys.executable, "-c", code], short, rounds)
        for words in HELP:
            figures[words] = timed([*MCP_A2A, *words.split()], short, rounds)
        build(short, 0)
        build(long, count)
        with server(long):
            for words in READS:
                figures[f"{words} (a node runs)"] = timed([*MCP_A2A, *words.split()], long, rounds)
        for words in AT_REST:
            figures[f"{words} (none runs)"] = timed([*MCP_A2A, *words.split()], long, rounds)
        figures["start, no task"] = start(short, rounds)
        figures[f"start, {count:,} tasks"] = start(long, rounds)
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tasks", type=int, default=LONG, help="Finished tasks of the long history.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    figures = measure(asked.tasks, asked.rounds)
    if asked.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    for name, values in figures.items():
        sys.stdout.write(f"{name:28}" + "".join(f"{key:>10} {value:8.1f}" for key, value in values.items()) + "\n")


if __name__ == "__main__":
    main()
