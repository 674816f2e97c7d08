"""Writes the generated parts of docs/tasks.md from the tables of the task machine: `python docs/make_diagrams.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import get_args

from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.protocol.state import TERMINAL
from mcp_a2a.protocol.task.events import Event, EventType
from mcp_a2a.protocol.task.table import DELIVERIES, SIDES, SILENT, TRANSITIONS

PAGE = Path(__file__).with_name("tasks.md")
OPEN = tuple(state for state in TRANSITIONS if state not in TERMINAL)

Edge = tuple[str, str]


def states() -> str:
    """The events that move a task to another state, as a Mermaid diagram."""
    everywhere = {event: targets for event in _events() if len(targets := _targets(event)) == len(OPEN)}
    ends = {event: targets[0] for event, targets in everywhere.items() if set(targets) <= TERMINAL}
    moves = _grouped(
        ((state.name, after.name), event)
        for state in OPEN
        for event, after in TRANSITIONS[state].items()
        if after != state and event not in ends
    )
    finals = _grouped((("Open", after.name), event) for event, after in ends.items())
    return _diagram(
        ["[*] --> Open : Opened"],
        _composite("Open", ["[*] --> SUBMITTED", *moves]),
        finals,
        [f"{state.name} --> [*]" for state in TRANSITIONS if state in TERMINAL],
    )


def deliveries() -> str:
    """The events that move the delivery of the message that opens a task, as a Mermaid diagram.

    None is drawn from EXPIRED: such a task has ended.
    """
    moves = _grouped(
        ((source.name, move.target.name), event)
        for source in Delivery
        for event, move in DELIVERIES.items()
        if source in move.sources and source not in (move.target, Delivery.EXPIRED)
    )
    return _diagram(["[*] --> QUEUED"], moves)


def table() -> str:
    """Each cell of the table of states and events, as a table of Markdown."""
    head = ["event", "of", *(state.name for state in TRANSITIONS)]
    rows = [
        [f"`{event.__name__}`" + ("" if event in SILENT else " ●"), _side(event), *_cells(event)] for event in _events()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _side(event: EventType) -> str:
    return " and ".join(sorted(SIDES[event], reverse=True))


def _cells(event: EventType) -> Iterator[str]:
    for state, row in TRANSITIONS.items():
        after = row.get(event)
        yield "" if after is None else "stays" if after == state else after.name


def _events() -> list[EventType]:
    return list(get_args(Event))


def _targets(event: EventType) -> list[TaskState]:
    return [TRANSITIONS[state][event] for state in OPEN if event in TRANSITIONS[state]]


def _grouped(edges: Iterable[tuple[Edge, EventType]]) -> list[str]:
    labels: dict[Edge, list[str]] = {}
    for edge, event in edges:
        labels.setdefault(edge, []).append(event.__name__)
    return [f"{source} --> {target} : {', '.join(events)}" for (source, target), events in labels.items()]


def _composite(name: str, lines: list[str]) -> list[str]:
    return [f"state {name} {{", *(f"    {line}" for line in lines), "}"]


def _diagram(*parts: list[str]) -> str:
    lines = [f"    {line}" for part in parts for line in part]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


GENERATED = {"states": states, "deliveries": deliveries, "table": table}


def generated(page: str) -> str:
    """The text of the page with its generated parts as they are now."""
    for name, make in _parts().items():
        begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        page, count = pattern.subn(lambda _, made=f"{begin}\n{make}\n{end}": made, page)
        if count != 1:
            raise ValueError(f"the page has {count} places for {name}")
    return page


def _parts() -> Mapping[str, str]:
    return {name: make() for name, make in GENERATED.items()}


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
