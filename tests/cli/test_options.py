"""The options of every command, wherever they stand, and who gets the command line: the server or a command."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from mcp_a2a.__main__ import _is_server
from mcp_a2a.cli.options import Options, UsageError, split
from mcp_a2a.cli.serving import parse
from mcp_a2a.server.listening import Listening


def options(*words: str, **environ: str) -> Options:
    return split(words, environ)[0]


def test_global_options_are_accepted_before_and_after_the_command() -> None:
    before = split(["--home", "/h", "--json", "send", "bob", "hi"], {})
    after = split(["send", "bob", "--json", "hi", "--home=/h"], {})
    assert before == after == (Options(settings={"home": "/h"}, json=True), ["send", "bob", "hi"])


def test_nothing_behind_two_dashes_is_ours() -> None:
    found, rest = split(["agent", "exec", "--name", "rev", "--", "rev", "--json", "-v", "--home", "x"], {})
    assert found == Options(settings={"name": "rev"})
    assert rest == ["agent", "exec", "--", "rev", "--json", "-v", "--home", "x"]


@pytest.mark.parametrize(
    ("words", "verbosity"),
    [(["-v"], 1), (["-vv"], 2), (["-v", "--verbose"], 2), (["-q"], -1), (["--quiet"], -1), ([], 0)],
)
def test_verbosity_is_counted(words: list[str], verbosity: int) -> None:
    assert options(*words).verbosity == verbosity


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MCP_A2A_JSON", "1", Options(json=True)),
        ("MCP_A2A_NO_COLOR", "true", Options(color=False)),
        ("NO_COLOR", "anything", Options(color=False)),
        ("MCP_A2A_QUIET", "yes", Options(verbosity=-1)),
        ("MCP_A2A_VERBOSE", "on", Options(verbosity=1)),
        ("MCP_A2A_NO_MDNS", "1", Options(settings={"mdns": False})),
        ("MCP_A2A_JSON", "0", Options()),
        ("MCP_A2A_JSON", "", Options()),
    ],
)
def test_each_option_has_a_variable(name: str, value: str, expected: Options) -> None:
    assert options(**{name: value}) == expected


def test_a_flag_outweighs_a_variable() -> None:
    assert options("-v", MCP_A2A_QUIET="1").verbosity == 1


@pytest.mark.parametrize("words", [["--home"], ["--identity", "--json"]])
def test_an_option_without_its_value_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="needs a value"):
        split(words, {})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("words", "on_a_pipe", "on_a_terminal"),
    [
        ([], True, False),
        (["serve"], True, True),
        (["--listen", ":3000"], True, True),
        (["--listen=:3000"], True, True),
        (["serve", "--help"], False, False),
        (["--help"], False, False),
        (["discover"], False, False),
    ],
)
def test_a_pipe_gets_the_server_and_a_person_a_command(
    words: list[str], on_a_pipe: object, on_a_terminal: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert _is_server(words) is on_a_pipe
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert _is_server(words) is on_a_terminal


def test_what_a_server_takes_is_read_without_a_library(tmp_path: Path) -> None:
    chain, key = tmp_path / "c", tmp_path / "k"
    for file in (chain, key):
        file.touch()
    assert parse([]) is None
    assert parse(["--listen", ":3000"]) == Listening(":3000")
    assert parse(["--listen=:1", "--public-url", "https://a", "--public-url=https://b"]) == Listening(
        ":1", public_url=("https://a", "https://b")
    )
    assert parse(
        ["--listen", ":1", f"--tls-cert={chain}", "--tls-key", str(key), "--card", "v1", "--a2a-push"]
    ) == Listening(":1", card="v1", tls_cert=chain, tls_key=key, a2a_push=True)


@pytest.mark.parametrize(
    "words",
    [
        ["--listen"],
        ["discover"],
        ["--public-url", "https://a"],
        ["--a2a-push"],
        ["--a2a-push=yes", "--listen", ":1"],
        ["--listen", ":1", "x"],
        ["--listen", ":1", "--public-url", "agents.example"],
        ["--listen", ":1", "--public-url", "ftp://agents.example"],
        ["--listen", ":1", "--public-url", "https://[::1"],
        ["--listen", ":1", "--public-url", "https://agents.example:99999"],
        ["--listen", ":1", "--public-url", "https://me:secret@agents.example"],
        ["--listen", ":1", "--public-url", "https://agents.example/?token=secret"],
        ["--listen", ":1", "--public-url", "https://agents.example/#there"],
        ["--listen", ":1", "--card", "v2"],
        ["--listen", ":1", "--tls-key", "k"],
        ["--listen", ":1", "--behind-proxy"],
    ],
)
def test_what_a_server_does_not_take_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(words)
