"""What one task costs in this tree and in an earlier commit, in turn, in one run, with one driver for both.

The earlier commit is taken from the history and installed in an environment of its own. Each run starts an agent and a
sender of the same tree, each on a core of its own. A run counts one kind of thing, because counting costs time
(`programs/counting.py`); the kinds follow each other, and each figure is the median of the rounds of its kind. The
number to watch is the ratio. Processor time and context switches are those of the whole process, per task.

| kind | what it shows |
|---|---|
| `time` | time per task, processor time, voluntary context switches, tasks/s with 64 under way; uvloop, as shipped |
| `rounds` | rounds of the event loop, jobs given to other threads, wake-ups by them, SQL statements, commits |
| `calls` | Python calls, and those of the product |
| `fsyncs` | system calls, read by strace where that is installed |
| `walk` | modules entered by one `send_task` until the envelope is on the wire (`walk.py`) |
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError, TimeoutExpired

from loads.environments import environment_of
from loads.flight import HungError
from loads.servers import GENERATOR_CORE, PROGRAMS, SERVER_CORE, Lines, process
from walk import walked

REVISION = "79c7c58"
ROUNDS = 3
IN_FLIGHT = 64
SYNC = re.compile(r"^\d+ +(\d+\.\d+) f(?:data)?sync\(", re.MULTILINE)
"""A line of `strace -f -ttt` at which such a call begins."""

Found = dict[str, float]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Kind:
    """One kind of run: how many tasks one at a time, and how many with `IN_FLIGHT` of them under way."""

    name: str
    tasks: int
    burst: int = 0


KINDS = (Kind("time", 1_000, 3_200), Kind("rounds", 300), Kind("calls", 100), Kind("fsyncs", 100), Kind("walk", 0))

TARGETS = {
    "sender cpu_us": "at most 0.5 times",
    "agent cpu_us": "at most 0.5 times",
    "sender rounds": "at most 6",
    "agent rounds": "at most 6",
    "sender jobs": "at most 2",
    "agent jobs": "at most 2",
    "tasks_per_s, 64 under way": "at least 2 times",
    "modules to the wire": "at most 12",
}


class Side:
    """A tree that is measured: its name and the Python that has it."""

    def __init__(self, name: str, python: str) -> None:
        self.name, self.python = name, python
        self.libraries: Mapping[str, str] = {}

    def run(self, kind: Kind) -> Found:
        """Figures of one run.

        Raises:
            HungError: a process made no progress for 60 s.
            RuntimeError: a process ended early; its last words are in the message.
        """
        if kind.name == "walk":
            walk = walked(self.python)
            return {"modules to the wire": len(walk.modules["out"]), "forms to the wire": len(walk.forms["out"])}
        with tempfile.TemporaryDirectory() as folder:
            return self._send(kind, Path(folder))

    def _send(self, kind: Kind, folder: Path) -> Found:
        home, errors = folder / "home", folder / "errors"
        variables = {"COUNT": kind.name, "MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false"}
        variables["MCP_A2A_LINK_HOST"] = "127.0.0.1"
        agent = self._command(kind, folder, "agent")
        sender = [*self._command(kind, folder, "sender"), str(home), str(kind.tasks), str(kind.burst), str(IN_FLIGHT)]
        with errors.open("wb") as log, process(agent, SERVER_CORE, log, **variables) as (_, words):
            words.next()
            with process(sender, GENERATOR_CORE, log, **variables) as (_, lines):
                try:
                    last = _last(lines)
                except RuntimeError as error:
                    raise type(error)(f"{error}: {_end_of(errors)}") from error
        self.libraries = last["libraries"]
        found = dict(_named(last["figures"], kind))
        if kind.name == "fsyncs":
            found = {f"{end} fsyncs": self._syncs(folder / end, last["figures"]["one"]) for end in ("sender", "agent")}
        return found

    def _command(self, kind: Kind, folder: Path, end: str) -> list[str]:
        watched = ["strace", "-f", "-ttt", "-e", "trace=fsync,fdatasync", "-o", str(folder / end)]
        return [*(watched if kind.name == "fsyncs" else ()), self.python, str(PROGRAMS / f"counted_{end}.py")]

    @staticmethod
    def _syncs(trace: Path, run: Mapping[str, object]) -> float:
        """System calls per task, in the time in which the tasks were sent one at a time."""
        between, tasks = run["between"], run["tasks"]
        assert isinstance(between, list)
        assert isinstance(tasks, int)
        return sum(between[0] <= float(at) <= between[1] for at in SYNC.findall(trace.read_text())) / tasks


def _last(lines: Lines) -> dict[str, dict[str, dict[str, object]]]:
    """Read reports of progress until the one with the figures."""
    while True:
        found = json.loads(lines.next())
        if "figures" in found:
            assert isinstance(found, dict)
            return found


def _end_of(errors: Path) -> str:
    """The last line that a process wrote to its standard error."""
    return errors.read_text(errors="replace").strip().rpartition("\n")[2][:300]


def _named(figures: Mapping[str, Mapping[str, object]], kind: Kind) -> Iterator[tuple[str, float]]:
    """The figures of a run, one name each. Of the time, only an undisturbed run tells: `time`."""
    for load, of in figures.items():
        note = f", {IN_FLIGHT} under way" if load == "many" else ""
        for end in ("sender", "agent"):
            counted = of[end]
            assert isinstance(counted, dict)
            names = counted if kind.name == "time" else counted.keys() - {"cpu_us", "voluntary_switches"}
            yield from ((f"{end} {name}{note}", counted[name]) for name in counted if name in names)
        if kind.name == "time":
            yield from ((f"{name}{note}", value) for name, value in of.items() if isinstance(value, float))


def compare(sides: Sequence[Side], kinds: Sequence[Kind], rounds: int, say: Say, show: Say) -> dict[str, object]:
    """Run every kind in turns; a side that fails or hangs is named and left out from then on."""
    figures: dict[str, dict[str, float]] = {}
    missing: dict[str, str] = {}
    for kind in kinds:
        if kind.name == "fsyncs" and shutil.which("strace") is None:
            missing["fsyncs"] = "strace is not installed"
            continue
        runs: dict[str, list[Found]] = {side.name: [] for side in sides}
        for number in range(1 if kind.name == "walk" else rounds):
            for side in sides:
                if side.name in missing:
                    continue
                say(f"{kind.name}, round {number + 1}: {side.name}")
                try:
                    runs[side.name].append(side.run(kind))
                except (RuntimeError, OSError) as error:
                    word = "hangs" if isinstance(error, HungError) else "did not run"
                    missing[side.name] = f"{word} in {kind.name}: {error}"
                    say(f"{side.name} {missing[side.name]}; it is left out")
        for name, values in _medians(runs).items():
            figures[name] = values
            show(row(name, values, [side.name for side in sides]))
    return {"figures": figures, "missing": missing, "libraries": _different(sides)}


def _medians(runs: Mapping[str, Sequence[Found]]) -> dict[str, dict[str, float]]:
    """Per figure, the median of each side's runs, and this tree's over the other's."""
    found: dict[str, dict[str, float]] = {}
    for side, of in runs.items():
        for name in of[0] if of else ():
            found.setdefault(name, {})[side] = statistics.median(one[name] for one in of)
    first, second = runs
    for values in found.values():
        if values.get(second):
            values["ratio"] = values.get(first, 0.0) / values[second]
    return found


