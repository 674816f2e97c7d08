"""What a command line imports: help and short answers load no part of a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "aiohttp", "anyio", "asyncio", "concurrent.futures", "cryptography", "email", "filelock", "httptools",
    "importlib.metadata", "inotify_simple", "mcp", "nacl", "pydantic", "pydantic_core", "pydantic_settings", "sqlite3",
    "ssl", "uvicorn", "uvloop", "zeroconf",
)  # fmt: skip
"""What a node is made of. Together they take five times as long as all that a line of help needs."""

EVERY_HELP = """
from mcp_a2a.cli import app, table
for entry in table.COMMANDS:
    entry.load()
"""

ONE_COMMAND = """
from mcp_a2a.__main__ import run
run(sys.argv[1:])
"""


def modules_of(program: str, *argv: str) -> set[str]:
    """The modules that a program has imported at its end."""
    reported = "import json, sys\n" + program + "\nsys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", reported, *argv], capture_output=True, check=True, timeout=60)
    return set(json.loads(ended.stderr.splitlines()[-1]))


def heavy(modules: set[str]) -> set[str]:
    return modules & set(HEAVY)


def test_the_help_of_no_command_imports_a_part_of_a_node() -> None:
    modules = modules_of(EVERY_HELP)
    assert "mcp_a2a.cli.relays" in modules
    assert not heavy(modules)


def test_help_and_version_import_no_command_but_their_own(tmp_path: Path) -> None:
    helped = modules_of(ONE_COMMAND, "--help", "--home", str(tmp_path))
    assert not heavy(helped)
    assert "mcp_a2a.cli.tasking" not in helped
    assert not heavy(modules_of(ONE_COMMAND, "version", "--home", str(tmp_path)))
    assert not heavy(modules_of(ONE_COMMAND, "send", "--help"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "offered"), [("mcp-a2a ta", "tasks"), ("mcp-a2a send --det", "--detach")])
def test_completion_imports_no_part_of_a_node(words: str, offered: str) -> None:
    asked = {"_MCP_A2A_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    program = f"""
import os
os.environ |= {asked!r}
try:{ONE_COMMAND.replace(chr(10), chr(10) + "    ")}
except SystemExit:
    pass
"""
    assert not heavy(modules_of(program))
    shown = subprocess.run(
        [sys.executable, "-m", "mcp_a2a"], env={**os.environ, **asked}, capture_output=True, check=False, text=True
    )
    assert offered in shown.stdout.splitlines()
