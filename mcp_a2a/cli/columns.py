"""A table that fits the terminal: columns shrink to what is still useful, then leave their row for a line below it.

No heading and no word breaks: a cell wraps between words, and a word that is wider than its column is shortened with
an ellipsis (`--json` has it whole). Where there is no terminal each row is one line, whole, for `grep`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mcp_a2a.protocol.text import clean
from mcp_a2a.screen import GLUE, Screen, Style, cut, width, wrapped

GAP = 3
"""Spaces between two columns."""

NARROW_GAP = 2
"""The same where they are needed elsewhere."""

BELOW = 4
"""The indentation of a line below its row."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    heading: str
    least: int = 0
    """Cells below which it is of no use; at least its heading and, unless given, its widest cell."""
    leaves: int = 0
    """The order in which columns leave a row without room: the highest first; 0 stays."""
    vanishes: bool = False
    """True if a column that leaves its row is not shown at all, since it is of use beside the others only."""


@dataclass(frozen=True)
class Cell:
    """The content of a column in a row."""

    text: str
    style: Style = ""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    cells: Sequence[Cell]
    below: Sequence[str] = ()
    """Lines of its own, whatever the width."""

    def on(self, screen: Screen) -> Row:
        """The row in the letters of that screen."""
        cells = [Cell(screen.letters(cell.text), cell.style) for cell in self.cells]
        return Row(cells, [screen.letters(line) for line in self.below])


@dataclass
class Table:
    """Rows under headings."""

    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)

    def add(self, *cells: Cell | str, below: Sequence[str] = ()) -> None:
        """A row, with nothing in it that controls a terminal; `below` are lines of its own."""
        made = [Cell(cell) if isinstance(cell, str) else cell for cell in cells]
        plain = [Cell(clean(cell.text).expandtabs(BELOW), cell.style) for cell in made]
        self.rows.append(Row(plain, [clean(line).expandtabs(BELOW) for line in below]))

    def lines(self, screen: Screen) -> list[str]:
        """The table as that screen shows it."""
        rows = [
            Row(
                [Cell(screen.letters(cell.text), cell.style) for cell in row.cells],
                list(map(screen.letters, row.below)),
            )
            for row in self.rows
        ]
        return _Drawing(self.columns, rows, screen).lines()


class _Drawing:
    """One table on one screen."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Row], screen: Screen) -> None:
        self._columns, self._rows, self._screen = columns, rows, screen
        self._end = screen.letters("…")
        self._natural = [
            max([width(column.heading), *(_widest(row.cells[number].text) for row in rows)])
            for number, column in enumerate(columns)
        ]
        self._gap = GAP
        self._widths, self._below = self._fit(screen.columns)

    def _fit(self, room: int | None) -> tuple[dict[int, int], list[int]]:
        """The width of each column that stays, and those that stand below their rows."""
        inside = [number for number, wide in enumerate(self._natural) if wide]
        below: list[int] = []
        if room is None:
            return {number: self._natural[number] for number in inside}, below
        while True:
            wide = {number: self._natural[number] for number in inside}
            for self._gap in (GAP, NARROW_GAP):
                if self._total(wide) <= room:
                    return wide, below
            if (shrunk := self._shrunk(wide, room)) is not None:
                return shrunk, below
            leaving = max(inside, key=lambda number: self._columns[number].leaves)
            if not self._columns[leaving].leaves:
                return self._squeezed(wide, room), below
            inside.remove(leaving)
            below = sorted([*below, leaving])

    def _total(self, wide: dict[int, int]) -> int:
        return sum(wide.values()) + self._gap * (len(wide) - 1)

    def _shrunk(self, wide: dict[int, int], room: int) -> dict[int, int] | None:
        """The columns narrowed to fit, the widest first; None where one would be of no use."""
        if self._total({number: self._least(number) for number in wide}) > room:
            return None
        return self._narrowed(dict(wide), room)

    def _narrowed(self, wide: dict[int, int], room: int) -> dict[int, int]:
        while self._total(wide) > room:
            able = [number for number in wide if wide[number] > self._least(number)]
            wide[max(able, key=lambda number: wide[number])] -= 1
        return wide

    def _least(self, number: int) -> int:
        column = self._columns[number]
        return max(width(column.heading), min(column.least or self._natural[number], self._natural[number]))

    def _squeezed(self, wide: dict[int, int], room: int) -> dict[int, int]:
        """Cut the columns that stay, on a terminal narrower than any that people use."""
        self._gap = NARROW_GAP
        while self._total(wide) > room and max(wide.values()) > 1:
            wide[max(wide, key=lambda number: wide[number])] -= 1
        return wide

    def lines(self) -> list[str]:
        """Headings, rows, and what stands below them."""
        lines = []
        if any(column.heading for column in self._columns):
            heads = [Cell(column.heading, "bold") for column in self._columns]
            lines += self._row(heads)
        for row in self._rows:
            lines += self._row(row.cells)
            for number in self._below:
                lines += self._line_below(self._columns[number], row.cells[number])
            for line in row.below:
                lines += wrapped(" " * BELOW + line, self._screen.columns or len(line) + BELOW)
        return lines

    def _row(self, row: Sequence[Cell]) -> list[str]:
        cells = {number: _cell_lines(row[number].text, self._widths[number], self._end) for number in self._widths}
        height = max((len(lines) for lines in cells.values()), default=0)
        return [self._joined(row, cells, line) for line in range(height)]

    def _joined(self, row: Sequence[Cell], cells: dict[int, list[str]], line: int) -> str:
        joined, spaces = "", 0
        for number, lines in cells.items():
            text = lines[line] if line < len(lines) else ""
            if text:
                joined += " " * spaces + self._screen.styled(text, row[number].style)
                spaces = 0
            spaces += self._widths[number] - width(text) + self._gap
        return joined

    def _line_below(self, column: Column, cell: Cell) -> list[str]:
        if column.vanishes or not cell.text.strip(" -"):
            return []
        said = " " * BELOW + (f"{column.heading.lower()}: " if column.heading else "") + " ".join(cell.text.split())
        columns = self._screen.columns or len(said)
        return [self._screen.styled(cut(line, columns, self._end), cell.style) for line in wrapped(said, columns)]


def _widest(text: str) -> int:
    return max(map(width, text.split("\n")))


def _cell_lines(text: str, columns: int, end: str) -> list[str]:
    """The lines of a cell; a word that is wider than the column is shortened."""
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [cut(part, columns, end).replace(GLUE, " ") for part in wrapped(line, columns)]
    return lines
