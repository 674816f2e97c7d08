"""Programs on hosts of a test's LAN that print a line of JSON for whatever happens."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"


class Spoken:
    """A program that runs, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._mark = 0
        self._new: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line)
        self._new.put(None)

    def until(self, holds: Callable[[dict[str, Any]], bool], seconds: float, what: str) -> dict[str, Any]:
        """The first line since `forget` of which this is true."""
        said = next(filter(holds, self.lines[self._mark :]), None)
        if said is not None:
            return said
        end = time.monotonic() + seconds
        while True:
            try:
                line = self._new.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not within {seconds} s: {what}; said: {self.lines[-12:]}") from None
            assert line is not None, f"it ended before: {what}"
            self.lines.append(json.loads(line))
            if holds(self.lines[-1]):
                return self.lines[-1]

    def forget(self) -> None:
        """What was said so far is no answer to what is asked from now on."""
        self._mark = len(self.take())

    def take(self) -> list[dict[str, Any]]:
        """All that it has said so far."""
        while not self._new.empty():
            line = self._new.get()
            if line is not None:
                self.lines.append(json.loads(line))
        return self.lines


@contextmanager
def spoken(on: Sequence[str], program: str, *words: str) -> Iterator[Spoken]:
    """A program of `programs`, until the context ends."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'transports'}"}
    process = subprocess.Popen(
        [*on, sys.executable, str(PROGRAMS / program), *words], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Spoken(process)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