def _different(sides: Sequence[Side]) -> dict[str, list[str]]:
    """Libraries of which the sides have other versions: part of a difference may be theirs."""
    first, second = (side.libraries for side in sides)
    return {name: [first[name], second[name]] for name in first if second.get(name, first[name]) != first[name]}


def row(name: str, values: Mapping[str, float], sides: Sequence[str]) -> str:
    """One figure as a line of the table."""
    columns = "".join(f"{values[side]:>14,.2f}" if side in values else f"{'-':>14}" for side in sides)
    ratio = f"{values['ratio']:>9.2f}" if "ratio" in values else f"{'-':>9}"
    target = f"   {TARGETS[name]}" if name in TARGETS else ""
    return f"{name:<44}{columns}{ratio}{target}"


def main() -> int:
    """Print the figures; the exit code is 1 if a side is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", default=REVISION, help=f"the earlier commit (default: {REVISION})")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and the lines to standard error")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of each tree per kind")
    parser.add_argument("--kinds", default=",".join(kind.name for kind in KINDS), help="which, with commas between")
    asked = parser.parse_args()
    kinds = [kind for kind in KINDS if kind.name in asked.kinds.split(",")]

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show(text: str) -> None:
        print(text, file=sys.stderr if asked.json else sys.stdout, flush=True)

    say(f"installing {asked.revision}")
    try:
        with environment_of(asked.revision) as python:
            show(f"{'per task, one at a time':<44}{'this tree':>14}{asked.revision:>14}{'ratio':>9}   target")
            sides = [Side("this tree", sys.executable), Side(asked.revision, python)]
            found = compare(sides, kinds, asked.rounds, say, show)
    except (CalledProcessError, TimeoutExpired) as error:
        say(f"{asked.revision} could not be installed: {error}")
        return 1
    if asked.json:
        print(json.dumps(found, indent=2))
    for title in ("missing", "libraries"):
        for name, value in found[title].items():  # type: ignore[attr-defined]
            show(f"{title}: {name}: {value}")
    return 1 if {side.name for side in sides} & set(found["missing"]) else 0  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())
