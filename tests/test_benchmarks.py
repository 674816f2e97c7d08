"""The parts of the benchmarks that decide what a figure means."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import FrameType, ModuleType

import anyio
import anyio.lowlevel
import pytest

from benchmarks.size import module_of, total_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SOURCE = '''"""A module.

Two lines."""

# A comment.
LIMIT = 3  # counted with its line
"""Whoever reads this."""


def first(
    a: int,
) -> str:
    """Text that is not code."""
    # Nobody.
    return """a string that is used
# is code
"""
'''
COUNTED = """
import counting
counting.start()
import queue, sqlite3, threading
import anyio

jobs = queue.SimpleQueue()
connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
connection.execute("CREATE TABLE rows(x)")


def work():
    while done := jobs.get():
        connection.execute("BEGIN")
        connection.execute("INSERT INTO rows VALUES (1)")
        connection.execute("COMMIT")
        done()


async def main():
    thread = threading.Thread(target=work)
    thread.start()
    before = counting.snapshot()
    token = anyio.lowlevel.current_token().native_token
    for _ in range(10):
        landed = anyio.Event()
        jobs.put(lambda: token.call_soon_threadsafe(landed.set))
        await landed.wait()
    after = counting.snapshot()
    jobs.put(None)
    thread.join()
    print(*(round(after[name] - before[name]) for name in ("jobs", "wake_ups", "commits", "statements")))


anyio.run(main, backend_options={"use_uvloop": True})
"""

TREE = """
import contextlib, json, types
import counting


class McpA2AError(Exception):
    pass


class Settings:
    def __init__(self, **settings):
        self.settings = settings


class Node:
    async def METHOD(self, request):
        agents = json.dumps({"cpu_us": 0.0, "voluntary_switches": 0})
        return types.SimpleNamespace(text=agents if request.message == counting.QUESTION else request.message)


@contextlib.asynccontextmanager
async def open_node(settings):
    yield Node()
"""
MODELS = """
import types


class SendTaskRequest(types.SimpleNamespace):
    pass
"""
UP = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"
SYNCING = """
import json, os, time

file = os.open("synced", os.O_CREAT | os.O_WRONLY)
os.fsync(file)
began = time.time()
for _ in range(20):
    os.fdatasync(file)
ended = time.time()
time.sleep(0.01)
os.fsync(file)
counts = {"cpu_us": 1.0, "voluntary_switches": 1}
one = {"p50_us": 1.0, "sender": counts, "agent": counts, "between": (began, ended), "tasks": 10}
print(json.dumps({"progress": 1}))
print(json.dumps({"figures": {"one": one}, "libraries": {}}), flush=True)
"""


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch):
    """Import a module of the benchmarks as they import each other."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "programs")

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield imported
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_code_is_neither_text_nor_comment_nor_blank() -> None:
    module = module_of("mcp_a2a/node/a.py", SOURCE)
    assert (module.lines, module.code, module.doc, module.comment, module.words) == (17, 7, 5, 2, 2)
    assert module.package == "node"
    assert total_of([module]).function_max == 8


def test_a_peer_that_writes_nothing_is_named(beside) -> None:
    servers, flight = beside("loads.servers"), beside("loads.flight")
    source, sink = os.pipe()
    lines = servers.Lines(source, "the relay")
    os.write(sink, b"one\ntwo\nthr")
    assert [lines.next(), lines.next()] == ["one", "two"]
    with pytest.raises(flight.HungError, match="the relay wrote nothing"):
        lines.next(0.01)
    os.close(sink)
    with pytest.raises(RuntimeError, match="the relay ended"):
        lines.next()
    os.close(source)


def test_a_process_that_does_not_end_is_killed(beside) -> None:
    servers = beside("loads.servers")
    servers.END_SECONDS = 0.2
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    with servers.process([sys.executable, "-c", stubborn]) as (running, lines):
        assert lines.next() == "up"
    assert running.returncode == -9


def test_a_walk_has_what_most_walks_entered_in_their_order(beside) -> None:
    common = beside("walk").common
    assert common([["api", "store"], ["poll", "api", "store"], ["api", "wire"]]) == ["api", "store"]


