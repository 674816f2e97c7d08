"""A command that runs in the process of a test leaves it as it was."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from mcp_a2a.logs import OURS
from tests.cli.inside import call


@pytest.mark.parametrize("option", ["-q", "-v"])
def test_a_command_changes_no_log_no_stream_and_no_variable_of_the_tests(tmp_path: Path, option: str) -> None:
    def state() -> object:
        loggers = [logging.getLogger(name) for name in ("", *OURS)]
        return [(one.level, list(one.handlers)) for one in loggers], sys.stdin, sys.stdout, sys.stderr, dict(os.environ)

    before = state()
    assert call(tmp_path, option, "list").returncode == 0
    assert state() == before
