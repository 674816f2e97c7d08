"""Agents: how they are defined, what their card says, which skill a task goes to, and how files are loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mcp_a2a
from mcp_a2a import Agent, skill
from mcp_a2a.agent.hosting import agent_settings
from mcp_a2a.agent.loading import load_agent
from mcp_a2a.agent.service import slug
from mcp_a2a.config import Settings
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.front.plain import IDENTITY_PATTERN
from tests.agent.jobs import task_of
from tests.e2e.command import environment


def reverser() -> Agent:
    agent = Agent("rev")

    @agent.skill
    def reverse(text: str) -> str:
        """Reverses text."""
        return text[::-1]

    @agent.skill(id="shout", tags=["loud"])
    async def make_loud(text: str, times: int = 1) -> str:
        return text.upper() * times

    return agent


def test_a_decorated_function_is_still_the_function() -> None:
    agent = Agent("a")

    @agent.skill
    def double(text: str) -> str:
        return text * 2

    assert double("ab") == "abab"


def test_the_card_tells_name_skills_and_modes() -> None:
    card = reverser().service().card
    assert (card.name, [one.id for one in card.skills]) == ("rev", ["reverse", "shout"])
    assert card.description == "Reverses text.; Shout"
    assert card.default_input_modes == ("text/plain", "application/json")


async def test_a_task_goes_to_the_skill_it_names() -> None:
    handler = reverser().service().handler
    assert (await handler(task_of("abc", skill="reverse"))).text == "cba"
    assert (await handler(task_of("abc", skill="shout"))).text == "ABC"


async def test_a_task_that_names_no_skill_goes_to_the_only_one() -> None:
    agent = Agent("one")

    @agent.skill
    def echo(text: str) -> str:
        return text

    assert (await agent.service().handler(task_of("abc"))).text == "abc"


@pytest.mark.parametrize(("asked", "says"), [(None, "names none of them"), ("revrse", "has no skill 'revrse'")])
async def test_a_task_for_no_skill_is_rejected_with_the_list(asked: str | None, says: str) -> None:
    outcome = await reverser().service().handler(task_of("abc", skill=asked))
    assert outcome.status == "rejected"
    assert outcome.text is not None
    assert says in outcome.text
    assert "reverse, shout" in outcome.text


async def test_a_task_that_names_no_skill_goes_to_the_default() -> None:
    agent = reverser()
    agent.skill(id="greet", default=True)(lambda text: f"hello {text}")
    handler = agent.service().handler
    assert (await handler(task_of("abc"))).text == "hello abc"
    assert (await handler(task_of("abc", skill="reverse"))).text == "cba"


def test_two_default_skills_are_refused() -> None:
    agent = Agent("a")
    agent.skill(id="one", default=True)(lambda text: text)
    with pytest.raises(ConfigurationError, match="two default skills: one and two"):
        agent.skill(id="two", default=True)(lambda text: text)


def test_two_skills_of_one_id_are_refused() -> None:
    agent = reverser()
    with pytest.raises(ConfigurationError, match="two skills with the id 'shout'"):
        agent.skill(id="shout")(lambda text: text)


def test_an_agent_without_skills_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has no skills"):
        Agent("empty").service()


@pytest.mark.parametrize("name", ["Word Counter", "日本", "x" * 100, "../../etc", "-a-"])
def test_every_name_makes_an_identity(name: str) -> None:
    assert re.match(IDENTITY_PATTERN, slug(name))
    assert slug("Word Counter") == "word-counter"
    assert slug("日本") != slug("中国")


def test_an_agent_has_its_own_identity_unless_one_was_chosen(tmp_path: Path) -> None:
    settings = agent_settings(Settings(home=tmp_path), "Word Counter")
    assert (settings.identity, settings.called) == ("word-counter", "Word Counter")
    chosen = agent_settings(Settings(home=tmp_path, identity="mine", name="Me"), "Word Counter")
    assert (chosen.identity, chosen.called) == ("mine", "Me")


def test_the_package_offers_its_names_and_no_others() -> None:
    for name in mcp_a2a.__all__:
        assert getattr(mcp_a2a, name) is not None
    assert "Agent" in dir(mcp_a2a)
    with pytest.raises(AttributeError, match="Nonsense"):
        mcp_a2a.Nonsense  # type: ignore[attr-defined]  # noqa: B018


# --- files


MIXED = (
    "from mcp_a2a import Agent, skill\na = Agent('a')\n@a.skill\ndef f(text: str) -> str: return text\n"
    "@skill\ndef g(text: str) -> str: return text\n"
)


def load(folder: Path, text: str, name: str = "") -> Agent:
    file = folder / "words.py"
    file.write_text(text)
    return load_agent(f"{file}{name}")


def test_a_file_with_loose_skills_is_an_agent_of_its_name(tmp_path: Path) -> None:
    agent = load(
        tmp_path,
        'from mcp_a2a import skill\n@skill(tags=["text"])\ndef count_words(text: str) -> int:\n'
        '    "Count the words in a text."\n    return len(text.split())\n',
    )
    assert agent.name == "words"
    assert [one.id for one in agent.skills] == ["count-words"]


def test_a_file_that_runs_its_agent_is_loaded_up_to_there(tmp_path: Path) -> None:
    text = (
        "from mcp_a2a import Agent\nother = Agent('other')\nagent = Agent('mine')\n"
        "@agent.skill\ndef f(text: str) -> str: return text\nagent.run()\nraise SystemExit('never')\n"
    )
    assert load(tmp_path, text).name == "mine"
    assert load(tmp_path, text, ":other").name == "other"


def test_loading_twice_does_not_mix_files(tmp_path: Path) -> None:
    text = "from mcp_a2a import skill\n@skill\ndef f(text: str) -> str: return text\n"
    assert len(load(tmp_path, text).skills) == 1
    assert len(load(tmp_path, text).skills) == 1


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("x = 1", "", "defines no agent"),
        ("from mcp_a2a import Agent\na = Agent('a')\nb = Agent('b')", "", "several agents: a, b"),
        ("from mcp_a2a import Agent\na = Agent('a')", ":b", "no agent called 'b'. It defines: a"),
        ("import nonsense_that_is_not_there", "", "(line 1): ModuleNotFoundError"),
        (MIXED, "", "belong to no agent: g"),
        (MIXED, ":a", "belong to no agent: g"),
        (f"{MIXED}a.run()\n", "", "belong to no agent: g"),
        ("def f(:\n  pass", "", "(line 1): SyntaxError"),
        ("from mcp_a2a import skill\n@skill\ndef f(*a: str) -> str: ...", "", "has no name that a task could give"),
    ],
)
def test_a_file_that_is_no_agent_is_refused_with_the_reason(tmp_path: Path, text: str, name: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, name)
    assert says in str(caught.value)


@pytest.mark.slow
def test_so_is_one_that_leaves_out_a_skill_and_is_run_by_python(tmp_path: Path) -> None:
    file = tmp_path / "words.py"
    file.write_text(f"{MIXED}a.run()\n")
    ended = subprocess.run(
        [sys.executable, file], env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("There are skills that belong to no agent: g.")


def test_a_skill_of_a_file_that_is_imported_need_not_be_offered(tmp_path: Path) -> None:
    (tmp_path / "a_neighbour_with_a_skill.py").write_text(
        "from mcp_a2a import skill\n@skill\ndef g(text: str) -> str: return text\n"
    )
    text = (
        "from mcp_a2a import Agent\nfrom a_neighbour_with_a_skill import g\na = Agent('a')\n"
        "@a.skill\ndef f(text: str) -> str: return g(text)\n"
    )
    assert [one.id for one in load(tmp_path, text).skills] == ["f"]


def test_a_skill_of_the_package_that_is_given_to_an_agent_as_well_is_offered(tmp_path: Path) -> None:
    assert [one.id for one in load(tmp_path, f"{MIXED}a.skill(g)\n").skills] == ["f", "g"]


@pytest.mark.parametrize("target", ["missing.py", "missing.py:agent", "README.md", ".", f"{'a' * 300}.py"])
def test_what_is_no_python_file_is_refused(target: str) -> None:
    with pytest.raises(ConfigurationError, match="no Python file"):
        load_agent(target)


@pytest.mark.skipif(os.getuid() == 0, reason="root may enter every folder")
def test_a_file_in_a_folder_of_another_is_refused_like_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0)
    with pytest.raises(ConfigurationError, match="no Python file"):
        load_agent(str(tmp_path / "private" / "agent.py"))


def test_a_loose_skill_outside_of_loading_is_an_ordinary_function() -> None:
    @skill
    def nothing_special(text: str) -> str:
        return text

    assert nothing_special("a") == "a"
