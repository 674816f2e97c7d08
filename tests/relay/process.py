"""Relays in a process of their own, to kill and to weigh."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

PROGRAM = Path(__file__).with_name("relay_program.py")
MIB = 1024 * 1024


class RelayProcess:
    """A running one."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self._process = process
        self._home = home
        assert process.stdout is not None
        self.port = int(process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def memory(self) -> int:
        """Bytes of it that are in memory."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    @property
    def rows(self) -> dict[str, int]:
        """How much its database holds."""
        with closing(sqlite3.connect(self._home / "relay" / "relay.db")) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            return {name: connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in names}


@contextmanager
def relay_process(home: Path, **settings: object) -> Iterator[RelayProcess]:
    given = json.dumps({"home": str(home), "listen": "127.0.0.1:0", "closed": False, **settings})
    process = subprocess.Popen([sys.executable, str(PROGRAM), given], stdout=subprocess.PIPE, text=True)
    try:
        yield RelayProcess(process, home)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
