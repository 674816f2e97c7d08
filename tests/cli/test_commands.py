"""Commands against two running agents: what they print where, and what they end with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.agent.jobs import gone
from tests.cli.inside import call
from tests.e2e.command import MCP_A2A, agent, environment, run, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def answer(home: Path, *words: str, code: int = 0) -> Any:
    """The one object that `--json` prints."""
    finished = call(home, *words, "--json")
    assert (finished.returncode, finished.stderr) == (code, "")
    assert finished.stdout.count("\n") == 1
    return json.loads(finished.stdout)


def test_discover_lists_agents_with_skills_and_route(home: Path) -> None:
    found = answer(home, "discover")
    assert found["reason"] is None
    # Another test's agent has gone, but mail of it may wait, and then another process of this folder is there for it.
    here = (one for one in found["agents"] if one["name"] != "gone")
    assert {one["name"]: [skill["id"] for skill in one["skills"]] for one in here} == {
        "helper": ["choose", "count-words", "draft", "fail", "sleep"],
        "rev": ["reverse"],
    }
    rev = next(one for one in found["agents"] if one["name"] == "rev")
    assert (rev["route"], rev["online"], rev["trust"]) == ("local", True, "own")
    assert {"did", "rtt_ms", "words"} <= set(rev)
    shown = call(home, "discover", "rev")
    assert shown.stdout.splitlines()[1].split()[:2] == ["rev", "reverse"]


def test_an_empty_discover_says_why_on_stderr(tmp_path: Path) -> None:
    shown = call(tmp_path / "home", "discover")
    assert (shown.returncode, shown.stdout) == (0, "")
    assert "No agents found. No other agent is running here" in shown.stderr
    assert answer(tmp_path / "home", "discover")["reason"]


def test_send_prints_the_answer_and_only_that(home: Path) -> None:
    sent = call(home, "send", "rev", "hello")
    assert (sent.returncode, sent.stdout) == (0, "olleh\n")
    assert "→ rev" in sent.stderr


def test_send_takes_its_text_from_stdin(home: Path) -> None:
    assert call(home, "send", "rev", "-", stdin="from a pipe").stdout == "epip a morf\n"


def test_send_by_skill_tells_who_took_it(home: Path) -> None:
    sent = answer(home, "send", "--skill", "count-words", "hello wide world")
    assert (sent["text"], sent["agent"]["name"]) == ("3", "helper")
    assert sent["chosen"].startswith("helper: ")
    assert sent["artifacts"][0]["parts"] == [{"data": 3, "mediaType": "application/json"}]


def test_send_to_a_skill_of_an_agent(home: Path) -> None:
    assert call(home, "send", "helper", "--skill", "count-words", "a b").stdout == "2\n"


def test_a_task_is_read_again_by_another_process(home: Path) -> None:
    task_id = answer(home, "send", "rev", "abc")["task_id"]
    assert call(home, "task", task_id).stdout == "cba\n"
    assert answer(home, "task", task_id[-6:])["text"] == "cba"
    assert task_id in [task["task_id"] for task in answer(home, "tasks", "--sent", "--limit", "100")["tasks"]]


def test_the_same_idempotency_key_is_the_same_task(home: Path) -> None:
    first = answer(home, "send", "rev", "once", "--idempotency-key", "k1")
    assert answer(home, "send", "rev", "once", "--idempotency-key", "k1")["task_id"] == first["task_id"]


def test_a_failed_task_ends_with_7_and_its_message(home: Path) -> None:
    failed = call(home, "send", "helper", "--skill", "fail", "fly")
    assert (failed.returncode, failed.stdout) == (7, "")
    assert "failed: cannot fly" in failed.stderr


def test_a_task_without_a_skill_for_an_agent_with_several_is_rejected_with_the_list(home: Path) -> None:
    rejected = call(home, "send", "helper", "hello")
    assert rejected.returncode == 7
    assert "choose, count-words, draft, fail, sleep" in rejected.stderr


def test_wrong_arguments_are_told_what_was_expected(home: Path) -> None:
    failed = call(home, "send", "helper", "--skill", "sleep", "for ever")
    assert failed.returncode == 7
    assert "sleep takes {seconds: number}" in failed.stderr


def test_a_question_ends_with_8_and_is_answered(home: Path) -> None:
    asked = answer(home, "send", "--skill", "choose", "a colour", code=8)
    assert asked["question"] == "red or blue?"
    told = call(home, "task", asked["task_id"])
    assert told.returncode == 8
    assert f"mcp-a2a answer {asked['task_id'][-6:]}" in told.stderr
    assert call(home, "answer", asked["task_id"], "red").stdout == "you chose red\n"


def test_a_task_that_goes_on_ends_with_6_and_tells_how_to_follow_it(home: Path) -> None:
    running = call(home, "send", "helper", "--skill", "sleep", "2", "--wait", "0.5")
    assert (running.returncode, running.stdout) == (6, "")
    assert "helper: dozing off" in running.stderr
    follow = running.stderr.split("mcp-a2a task ")[1].split()[0]
    assert call(home, "task", follow, "--wait", "10").stdout == "awake\n"


def test_a_detached_task_is_handed_over_and_ends_with_0(home: Path) -> None:
    sent = answer(home, "send", "helper", "--skill", "sleep", "0.1", "--detach")
    assert sent["delivery"] == "DELIVERED"
    assert call(home, "task", sent["task_id"], "--wait", "10").stdout == "awake\n"


def test_cancel_reaches_the_worker(home: Path) -> None:
    sent = answer(home, "send", "helper", "--skill", "sleep", "5", "--detach")
    assert "canceled" in call(home, "cancel", sent["task_id"]).stdout
    assert answer(home, "task", sent["task_id"], code=7)["state"] == "canceled"


def test_a_task_that_asks_is_canceled_too(home: Path) -> None:
    asked = answer(home, "send", "--skill", "choose", "a colour", code=8)
    assert call(home, "cancel", asked["task_id"]).stdout == f"{asked['task_id']}  canceled\n"


def test_what_a_canceled_task_has_made_is_whole_in_json(home: Path) -> None:
    begun = answer(home, "send", "helper", "--skill", "draft", "5", "--detach")
    until(lambda: answer(home, "task", begun["task_id"], code=6).get("text"), 30, "a piece of the result")
    canceled = answer(home, "cancel", begun["task_id"])
    assert (canceled["state"], canceled["text"]) == ("canceled", "a whole draft")


def test_a_list_that_a_filter_leaves_empty_does_not_say_that_there_are_no_tasks(home: Path) -> None:
    assert "No such task." in call(home, "tasks", "--state", "held").stderr


def test_the_command_for_more_tasks_asks_for_the_same_tasks(home: Path) -> None:
    for text in ("abc", "abd"):
        call(home, "send", "rev", text)
    chosen = call(home, "tasks", "--sent", "--state", "completed", "--limit", "1")
    (more,) = (line for line in chosen.stderr.splitlines() if line.startswith("more: "))
    assert more.startswith("more: mcp-a2a tasks --state completed --sent --limit 1 --cursor ")
    following = json.loads(call(home, *more.split()[2:], "--json").stdout)["tasks"]
    assert [(task["state"], task["direction"]) for task in following] == [("completed", "sent")]


def test_an_agent_that_is_there_can_be_trusted_by_a_command_that_has_just_started(home: Path) -> None:
    trusted = call(home, "--identity", "fresh", "trust", "rev")
    assert (trusted.returncode, trusted.stdout.partition(" (")[0]) == (0, "rev")


def test_a_task_that_has_ended_is_not_canceled_any_more(home: Path) -> None:
    sent = answer(home, "send", "rev", "abc")
    late = call(home, "cancel", sent["task_id"])
    assert (late.returncode, late.stdout) == (7, "")
    assert late.stderr.startswith("It is already completed.\n")
    assert answer(home, "cancel", sent["task_id"], code=7)["error"]["code"] == "already_ended"
    assert answer(home, "task", sent["task_id"])["state"] == "completed"


def test_canceling_twice_is_canceling_once(home: Path) -> None:
    sent = answer(home, "send", "helper", "--skill", "sleep", "5", "--detach")
    for _ in range(2):
        assert call(home, "cancel", sent["task_id"]).stdout == f"{sent['task_id']}  canceled\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["send", "rav", "x"], 3, "Closest names: rev"),
        (["send", "--skill", "revers", "x"], 3, "reverse"),
        (["task", "task-nonsense"], 3, "not found among the tasks of this identity"),
        (["show", "nobody"], 3, "No agent named 'nobody'"),
        (["send", "--skill", "", "x"], 2, "skill: it should have at least 1 character"),
        (["send", "rev"], 2, "The text is empty"),
        (["send", "reverse", "x"], 3, "'reverse' is a skill."),
        (["send", "rev", "two", "words"], 2, "in quotes"),
        (["dicsover"], 2, "Did you mean 'discover'?"),
        (["discover", "--limit", "0"], 2, "mcp-a2a discover --help"),
        (["tasks", "--state", "asleep"], 2, "There are: queued, stored"),
        (["answer", "task-x", "y", "--status", "maybe"], 2, "There are: working, completed"),
        (["peers", "add", "127.0.0.1:1"], 4, "127.0.0.1:1"),
        (["--identity", "Not A Folder", "discover"], 2, "MCP_A2A_IDENTITY"),
        (["agent", "exec", "--name", "x", "--", "no-such-program"], 2, "was not found"),
        (["agent", "exec", "--name", "x", "rev"], 2, "after two dashes"),
        (["agent", "exec", "--name", "x", "--skill", "=y", "--", "rev"], 2, "an id of its own"),
        (["agent", "run", "nothing.py"], 2, "no Python file"),
        (["--listen", "nowhere"], 2, "not an address"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_an_exit_code(home: Path, words: list[str], code: int, says: str) -> None:
    failed = call(home, *words)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr
    if "--listen" not in words:
        error = json.loads(call(home, "--json", *words).stdout)["error"]
        assert says in error["message"] + error["hint"]


def test_an_unreachable_agent_is_refused_at_once_without_a_queue_and_queued_with_one(home: Path) -> None:
    with agent(home, "exec", "--name", "gone", "--no-mdns", "--", "cat"):
        call(home, "send", "gone", "hi")
    unreachable = call(home, "send", "gone", "hi", "--no-queue")
    assert (unreachable.returncode, unreachable.stdout) == (4, "")
    queued = call(home, "send", "gone", "for later", "--wait", "0.2")
    assert queued.returncode in (4, 6)
    assert "It is kept" in queued.stderr
    task_id = queued.stderr.split("mcp-a2a task ")[1].split()[0]
    with agent(home, "exec", "--name", "gone", "--no-mdns", "--", "cat"):
        assert call(home, "task", task_id, "--wait", "10").stdout == "for later\n"


def test_a_strangers_task_waits_until_it_is_trusted(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "home"
    rev = answer(home, "show", "rev")
    port = rev["addresses"][0].split(":")[1].split()[0]
    answer(elsewhere, "peers", "add", f"127.0.0.1:{port}")
    held = answer(elsewhere, "send", rev["agent"]["did"], "let me in", "--wait", "3", code=6)
    assert held["delivery"] == "HELD"
    contacts = answer(home, "--identity", "rev", "peers")["contacts"]
    me = answer(elsewhere, "id")
    assert [(one["did"], one["words"]) for one in contacts] == [(me["did"], me["words"])]
    trusted = answer(home, "--identity", "rev", "trust", me["did"])
    assert (trusted["released"], trusted["agent"]["trust"]) == (1, "trusted")
    assert call(elsewhere, "task", held["task_id"], "--wait", "10").stdout == "ni em tel\n"
    assert "is blocked" in call(home, "--identity", "rev", "block", me["did"]).stdout
    refused = call(elsewhere, "send", rev["agent"]["did"], "again", "--wait", "5")
    assert refused.returncode in (4, 5)


def test_a_task_is_taken_and_answered_from_the_terminal(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(
        [MCP_A2A, "--identity", "desk", "--name", "desk", "--no-mdns", "inbox", "--wait", "20", "--json"],
        env=environment(home),
        stdout=subprocess.PIPE,
        text=True,
    ) as desk:
        sent = None
        for _ in range(50):
            if "desk" in [one["name"] for one in answer(home, "discover")["agents"]]:
                sent = answer(home, "send", "desk", "what time is it?", "--detach")
                break
        assert sent is not None
        taken = json.loads(desk.communicate(timeout=30)[0])
    assert [item["text"] for item in taken["items"]] == ["what time is it?"]
    listed = call(home, "--identity", "desk", "inbox")
    assert sent["task_id"][-6:] in listed.stdout
    call(home, "--identity", "desk", "answer", sent["task_id"][-8:], "late")
    assert answer(home, "--identity", "desk", "task", sent["task_id"])["done"]


def test_id_and_list_tell_the_truth_about_who_runs(home: Path) -> None:
    answer(home, "id")
    identities = {one["identity"]: one for one in answer(home, "list")["identities"]}
    assert identities["rev"]["running"]
    os.kill(identities["rev"]["pid"], 0)
    assert not identities["default"]["running"]
    rev = answer(home, "id", "--identity", "rev")
    assert (rev["did"], rev["name"]) == (identities["rev"]["did"], "rev")


def test_status_says_whether_anything_was_running(home: Path) -> None:
    assert answer(home, "status", "--identity", "rev")["running"] is True
    mine = answer(home, "status")
    assert (mine["running"], mine["agents_online"]) == (False, 2)
    assert "looked around for a moment" in call(home, "status").stderr


def test_version_is_one_line(home: Path) -> None:
    assert call(home, "version").stdout.startswith("mcp-a2a ")
    assert set(answer(home, "version")) == {"version"}
    assert "packages" in answer(home, "version", "-v")
    assert call(home, "--version").stdout == run(home, "version").stdout


def test_a_data_folder_that_cannot_be_used_ends_with_9_and_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    failed = call(tmp_path / "file" / "home", "discover")
    assert (failed.returncode, failed.stdout) == (9, "")
    assert "cannot be used" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_ctrl_c_leaves_the_task_running_and_tells_how_to_get_back(home: Path) -> None:
    waiting = subprocess.Popen(
        [MCP_A2A, "--no-mdns", "send", "helper", "--skill", "sleep", "2", "--wait", "30"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    while "dozing off" not in (line := waiting.stderr.readline()):
        assert line
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (130, "")
    task_id = err.split("mcp-a2a task ")[1].split()[0]
    assert call(home, "task", task_id, "--wait", "10").stdout == "awake\n"


def test_a_port_that_a_tunnel_leads_to_needs_the_token_that_is_printed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    server = subprocess.Popen(
        [MCP_A2A, "--no-mdns", "--listen", ":0", "--public-url", "https://example.net"],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "MCP server at https://example.net/mcp\n"
    assert server.stdout.readline().startswith("A2A server at https://example.net/ ")
    url = server.stdout.readline().removeprefix("Listening at ").strip() + "/mcp"
    header = server.stdout.readline()
    assert url.startswith("http://127.0.0.1:")
    assert "Authorization: Bearer " in header
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, data=b"{}"))  # noqa: S310  our own server
    assert refused.value.code == 401
    refused.value.close()
    server.terminate()
    assert server.wait(30) == 0
    server.stdout.close()


# --- agents


def test_an_agent_is_ready_in_one_line_and_tells_each_task_on_stderr(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        [MCP_A2A, "agent", "exec", "--name", "rev", "--skill", "reverse=Reverses text", "--no-mdns", "--", "rev"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    assert ready.startswith("rev is online   did:key:z6Mk")
    assert "skills: reverse" in ready
    task_id = answer(home, "send", "rev", "abc")["task_id"]
    process.send_signal(signal.SIGHUP)  # the terminal was closed
    started = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - started < 10
    assert (process.returncode, out) == (0, "")
    assert task_id in err
    assert "completed" in err


def test_stopping_an_agent_ends_its_programs_soon(tmp_path: Path) -> None:
    home, pid_file = tmp_path / "home", tmp_path / "pid"
    script = f"trap '' TERM; sleep 60 & echo $! > {pid_file}.part; mv {pid_file}.part {pid_file}; wait; wait"
    with agent(home, "exec", "--name", "slow", "--no-mdns", "--", "sh", "-c", script) as slow:
        answer(home, "send", "slow", "x", "--detach")
        while not pid_file.exists():
            time.sleep(0.01)  # another process gives no event
        started = time.monotonic()
        slow.process.send_signal(signal.SIGTERM)
        assert slow.process.wait(30) == 0
        assert time.monotonic() - started < 10  # a second of grace, and a busy machine
    assert gone(int(pid_file.read_text()))


@pytest.mark.parametrize(
    "waits",
    [
        "def wait(text: str) -> str:\n    time.sleep(600)\n    return text\n",
        "async def wait(text: str) -> None:\n    await asyncio.to_thread(time.sleep, 600)\n",
        "async def wait(text: str) -> None:\n    threading.Thread(target=time.sleep, args=(600,)).start()\n",
    ],
)
def test_stopping_an_agent_does_not_wait_for_a_function_that_never_ends(tmp_path: Path, waits: str) -> None:
    home, file = tmp_path / "home", tmp_path / "stuck.py"
    file.write_text(f"import asyncio, threading, time\nfrom mcp_a2a import skill\n\n@skill\n{waits}")
    with agent(home, "run", str(file), "--no-mdns") as stuck:
        answer(home, "send", "stuck", "x", "--detach")
        stuck.process.send_signal(signal.SIGTERM)
        assert stuck.process.wait(60) == 0  # the function takes 600 seconds


def test_an_identity_that_offers_something_else_is_not_taken_over(home: Path) -> None:
    refused = call(home, "agent", "exec", "--name", "other", "--identity", "rev", "--", "cat")
    assert refused.returncode == 2
    assert "is in use by rev" in refused.stderr


def test_a_file_may_run_its_agent_by_itself(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "own.py"
    file.write_text(
        "from mcp_a2a import Agent\nagent = Agent('Own One')\n\n"
        "@agent.skill\ndef echo(text: str) -> str:\n    return text\n\nagent.run()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(file)], env=environment(home, MCP_A2A_MDNS="0"), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Own One is online")
    assert call(home, "send", "Own One", "hi").stdout == "hi\n"
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()
