"""Text on a terminal: measured in cells, broken between words, in letters that the stream has."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.plurals import many
from mcp_a2a.screen import GLUE, Screen, commands_whole, cut, paragraphs, width, wrapped
from tests.screens import Terminal

KEY = "did:key:z6Mk" + "a" * 44


@pytest.mark.parametrize(
    ("text", "cells"), [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("héllo", 5), ("👍🏽", 4), ("", 0)]
)
def test_a_line_is_measured_in_the_cells_of_a_terminal(text: str, cells: int) -> None:
    assert width(text) == cells


@pytest.mark.parametrize(
    ("text", "shown"), [("漢字漢字", "漢字…"), ("abcdefgh", "abcd…"), ("abcde", "abcde"), ("", "")]
)
def test_what_does_not_fit_ends_in_an_ellipsis_within_its_cells(text: str, shown: str) -> None:
    assert cut(text, 5) == shown


def test_a_line_breaks_between_words_and_goes_on_where_it_began() -> None:
    assert wrapped("  one two three four", 12) == ["  one two", "  three four"]
    assert wrapped("漢字 漢字 漢字", 10) == ["漢字 漢字", "漢字"]


def test_a_value_goes_on_below_itself_and_not_below_its_label() -> None:
    assert list(paragraphs("  about    one two three", 22)) == ["  about    one two", "           three"]


def test_a_wide_word_has_a_line_of_its_own_and_is_whole() -> None:
    assert wrapped(f"  key      {KEY}", 60, 11) == ["  key", f"    {KEY}"]
    assert wrapped(f"The key {KEY} is new.", 40) == ["The key", KEY, "is new."]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("Run mcp-a2a discover to list them.", "mcp-a2a discover"),
        ("follow it: mcp-a2a task abcdef", "mcp-a2a task abcdef"),
        ('answer it: mcp-a2a answer task-x "TEXT"', 'mcp-a2a answer task-x "TEXT"'),
        ("mcp-a2a join TICKET enters one", "mcp-a2a join TICKET"),
        ("run `mcp-a2a agent exec --name rev -- rev` now", "mcp-a2a agent exec --name rev -- rev"),
        ("yours: `/opt/my tools/bin/mcp-a2a demo`", "/opt/my tools/bin/mcp-a2a demo"),
        ("`git diff | mcp-a2a send reviewer -` sends it", "git diff | mcp-a2a send reviewer -"),
        (f"Run: mcp-a2a trust {KEY}; or not", f"mcp-a2a trust {KEY}"),
    ],
)
def test_a_command_in_a_sentence_is_one_word(text: str, command: str) -> None:
    glued = commands_whole(text)
    assert command.replace(" ", GLUE) in glued.split(" ") or command.replace(" ", GLUE) + ";" in glued.split(" ")
    assert "`" not in glued


def test_backticks_around_other_words_stay() -> None:
    assert commands_whole("its `status` tells") == "its `status` tells"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab `\"'-:;./漢\u0301mcp2A=<[", max_size=200), st.integers(8, 120))
def test_no_line_is_wider_than_the_terminal_unless_it_is_one_word(text: str, columns: int) -> None:
    for line in paragraphs(text, columns):
        assert width(line) <= columns or " " not in line


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab c漢", max_size=200), st.integers(8, 120))
def test_breaking_loses_no_word(text: str, columns: int) -> None:
    assert " ".join(paragraphs(text, columns)).split() == text.split()


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", "…→✓ é"),
        ("latin-1", "...->ok é"),
        ("ascii", "...->ok ?"),
    ],
)
def test_marks_of_ours_are_ascii_where_the_encoding_lacks_them(encoding: str, written: str) -> None:
    stream = Terminal(encoding)
    Screen(stream).write("…→✓ é")
    assert stream.said == written.encode(encoding)


def test_ascii_can_be_asked_for_and_leaves_the_letters_of_names() -> None:
    stream = Terminal()
    Screen(stream, ascii_only=True).write("Zoë → “x”…")
    assert stream.said.decode() == 'Zoë -> "x"...'


def test_width_is_that_of_the_letters_that_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    screen = Screen(Terminal("ascii"))
    assert screen.fitted("abcdefg → x") == "abcdefg ->\nx"
    assert Screen(Terminal()).fitted("abcdefg → x") == "abcdefg →\nx"


@pytest.mark.parametrize(
    ("term", "color", "coloured"), [("xterm", True, True), ("dumb", True, False), ("xterm", False, False)]
)
def test_a_style_is_escape_codes_only_where_they_are_wanted_and_understood(
    monkeypatch: pytest.MonkeyPatch, term: str, color: object, coloured: object
) -> None:
    monkeypatch.setenv("TERM", term)
    shown = Screen(Terminal(), color=bool(color)).fitted("failed", "red")
    assert shown == ("\x1b[31mfailed\x1b[0m" if coloured else "failed")


def test_what_is_no_terminal_gets_lines_whole_and_without_style() -> None:
    screen = Screen(io.StringIO())
    assert screen.columns is None
    assert screen.fitted("word " * 100, "red") == "word " * 100


@pytest.mark.parametrize(("count", "said"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (2_000, "2,000 tasks")])
def test_a_number_of_things_has_the_right_plural(count: int, said: str) -> None:
    assert many(count, "task") == said
    assert many(count, "reply", "replies").endswith("reply" if count == 1 else "replies")
