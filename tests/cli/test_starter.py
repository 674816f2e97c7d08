"""`mcp-a2a agent init` writes an agent that runs as it is, and changes no file that is there."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import anyio
import pytest

from mcp_a2a.agent.loading import load_agent
from tests.agent.jobs import task_of
from tests.cli.inside import call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_the_file_is_an_agent_named_after_it_that_does_its_work(folder: Path) -> None:
    written = call(folder / "home", "agent", "init", "word_smith.py")
    assert written.returncode == 0
    assert " agent run word_smith.py\n" in written.stdout
    agent = load_agent("word_smith.py")
    assert (agent.name, [skill.id for skill in agent.skills]) == ("word-smith", ["count-words", "greet"])


def test_the_default_skill_takes_a_task_that_names_none(folder: Path) -> None:
    call(folder / "home", "agent", "init", "counter.py")

    async def counted() -> str:
        outcome = await load_agent("counter.py").service().handler(task_of("hello wide world"))
        return outcome.text

    assert anyio.run(counted) == "3"


def test_the_file_says_how_to_run_and_try_it_under_its_own_name(folder: Path) -> None:
    call(folder / "home", "agent", "init", "helper.py")
    text = Path("helper.py").read_text()
    assert "mcp-a2a agent run helper.py" in text
    assert 'mcp-a2a send helper "hello wide world"' in text
    assert "my-agent" not in text


def test_a_file_that_is_there_stays_as_it_is(folder: Path) -> None:
    Path("mine.py").write_text("mine")
    refused = call(folder / "home", "agent", "init", "mine.py")
    assert refused.returncode == 2
    assert "already exists" in refused.stderr
    assert Path("mine.py").read_text() == "mine"


def test_a_disk_that_is_full_leaves_no_half_of_the_file(folder: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write fails as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        failed = call(folder / "home", "agent", "init", "agent.py")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "agent.py cannot be written: File too large." in failed.stderr
    assert not Path("agent.py").exists()
    assert call(folder / "home", "agent", "init", "agent.py").returncode == 0


@pytest.mark.parametrize("target", ["notes.txt", "missing/agent.py", "агент.md"])
def test_what_cannot_be_such_a_file_is_refused(folder: Path, target: str) -> None:
    assert call(folder / "home", "agent", "init", target).returncode == 2
    assert not any(folder.glob("*"))


def test_nothing_is_made_in_the_data_folder(folder: Path) -> None:
    call(folder / "home", "agent", "init")
    assert not (folder / "home").exists()
