"""`mcp-a2a demo`: the whole way of a task, with nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.jobs import gone
from tests.e2e.command import MCP_A2A, environment, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@contextmanager
def emptied() -> Iterator[Path]:
    """Where the demonstration may put things; empty again at the end."""
    folder = Path(tempfile.mkdtemp(prefix="demo-"))  # a socket's path must be short
    yield folder
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.fixture
def temporary() -> Iterator[Path]:
    with emptied() as folder:
        yield folder


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A data folder, and the demonstration in JSON of a person who has set variables of an identity in it."""
    home = tmp_path_factory.mktemp("home")
    with emptied() as folder:
        return home, run(
            home, "demo", "--no-mdns", "--json", TMPDIR=str(folder), MCP_A2A_IDENTITY="mine", MCP_A2A_NAME="Me"
        )


def children_of(pid: int) -> list[int]:
    """The processes that this one started, and theirs."""
    direct = [int(word) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for word in tasks.read_text().split()]
    return [one for child in direct for one in (child, *children_of(child))]


def test_the_demonstration_shows_each_step_with_its_time(tmp_path: Path, temporary: Path) -> None:
    finished = run(tmp_path, "demo", "--no-mdns", TMPDIR=str(temporary))
    assert (finished.returncode, finished.stderr) == (0, "")
    for said in (
        "discover",
        "word-counter: count-words (route: this machine",
        "haiku: write-haiku (route: this machine",
        "send_task word-counter",
        "send_task_by_skill write-haiku",
        "get_task_status",
        "nothing left running",
    ):
        assert said in finished.stdout
    assert list(tmp_path.iterdir()) == [], "it uses a data folder of its own"


def test_the_demonstration_in_json_is_one_object_and_says_how_long_it_took(
    told: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    result = json.loads(told[1].stdout)
    assert result["ok"] is True
    assert 0 < result["seconds"] < 60
    results = {step["step"]: step["result"] for step in result["steps"]}
    assert results['send_task word-counter "hello wide world"'] == "3"
    assert "autumn rain" in results['send_task_by_skill write-haiku "autumn rain"']


def test_two_demonstrations_do_not_disturb_each_other(tmp_path: Path, temporary: Path) -> None:
    # With LAN discovery, if this machine allows it: each then sees the other's agents, which have the same names.
    both = [
        subprocess.Popen(
            [MCP_A2A, "demo", "--json"],
            env=environment(tmp_path, TMPDIR=str(temporary)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert json.loads(out)["ok"] is True


def test_variables_of_an_identity_do_not_lead_the_demonstration_to_it(
    told: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    home, finished = told
    assert finished.returncode == 0
    assert not (home / "identities").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_leaves_nothing_behind(
    tmp_path: Path, temporary: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [MCP_A2A, "demo", "--no-mdns"],
        env=environment(tmp_path, TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "two agents start" not in (line := process.stdout.readline()):
        assert line
    started = children_of(process.pid)
    assert len(started) >= 2
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert all(gone(pid) for pid in started)
