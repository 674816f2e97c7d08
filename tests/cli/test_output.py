"""Answers on stdout, the rest on stderr, and with --json one object and nothing else."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import re
import subprocess
import termios

import pytest
from typing_extensions import override

from mcp_a2a.api.agents import AgentDetail, AgentView, DiscoverView, SkillView
from mcp_a2a.api.diagnostics import CheckView, NetcheckView, PingView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.cli import render
from mcp_a2a.cli.columns import Cell
from mcp_a2a.cli.failure import report_failure
from mcp_a2a.cli.options import Options, UsageError
from mcp_a2a.cli.output import Output, structured
from mcp_a2a.cli.remedies import WORDS
from mcp_a2a.errors.agents import PeerNotFoundError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.web import CardError
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.screen import Screen
from tests.e2e.command import MCP_A2A, environment
from tests.screens import At


class Streams:
    def __init__(self, options: Options) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.output = Output(options, self.out, self.err)


PLAIN, JSON, QUIET = Options(), Options(json=True), Options(verbosity=-1)


def agent(name: str = "bob", **more: object) -> AgentView:
    return AgentView.model_validate({"name": name, "did": f"did:key:z{name}", "words": "a-b-c", **more})


def test_json_is_one_object_and_nothing_else() -> None:
    streams = Streams(JSON)
    streams.output.show(DiscoverView(agents=(agent(),), total=1), lambda: pytest.fail("no words with --json"))
    streams.output.progress("waiting")
    fields = json.loads(streams.out.getvalue())
    assert fields["agents"][0]["name"] == "bob"
    assert streams.err.getvalue() == ""


def test_a_list_of_agents_always_says_whether_there_is_a_reason() -> None:
    assert structured(DiscoverView(agents=(), total=0, reason="nobody")) == {
        "agents": [],
        "total": 0,
        "reason": "nobody",
    }
    assert structured(DiscoverView(agents=(), total=0))["reason"] is None
    assert "rtt_ms" not in structured(agent())


def test_notes_go_to_stderr_and_not_at_all_when_quiet() -> None:
    loud, quiet = Streams(PLAIN), Streams(QUIET)
    for streams in (loud, quiet):
        streams.output.note("by the way")
        streams.output.line("the answer")
    assert (loud.out.getvalue(), loud.err.getvalue()) == ("the answer\n", "by the way\n")
    assert (quiet.out.getvalue(), quiet.err.getvalue()) == ("the answer\n", "")


def test_errors_are_sentences_with_what_to_do_and_the_command_for_it() -> None:
    streams = Streams(PLAIN)
    assert report_failure(streams.output, PeerNotFoundError("bbo", ["bob"], 1)) == 3
    assert streams.out.getvalue() == ""
    assert "Closest names: bob." in streams.err.getvalue()
    assert "Run mcp-a2a discover" in streams.err.getvalue()


def test_errors_in_json_are_one_object_on_stdout() -> None:
    streams = Streams(JSON)
    assert report_failure(streams.output, PeerNotFoundError("bbo", ["bob"], 1)) == 3
    error = json.loads(streams.out.getvalue())["error"]
    assert error["code"] == "agent_not_found"
    assert set(error) == {"code", "message", "hint", "retryable"}
    assert streams.err.getvalue() == ""


_SGR = re.compile(r"\x1b\[\d+m")

HOSTILE = "a\x9b31m\x1b[2Jb\u202e\nc"


def test_nothing_that_is_said_beside_the_answer_controls_the_terminal() -> None:
    streams = Streams(PLAIN)
    streams.output.note(f"  tried {HOSTILE}")
    report_failure(streams.output, CardError(HOSTILE, HOSTILE))
    assert streams.err.getvalue() == "  tried ab\nc\nab\nc\nab\nc\n"
    asking = Streams(PLAIN)
    asking.output.ask(HOSTILE)
    assert asking.err.getvalue() == "ab\nc"
    as_json = Streams(JSON)
    report_failure(as_json.output, CardError(HOSTILE, HOSTILE))
    error = json.loads(as_json.out.getvalue())["error"]
    assert (error["message"], error["hint"]) == ("ab\nc", "ab\nc")


def test_what_an_agent_says_of_itself_controls_no_terminal() -> None:
    lost = PingView(agent=AgentRef(name="bob", did="http://b"), detail=HOSTILE, tried=(HOSTILE,))
    assert render.ping_lines(lost) == ["  tried ab\n  | c", "no reply from bob: ab\n  | c"]
    skill = SkillView(id="s", name="s", description="d", input_schema={"properties": {"n": {"type": HOSTILE}}})
    card = AgentCard(name="bob", description="", version="1", supported_interfaces=(), skills=())
    detail = AgentDetail(agent=agent(skills=(skill,)), card=card)
    assert "    s(n: ab c)   d" in render.agent_lines(detail)


def test_a_usage_error_ends_with_2() -> None:
    streams = Streams(JSON)
    assert report_failure(streams.output, UsageError("Which one?")) == 2
    assert json.loads(streams.out.getvalue())["error"]["code"] == "usage"


def test_an_error_of_ours_is_a_sentence_and_its_story_a_file(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    streams = Streams(PLAIN)
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError("by zero")
    assert report_failure(streams.output, caught.value) == 1
    said = streams.err.getvalue()
    assert "ZeroDivisionError: by zero" in said
    assert "Traceback" not in said
    (story,) = tmp_path.iterdir()
    assert str(story) in said
    assert "Traceback" in story.read_text()
    assert story.stat().st_mode & 0o077 == 0


def test_a_narrow_terminal_shows_question_marks_rather_than_nothing() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Output(PLAIN, stream, io.StringIO()).line("héllo → wörld")
    assert raw.getvalue() == b"h?llo -> w?rld\n"


def test_a_pipe_gets_a_line_per_agent_without_colours() -> None:
    streams = Streams(PLAIN)
    skills = [SkillView(id=f"skill-{n}", name="x", description="y") for n in range(5)]
    streams.output.table(
        render.agents_table(
            [agent("bob", online=True, route="lan", rtt_ms=2.4, skills=skills, trust="own"), agent("eve")]
        )
    )
    lines = streams.out.getvalue().splitlines()
    assert [line.split() for line in lines] == [
        ["AGENT", "SKILLS", "ROUTE", "SEEN", "INBOUND"],
        ["bob", "skill-0,", "skill-1,", "skill-2,", "+2", "LAN", "2", "ms", "now", "yes,", "yours"],
        ["eve", "-", "offline", "never", "ask"],
    ]
    assert "\x1b" not in streams.out.getvalue()


def test_two_agents_of_one_name_are_told_apart_by_words_and_key() -> None:
    streams = Streams(PLAIN)
    twins = [agent("bob"), AgentView(name="bob", did="did:key:zOther", words="x-y-z")]
    streams.output.table(render.agents_table(twins))
    assert "a-b-c" in streams.out.getvalue()
    assert "…did:key:zOther"[-12:] in streams.out.getvalue()


def test_markup_in_a_name_is_only_a_name() -> None:
    streams = Streams(PLAIN)
    streams.output.table(render.agents_table([agent("[red]bob[/red]")]))
    assert "red bob red" in streams.out.getvalue()


def test_a_member_is_shown_with_its_networks_and_with_what_waits_for_it() -> None:
    streams = Streams(PLAIN)
    bob = agent("bob", trust="member", networks=("shop", "home"), waiting=2)
    streams.output.table(render.agents_table([bob]))
    row = streams.out.getvalue().splitlines()[1]
    assert "offline, 2 to deliver" in row
    assert row.endswith("yes, member of shop, home")


def test_an_agent_at_a_url_was_there_when_it_last_answered() -> None:
    streams = Streams(PLAIN)
    last = "2020-01-01T00:00:00.000Z"
    for online in (True, False):
        streams.output.table(render.agents_table([agent("far", route="http", online=online, last_seen=last)]))
    _, there, _, gone = streams.out.getvalue().splitlines()
    assert ("web" in there, " d ago" in there, "now" in there) == (True, True, False)
    assert ("offline" in gone, "web" in gone) == (True, False)


def test_a_reply_tells_its_way_without_the_key_that_pins_a_relay() -> None:
    bob = AgentRef(name="bob", did="did:key:zBob")
    reply = PingView(agent=bob, route="relay", address="ws://relay.example:6060/#did:key:z6MkRelay", ms=24.04)
    assert render.ping_lines(reply) == ["reply from bob via relay ws://relay.example:6060/   24.0 ms"]
    lost = PingView(agent=bob, detail="it could not be reached", tried=("10.0.0.2:1 refused",))
    assert render.ping_lines(lost) == ["  tried 10.0.0.2:1 refused", "no reply from bob: it could not be reached"]


@pytest.mark.parametrize(("encoding", "marks"), [("utf-8", "✓✗\N{EN DASH}"), ("ascii", ["ok", "no", "-"])])
def test_marks_are_words_where_the_terminal_has_no_letter_for_them(encoding: str, marks: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    checks = NetcheckView(
        checks=(
            CheckView(name="local", ok=True, detail="on"),
            CheckView(name="mdns", ok=False, detail="off"),
            CheckView(name="relay", ok=False, absent=True, detail="none"),
        )
    )
    output = Output(PLAIN, stream, io.StringIO())
    lines = render.checks_table(checks, output.mark).lines(Screen(stream))
    assert [line.split() for line in lines] == [
        [marks[0], "local", "on"],
        [marks[1], "mdns", "off"],
        [marks[2], "relay", "none"],
    ]


# --- streams that fail


class Full(io.StringIO):
    """Standard output on a full disk."""

    @override
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_answer_that_cannot_be_written_is_told_on_stderr() -> None:
    err = io.StringIO()
    output = Output(JSON, Full(), err)
    with pytest.raises(OSError, match="No space left") as caught:
        output.line("the answer")
    assert report_failure(output, caught.value) == 1
    said = err.getvalue().splitlines()
    assert said[0] == "The answer could not be written to standard output: No space left on device."
    assert len(said) == 2


def test_an_error_that_cannot_be_written_as_json_is_told_as_a_sentence() -> None:
    err = io.StringIO()
    assert report_failure(Output(JSON, Full(), err), PeerNotFoundError("bbo", ["bob"], 1)) == 3
    assert "Closest names: bob." in err.getvalue()


def test_words_beside_the_answer_do_not_spoil_it() -> None:
    out = io.StringIO()
    output = Output(PLAIN, out, Full())
    output.note("by the way")
    output.line("the answer")
    assert out.getvalue() == "the answer\n"


def test_who_reads_no_further_is_not_told_so() -> None:
    streams = Streams(PLAIN)
    assert report_failure(streams.output, BrokenPipeError(errno.EPIPE, "Broken pipe")) == 1
    assert streams.err.getvalue() == ""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("words", [["version"], ["--help"], ["id", "--json"], ["peers", "--help"]])
@pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_full_stdout_is_a_sentence_and_no_traceback(tmp_path, words: list[str], env: dict[str, str]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  a device
        failed = subprocess.run(
            [MCP_A2A, *words],
            env=environment(tmp_path, **env),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert failed.returncode == 1
    said = failed.stderr.splitlines()
    assert said[0] == "The answer could not be written to standard output: No space left on device."
    assert len(said) == 2


@pytest.mark.slow
def test_sentences_fit_the_terminal_and_commands_stay_whole(tmp_path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    failed = subprocess.run(
        [MCP_A2A, "--no-mdns", "leave", "a-network-that-is-not-there"],
        env=environment(tmp_path, PATH=os.path.dirname(MCP_A2A)),  # noqa: PTH120  a hint is then as wide as its words
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, check=False,
    )  # fmt: skip
    os.close(theirs)
    lines = [line.split("\r\x1b[K") for line in os.read(ours, 65_536).decode().split("\r\n")]
    os.close(ours)
    assert failed.returncode == 3
    assert "There is no network" in lines[0][-1]  # on a busy machine it has said before that it waits
    assert all(len(_SGR.sub("", shown)) <= 40 for line in lines for shown in line)


def test_progress_stays_on_one_line_of_a_narrow_terminal() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 20))
    with os.fdopen(theirs, "w") as terminal:
        Output(PLAIN, io.StringIO(), terminal).progress("… waiting for somebody (1 s, Ctrl-C to stop waiting)")
        assert os.read(ours, 65_536).decode() == "\r\x1b[K… waiting for some…"
    os.close(ours)


@pytest.mark.parametrize(
    ("remedy", "read"),
    [
        (Remedy("{Call} {discover} to list the agents."), "Run mcp-a2a discover to list the agents."),
        (Remedy("answer it with {reply_to_task}."), "answer it with mcp-a2a answer."),
        (Remedy("The agent has it. {Call} {get_task_status} with"), "The agent has it. Run mcp-a2a task with"),
        (Remedy("You discover that nothing changed."), "You discover that nothing changed."),
        (Remedy("{name_folder}"), "Name another folder."),
    ],
)
def test_next_steps_for_an_assistant_are_worded_as_commands(remedy: Remedy, read: str) -> None:
    assert remedy.worded(WORDS) == read


def test_no_address_of_a_netcheck_is_cut() -> None:
    address, relay = "[fe80::fc:ff:fe00:1%eth0]:43627", "relay ws://127.0.0.1:38733/"
    checks = NetcheckView(
        checks=(
            CheckView(name="addresses", ok=True, detail=f"192.0.2.2:43627, {address}"),
            CheckView(name=relay, ok=True, detail="networks: office", ms=1),
        )
    )
    for columns in (60, 80):
        shown = "\n".join(render.checks_table(checks, lambda _: Cell("✓")).lines(At(columns)))
        assert address in shown
        assert "…" not in shown
