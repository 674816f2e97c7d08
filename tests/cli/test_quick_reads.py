"""Reads of a node that runs: quick, because no model is imported, and word for word what the models would say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_a2a.cli import session
from mcp_a2a.store import offline
from tests.cli.conftest import two_agents
from tests.cli.inside import Finished, call
from tests.cli.test_lightness import ONE_COMMAND, heavy, modules_of

READS = (
    "tasks",
    "task TASK",
    "discover",
    "show helper",
    "show self",
    "peers",
    "networks",
    "status",
    "id",
    "list",
    "inbox",
)

VARYING = re.compile(r"(?<=AGE) +|\d+ (?:ms|s|min)\b|<1 ms|\d+\.\d+|\d\d:\d\d:\d\d(?:\.\d+)?|\d{4}-\d\d-\d\d")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder in which every identity runs: other tests leave some that do not, which `list` has to look at."""
    with two_agents(tmp_path_factory.mktemp("reads")) as home:
        yield home


@pytest.fixture(scope="module")
def task(home: Path) -> str:
    """A task that has ended, with hostile words in its answer."""
    done = call(home, "--identity", "rev", "send", "helper", "--skill", "fail", "a\x1b[31mb\u202ec", "--json")
    return str(json.loads(done.stdout)["task_id"])


def words_of(read: str, task: str) -> list[str]:
    return ["--identity", "rev", *read.replace("TASK", task).split()]


def by_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command is none that is quick: it goes to the node that runs, after one look whether that leaves."""
    monkeypatch.setattr(session, "read_plain", lambda *_: None)
    monkeypatch.setattr(offline, "TRIES", 1)


def steady(finished: Finished) -> tuple[int, str, str]:
    return finished.returncode, VARYING.sub("N", finished.stdout), VARYING.sub("N", finished.stderr)


@pytest.mark.parametrize("form", ["", " --json"])
@pytest.mark.parametrize("read", READS)
def test_a_quick_read_says_what_the_models_say(
    home: Path, task: str, read: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(session.Session, "ask", lambda *_: asked.append(read) or pytest.fail("not quick"))
    quick = call(home, *words_of(read + form, task))
    monkeypatch.undo()
    by_the_models(monkeypatch)
    assert steady(quick) == steady(call(home, *words_of(read + form, task)))
    assert quick.stdout or quick.stderr


@pytest.mark.parametrize("read", [*READS, "tasks --json", "status --json"])
def test_a_read_of_a_node_that_runs_imports_no_part_of_a_node(home: Path, task: str, read: str) -> None:
    modules = modules_of(ONE_COMMAND, "--home", str(home), *words_of(read, task))
    assert not heavy(modules)
    unwanted = ("mcp_a2a.api", "mcp_a2a.protocol.model", "mcp_a2a.app")
    assert not {name for name in modules if name.startswith(unwanted)}


@pytest.mark.parametrize("words", ["task nothing-like-it", "show nobody-here", "tasks --cursor x", "tasks --state x"])
def test_a_quick_read_fails_with_the_sentence_and_the_code_of_the_models(
    home: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = call(home, "--identity", "rev", *words.split())
    by_the_models(monkeypatch)
    assert steady(quick) == steady(call(home, "--identity", "rev", *words.split()))
    assert quick.returncode
    assert quick.stderr
