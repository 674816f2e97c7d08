"""What a peer wrote controls no terminal and forges no record by way of the log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = "a\\x1b[31m\\x9b31m\\u202e\\U000e0041\\rERROR mcp_a2a: forged\\nERROR mcp_a2a: forged"
LOGS = f"""
import logging
try:
    raise ValueError("{HOSTILE}")
except ValueError as error:
    logging.getLogger("mcp_a2a.node.worker.worker").exception("the skill failed on %s", "{HOSTILE}")
    logging.getLogger("mcp_a2a.node").warning("refused a message: %s", error)
"""


@pytest.mark.parametrize(
    "set_up",
    [
        "from mcp_a2a.cli.session import set_up_logging; set_up_logging(0)",
        "from mcp_a2a.logs import clean_last_resort; clean_last_resort()",
    ],
    ids=["a command", "the script of an agent"],
)
def test_no_record_of_the_log_controls_the_terminal_or_looks_like_another(set_up: str) -> None:
    logged = subprocess.run([sys.executable, "-c", f"{set_up}\n{LOGS}"], capture_output=True, check=True)
    said = logged.stderr.decode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\U000e0041]", said)
    assert "ValueError: a" in said
    assert said.count("forged") == 6
    assert not re.search(r"^ERROR mcp_a2a: forged", said, re.MULTILINE)


def test_the_error_of_a_skill_that_names_what_it_was_given_is_cleaned(tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(f"""
import anyio
from mcp_a2a import Agent
from mcp_a2a.config import load_settings
from mcp_a2a.app import open_node
from mcp_a2a.api.tasks import SendTaskRequest

agent = Agent("raiser")

@agent.skill
def fail(text: str) -> str:
    raise ValueError(text)

async def main():
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(agent.serve, load_settings({{}}))
        async with open_node(load_settings({{"identity": "me"}})) as node:
            while True:
                sent = SendTaskRequest(agent="raiser", message="{HOSTILE}", wait_seconds=30, queue=False)
                try:
                    task = await node.call(sent)
                    break
                except Exception:
                    await anyio.sleep(0.05)
            assert task.error is not None
        tasks.cancel_scope.cancel()

anyio.run(main)
""")
    environment = {
        **os.environ,
        "MCP_A2A_HOME": str(tmp_path / "home"),
        "MCP_A2A_MDNS": "0",
        "MCP_A2A_LINK_HOST": "127.0.0.1",
    }
    ran = subprocess.run([sys.executable, script], env=environment, capture_output=True, timeout=60, check=True)
    said = ran.stderr.decode()
    assert "ValueError: a" in said
    assert not re.search(r"[\x1b\x9b\u202e]|^ERROR mcp_a2a: forged", said, re.MULTILINE)
