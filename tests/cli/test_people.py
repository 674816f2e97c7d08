"""What a person at a terminal is asked and told: questions that Ctrl-C ends, JSON on request, commands of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from mcp_a2a.api.tasks import TaskView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.options import Options
from mcp_a2a.cli.output import Output
from mcp_a2a.cli.remedies import WORDS
from mcp_a2a.cli.session import Session
from mcp_a2a.cli.telling import report
from mcp_a2a.errors.agents import ConsentError, PeerNotFoundError
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.state import Delivery
from tests import test_errors
from tests.cli.inside import call
from tests.cli.keyboard import CTRL_C, CTRL_D, typed
from tests.cli.test_arguments import member_of
from tests.protocol.people import ALICE, BOB

DID = str(BOB.peer_id)

# --- questions


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("words", "asks"),
    [
        (("rotate", "shop"), "[y/N]: "),
        (("leave", "shop"), "[y/N]: "),
        (("join",), "Ticket: "),
        (("invite", "--network", "shop", "--relay", "-"), "URL of the relay: "),
    ],
)
def test_ctrl_c_at_a_question_ends_with_130_and_changes_nothing(
    tmp_path: Path, words: tuple[str, ...], asks: str
) -> None:
    home = tmp_path / "home"
    member_of(home, ALICE)
    (home / "identities" / "default" / "did").chmod(0o600)
    before = sorted(home.rglob("*"))
    with typed(home, *words) as asked:
        asked.until(asks)
        asked.type(CTRL_C)
        assert asked.ends() == 130
    assert "Traceback" not in asked.screen
    assert asked.screen.rstrip().endswith("\nInterrupted."), "it begins a line"
    assert sorted(home.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_d_at_a_question_is_a_no(tmp_path: Path) -> None:
    member_of(tmp_path / "home", ALICE)
    with typed(tmp_path / "home", "rotate", "shop") as asked:
        asked.until("[y/N]: ")
        asked.type(CTRL_D)
        assert asked.ends() == 5
    assert asked.screen.rstrip().endswith("\nNothing was changed.")


# --- JSON


READS = (
    ("discover", "--settle", "0"),
    ("show", "self"),
    ("tasks",),
    ("inbox",),
    ("peers",),
    ("networks",),
    ("status",),
    ("id",),
    ("list",),
    ("version",),
    ("netcheck",),
    ("callers",),
    ("name",),
    ("task", "task-unknown"),
    ("show", "nobody"),
    ("ping", "nobody"),
    ("relay", "status"),
    ("relay", "url"),
    ("relay", "members"),
    ("repair",),
)


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_every_command_that_reads_prints_one_json_object_on_request(tmp_path: Path, words: tuple[str, ...]) -> None:
    finished = call(tmp_path / "home", *words, "--json")
    assert finished.stdout.count("\n") == 1, finished
    read = json.loads(finished.stdout)
    assert isinstance(read, dict)
    assert ("error" in read) == (finished.returncode not in (0, 4))
    assert finished.stderr == ""


# --- a question without words


def view(**more: object) -> TaskView:
    fields = {
        "task_id": "task-abcdefgh",
        "direction": "sent",
        "state": Moment.INPUT_REQUIRED,
        "done": False,
        "delivery": Delivery.DELIVERED,
        "agent": AgentRef(name="rev", did=DID),
        "created": "2026-11-30T10:00:00Z",
        "updated": "2026-11-30T10:00:01Z",
        "next": "",
    }
    return TaskView.model_validate({**fields, **more})


@pytest.mark.parametrize("state", [Moment.INPUT_REQUIRED, Moment.AUTH_REQUIRED])
def test_a_task_that_asks_without_words_says_that_it_asks(state: Moment, capsys: pytest.CaptureFixture[str]) -> None:
    options = Options()
    with pytest.raises(typer.Exit) as ended:
        report(Session(options, Output(options)), view(state=state))
    said = capsys.readouterr().err
    assert ended.value.exit_code == Exit.NEEDS_INPUT
    assert "rev waits for an answer, but asked no question." in said
    assert "mcp-a2a answer cdefgh" in said
    assert ("It needs authorization" in said) == (state == Moment.AUTH_REQUIRED)
    assert "running" not in said


# --- hints


TYPED = [kind for kind in test_errors.SHOWN if not issubclass(kind, ConsentError)]
"""Consent is asked for where no person is at the terminal, so a model may well be the one who reads of it."""


@pytest.mark.parametrize("kind", TYPED, ids=lambda kind: kind.__name__)
def test_no_hint_at_a_terminal_speaks_of_tools_or_of_a_user(kind: type[test_errors.McpA2AError]) -> None:
    error = test_errors.made(kind)
    said = f"{error.message}\n{error.hint_in(WORDS)}"
    assert not [tool for tool in test_errors.TOOLS if "_" in tool and tool in said]
    assert "our user" not in said


def test_a_skill_in_the_place_of_a_name_is_told_to_each_in_its_own_words() -> None:
    error = PeerNotFoundError("reverse", (), 2, is_skill=True)
    assert "send_task_by_skill" in error.hint
    assert error.hint_in(WORDS) == 'Send it to the best agent that has it: mcp-a2a send --skill reverse "TEXT"'
