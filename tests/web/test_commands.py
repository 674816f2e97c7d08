"""Agents at URLs on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests.cli.inside import call
from tests.web.agents import Agent, Heard, shout, task

pytestmark = [pytest.mark.slow]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextmanager
def serving(agent: Agent) -> Iterator[Agent]:
    """The agent in a thread of its own: commands have event loops of theirs."""
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(agent.serve()):
        yield agent


def test_a_url_that_a_person_types_may_be_on_this_machine(home: Path) -> None:
    with serving(Agent(shout)) as other:
        refused = call(home, "send", other.url, "hello")
        assert (refused.returncode, other.cards_read) == (5, 0), "no person typed it"
        sent = call(home, "send", other.url, "hello", typed=True)
        assert (sent.stdout, sent.returncode) == ("HELLO\n", 0)
        listed = json.loads(call(home, "discover", "--json", "--settle", "0").stdout)
        shown = call(home, "show", "stranger").stdout
    assert [(agent["did"], agent["route"]) for agent in listed["agents"]] == [(other.url, "http")]
    assert "words" not in shown
    assert re.search(rf"{other.url}#[0-9a-f]{{12}} \(JSONRPC 1.0\)", shown)


def test_a_credential_comes_from_stdin_or_the_environment_and_nowhere_else(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_KEY", "k3y")
    with serving(Agent(shout)) as other:
        words = ["peers", "add", other.url, "--token-stdin", "--header-env", "X-API-Key=AGENT_KEY"]
        added = call(home, *words, stdin="t0ken\n")
        assert (added.returncode, added.stdout.split()[5:7]) == (0, ["stranger", "shout"])
        call(home, "send", "stranger", "hi")
        headers = other.heard[0].request.headers
        assert (headers["Authorization"], headers["X-API-Key"]) == ("Bearer t0ken", "k3y")
        assert call(home, "peers", "remove", other.url).stdout == f"Removed stranger ({other.url}).\n"
        assert json.loads(call(home, "peers", "--json").stdout)["peers"] == []
    for words in (["10.0.0.1:5", "--token-stdin"], [other.url, "--header-env", "nonsense"]):
        assert call(home, "peers", "add", *words, stdin="x").returncode == 2
    assert b"t0ken" not in b"".join(file.read_bytes() for file in home.rglob("*.log"))


def test_what_is_wrong_with_an_address_is_said(home: Path) -> None:
    with serving(Agent(shout, card={"name": "x"})) as other:
        failed = call(home, "peers", "add", other.url)
    assert (failed.returncode, failed.stdout) == (3, "")
    assert "names no interface" in failed.stderr
    for words in (["peers", "add"], ["peers", "remove"], ["show"], ["trust"]):
        refused = call(home, *words, other.url.replace("//", "//user:S3CRET@"))
        assert (refused.returncode in (3, 5), "S3CRET" in refused.stdout + refused.stderr) == (True, False)
    away = call(home, "peers", "add", other.url)
    assert away.returncode == 4
    assert "could not be reached" in away.stderr


def test_a_look_at_a_task_that_waits_for_us_looks_at_its_agent(home: Path) -> None:
    question = {"messageId": "q", "role": "ROLE_AGENT", "parts": [{"text": "Which color?"}]}
    asks = task(status={"state": "TASK_STATE_INPUT_REQUIRED", "message": question})
    answered = False

    async def answer(heard: Heard) -> object:
        if heard.operation == "get":
            return task(text="a blue one") if answered else asks
        return {"task": asks}

    with serving(Agent(answer)) as other:
        sent = json.loads(call(home, "send", other.url, "a pot", "--json", typed=True).stdout)
        assert (sent["state"], sent["question"]) == ("input_required", "Which color?")
        assert "Which color?" in call(home, "task", sent["task_id"]).stderr
        answered = True  # by somebody else, elsewhere
        assert "a blue one" in call(home, "task", sent["task_id"]).stdout
    assert (other.asked[0], set(other.asked[1:])) == ("send", {"get"})
