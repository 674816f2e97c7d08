"""Programs as skills: what they see, what they may use, and that nothing of them stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import pytest

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.node.worker.command import CommandSkill, Limits, cleaned_environment, find_command
from mcp_a2a.node.worker.job import Crashed, Outcome
from mcp_a2a.node.worker.process_tree import session_members
from mcp_a2a.store.work_folder import Workroom
from tests.agent.jobs import gone, task_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX sessions")

ENVIRONMENT = cleaned_environment(os.environ, ())
DEFAULTS = Limits()
NOWHERE = Path("/nonexistent")
"""Tasks without files need no room."""


async def run(
    *argv: str, text: str = "", limits: Limits = DEFAULTS, environment: dict[str, str] = ENVIRONMENT
) -> Outcome:
    return await skill_of(argv, environment, limits)(task_of(text))


def skill_of(argv: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT, limits: Limits = DEFAULTS):
    return CommandSkill("do-it", argv, environment, limits, Workroom(NOWHERE))


def python(code: str) -> tuple[str, str, str]:
    return (sys.executable, "-c", code)


async def test_text_goes_in_and_output_comes_out_without_its_last_newline() -> None:
    assert await run("cat", text="héllo\n") == Outcome("completed", "héllo")
    assert await run("printf", "a\n\n") == Outcome("completed", "a\n")
    assert await run("true") == Outcome("completed", "")


async def test_a_megabyte_passes_in_both_directions_at_once() -> None:
    text = "x" * 1_000_000
    outcome = await run("cat", text=text, limits=Limits(output_bytes=2_000_000))
    assert outcome.text == text


async def test_a_program_need_not_read_its_input() -> None:
    assert (await run("echo", "hi", text="x" * 1_000_000)).text == "hi"


async def test_data_without_text_is_given_as_json() -> None:
    assert (await skill_of(("cat",))(task_of(data={"a": ["ü"]}))).text == '{"a": ["ü"]}'


async def test_what_a_peer_wrote_is_never_an_argument_or_a_word_of_a_shell() -> None:
    text = "; touch /tmp/pwned $(id) `id` --help"
    assert (await run("cat", text=text)).text == text
    assert (await run("echo", text=text)).text == ""


async def test_undecodable_output_is_shown_with_marks() -> None:
    assert (await run(*python("import os; os.write(1, b'a\\xffb')"))).text == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; sys.exit(3)", "ended with exit code 3."),
        ("import sys; sys.exit('no such file')", "ended with exit code 1: no such file"),
        ("import sys; sys.exit(129)", "ended with exit code 129."),
    ],
)
async def test_another_exit_code_than_0_fails_with_the_end_of_standard_error(code: str, says: str) -> None:
    outcome = await run(*python(code))
    assert outcome.status == "failed"
    assert outcome.text == f"{Path(sys.executable).name} {says}"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL."),
        ("import os; os.kill(os.getpid(), 15)", "was ended by SIGTERM."),
        ("import os; os._exit(137)", "ended with exit code 137."),
    ],
)
async def test_a_program_that_a_signal_ended_has_crashed_and_not_answered(code: str, says: str) -> None:
    with pytest.raises(Crashed, match=says):
        await run(*python(code))


async def test_only_the_last_lines_of_standard_error_are_told() -> None:
    outcome = await run(*python("import sys\nfor n in range(1000): print('line', n, file=sys.stderr)\nsys.exit(1)"))
    assert outcome.text is not None
    assert outcome.text.endswith("line 990\n" + "\n".join(f"line {n}" for n in range(991, 1000)))
    assert "line 989" not in outcome.text


async def test_a_program_that_takes_too_long_is_ended() -> None:
    code = "import time\nwhile True: print('.', flush=True); time.sleep(0.02)"
    outcome = await run(*python(code), limits=Limits(total_seconds=0.3))
    assert outcome.status == "failed"
    assert "was ended after 0.3 s, its limit" in str(outcome.text)


async def test_a_silent_program_is_ended_and_a_talking_one_is_not() -> None:
    silent = await run("sleep", "60", limits=Limits(idle_seconds=0.2))
    assert "wrote nothing for 0.2 s" in str(silent.text)
    code = "import sys, time\nfor _ in range(12): print('.', file=sys.stderr, flush=True); time.sleep(0.1)\nprint('ok')"
    assert (await run(*python(code), limits=Limits(idle_seconds=0.8))).text == "ok"


async def test_a_program_that_writes_too_much_is_ended() -> None:
    outcome = await run("yes", limits=Limits(output_bytes=10_000))
    assert outcome.text == "yes wrote more than 10,000 bytes, its limit."


async def test_a_program_that_ignores_sigterm_is_ended_all_the_same() -> None:
    code = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(60)"
    )
    with anyio.fail_after(30):
        outcome = await run(*python(code), limits=Limits(idle_seconds=0.5))
    assert outcome.status == "failed"


async def test_children_in_groups_of_their_own_end_with_the_task(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! > {pids}; timeout 60 sleep 60 & echo $! >> {pids}; wait"
    outcome = await run("sh", "-c", script, limits=Limits(idle_seconds=0.3))
    assert outcome.status == "failed"
    for pid in pids.read_text().split():
        assert gone(int(pid))


async def test_what_a_finished_program_leaves_in_the_background_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with anyio.fail_after(30):
        outcome = await run("sh", "-c", f"sleep 60 & echo $! > {pid}; echo done")
    assert outcome.text == "done"
    assert gone(int(pid.read_text()))


async def test_a_withdrawn_task_ends_its_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    async def work() -> None:
        await run("sh", "-c", f"echo $$ > {pid}.part; mv {pid}.part {pid}; exec sleep 60")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        while not pid.exists():  # noqa: ASYNC110  another process gives no event
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert gone(int(pid.read_text()))


async def test_a_program_sees_a_clean_environment() -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "AWS_SECRET_ACCESS_KEY": "s",
        "MCP_A2A_HOME": "/secret",
        "EXTRA": "yes",
    }
    cleaned = cleaned_environment(environ, ["EXTRA"])
    assert set(cleaned) == {"PATH", "LC_ALL", "EXTRA"}
    seen = dict(
        line.split("=", 1) for line in str((await run("env", environment=cleaned)).text).splitlines() if "=" in line
    )
    assert seen["MCP_A2A_SKILL"] == "do-it"
    assert seen["MCP_A2A_TASK_ID"] == "task-1"
    assert seen["MCP_A2A_SENDER"] == "did:key:zAlice"
    assert (seen["MCP_A2A_ATTEMPT"], seen["MCP_A2A_HOP"]) == ("1", "1")
    ours = {f"MCP_A2A_{name}" for name in ("SKILL", "TASK_ID", "SENDER", "ATTEMPT", "HOP", "RUN")}
    assert set(seen) - {"_", "PWD", "SHLVL"} == {*cleaned, *ours}


def test_passing_on_a_variable_that_is_not_set_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--env NOPE: there is no such variable"):
        cleaned_environment({}, ["NOPE"])


@pytest.mark.parametrize("argv", [[], ["no-such-program-here"], ["/etc/passwd"]])
def test_a_command_that_cannot_run_is_refused_before_anybody_is_told_of_it(argv: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"No command was given|was not found, or may not be run"):
        find_command(argv, ENVIRONMENT)
    find_command(["cat"], ENVIRONMENT)


async def test_a_program_that_disappears_fails_the_task(tmp_path: Path) -> None:
    program = tmp_path / "gone"
    shutil.copy("/bin/true", program)
    find_command([str(program)], ENVIRONMENT)
    program.unlink()
    outcome = await run(str(program))
    assert (outcome.status, outcome.text) == ("failed", "gone could not be started: No such file or directory.")


def test_the_other_members_of_a_session_are_told_on_linux() -> None:
    if Path("/proc/self/stat").exists():
        with subprocess.Popen(["sleep", "60"], start_new_session=True) as alone:
            assert session_members(alone.pid) == [alone.pid]
            alone.kill()
