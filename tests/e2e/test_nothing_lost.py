"""Every accepted task is recorded once and its result accepted once, through any kill -9.

What is counted is counted inside the databases, by triggers that this test plants before the storm: how often a task
was stored, and how often it reached its end. Hand-made mutants that fail here: acknowledging before the commit,
splitting a state change from the message it causes, accepting without a dedupe key.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.storm import OPEN, Process, ended_afterwards, plant_counters, tell_twins, until

TASKS = 300
KILLS = 20


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
@pytest.mark.timeout(600)
def test_no_task_is_lost_or_doubled_while_both_ends_are_killed(tmp_path: Path) -> None:
    sender, receiver = Process(tmp_path, "sender", str(tmp_path), str(TASKS)), Process(tmp_path, "receiver")
    choose = random.Random(os.environ.get("STORM_SEED", "20"))
    with ended_afterwards(sender, receiver):
        plant_counters(receiver)
        plant_counters(sender)
        receiver.start()
        until(lambda: receiver.announced, 30, "the receiver can be seen")
        sender.start()
        kills_with_work = 0
        while kills_with_work < KILLS:
            calm = sender.witnessed("ended") + choose.randrange(3, 9)
            until(lambda: sender.witnessed("ended") >= min(calm, TASKS), 60, "the storm makes progress")  # noqa: B023
            victim = strike(choose, sender, receiver)
            unfinished = sender.count(f"SELECT COUNT(*) FROM tasks WHERE {OPEN}")  # 0 for a moment between two batches
            victim.kill()
            in_hand = receiver.count(f"SELECT COUNT(*) FROM tasks WHERE lease_until IS NOT NULL AND {OPEN}")
            kills_with_work += bool(in_hand and unfinished)
            assert sender.witnessed("ended") < TASKS, "the work ran out before the kills did"
            victim.start()
        assert sender.process is not None
        output, _ = sender.process.communicate(timeout=60)

    lines = [line.split(" ", 2) for line in output.decode().splitlines()]
    assert [(int(number), text) for number, _, text in lines] == [(n, f"done {n}") for n in range(TASKS)]
    assert kills_with_work >= KILLS
    for process in (sender, receiver):
        assert tell_twins(process) == {"stored": (TASKS, TASKS), "ended": (TASKS, TASKS)}
