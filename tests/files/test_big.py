"""Large files between processes, over wires that are cut, and what that takes of memory."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import agent, environment, run
from tests.e2e.relays import GENEROUS, relay
from tests.files.cutter import cutter, free_port

MIB = 1024 * 1024
PROGRAMS = Path(__file__).parent / "programs"
ALONE = {"MCP_A2A_MDNS": "false", "MCP_A2A_LINK_HOST": "127.0.0.1"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def written(path: Path, size: int) -> str:
    """A file that cannot be compressed; its SHA-256."""
    content = os.urandom(size)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@contextmanager
def digester(home: Path, **env: str) -> Iterator[None]:
    with agent(home, "run", str(PROGRAMS / "digester.py"), "--accept", "anyone", **ALONE, **env):
        yield


def sent(home: Path, path: Path, address: str) -> Any:
    """What the sender says, and what the receiver has seen."""
    finished = subprocess.run(
        [sys.executable, str(PROGRAMS / "sender.py"), str(path), address],
        env=environment(home, **ALONE),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout)
    assert answer["text"], answer
    return answer, json.loads(answer["text"])


def cuts(seed: int, size: int, count: int = 10) -> list[int]:
    """Where the wire is cut: places within what has to pass it at least."""
    return sorted(random.Random(seed).sample(range(20_000, size), count))


def test_50_mib_arrive_whole_over_a_wire_that_is_cut_at_10_places(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "big"
    digest = written(path, 50 * MIB)
    with (
        digester(tmp_path / "ben", MCP_A2A_LINK_PORT=str(port)),
        cutter(port, cuts(1, 60 * MIB)) as wire,
    ):
        answer, seen = sent(tmp_path / "ann", path, f"127.0.0.1:{wire.port}")
        assert wire.made == 10
    assert (seen["size"], seen["sha256"]) == (50 * MIB, digest)
    assert answer["route"] in ("local", "direct"), "loopback is this machine"
    assert max(answer["peak_kib"], seen["peak_kib"]) < 150 * 1024


def test_8_mib_arrive_whole_through_a_relay_that_is_cut_off_at_10_places(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "file"
    digest = written(path, 8 * MIB)
    with cutter(port, cuts(2, 16 * MIB)) as wire:
        public = ("--public-url", f"ws://127.0.0.1:{wire.port}")
        with relay(tmp_path / "relay", "--listen", f"127.0.0.1:{port}", *public, *GENEROUS) as serving:
            ticket = run(tmp_path / "ann", "invite", "--network", "shop", "--relay", serving.url, **ALONE)
            joined = run(tmp_path / "ben", "join", "-", stdin=ticket.stdout, **ALONE)
            assert joined.returncode == 0, joined.stderr
            with digester(tmp_path / "ben"):
                answer, seen = sent(tmp_path / "ann", path, "relay")
            assert wire.made == 10
    assert (seen["size"], seen["sha256"]) == (8 * MIB, digest)
    assert answer["route"] == "relay"
    assert max(answer["peak_kib"], seen["peak_kib"]) < 150 * 1024
