"""Finds and ends everything that a program has started, also when the process that asked for it was killed.

A program and its descendants share a session, and an environment that names their run; a descendant that makes a
session of its own keeps the environment. Both are looked up on Linux; elsewhere the group of the program is ended.

Run as a program this module is the *guard* of one process: it reads on its standard input which runs that process
has (`watch_line`), and ends them when the input ends, which the death of that process causes in any case. It therefore
imports the standard library alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

RUN = "MCP_A2A_RUN"
"""The variable that names a run: unguessable, so that no other program has it by chance."""

TASK = "MCP_A2A_TASK_ID"

HOP = "MCP_A2A_HOP"
"""The variable that says how often the work of a run was passed on."""

MAX_ANCESTORS = 64

TERM_SECONDS = 0.5
"""Between asking a program to end and ending it."""

LOOK_SECONDS = 0.02
ROUNDS = 100
"""A program that starts others while it is ended is looked up again so often."""

_PROCESSES = Path("/proc")


def session_members(session: int) -> list[int] | None:
    """The processes of a session; None where the system does not tell (it does on Linux)."""
    return None if not _tells() else [pid for pid, its in _sessions() if its == session]


def relatives(leader: int, run: str) -> list[int] | None:
    """The processes of this session, and those that carry the name of this run; None where the system does not tell."""
    if not _tells():
        return None
    mark = f"{RUN}={run}".encode()
    # Session 0 is the kernel's, or that of the process that started our container.
    return [pid for pid, session in _sessions() if session == leader > 0 or mark in _environment(pid)]


def workers_on(task_id: str) -> list[int]:
    """The processes that carry the name of this task; none where the system does not tell."""
    mark = f"{TASK}={task_id}".encode()
    return [pid for pid, _ in _sessions() if mark in _environment(pid)] if _tells() else []


def hop_of_ancestors() -> int:
    """The number of agents that passed on the work of this process, by the word of its ancestors.

    Programs between a command and us start us in a clean environment: MCP clients do, and `env -i` and `sudo`. 0 where
    the system does not tell.
    """
    hop, pid = 0, os.getppid()
    for _ in range(MAX_ANCESTORS):
        if pid <= 1 or not _tells():
            break
        told = [line.partition(b"=")[2] for line in _environment(pid) if line.startswith(f"{HOP}=".encode())]
        hop = max(hop, *(int(value) for value in told if value.isdigit() and len(value) < 4), 0)
        pid = _parent(pid)
    return hop


def signal_relatives(leader: int, run: str, number: signal.Signals) -> bool:
    """Send a signal to a run; whether there was still something of it."""
    found = relatives(leader, run)
    if found is None:
        return leader > 0 and _tell_group(leader, number)
    _tell(found, number)
    return bool(found)


def end_run(leader: int, run: str) -> None:
    """End a run at once, and wait until it has ended."""
    for _ in range(ROUNDS):
        if not signal_relatives(leader, run, signal.SIGKILL):
            return
        time.sleep(LOOK_SECONDS)


def end_workers_on(task_id: str) -> None:
    """End what still works on this task, and wait until it has ended."""
    for _ in range(ROUNDS):
        found = workers_on(task_id)
        if not found:
            return
        _tell(found, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)


def watch_line(run: str, leader: int, folder: str) -> bytes:
    """Tells a guard of a run: the leader of its session (0 before it started), and a folder to remove (or none)."""
    return json.dumps([run, leader, folder]).encode() + b"\n"


def forget_line(run: str) -> bytes:
    """Tells a guard that a run is over."""
    return json.dumps([run]).encode() + b"\n"


def stand_guard(lines: Iterable[bytes]) -> None:
    """End what is still running when the lines end."""
    runs: dict[str, tuple[int, str]] = {}
    for line in lines:
        run, *rest = json.loads(line)
        if rest:
            runs[run] = (int(rest[0]), str(rest[1]))
        else:
            runs.pop(run, None)
    until = time.monotonic() + TERM_SECONDS
    for run, (leader, _) in runs.items():
        signal_relatives(leader, run, signal.SIGTERM)
    while time.monotonic() < until and any(relatives(leader, run) != [] for run, (leader, _) in runs.items()):
        time.sleep(LOOK_SECONDS)
    for run, (leader, folder) in runs.items():
        end_run(leader, run)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _tells() -> bool:
    return (_PROCESSES / "self" / "stat").exists()


def _sessions() -> Iterable[tuple[int, int]]:
    """Living processes other than this one, each with its session."""
    for entry in os.listdir(_PROCESSES):  # noqa: PTH208  a Path for each of hundreds costs more than the look
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        fields = _stat(int(entry))
        if len(fields) > 3 and fields[0] not in "ZX":
            yield int(entry), int(fields[3])


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else 0


def _stat(pid: int) -> list[str]:
    """State, parent, group, session and so on of a process (proc_pid_stat(5)); nothing of one that has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123  as above
            return file.read().rpartition(")")[2].split()  # the name in parentheses may hold anything
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123  as above
            return file.read().split(b"\0")
    except OSError:
        return []  # it has ended, or belongs to another user


def _tell(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _tell_group(leader: int, number: signal.Signals) -> bool:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(_number, signal.SIG_IGN)  # it goes when what it guards has gone
    stand_guard(sys.stdin.buffer)
