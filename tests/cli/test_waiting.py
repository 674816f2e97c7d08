"""At a terminal a command waits until the task is done, and a person answers there; a script is not held up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mcp_a2a.cli.waiting import FOREVER, SCRIPT_SECONDS, patience
from tests.cli.inside import call
from tests.cli.keyboard import CTRL_C, CTRL_D, typed
from tests.e2e.command import MCP_A2A, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def sent(home: Path, *words: str) -> dict[str, object]:
    return json.loads(call(home, "send", *words, "--json").stdout)  # type: ignore[no-any-return]


# --- how long


def test_a_script_waits_20_seconds_and_whoever_says_so_as_long_as_that() -> None:
    assert patience(None) == SCRIPT_SECONDS == 20.0  # the streams of a test are no terminal
    assert patience(0.5) == 0.5


def test_a_person_at_a_terminal_waits_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert patience(None) == FOREVER


def test_ctrl_c_at_a_terminal_leaves_the_task_running(home: Path) -> None:
    with typed(home, "send", "helper", "--skill", "sleep", "1") as waiting:
        waiting.until("dozing off")
        waiting.type(CTRL_C)
        assert waiting.ends() == 130
        task_id = waiting.screen.split("mcp-a2a task ")[1].split()[0]
    assert call(home, "task", task_id, "--wait", "10").stdout == "awake\n"


# --- what the agent asks


def test_a_question_is_answered_there_and_then(home: Path) -> None:
    with typed(home, "send", "--skill", "choose", "a colour") as talking:
        talking.until("helper asks: red or blue?\n> ")
        talking.type("blue\n")
        assert talking.ends() == 0
    assert talking.screen.rstrip().endswith("you chose blue")


@pytest.mark.parametrize("given", ["\n", CTRL_D])
def test_a_question_may_be_left_open(home: Path, given: str) -> None:
    with typed(home, "send", "--skill", "choose", "a colour") as talking:
        talking.until("\n> ")
        talking.type(given)
        assert talking.ends() == 8
    task_id = talking.screen.split("mcp-a2a answer ")[1].split()[0]
    assert call(home, "answer", task_id, "red").stdout == "you chose red\n"


def test_ctrl_c_at_a_question_leaves_the_task_waiting(home: Path) -> None:
    with typed(home, "send", "--skill", "choose", "a colour") as talking:
        talking.until("\n> ")
        talking.type(CTRL_C)
        assert talking.ends() == 130
    task_id = talking.screen.split("mcp-a2a task ")[1].split()[0]
    assert call(home, "answer", task_id, "red").stdout == "you chose red\n"


# --- the text


@pytest.mark.parametrize("words", [("rev",), ("--skill", "reverse"), ("rev", "-")])
def test_a_pipe_into_send_is_the_text(home: Path, words: tuple[str, ...]) -> None:
    assert call(home, "send", *words, stdin="from a pipe").stdout == "epip a morf\n"


def test_a_pipe_into_answer_is_the_text(home: Path) -> None:
    task_id = str(sent(home, "--skill", "choose", "a colour")["task_id"])
    assert call(home, "answer", task_id, stdin="red").stdout == "you chose red\n"


def test_a_text_that_was_typed_wins_over_a_pipe(home: Path) -> None:
    assert call(home, "send", "rev", "typed", stdin="from a pipe").stdout == "depyt\n"


@pytest.mark.parametrize("words", [("send", "rev"), ("answer", "abcdef"), ("send",), ("send", "--skill", "reverse")])
def test_at_a_terminal_a_missing_text_is_asked_for_and_not_waited_for(tmp_path: Path, words: tuple[str, ...]) -> None:
    finished = call(tmp_path / "home", *words, typed=True)
    assert finished.returncode == 2
    assert '"TEXT"' in finished.stderr
    assert not list(tmp_path.glob("home/identities/*"))


# --- names that are none


def test_a_skill_in_the_place_of_an_agent_is_told_apart(home: Path) -> None:
    failed = call(home, "send", "count-words", "hello")
    assert failed.returncode == 3
    assert "'count-words' is a skill." in failed.stderr
    assert 'mcp-a2a send --skill count-words "TEXT"' in failed.stderr
    assert "send_task_by_skill" not in failed.stderr


# --- tasks that ask nothing, and tasks that have ended


def test_an_answer_that_was_not_asked_for_is_not_sent_as_a_new_task(home: Path) -> None:
    done = sent(home, "rev", "abc")
    before = call(home, "tasks", "--json", "--limit", "100").stdout.count('"task_id"')
    refused = call(home, "answer", str(done["task_id"]), "xyz")
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "rev has asked nothing: the task is completed." in refused.stderr
    assert f"--context {done['context_id']}" in refused.stderr
    assert call(home, "tasks", "--json", "--limit", "100").stdout.count('"task_id"') == before


def test_a_status_is_not_ignored_where_it_means_nothing(home: Path) -> None:
    task_id = str(sent(home, "--skill", "choose", "a colour")["task_id"])
    refused = call(home, "answer", task_id, "red", "--status", "failed")
    assert refused.returncode == 2
    assert "--status is for a task that was sent to you" in refused.stderr
    assert call(home, "answer", task_id, "red").stdout == "you chose red\n"


def test_an_answer_to_a_task_that_still_runs_is_refused(home: Path) -> None:
    running = sent(home, "helper", "--skill", "sleep", "3", "--detach")
    refused = call(home, "answer", str(running["task_id"]), "hurry")
    assert refused.returncode == 5
    assert "helper has asked nothing" in refused.stderr
    call(home, "cancel", str(running["task_id"]))


def test_a_task_has_a_head_that_says_what_it_is(home: Path) -> None:
    done = sent(home, "rev", "abc")
    shown = call(home, "task", str(done["task_id"]))
    assert shown.stdout == "cba\n"
    lines = shown.stderr.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(str(done["task_id"])))
    head, times = lines[at : at + 2]
    assert "→ rev" in head
    assert head.endswith("completed")
    assert times.startswith("  sent 20")
    assert ", took " in times


def test_data_that_the_text_says_already_is_not_announced(home: Path) -> None:
    counted = call(home, "send", "--skill", "count-words", "hello wide world")
    assert counted.stdout == "3\n"
    assert "data" not in counted.stderr


def test_a_pipe_of_a_shell_reaches_an_agent(home: Path) -> None:
    piped = subprocess.run(
        ["sh", "-c", f"echo hi | {MCP_A2A} --no-mdns send rev"],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert piped.stdout == "ih\n"


@pytest.mark.parametrize(("words", "what"), [(("send", "rev"), "the text"), (("join",), "the ticket")])
def test_a_pipe_that_stays_silent_is_said_to_be_read(home: Path, words: tuple[str, ...], what: str) -> None:
    with subprocess.Popen(
        [MCP_A2A, "--no-mdns", *words],
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as reading:
        assert reading.stderr is not None
        assert reading.stderr.readline() == f"Reading {what} from standard input, until its end.\n"
        reading.communicate(input="rubbish", timeout=60)
