"""The MCP conformance kit against our real server and against the same server with the kit's fixtures, in both eras.

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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.npm import NpmError, install, node

KIT = "@modelcontextprotocol/conformance"


@dataclass(frozen=True)
class Suite:
    """What one version of the kit asks in one era of the protocol."""

    era: str
    version: str
    options: tuple[str, ...] = ()
    """Which of its scenarios; else those that are not pending."""
    scenarios: int = 0
    """How many of them count."""

    @property
    def baseline(self) -> Path:
        """Scenarios that our real server fails."""
        return Path(__file__).with_name(f"expected-failures-{self.era}.yml")


SUITES = (
    Suite("2025-11-25", "0.1.16", scenarios=30),
    Suite("2026-07-28", "0.2.0-alpha.12", ("--requirements", "2026-07-28"), scenarios=37),
)

NOT_SCORED = re.compile(r"tasks-|json-schema-2020-12$|http-(header|custom-header-server)-validation$")
"""Scenarios that the kit runs with the requirements and does not count: an extension that we do not have, and what its
own server cannot pass."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def give_up(reason: str) -> None:
    if os.environ.get("MCP_A2A_REQUIRE_CONFORMANCE"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", params=SUITES, ids=[suite.era for suite in SUITES])
def suite(request: pytest.FixtureRequest) -> Suite:
    suite: Suite = request.param
    return suite


@pytest.fixture(scope="session")
def kit(suite: Suite) -> Path:
    """The kit's program, installed if need be."""
    folder = Path(tempfile.gettempdir()) / f"mcp-a2a-conformance-{suite.version}"
    try:
        modules = install(folder, [f"{KIT}@{suite.version}"], timeout=200)
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


def statuses(kit: Path, suite: Suite, url: str, folder: Path) -> dict[str, set[str]]:
    """What came out of each scenario, by its name."""
    words = (str(kit), "server", "--url", url, *suite.options, "-o", str(folder))
    done = node(*words, cwd=folder, timeout=200)
    found = {
        re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", path.parent.name): {
            check["status"] for check in json.loads(path.read_text())
        }
        for path in folder.glob("*/checks.json")
    }
    assert len(scored(found)) == suite.scenarios, done.stdout[-2_000:]
    return found


def scored(found: Iterable[str]) -> set[str]:
    return {scenario for scenario in found if not NOT_SCORED.match(scenario)}


def with_status(found: dict[str, set[str]], status: str) -> set[str]:
    return {scenario for scenario, seen in found.items() if status in seen}


def baseline(suite: Suite) -> list[str]:
    return [line for line in suite.baseline.read_text().splitlines() if line.startswith("  - ")]


WARNINGS = {
    # There is no session id: this server keeps no sessions, which the protocol allows.
    "2025-11-25": {"server-sse-multiple-streams"},
    # No tool asks there, so the kit is told that its tool is unknown where it would see a question again; and no tool
    # changes the lists, which are the same as long as the server runs.
    "2026-07-28": {
        "input-required-result-ignore-extra-params",
        "input-required-result-missing-input-response",
        "server-stateless",
    },
}


def test_the_real_server_fails_only_what_wants_the_fixtures_of_the_kit(kit: Path, suite: Suite, tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    with running("mcp_a2a", "--home", str(tmp_path / "home"), "--no-mdns", "--listen", "127.0.0.1:0") as url:
        found = statuses(kit, suite, url, results)
    assert scored(with_status(found, "FAILURE")) == {entry.split()[1] for entry in baseline(suite)}
    assert scored(with_status(found, "WARNING")) == WARNINGS[suite.era]
    assert "http-header-validation" not in with_status(found, "FAILURE")


def test_our_server_with_the_fixtures_fails_nothing(kit: Path, suite: Suite, tmp_path: Path):
    with running("tests.conformance.fixture_server") as url:
        found = statuses(kit, suite, url, tmp_path)
    failed = with_status(found, "FAILURE") | with_status(found, "WARNING")
    # What is not scored it passes as well, but for the extension.
    assert {scenario for scenario in failed if not scenario.startswith("tasks-")} == set()


def test_the_baseline_names_only_scenarios_that_want_a_fixture_of_the_kit(suite: Suite):
    assert baseline(suite)
    for entry in baseline(suite):
        assert re.fullmatch(r"  - [a-z0-9-]+ # (tool|prompt|resource) test(_[a-z0-9_]+|://\S+)", entry)
