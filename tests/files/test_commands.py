"""Files on the command line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_a2a.api.files import TransferView
from mcp_a2a.cli.files import bar
from tests.cli.inside import call
from tests.e2e.command import agent

MIB = 1024 * 1024
LOCAL = {"MCP_A2A_MDNS": "false"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = """
from mcp_a2a import Agent, File, TaskContext
agent = Agent("filer")

@agent.skill
def swap(text: str, task: TaskContext) -> object:
    "Return what came."
    return [f"{len(task.files)} files", *(File(content=file.read(), name=f"../{file.name}") for file in task.files)]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "filer.py").write_text(PROGRAM)
    with agent(folder / "home", "run", str(folder / "filer.py"), **LOCAL):
        yield folder / "home"


def test_files_are_sent_by_path_and_those_that_come_are_listed_and_saved(home: Path, tmp_path: Path) -> None:
    large, small = tmp_path / "large.bin", tmp_path / "small.txt"
    large.write_bytes(os.urandom(2 * MIB))
    small.write_text("hi")
    sent = call(home, "send", "filer", "swap", "--file", str(large), "--file", str(small))
    assert (sent.returncode, sent.stdout) == (0, "2 files\n")
    assert "large.bin   2.0 MiB" in sent.stderr
    task = sent.stderr.rpartition("mcp-a2a save ")[2].strip()
    saved = call(home, "save", task, str(tmp_path / "out"))
    paths = [Path(line) for line in saved.stdout.splitlines()]
    assert [path.name for path in paths] == ["large.bin", "small.txt"]
    assert {path.parent for path in paths} == {tmp_path / "out"}
    assert [path.read_bytes() for path in paths] == [large.read_bytes(), b"hi"]
    for place in (large, large / "below", Path("/proc/mcp-a2a")):
        refused = call(home, "save", task, str(place))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert str(place) in refused.stderr or f"{place.parent} is not a folder" in refused.stderr
        assert "--home" not in refused.stderr
    shown = call(home, "task", task, "--save")
    assert str(home / "files" / "small.txt") in shown.stderr
    listed = json.loads(call(home, "task", task, "--json").stdout)["files"]
    assert [file["sha256"] for file in listed] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_a_file_that_cannot_be_sent_is_a_usage_error_that_says_why(home: Path, tmp_path: Path) -> None:
    sent = call(home, "send", "filer", "swap", "--file", str(tmp_path / "missing"))
    assert (sent.returncode, sent.stdout) == (2, "")
    assert "missing cannot be attached: No such file" in sent.stderr
    nothing = call(home, "send", "filer", "swap")
    task = json.loads(call(home, "tasks", "--json").stdout)["tasks"][0]["task_id"]
    assert nothing.returncode == 0
    assert "has no files" in call(home, "save", task).stderr


def test_a_bar_tells_how_far_a_file_is() -> None:
    transfer = TransferView(direction="sending", file="report.pdf", done=12 * MIB, total=50 * MIB)
    drawn = bar(transfer, 2 * MIB)
    assert drawn.startswith("  sending report.pdf  ██████░░")
    assert drawn.endswith(" 24%  12.0 of 50.0 MiB, 19 s left")
    assert "left" not in bar(transfer.model_copy(update={"done": 0}), 0.0)
