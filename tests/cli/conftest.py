"""A data folder in which two agents run, shared by the tests of this package that only ask them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.command import agent

HELPER = """
import time

from mcp_a2a import Agent, Chunk, TaskContext

agent = Agent("helper", description="Helps with tests")


@agent.skill
async def choose(text: str, task: TaskContext) -> str:
    return f"you chose {await task.ask('red or blue?')}"


@agent.skill
def count_words(text: str) -> int:
    "Count the words in a text."
    return len(text.split())


@agent.skill
def draft(seconds: float):
    yield Chunk("a whole draft")
    time.sleep(seconds)


@agent.skill
def fail(text: str) -> str:
    raise ValueError(f"cannot {text}")


@agent.skill
def sleep(seconds: float):
    yield "dozing off"
    time.sleep(seconds)
    yield "awake"


agent.run()
"""


@contextmanager
def two_agents(folder: Path) -> Iterator[Path]:
    """A data folder with "helper" and "rev", which run."""
    file = folder / "helper.py"
    file.write_text(HELPER)
    home = folder / "home"
    with (
        agent(home, "run", str(file), "--no-mdns"),
        agent(home, "exec", "--name", "rev", "--no-mdns", "--skill", "reverse=Reverses text", "--", "rev"),
    ):
        yield home


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with two_agents(tmp_path_factory.mktemp("commands")) as home:
        yield home
