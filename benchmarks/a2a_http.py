"""What an A2A message over HTTP costs: our server, which keeps every task on the disk, beside the official SDK's, which
keeps them in memory. The same client for both, in one run.

A message is done when its task is completed and the artifact has come back. The server has a core for itself, the
client the other one. The SDK runs as its documentation sets it up, and once more with all that makes it faster (uvloop,
httptools, no OpenTelemetry). Ours is `mcp-a2a agent run`, whose tasks are fsynced before they are answered.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from loads.flight import Figures, quietest
from loads.web import Load, client
from roundtrip import CLIENT_CORE, PROGRAMS, SERVER_CORE, pin

SDK = "a2a-sdk[http-server]==1.3.0"
TUNED = {"OTEL_INSTRUMENTATION_A2A_SDK_ENABLED": "false"}
LOADS = {"1_in_flight": Load(2_000, 1), "64_in_flight": Load(6_400, 64)}
INSTALL_SECONDS = 300


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    url: str
    pid: int


@contextmanager
def serving(command: Sequence[str], **variables: str) -> Iterator[Server]:
    """A server on its core, that prints its URL, or a JSON object with it, when it is ready."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **variables},
        preexec_fn=lambda: pin(SERVER_CORE),  # noqa: PLW1509  one thread so far
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        yield Server(json.loads(line)["a2a_url"] if line.startswith("{") else line, process.pid)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def environment(*packages: str) -> Iterator[str]:
    """The Python of an environment with these packages; it goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *packages],
            check=True,
            capture_output=True,
            timeout=INSTALL_SECONDS,
        )
        yield python


async def loaded(server: Server, *, patient: bool) -> dict[str, Figures]:
    """A server under each load."""
    async with client(server.url) as calling:

        async def fly(load: Load) -> Figures:
            if not patient:
                return await calling.fly(load, server.pid)
            return await quietest(lambda: calling.fly(load, server.pid))

        return {name: await fly(load) for name, load in LOADS.items()}


async def ours(*, patient: bool = True) -> dict[str, Figures]:
    agent = ["agent", "run", str(PROGRAMS / "echo_agent.py"), "--a2a-listen", "127.0.0.1:0"]
    command = [str(Path(sys.executable).parent / "mcp-a2a"), "--json", "--quiet", *agent]
    with tempfile.TemporaryDirectory() as home, serving(command, MCP_A2A_HOME=home, MCP_A2A_MDNS="false") as server:
        return await loaded(server, patient=patient)


async def theirs(python: str, *, patient: bool = True, **variables: str) -> dict[str, Figures]:
    with serving([python, str(PROGRAMS / "sdk_server.py")], **variables) as server:
        return await loaded(server, patient=patient)


async def measure(*, patient: bool) -> dict[str, Mapping[str, Figures]]:
    pin(CLIENT_CORE)
    with environment(SDK, "uvicorn") as python:
        figures = {"ours": await ours(patient=patient), "sdk": await theirs(python, patient=patient)}
        install = [python, "-m", "pip", "install", "--quiet", "uvicorn[standard]"]
        subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_SECONDS)  # noqa: ASYNC221  nothing else runs
        figures["sdk_tuned"] = await theirs(python, patient=patient, **TUNED)
    return figures


def ratios(figures: Mapping[str, Mapping[str, Figures]]) -> dict[str, float]:
    """How many times theirs ours is; and how many of our messages the processor time of one of theirs is enough for."""
    found = {}
    for name in ("sdk", "sdk_tuned"):
        for load in LOADS:
            ours, their = figures["ours"][load], figures[name][load]
            note = " (budget at least 3)" if name == "sdk" else ""
            found[f"times {name}, {load}{note}"] = ours.messages_per_s / their.messages_per_s
            found[f"for one of {name}, {load}"] = their.server_us_per_message / ours.server_us_per_message
    return found


def table(figures: Mapping[str, Mapping[str, Figures]]) -> str:
    """For people: one line per server and load."""
    lines = [
        f"{'':<28}{'messages/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'server':>8}{'client':>8}{'us each':>9}{'foreign':>9}"
    ]
    for name, loads in figures.items():
        for load, of in loads.items():
            lines.append(
                f"{name + ', ' + load:<28}{of.messages_per_s:>12,.0f}{of.p50_us / 1000:>9.2f}{of.p99_us / 1000:>9.2f}"
                f"{of.server_core:>8.2f}{of.generator_core:>8.2f}{of.server_us_per_message:>9.0f}{of.foreign_cores:>9.2f}"
            )
    return "\n".join([*lines, "", *(f"{name:<60}{value:>8.2f}" for name, value in ratios(figures).items())])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="do not wait for a quiet moment")
    arguments = parser.parse_args()
    measured = anyio.run(lambda: measure(patient=not arguments.quick), backend_options={"use_uvloop": True})
    plain = {name: {load: asdict(of) for load, of in loads.items()} for name, loads in measured.items()}
    print(json.dumps({**plain, "ratios": ratios(measured)}, indent=2) if arguments.json else table(measured))
