"""The page about the states of a task shows the law as the code has it."""

from __future__ import annotations

import re

from docs.make_diagrams import OPEN, PAGE, deliveries, generated, states, table
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.state import TERMINAL
from mcp_a2a.protocol.task.table import DELIVERIES, TRANSITIONS

EDGE = re.compile(r"^ *(\w+) --> (\w+) : (.+)$", re.MULTILINE)


def edges(diagram: str) -> set[tuple[str, str, str]]:
    return {(source, target, event) for source, target, events in EDGE.findall(diagram) for event in events.split(", ")}


def drawn(diagram: str, composites: dict[str, tuple[str, ...]]) -> set[tuple[str, str, str]]:
    """The edges of a diagram, those from a composite state as one from each state in it."""
    return {
        (one, target, event) for source, target, event in edges(diagram) for one in composites.get(source, (source,))
    }


def test_the_page_is_as_the_tables_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == generated(page), "run: python docs/make_diagrams.py"


def test_the_diagram_of_states_has_each_event_that_moves_a_task_and_no_other() -> None:
    moves = {
        (state.name, after.name, event.__name__)
        for state, row in TRANSITIONS.items()
        for event, after in row.items()
        if after != state
    }
    assert drawn(states(), {"Open": tuple(state.name for state in OPEN)}) == moves
    assert not {source for source, _, _ in edges(states())} & {state.name for state in TERMINAL}


def test_the_diagram_of_deliveries_has_each_event_that_moves_one_and_no_other() -> None:
    moves = {
        (source.name, move.target.name, event.__name__)
        for event, move in DELIVERIES.items()
        for source in move.sources - {move.target, Delivery.EXPIRED}
    }
    assert edges(deliveries()) == moves


def test_the_table_has_a_row_for_each_event_and_a_cell_for_each_state() -> None:
    head, _, *rows = [line.strip("| ").split("|") for line in table().splitlines()]
    assert [name.strip() for name in head[2:]] == [state.name for state in TRANSITIONS]
    assert len(rows) == len({event for row in TRANSITIONS.values() for event in row})
    assert sum(bool(cell.strip()) for row in rows for cell in row[2:]) == sum(map(len, TRANSITIONS.values()))
