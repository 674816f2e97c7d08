"""Every accepted task is recorded once and its result accepted once, through any kill -9 (promises R1, R2).

What is counted is counted inside the databases, by triggers that this test plants before the storm: how often a task
was stored, and how often it reached its end. Hand-made mutants that fail here: acknowledging before the commit,
splitting a state change from the message it causes, accepting without a dedupe key.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
TASKS = 300
KILLS = 20
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

    def __init__(self, home: Path, name: str, *arguments: str) -> None:
        self.database = home / "identities" / name / "node.db"
        self._command = [sys.executable, str(PROGRAMS / f"{name}.py"), *arguments]
        environment = {"MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false", "MCP_A2A_ACCEPT": "trusted"}
        self._environment = {**os.environ, **environment}
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

    def count(self, query: str) -> int:
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
    until(lambda: process.count("SELECT COUNT(*) FROM meta") > 0, 20, "the database exists")
    process.kill()
    with closing(sqlite3.connect(process.database)) as connection:
        connection.executescript(COUNTERS)


def strike(choose: random.Random, sender: Process, receiver: Process) -> Process:
    """Wait for a moment at which a careless program would lose something, and say whom to kill in it."""
    watched, event, victim = choose.choice(
        [
            (sender, "stored", receiver),  # the task is journalled: it is being accepted over there
            (receiver, "ended", receiver),  # the work is done: its result is being journalled and sent
            (receiver, "ended", sender),  # the result is on its way: it is being accepted over here
        ]
    )
    query = f"SELECT COUNT(*) FROM witness WHERE event='{event}'"
    with closing(sqlite3.connect(f"file:{watched.database}?mode=ro", uri=True, timeout=5)) as connection:
        before = connection.execute(query).fetchone()
        deadline = time.monotonic() + 60
        while connection.execute(query).fetchone() == before:  # no pause: the moment is shorter than one
            assert time.monotonic() < deadline, f"{event} never happened again"
    time.sleep(choose.choice([0, 0, choose.uniform(0, 0.004)]))
    return victim


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_task_is_lost_or_doubled_while_both_ends_are_killed(tmp_path: Path) -> None:
    sender, receiver = Process(tmp_path, "sender", str(tmp_path), str(TASKS)), Process(tmp_path, "receiver")
    choose = random.Random(os.environ.get("STORM_SEED", "20"))
    with ended_afterwards(sender, receiver):
        plant_counters(receiver)
        plant_counters(sender)
        receiver.start()
        sender.start()
        kills_with_work = 0
        while kills_with_work < KILLS:
            calm = sender.witnessed("ended") + choose.randrange(3, 9)
            until(lambda: sender.witnessed("ended") >= min(calm, TASKS), 60, "the storm makes progress")  # noqa: B023
            victim = strike(choose, sender, receiver)
            unfinished = sender.count(f"SELECT COUNT(*) FROM tasks WHERE {OPEN}")
            victim.kill()
            in_hand = receiver.count(f"SELECT COUNT(*) FROM tasks WHERE lease_until IS NOT NULL AND {OPEN}")
            kills_with_work += bool(in_hand and unfinished)
            assert unfinished, "the work ran out before the kills did"
            victim.start()
        assert sender.process is not None
        output, _ = sender.process.communicate(timeout=60)

    lines = [line.split(" ", 2) for line in output.decode().splitlines()]
    assert [(int(number), text) for number, _, text in lines] == [(n, f"done {n}") for n in range(TASKS)]
    assert kills_with_work >= KILLS
    for process in (sender, receiver):
        for event in ("stored", "ended"):
            assert process.witnessed(event) == TASKS
            assert process.count(f"SELECT COUNT(DISTINCT task) FROM witness WHERE event='{event}'") == TASKS
