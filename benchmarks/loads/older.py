"""This tree against an earlier one, in turn and in one run: each speaks its own protocol, over the same libraries."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "programs" / "relay_once.py"


@dataclass(frozen=True)
class Side:
    """What one tree did, each figure the median of its runs."""

    messages_per_s: float
    server_us_per_message: float
    foreign_cores: float


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """The files of a revision, as long as the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def compare(revision: str, kind: str, count: int, rounds: int) -> tuple[Side, Side]:
    """This tree and the earlier one, in turn, so that both meet the same machine."""
    with tree_of(revision) as older:
        runs = [(run(ROOT, kind, count), run(older, kind, count)) for _ in range(rounds)]
    mine, theirs = zip(*runs, strict=True)
    return _median(mine), _median(theirs)


def run(tree: Path, kind: str, count: int) -> Side:
    """One load, in a process of its own; the relay is another."""
    path = os.pathsep.join(str(part) for part in (tree / "benchmarks", tree, tree / "transports"))
    command = [sys.executable, str(PROGRAM), kind, str(count)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=tree, check=True, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout)
    return Side(found["messages_per_s"], found["server_us_per_message"], found["foreign_cores"])


def _median(sides: tuple[Side, ...]) -> Side:
    return Side(
        statistics.median(side.messages_per_s for side in sides),
        statistics.median(side.server_us_per_message for side in sides),
        statistics.median(side.foreign_cores for side in sides),
    )


def git(*words: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *words], check=True)  # noqa: S607  the git of this machine
