"""A process of this identity that was stopped: every command names it and its state, and waits for none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_a2a.store.owner_file import LOCK
from mcp_a2a.store.short_places import socket_path
from tests.cli.inside import call
from tests.node.test_glance import LISTENS_AND_STOPS

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only there the system tells that a process was stopped"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stopped") / "home"
    assert call(home, "id").returncode == 0
    return home


@pytest.fixture(scope="module")
def stopped(home: Path) -> Iterator[int]:
    """The number of a process that has the folder, listens at its socket, and was stopped."""
    folder = home / "identities" / "default"
    words = [sys.executable, "-S", "-c", LISTENS_AND_STOPS, str(socket_path(folder)), str(folder / LOCK)]
    with subprocess.Popen(words) as process:
        try:
            os.waitpid(process.pid, os.WUNTRACED)
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HALTED_SECONDS", "TICK_SECONDS"):
        monkeypatch.setattr(f"mcp_a2a.node.ipc.glance.{name}", 0.01)


@pytest.mark.parametrize("read", ["tasks", "status", "discover", "peers", "networks", "inbox", "show self"])
def test_a_read_names_it_and_what_to_do(home: Path, stopped: int, read: str) -> None:
    ended = call(home, *read.split())
    assert f"process {stopped}, stopped" in ended.stderr
    assert f"kill -CONT {stopped}" in ended.stderr
    assert (bool(ended.returncode), ended.stdout) == (True, "")


def test_list_and_id_tell_what_is_known_without_it(home: Path, stopped: int) -> None:
    assert f"yes, process {stopped} (stopped)" in call(home, "list").stdout
    (one,) = json.loads(call(home, "list", "--json").stdout)["identities"]
    assert (one["running"], one["pid"]) == (True, stopped)
    assert call(home, "id").stdout.splitlines()[1] == one["did"]


def test_repair_names_the_only_signal_that_ends_it(home: Path, stopped: int) -> None:
    said = call(home, "repair").stderr
    assert f"Process {stopped} (stopped)" in said
    assert f"kill -KILL {stopped}" in said
