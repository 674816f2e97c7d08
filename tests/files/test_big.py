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

from tests.cli.inside import run
from tests.e2e.command import Agent, agent, environment, until
from tests.e2e.relays import GENEROUS, relay
from tests.files.cutter import cutter, free_port

MIB = 1024 * 1024
PROGRAMS = Path(__file__).parent / "programs"
ALONE = {"MCP_A2A_MDNS": "false", "MCP_A2A_LINK_HOST": "127.0.0.1"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def written(path: Path, size: int) -> str:
    """A file that cannot be compressed; its SHA-256."""
    content = os.urandom(size)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@contextmanager
def digester(home: Path, **env: str) -> Iterator[Agent]:
    with agent(home, "run", str(PROGRAMS / "digester.py"), "--accept", "anyone", **ALONE, **env) as running:
        yield running


def sent(home: Path, path: Path, address: str) -> Any:
    """What the sender says, and what the receiver has seen."""
    sender = started(home, path, address)
    out, errors = sender.communicate(timeout=110)
    assert sender.returncode == 0, errors
    answer = json.loads(out)
    assert answer["text"], answer
    return answer, json.loads(answer["text"])


def started(home: Path, path: Path, address: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "sender.py"), str(path), address],
        env=environment(home, **ALONE),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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


def test_a_file_goes_on_where_it_was_when_both_sides_are_killed(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "big"
    digest = written(path, 30 * MIB)
    ben, env = tmp_path / "ben", {"MCP_A2A_LINK_PORT": str(port)}

    def here() -> int:
        """Bytes of the file that the receiver has."""
        found = list((ben / "identities").glob("*/blobs/in-*"))
        return found[0].stat().st_size if found else 0

    for part in (5 * MIB, 15 * MIB):
        with digester(ben, **env) as receiver:
            sender = started(tmp_path / "ann", path, f"127.0.0.1:{port}")
            until(lambda part=part: here() >= part, 30, "the file is on its way")
            sender.kill()
            receiver.process.kill()
            sender.communicate()
        assert here() < 30 * MIB, "it was killed too late to show anything"
    path.write_bytes(b"what was attached is in the spool by now")
    with digester(ben, **env):
        _, seen = sent(tmp_path / "ann", path, f"127.0.0.1:{port}")
    assert (seen["size"], seen["sha256"]) == (30 * MIB, digest)
