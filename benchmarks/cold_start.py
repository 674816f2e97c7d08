"""How soon a client has its first answers, beside a bare server of the SDK in the same run; and what a front costs.

Each round starts both servers in turn, as a client does: `initialize`, then `tools/list`. The ratio is the number to
watch; counts (modules imported until the tools are listed, bytes, memory of a process that is only a front) do not
depend on how busy the machine is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
OURS = [str(Path(sys.executable).parent / "mcp-a2a"), "--no-mdns"]
SDK = [sys.executable, str(PROGRAMS / "mcp_echo.py")]
ROUNDS = 15

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}
SERVER_CORE = 1


class Server:
    """A process, and what it answers."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def say(self, method: str, params: object = None, number: int | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message if number is None else {**message, "id": number}).encode() + b"\n")

    def ask(self, method: str, params: object = None, number: int = 1) -> bytes:
        self.say(method, params, number)
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, "it has ended"
            if json.loads(line).get("id") == number:
                return line


@contextmanager
def server(command: Sequence[str], home: str) -> Iterator[Server]:
    environment = {**os.environ, "MCP_A2A_HOME": home, "MCP_A2A_LINK_HOST": "127.0.0.1"}
    with subprocess.Popen(
        command, env=environment, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE % (os.cpu_count() or 1)}),  # noqa: PLW1509  no threads here
    ) as process:  # fmt: skip
        try:
            yield Server(process)
        finally:
            process.kill()


def first_answers(command: Sequence[str], home: str) -> tuple[float, float, int]:
    """Milliseconds from the start to the answers to `initialize` and `tools/list`, and bytes of the latter."""
    began = time.perf_counter()
    with server(command, home) as started:
        started.ask("initialize", INITIALIZE, 1)
        greeted = time.perf_counter() - began
        started.say("notifications/initialized")
        size = len(started.ask("tools/list", None, 2))
        return greeted * 1000, (time.perf_counter() - began) * 1000, size


def modules() -> dict[str, int]:
    """Modules that each has imported when the tools are listed."""
    peek = "import sys, runpy, atexit; atexit.register(lambda: sys.stderr.write(str(len(sys.modules))))\n"
    run = f"sys.argv = {OURS!r}; from mcp_a2a.__main__ import main; main()"
    sdk = f"runpy.run_path({SDK[1]!r}, run_name='__main__')"
    lines = b"".join(
        json.dumps({"jsonrpc": "2.0", **one}).encode() + b"\n"
        for one in ({"id": 1, "method": "initialize", "params": INITIALIZE}, {"id": 2, "method": "tools/list"})
    )
    counts = {}
    for name, program in (("front", run), ("sdk", sdk)):
        done = subprocess.run([sys.executable, "-c", peek + program], input=lines, capture_output=True, check=False)
        counts[name] = int(done.stderr.decode().rpartition("\n")[2] or 0)
    return counts


def resident_kib(pid: int) -> int:
    """Memory of a process (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def beside_an_owner(home: str) -> dict[str, float]:
    """What a second process of the same folder costs, and how soon its first call is answered."""
    call = {"name": "list_tasks", "arguments": {}}
    with server(OURS, home) as owner:
        owner.ask("initialize", INITIALIZE, 1)
        owner.ask("tools/call", call, 2)
        began = time.perf_counter()
        with server(OURS, home) as front:
            front.ask("initialize", INITIALIZE, 1)
            front.say("notifications/initialized")
            front.ask("tools/call", call, 2)
            called = (time.perf_counter() - began) * 1000
            memory = resident_kib(front.process.pid) / 1024
            owner.process.kill()
            began = time.perf_counter()
            front.ask("tools/call", call, 3)
            taken_over = (time.perf_counter() - began) * 1000
    return {
        "first_call_ms": round(called, 1),
        "memory_mib": round(memory, 1),
        "taken_over_ms": round(taken_over, 1),
    }


def measure(rounds: int) -> dict[str, object]:
    """All figures."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = str(Path(folder) / "home")
        times: dict[str, list[tuple[float, float, int]]] = {"front": [], "sdk": []}
        for _ in range(rounds + 1):
            times["front"].append(first_answers(OURS, home))
            times["sdk"].append(first_answers(SDK, home))
        best = {name: [min(one[at] for one in found[1:]) for at in (0, 1)] for name, found in times.items()}
        middle = {
            name: [statistics.median(one[at] for one in found[1:]) for at in (0, 1)] for name, found in times.items()
        }
        for name in times:
            figures[name] = {
                "initialize_ms": round(middle[name][0], 1),
                "tools_list_ms": round(middle[name][1], 1),
                "best_tools_list_ms": round(best[name][1], 1),
            }
        figures["ratio"] = {
            "initialize": round(middle["front"][0] / middle["sdk"][0], 3),
            "tools_list": round(middle["front"][1] / middle["sdk"][1], 3),
            "best_tools_list": round(best["front"][1] / best["sdk"][1], 3),
        }
        figures["modules"] = modules()
        figures["tools_list_bytes"] = times["front"][0][2]
        figures["beside_an_owner"] = beside_an_owner(home)
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    figures = measure(asked.rounds)
    if asked.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    for name, values in figures.items():
        sys.stdout.write(f"{name:20}{values}\n")


if __name__ == "__main__":
    main()
