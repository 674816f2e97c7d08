"""A table fits its terminal: columns shrink, then leave their row; nothing breaks inside a word."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.cli.columns import Cell, Column, Table
from mcp_a2a.screen import Screen, width
from tests.screens import At

COLUMNS = (
    Column("AGENT", least=12),
    Column("SKILLS", least=16, leaves=2),
    Column("ROUTE", least=12),
    Column("SEEN", leaves=3, vanishes=True),
    Column("INBOUND", least=10, leaves=1),
)
ROW = ("word-counter", "count-words, count-letters", "this machine 2\u00a0ms", "now", "yes, yours")


def drawn(columns: int, *rows: tuple[str, ...]) -> list[str]:
    table = Table(COLUMNS)
    for row in rows or (ROW,):
        table.add(*row)
    return table.lines(At(columns))


def test_a_wide_terminal_has_a_line_for_each_row() -> None:
    assert drawn(120) == [
        "AGENT          SKILLS                       ROUTE               SEEN   INBOUND",
        "word-counter   count-words, count-letters   this machine 2 ms   now    yes, yours",
    ]


def test_columns_shrink_to_what_is_still_useful_and_then_leave_their_row() -> None:
    assert drawn(80) == [
        "AGENT         SKILLS                      ROUTE              SEEN  INBOUND",
        "word-counter  count-words, count-letters  this machine 2 ms  now   yes, yours",
    ]
    assert drawn(60) == [
        "AGENT         SKILLS            ROUTE             INBOUND",
        "word-counter  count-words,      this machine      yes, yours",
        "              count-letters     2 ms",
    ]
    assert drawn(44) == [
        "AGENT         ROUTE              INBOUND",
        "word-counter  this machine 2 ms  yes, yours",
        "    skills: count-words, count-letters",
    ]


def test_where_there_is_no_terminal_a_row_is_one_line() -> None:
    table = Table(COLUMNS)
    table.add("a" * 100, "b " * 100, *ROW[2:])
    assert len(table.lines(Screen(io.StringIO()))) == 2


def test_nothing_is_padded_at_its_end() -> None:
    assert all(line == line.rstrip() for columns in (44, 60, 80, 120) for line in drawn(columns))


def test_lines_below_a_row_are_whole_words_at_any_width() -> None:
    table = Table(COLUMNS)
    table.add(*ROW, below=["pony-lily-garage-zebra   …abcdefghijkl"])
    assert table.lines(At(60))[-1] == "    pony-lily-garage-zebra   …abcdefghijkl"


def test_a_style_colours_the_letters_of_a_cell_and_not_the_space_around_them() -> None:
    table = Table((Column("A"), Column("B")))
    table.add(Cell("off", "dim"), "x")
    assert table.lines(At(40, color=True))[1] == "\x1b[2moff\x1b[0m   x"


WORDS = st.lists(st.text(alphabet="ab-漢", min_size=1, max_size=30), max_size=6).map(" ".join)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_an_ellipsis_is_counted_as_it_is_written(encoding: str) -> None:
    screen = At(40, encoding)
    table = Table((Column("A"), Column("B", least=10)))
    table.add("a" * 20, "b" * 40)
    screen.write("\n".join(table.lines(screen)))
    written = screen.stream.said.decode(encoding)  # type: ignore[attr-defined]
    assert all(width(line) <= 40 for line in written.splitlines())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS, WORDS), min_size=1, max_size=4), st.integers(24, 130))
def test_no_line_is_wider_than_the_terminal_and_no_heading_is_broken(rows: list[tuple[str, ...]], columns: int) -> None:
    lines = drawn(columns, *rows)
    assert all(width(line) <= columns for line in lines)
    if columns >= 44:
        assert set(lines[0].split()) <= {column.heading for column in COLUMNS}


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_word_wider_than_its_column_is_shortened(columns: int) -> None:
    lines = drawn(columns, ("n" * 64, "s" * 64, "LAN 2 ms", "now", "ask"))
    assert len(lines) == 2
    assert "…" in lines[1]
