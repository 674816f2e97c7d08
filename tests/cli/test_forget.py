"""`mcp-a2a forget` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.inside import call

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_task_is_forgotten_and_says_so_when_it_is_asked_for(home: Path) -> None:
    sent = json.loads(call(home, "send", "rev", "desserts", "--json").stdout)
    task_id = sent["task_id"]
    refused = call(home, "forget", task_id)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    done = json.loads(call(home, "forget", task_id, "--yes", "--json").stdout)
    assert done["tasks"] == [task_id]
    assert done["freed_bytes"] > 0
    shown = call(home, "task", task_id)
    assert f"{task_id} was deleted by you at " in shown.stderr
    assert shown.returncode == 3


def test_a_person_is_asked_and_may_say_no(home: Path) -> None:
    sent = json.loads(call(home, "send", "rev", "desserts", "--json").stdout)
    asked = call(home, "forget", sent["task_id"], stdin="n\n", typed=True)
    assert "Delete 1 task (" in asked.stderr
    assert asked.returncode == 5
    assert call(home, "forget", sent["task_id"], stdin="y\n", typed=True).stdout.strip().startswith("Deleted 1 task ")


@pytest.mark.parametrize("words", [(), ("task-abcd", "--older-than", "3d"), ("--older-than", "soon")])
def test_what_makes_no_sense_is_a_usage_error(home: Path, words: tuple[str, ...]) -> None:
    assert call(home, "forget", *words, "--yes").returncode == 2


def test_nothing_that_old_is_no_error(home: Path) -> None:
    finished = call(home, "forget", "--older-than", "52w", "--yes")
    assert (finished.returncode, finished.stdout) == (0, "No finished task is that old.\n")