def test_a_frame_of_a_client_is_read_through_its_mask(beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALK_TEXT", "x")
    unmasked = beside("walking").unmasked
    payload, mask = bytes(range(256)) * 5, b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert unmasked(b"\x82\xfe" + len(payload).to_bytes(2) + mask + masked) == payload
    assert unmasked(b"\x82\x7e" + len(payload).to_bytes(2) + payload).endswith(payload)


def test_jobs_wake_ups_and_commits_are_counted_below_the_product(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNTED],
        env={**os.environ, "COUNT": "rounds", "PYTHONPATH": str(BENCHMARKS / "programs")},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["10", "10", "10", "30"]


def test_a_side_that_fails_is_named_and_the_other_goes_on(beside) -> None:
    against = beside("against")

    class Tree(against.Side):
        def run(self, kind) -> dict[str, float]:
            if self.name == "old":
                raise against.HungError("the agent wrote nothing for 60 s")
            return {"sender rounds": 12.0}

    shown: list[str] = []
    found = against.compare([Tree("new", ""), Tree("old", "")], against.KINDS[:2], 2, shown.append, shown.append)
    assert found["figures"] == {"sender rounds": {"new": 12.0}}
    assert found["missing"] == {"old": "hangs in time: the agent wrote nothing for 60 s"}
    assert [line for line in shown if "old" in line] == [
        "time, round 1: old",
        "old hangs in time: the agent wrote nothing for 60 s; it is left out",
    ]


@pytest.mark.parametrize(("method", "models"), [("send_task", "views.py"), ("call", "api.py")])
def test_one_driver_asks_a_tree_by_its_one_call_or_by_a_method(tmp_path: Path, method: str, models: str) -> None:
    for package in ("mcp_a2a", "mcp_a2a_transports"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(TREE.replace("METHOD", method))
    (tmp_path / "mcp_a2a" / models).write_text(MODELS)
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "programs" / "counted_sender.py"), str(tmp_path / "home"), "4", "8", "2"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    *progress, last = map(json.loads, done.stdout.splitlines())
    assert {"progress": "warm"} in progress
    assert last["figures"]["one"]["tasks"] == 4
    assert last["figures"]["many"]["tasks_per_s"] > 0
    assert last["figures"]["one"]["sender"].keys() == {"cpu_us", "voluntary_switches"}


def test_a_run_that_ends_early_gives_the_last_line_of_its_errors(beside, tmp_path: Path, monkeypatch) -> None:
    against = beside("against")
    monkeypatch.setattr(against, "PROGRAMS", tmp_path)
    (tmp_path / "counted_agent.py").write_text(UP)
    (tmp_path / "counted_sender.py").write_text("raise SystemExit('no SendTaskRequest')")
    with pytest.raises(RuntimeError, match=r"counted_sender.py ended: no SendTaskRequest"):
        against.Side("this tree", sys.executable).run(against.Kind("time", 1))


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_fsyncs_are_those_between_the_first_task_and_the_last(beside, tmp_path: Path, monkeypatch) -> None:
    against = beside("against")
    monkeypatch.setattr(against, "PROGRAMS", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counted_agent.py").write_text(UP)
    (tmp_path / "counted_sender.py").write_text(SYNCING)
    found = against.Side("this tree", sys.executable).run(against.Kind("fsyncs", 10))
    assert found == {"sender fsyncs": 2.0, "agent fsyncs": 0.0}


def test_a_coroutine_that_goes_on_enters_no_module_again(beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALK_TEXT", "x")
    is_resumed = beside("walking")._is_resumed
    seen: list[tuple[str, bool]] = []

    def hook(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name in ("outer", "inner"):
            seen.append((frame.f_code.co_name, is_resumed(frame)))

    async def inner() -> None:
        await anyio.lowlevel.checkpoint()

    async def outer() -> None:
        await inner()

    async def watched() -> None:
        before = sys.getprofile()
        sys.setprofile(hook)
        try:
            await outer()
        finally:
            sys.setprofile(before)

    anyio.run(watched)
    started = [name for name, resumed in seen if not resumed]
    assert started == ["outer", "inner"]
    assert len(seen) > len(started)
