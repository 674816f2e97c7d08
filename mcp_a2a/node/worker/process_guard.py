"""The guard of this process: a small program that ends our programs when we are killed before we can.

It holds the other end of a pipe. Whatever ends this process (SIGKILL, the kernel short of memory) closes the pipe, and
the guard ends what was running then. One guard serves all programs of a process; it starts with the first.
"""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress

from mcp_a2a.node.worker import process_tree

logger = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0
"""Seconds in which the guard of a process that ends must notice it."""


class ProcessGuard:
    """Knows which programs run, and tells the one who will end them. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, bytes] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, run: str, leader: int, folder: str = "") -> None:
        """End this run, and remove its folder, if we are killed; `leader` is 0 before it started."""
        with self._lock:
            line = self._runs[run] = process_tree.watch_line(run, leader, folder)
            if self._write(line):
                return
            self._start()
            if not self._write(b"".join(self._runs.values())):
                logger.error("nothing would end our programs if this process were killed: the guard does not run")

    def forget(self, run: str) -> None:
        """Forget a run that is over."""
        with self._lock:
            self._runs.pop(run, None)
            self._write(process_tree.forget_line(run))

    def close(self) -> None:
        """Let the guard go, and wait for it."""
        with self._lock:
            self._dismiss()

    def _start(self) -> None:
        self._dismiss()
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                # Isolated and without site packages: it starts in a few milliseconds, and imports only the standard
                # library.
                [sys.executable, "-I", "-S", process_tree.__file__],
                env={"PATH": os.defpath},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            logger.error("the guard cannot be started: %s", error)  # noqa: TRY400  one line is enough
            return
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)  # a guard that was stopped must not stop us

    def _write(self, lines: bytes) -> bool:
        if self._process is None or self._process.stdin is None:
            return False
        try:
            return os.write(self._process.stdin.fileno(), lines) == len(lines)
        except OSError:
            return False

    def _dismiss(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


process_guard = ProcessGuard()
"""The guard of this process."""

atexit.register(process_guard.close)
