"""The MCP conformance kit against our real server and against the same server with the kit's fixtures.

The kit is an npm package and needs Node 22; both come at test time, into a folder of the temporary directory that later
runs use again. Where that is not possible these tests are skipped, or fail if MCP_A2A_REQUIRE_CONFORMANCE is set.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.npm import NpmError, install, node

KIT = "@modelcontextprotocol/conformance"
VERSION = "0.1.16"
SCENARIOS = 30
"""How many the kit has that are not pending."""

BASELINE = Path(__file__).with_name("expected-failures.yml")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def give_up(reason: str) -> None:
    if os.environ.get("MCP_A2A_REQUIRE_CONFORMANCE"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def kit() -> Path:
    """The kit's program, installed if need be."""
    folder = Path(tempfile.gettempdir()) / f"mcp-a2a-conformance-{VERSION}"
    try:
        modules = install(folder, [f"{KIT}@{VERSION}"], timeout=200)
    except NpmError as error:
        give_up(str(error))
        raise
    return modules / KIT / "dist" / "index.js"


@contextmanager
def running(*words: str) -> Iterator[str]:
    """A server in a process of its own; its URL."""
    with subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.terminate()
            process.wait(30)


def statuses(kit: Path, url: str, folder: Path) -> dict[str, set[str]]:
    """What came out of each scenario, by its name."""
    done = node(str(kit), "server", "--url", url, "-o", str(folder), cwd=folder, timeout=200)
    found = {
        re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", path.parent.name): {
            check["status"] for check in json.loads(path.read_text())
        }
        for path in folder.glob("*/checks.json")
    }
    assert len(found) == SCENARIOS, done.stdout[-2_000:]
    return found


def with_status(found: dict[str, set[str]], status: str) -> set[str]:
    return {scenario for scenario, seen in found.items() if status in seen}


def baseline() -> list[str]:
    return [line for line in BASELINE.read_text().splitlines() if line.startswith("  - ")]


def test_the_real_server_fails_only_what_wants_the_fixtures_of_the_kit(kit: Path, tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    with running("mcp_a2a", "--home", str(tmp_path / "home"), "--no-mdns", "--listen", "127.0.0.1:0") as url:
        found = statuses(kit, url, results)
    assert with_status(found, "FAILURE") == {entry.split()[1] for entry in baseline()}
    # The one warning is that there is no session id: this server keeps no sessions, which the protocol allows.
    assert with_status(found, "WARNING") == {"server-sse-multiple-streams"}


def test_our_server_with_the_fixtures_fails_nothing(kit: Path, tmp_path: Path):
    with running("tests.conformance.fixture_server") as url:
        found = statuses(kit, url, tmp_path)
    assert not with_status(found, "FAILURE") | with_status(found, "WARNING")


def test_the_baseline_names_only_scenarios_that_want_a_fixture_of_the_kit():
    assert baseline()
    for entry in baseline():
        assert re.fullmatch(r"  - [a-z0-9-]+ # (tool|prompt|resource) test(_[a-z0-9_]+|://\S+)", entry)
