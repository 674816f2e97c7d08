"""The pages tell of all that there is: each attribute of a task, each command, each exit code, each page."""

from __future__ import annotations

import json
import re

import pytest

from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.table import COMMANDS
from mcp_a2a.node.files.received import ReceivedFile
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.protocol.moment import Moment
from tests.docs.pages import PAGES, ROOT

MOST_LINES = 80
"""A screen and a half of README."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", [TaskContext, ReceivedFile])
def test_each_attribute_that_a_skill_may_use_is_on_the_page_for_agents(kind: type) -> None:
    told = set(re.findall(r"`[^`]*?(\w+)(?:\([^)]*\))?`", text_of("docs/agents.md"))) | set(
        re.findall(r"(\w+)\(", text_of("docs/agents.md"))
    )
    assert public(kind) <= told


def test_each_command_is_on_the_page_for_commands() -> None:
    told = set(re.findall(r"`([a-z]+)`", text_of("docs/commands.md")))
    assert {entry.name for entry in COMMANDS} - {"demo"} <= told


def test_each_exit_code_is_on_the_page_for_commands() -> None:
    told = set(re.findall(r"^\| (\d+) \|", text_of("docs/commands.md"), re.MULTILINE))
    assert told == {str(int(code)) for code in Exit}


def test_each_word_for_the_state_of_a_task_is_on_the_page_for_commands() -> None:
    told = set(re.findall(r"`([a-z_]+)`", text_of("docs/commands.md").partition("## States")[2]))
    assert {moment.value for moment in Moment} <= told


def test_the_page_for_clients_names_the_versions_that_are_tested() -> None:
    of_npm, others = (
        json.loads((ROOT / "tests/clients" / name).read_text()) for name in ("versions.json", "libraries.json")
    )
    versions = {*of_npm.values(), *others["npm"].values(), *others["pypi"].values()}
    table = text_of("docs/clients.md").partition("## What is tested")[2].partition("\n\n##")[0]
    assert set(re.findall(r"\d+\.\d+\.\d+", table)) == versions


def test_readme_is_short_and_leads_to_each_page() -> None:
    readme = text_of("README.md")
    assert len(readme.splitlines()) <= MOST_LINES
    assert {page for page in PAGES if page != "README.md"} <= set(re.findall(r"\]\(([^)#]+)\)", readme))
