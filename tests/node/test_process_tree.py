"""A program ends with the process that runs it, whatever ends that process; and its files go with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_a2a.node.worker.command import CommandSkill, Limits
from mcp_a2a.node.worker.process_tree import HOP, RUN, TASK, end_workers_on, relatives
from mcp_a2a.store.work_folder import Workroom, sweep_rooms, workroom
from tests.agent.jobs import gone, task_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")

OWNER = textwrap.dedent(
    """
    import os, signal, sys, anyio
    from pathlib import Path
    from mcp_a2a.node.worker.process import run_child
    from mcp_a2a.store.work_folder import Workroom

    async def main(home, script):
        folder = Workroom(Path(home)).make_folder()
        (folder / "secret").write_text("of a peer")
        async with run_child(("sh", "-c", script), {"PATH": os.environ["PATH"]}, folder) as child:
            await child.exited()

    anyio.run(main, *sys.argv[1:])
    """
)

SCRIPT = """
sleep 60 & echo $! > {0}.a
setsid sleep 60 & echo $! > {0}.b
setsid sh -c 'trap "" TERM; sleep 61; :' & echo $! > {0}.c
wait
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that runs a program, which has started three more."""
    script = SCRIPT.format(tmp_path / "pid")
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), script])
    until(lambda: all((tmp_path / f"pid.{name}").exists() and (tmp_path / f"pid.{name}").read_text() for name in "abc"))
    yield process
    process.kill()
    process.wait()


def until(condition, seconds: float = 30) -> None:
    """Other processes give no event to wait for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started(tmp_path: Path) -> list[int]:
    return [int((tmp_path / f"pid.{name}").read_text()) for name in "abc"]


def test_what_a_program_started_ends_with_the_process_that_runs_it(
    owner: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    pids = started(tmp_path)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert all(map(gone, pids))
    until(lambda: not list(tmp_path.glob("work/*/*")))  # nor is a file of the task left


def test_a_process_that_ends_without_a_word_to_its_children_leaves_none(
    owner: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """SIGHUP, as from a terminal that closes, ends the process and reaches neither the program nor the warden."""
    pids = started(tmp_path)
    owner.send_signal(signal.SIGHUP)
    owner.wait()
    assert all(map(gone, pids))


async def test_a_descendant_with_a_session_of_its_own_ends_with_the_task(tmp_path: Path) -> None:
    script = f"setsid sleep 60 & echo $! > {tmp_path / 'pid'}; echo done"
    outcome = await CommandSkill("x", ("sh", "-c", script), dict(os.environ), Limits(), Workroom(tmp_path))(task_of())
    assert outcome.text == "done"
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_later_attempt_ends_what_is_left_of_an_earlier_one() -> None:
    task = f"task-{uuid.uuid4().hex}"
    with (
        subprocess.Popen(["sleep", "60"], env={**os.environ, TASK: task}, start_new_session=True) as left_over,
        subprocess.Popen(["sleep", "60"], env={**os.environ, TASK: f"{task}-other"}) as other,
    ):
        end_workers_on(task)
        others = other.poll()
        other.kill()
        left_over.kill()
    assert others is None
    assert left_over.returncode == -signal.SIGKILL


def test_a_run_is_known_by_its_environment_and_by_its_session() -> None:
    run = uuid.uuid4().hex
    with subprocess.Popen(["sleep", "60"], env={**os.environ, RUN: run}, start_new_session=True) as process:
        until(lambda: Path(f"/proc/{process.pid}/environ").read_bytes())  # empty for a moment while a program is loaded
        by_environment, by_session, by_neither = (
            relatives(0, run),
            relatives(process.pid, "other"),
            relatives(0, run[1:]),
        )
        process.kill()
    assert by_environment == by_session == [process.pid]
    assert by_neither == []


def test_the_room_of_a_killed_process_is_removed_at_the_next_start_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from mcp_a2a.store.work_folder import Workroom\n"
        "room = Workroom(Path(sys.argv[1])); print(room.make_folder(), flush=True); time.sleep(60)"
    )
    with (
        workroom(tmp_path) as mine,
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other,
    ):
        assert other.stdout is not None
        theirs, ours = Path(other.stdout.readline().decode().strip()), mine.make_folder()
        sweep_rooms(tmp_path)
        assert theirs.is_dir()
        other.kill()
        other.wait()
        sweep_rooms(tmp_path)
        assert not theirs.exists()
        assert ours.is_dir()
        assert ours.parent.stat().st_mode & 0o077 == 0
    assert list((tmp_path / "work").iterdir()) == []


def test_a_sweep_follows_no_link_out_of_the_folder(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(precious)
    sweep_rooms(tmp_path)
    assert precious.is_dir()


ASKS = "from mcp_a2a.node.worker.process_tree import hop_of_ancestors; print(hop_of_ancestors())"


@pytest.mark.parametrize(
    ("told", "said"), [("3", "3"), ("0", "0"), ("many", "0"), ("\u00b2", "0"), ("", "0"), ("9" * 5000, "0")]
)
def test_a_hop_is_known_where_a_client_in_between_drops_the_environment(told: str, said: str) -> None:
    """As an MCP client does that is the command of an agent: its server is told PATH and HOME, and nothing else."""
    client = ["sh", "-c", 'env -i "$@"; true', "client", sys.executable, "-c", ASKS]
    heard = subprocess.run(client, env={**os.environ, HOP: told}, capture_output=True, text=True, check=True)
    assert heard.stdout.strip() == said


def test_a_program_cannot_count_its_work_as_less_passed_on_than_it_is() -> None:
    liar = ["sh", "-c", f'{HOP}=1 sh -c \'env -i "$@"; true\' liar "$@"; true', "command", sys.executable, "-c", ASKS]
    heard = subprocess.run(liar, env={**os.environ, HOP: "4"}, capture_output=True, text=True, check=True)
    assert heard.stdout.strip() == "4"
