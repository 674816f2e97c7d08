"""What a person is told when the system allows a process no more."""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_a2a.system_limits import limit_behind, why_not_connected


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.EMFILE, "Too many open files"), f"its limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"),
        (OSError(errno.ENFILE, "Too many open files in system"), "fs.file-max"),
        (OSError(errno.EFBIG, "File too large"), "grow any further"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no memory"),
        (MemoryError(), "no memory"),
        (ssl.SSLError("[SSL] malloc failure (_ssl.c:3098)"), "no memory"),
        (RuntimeError("can't start new thread"), "thread"),
    ],
)
def test_a_limit_of_the_system_is_named(error: BaseException, word: str) -> None:
    limit = limit_behind(error)
    assert limit is not None
    assert word in str(limit)


@pytest.mark.parametrize("error", [OSError("none"), OSError(errno.EACCES, "no"), ssl.SSLError("x"), RuntimeError()])
def test_what_is_no_limit_is_none(error: BaseException) -> None:
    assert limit_behind(error) is None


@pytest.mark.parametrize(
    ("error", "host", "word"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "a.example", "connection refused"),
        (socket.gaierror(-2, "x"), "a.example", "no machine of that name"),
        (socket.gaierror(-2, "x"), "fe80::1%tun9", "an interface named tun9"),
        (OSError(errno.EINVAL, "x"), "fe80::1", "[fe80::1%eth0]"),
        (OSError(errno.EINVAL, "Invalid argument"), "a.example", "Invalid argument"),
        (TimeoutError(), "a.example", "no answer"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "a.example", "No route to host"),
        (OSError(errno.EMFILE, "Too many open files"), "a.example", "Raise the limit"),
        (OSError("none"), "a.example", "OSError"),
    ],
)
def test_why_there_is_no_connection_is_said_in_the_same_words_everywhere(error: OSError, host: str, word: str) -> None:
    assert word in why_not_connected(error, host)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "value", "command"),
    [("-n", 12, "discover"), ("-n", 16, "status"), ("-f", 8, "status")],
)
def test_a_command_within_a_limit_says_which_and_how_to_raise_it(
    tmp_path: Path, limit: str, value: int, command: str
) -> None:
    words = [sys.executable, "-m", "mcp_a2a", "--home", str(tmp_path / "home"), "--no-mdns", command]
    finished = subprocess.run(
        ["sh", "-c", f'ulimit {limit} {value}; exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "MCP_A2A_LINK_HOST": "127.0.0.1"},
    )
    assert finished.returncode == 9
    said = finished.stderr.splitlines()
    assert "its limit is" in said[-2], finished.stderr
    assert said[-1].startswith(f"Raise the limit, for example: ulimit {limit}")
    assert "unexpected" not in finished.stderr
