"""The installed command, run as a person or a script would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MCP_A2A = str(Path(sys.executable).parent / "mcp-a2a")


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a fresh account would have, and the setting of a script that may send to anybody: it has no terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCP_A2A_")}
    return {**kept, "MCP_A2A_HOME": str(home), "MCP_A2A_ALLOW_STRANGERS": "1", **more}


def run(home: Path, *words: str, on: Sequence[str] = (), stdin: str = "", timeout: float = 60, **env: str):
    """The finished process."""
    return subprocess.run(
        [*on, MCP_A2A, *words],
        env=environment(home, **env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def answer(home: Path, *words: str, on: Sequence[str] = (), **more: Any) -> Any:
    """What `--json` printed."""
    finished = run(home, *words, "--json", on=on, **more)
    assert finished.stdout, finished.stderr
    return json.loads(finished.stdout)


@dataclass
class Agent:
    """A running agent."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    @property
    def did(self) -> str:
        return str(self.ready["did"])


@contextmanager
def agent(home: Path, *words: str, on: Sequence[str] = (), **env: str) -> Iterator[Agent]:
    """`mcp-a2a agent …`, from its ready line to a SIGTERM."""
    log = (home.parent / f"{home.name}-{words[2] if len(words) > 2 else 'agent'}.log").open("a")
    head, _, tail = _split(words)
    process = subprocess.Popen(
        [*on, MCP_A2A, "agent", *head, "--json", *tail],
        env=environment(home, **env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, Path(log.name).read_text()
        yield Agent(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
        log.close()


def _split(words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Options of ours go before `--`."""
    if "--" not in words:
        return list(words), "", []
    at = list(words).index("--")
    return list(words[:at]), "--", list(words[at:])


def until(condition: Any, seconds: float, what: str) -> float:
    """Another process gives no event to wait for: look again until it holds. How long that took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - start
