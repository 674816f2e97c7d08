"""What a shell, a service manager or a client hands to a process does not break it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_a2a.cli.options import UsageError, check_environment, unicode_words
from mcp_a2a.config import load_relay_settings, load_settings
from mcp_a2a.errors.machine import ConfigurationError
from tests.e2e.command import MCP_A2A, environment, run

CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("entry") / "home"
    assert run(folder, "id").returncode == 0
    return folder


def shell(home: Path, line: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sh", "-c", f'"$B" --no-mdns {line}'],
        env=environment(home, B=MCP_A2A, **more),
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("closed", CLOSED)
def test_a_command_runs_with_standard_descriptors_closed(home: Path, closed: str) -> None:
    finished = shell(home, f"tasks {closed}")
    assert finished.returncode == 0, finished.stderr


def test_no_file_of_ours_takes_the_number_of_a_closed_stream(home: Path) -> None:
    program = (
        "import os, sys; from mcp_a2a.streams import open_standard_streams as go; go();"
        "print([os.readlink(f'/proc/self/fd/{n}') for n in (0, 2)], sys.stdin.read() == '', sys.stderr.write('x'))"
    )
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    finished = subprocess.run(
        ["sh", "-c", '"$P" -c "$1" <&- 2>&-', "sh", program],
        env={**os.environ, "P": sys.executable},
        capture_output=True,
        check=False,
        text=True,
    )
    assert finished.stdout == "['/dev/null', '/dev/null'] True 1\n"


def test_text_from_a_closed_stdin_is_no_text(home: Path) -> None:
    finished = shell(home, "send rev - <&-")
    assert (finished.returncode, finished.stderr) == (2, b"The text is empty, so there is nothing to send.\n")


@pytest.mark.parametrize("words", [["send", "rev", ""], ["send", "rev", " \n"], ["send", "--skill", "x", ""]])
def test_an_empty_text_is_not_sent(home: Path, words: list[str]) -> None:
    assert run(home, *words).returncode == 2


POSIX = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(
    ("line", "locale"),
    [
        ("--help", {"PYTHONIOENCODING": "ascii"}),
        ("tasks", {"PYTHONIOENCODING": "ascii"}),
        ("discover", {"PYTHONIOENCODING": "ascii"}),
        ("tasks", POSIX),
        ("send --help", POSIX),
    ],
)
def test_a_narrow_encoding_replaces_characters_and_stops_nothing(home: Path, line: str, locale: dict[str, str]) -> None:
    finished = shell(home, line, **locale)
    assert finished.returncode == 0, finished.stderr
    assert b"unexpected" not in finished.stderr


@pytest.mark.parametrize("size", ["0", "wide", "20", "9" * 20])
def test_help_has_a_width_whatever_the_terminal_claims(home: Path, size: str) -> None:
    shown = shell(home, "--help", COLUMNS=size).stdout
    assert b"discover" in shown
    assert b"--identity" in shown


@pytest.mark.parametrize(
    "line", ["send rev $(printf 'bad\\377')", "task $(printf '\\377')", "--name $(printf '\\377') id"]
)
def test_a_word_that_is_no_utf_8_is_a_usage_error(home: Path, line: str) -> None:
    finished = shell(home, line)
    assert finished.returncode == 2
    assert b"is not UTF-8" in finished.stderr


def test_a_variable_that_is_no_utf_8_is_a_usage_error(home: Path) -> None:
    finished = shell(home, "id", MCP_A2A_NAME="caf\udce9")
    assert finished.returncode == 2
    assert b"MCP_A2A_NAME is not UTF-8" in finished.stderr


def test_utf_8_under_another_locale_is_read_as_utf_8() -> None:
    assert unicode_words(["caf\udcc3\udca9", "plain", "né"]) == ["café", "plain", "né"]
    with pytest.raises(UsageError, match="Argument 2"):
        unicode_words(["send", "\ud83d"])
    environ = {"MCP_A2A_NAME": "caf\udcc3\udca9", "OTHER": "\udcff", "COLUMNS": "80", "LINES": "0"}
    check_environment(environ)
    assert environ == {"MCP_A2A_NAME": "café", "OTHER": "\udcff", "COLUMNS": "80"}


@pytest.mark.parametrize(
    "text", ["${HOME}/a2a", "$HOME/a2a", "%APPDATA%\\a2a", "/data/${USER}", "$(pwd)/x", "`pwd`", "${env:HOME}/x", "   "]
)
def test_a_folder_with_a_variable_that_no_shell_replaced_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, load in (("MCP_A2A_HOME", load_settings), ("MCP_A2A_RELAY_HOME", load_relay_settings)):
        with pytest.raises(ConfigurationError):
            load({"home": text})
        if text.strip():
            monkeypatch.setenv(variable, text)
            with pytest.raises(ConfigurationError, match="variable that no shell"):
                load({})
            monkeypatch.delenv(variable)
    monkeypatch.setenv("MCP_A2A_FILE_ROOTS", f"/srv{os.pathsep}{text}")
    with pytest.raises(ConfigurationError):
        load_settings({})


@pytest.mark.parametrize("variable", ["MCP_A2A_HOME", "MCP_A2A_DOWNLOADS"])
def test_a_relative_folder_counts_from_a_shell_and_not_from_a_configuration(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "a2a")
    with pytest.raises(ConfigurationError, match="relative path"):
        load_settings({})
    assert load_settings({variable.removeprefix("MCP_A2A_").lower(): "a2a"}) is not None


def test_blanks_around_a_folder_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MCP_A2A_HOME", f"  {tmp_path} ")
    assert load_settings({}).home == tmp_path
    monkeypatch.setenv("MCP_A2A_HOME", "~/a2a")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings({}).home == tmp_path / "a2a"


def test_an_account_without_a_home_folder_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_account(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_account)
    with pytest.raises(ConfigurationError, match="no home folder") as raised:
        load_settings({})
    assert "--home DIR" in raised.value.hint
    with pytest.raises(ConfigurationError, match="no such home folder"):
        load_settings({"home": "~/a2a"})


def test_a_folder_that_is_gone_is_named(home: Path, tmp_path: Path) -> None:
    line = f'mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && "$B" --no-mdns'
    for words in ("--home rel id", "save task-abcd rel", "send x y --file z"):
        finished = subprocess.run(
            ["sh", "-c", f"{line} {words}"],
            env=environment(home, B=MCP_A2A),
            capture_output=True,
            check=False,
            text=True,
        )
        assert finished.returncode == 2, finished
        assert "no longer exists" in finished.stderr


@pytest.mark.parametrize(("argv", "imported"), [("tasks", "mcp_a2a.cli.app"), ("--listen", "mcp_a2a.config")])
def test_ctrl_c_while_modules_are_imported_ends_a_command_without_a_traceback(argv: str, imported: str) -> None:
    program = (
        "import os, signal, sys; from mcp_a2a.__main__ import main\n"
        "class Typed:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {imported!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        f"sys.meta_path.insert(0, Typed()); sys.argv[1:] = [{argv!r}]; main()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, b"Interrupted.\n")
