"""Programs that are killed and started again, and witnesses inside their databases."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
OPEN = "state NOT IN ('TASK_STATE_COMPLETED','TASK_STATE_FAILED','TASK_STATE_CANCELED','TASK_STATE_REJECTED')"

COUNTERS = """
CREATE TABLE IF NOT EXISTS witness(event TEXT, task TEXT);
CREATE TRIGGER IF NOT EXISTS stored AFTER INSERT ON tasks BEGIN INSERT INTO witness VALUES('stored', NEW.id); END;
CREATE TRIGGER IF NOT EXISTS ended AFTER UPDATE ON tasks
  WHEN NEW.state = 'TASK_STATE_COMPLETED' AND NEW.artifacts <> '[]'
  AND OLD.updated <> NEW.updated
  BEGIN INSERT INTO witness VALUES('ended', NEW.id); END;
"""


class Process:
    """A program of ours that can be killed and started again."""

    def __init__(
        self, home: Path, name: str, *arguments: str, on: Sequence[str] = (), accept: str = "trusted", port: int = 0
    ) -> None:
        self._home = home
        self.database = home / "identities" / name / "node.db"
        self._command = [*on, sys.executable, str(PROGRAMS / f"{name}.py"), *arguments]
        environment = {"MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false", "MCP_A2A_ACCEPT": accept, "HURRY": "1"}
        self._environment = {**os.environ, **environment, "MCP_A2A_LINK_PORT": str(port)}
        self._log = home / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()

    @property
    def announced(self) -> bool:
        """Whether others on this machine can see it."""
        pids = [json.loads(notice.read_text())["pid"] for notice in self._home.glob("announce/*.json")]
        return self.process is not None and self.process.pid in pids

    def count(self, query: str) -> int:
        assert self.process is None or self.process.poll() in (None, 0, -signal.SIGKILL), self._log.read_text()[-4000:]
        if not self.database.exists():
            return 0
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=5)) as connection:
            try:
                return int(connection.execute(query).fetchone()[0])
            except sqlite3.OperationalError:
                return 0  # the schema is being made

    def witnessed(self, event: str) -> int:
        return self.count(f"SELECT COUNT(*) FROM witness WHERE event='{event}'")


@contextmanager
def ended_afterwards(*processes: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def until(condition, seconds: float, what: str) -> None:
    """Other processes give no event to wait for: look again until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.001)


def plant_counters(process: Process) -> None:
    process.start()
    until(lambda: process.count("SELECT COUNT(*) FROM meta") > 0, 30, "the database exists")
    process.kill()
    with closing(sqlite3.connect(process.database)) as connection:
        connection.executescript(COUNTERS)


def tell_twins(process: Process) -> dict[str, tuple[int, int]]:
    """How often each event was seen, and of how many different tasks."""
    query = "SELECT COUNT(DISTINCT task) FROM witness WHERE event='{}'"
    return {event: (process.witnessed(event), process.count(query.format(event))) for event in ("stored", "ended")}
