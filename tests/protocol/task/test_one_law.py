"""One place decides what becomes of a task: no other module makes a task from a task, or writes its row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import mcp_a2a
from mcp_a2a.protocol.state import TaskState
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.records import TASK_COLUMNS
from tests.protocol.task.samples import a_task

ROOT = Path(mcp_a2a.__file__).parent
LAW = "protocol/task"
MODULES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
FIELDS = {field.name for field in fields(Task)}
OF_THE_LAW = {
    "state", "delivery", "status", "messages", "artifacts", "error", "seq_in", "seq_out", "attempts", "holder",
    "worker", "lease_until", "streamed", "direct", "remote", "heard", "forgotten", "updated",
}  # fmt: skip
COPIES = {"replace", "with_"}
OWN = ("node/delivery/",)
"""Whose values, not tasks, have a state and attempts, too."""
FILTERS = {"await self._within(request)"}
"""What is copied elsewhere and has such fields, too: the condition of a list of tasks."""


def _elsewhere() -> Iterator[tuple[str, ast.AST]]:
    for name, tree in MODULES.items():
        if not name.startswith(LAW):
            yield from ((name, node) for node in ast.walk(tree))


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from target.elts if isinstance(target, ast.Tuple | ast.List) else (target,)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        yield node.target


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_the_fields_are_those_of_a_task() -> None:
    assert OF_THE_LAW < FIELDS
    assert {*TASK_COLUMNS, "size"} == FIELDS


def test_a_task_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        a_task().state = TaskState.WORKING  # type: ignore[misc]


def test_no_module_assigns_a_field_of_a_task() -> None:
    """`self.state` is of another object: a task has no method that writes."""
    assigned = [
        f"{name}:{target.lineno} {ast.unparse(target)}"
        for name, node in _elsewhere()
        if not name.startswith(OWN)
        for target in _targets(node)
        if isinstance(target, ast.Attribute) and target.attr in OF_THE_LAW and ast.unparse(target.value) != "self"
    ]
    assert assigned == []


def test_no_module_copies_a_task_with_other_values() -> None:
    copied = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, node in _elsewhere()
        if isinstance(node, ast.Call)
        and _called(node) in COPIES
        and not FILTERS & {ast.unparse(one) for one in node.args}
        and OF_THE_LAW & {str(keyword.arg) for keyword in node.keywords}
    ]
    assert copied == []


def test_no_module_goes_around_the_frozen_value() -> None:
    assert [name for name, node in _elsewhere() if _called(node) == "__setattr__"] == []


def test_a_task_is_made_by_its_opening_and_by_its_row() -> None:
    made = {
        name
        for name, tree in MODULES.items()
        if any(_is_import_of(node, "protocol.task.task", "Task") for node in ast.walk(tree))
        and any(_called(node) == "Task" for node in ast.walk(tree))
    }
    assert made == {"protocol/task/machine.py", "store/records.py"}


def test_events_are_applied_by_a_change_alone() -> None:
    for name, node in _elsewhere():
        for imported in ("apply", "effect", "opened", "with_"):
            assert not _is_import_of(node, "protocol.task", imported), (name, imported)


def _is_import_of(node: ast.AST, module: str, name: str) -> bool:
    if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(f"mcp_a2a.{module}"):
        return False
    return any(alias.name == name for alias in node.names)


def test_the_row_of_a_task_is_written_where_its_change_is_stored() -> None:
    """And by migrations, by the check of a database that is opened, and where leases are dated anew with the clock."""
    writing = {
        name
        for name in MODULES
        if re.search(r"(UPDATE|INSERT INTO|REPLACE INTO) tasks\b", (ROOT / name).read_text(), re.IGNORECASE)
    }
    assert writing == {"store/records.py", "store/leases.py", "store/schema.py", "store/opening.py"}


def test_rows_are_written_through_their_change() -> None:
    for name, node in _elsewhere():
        if name != "store/records.py":
            assert not _is_import_of(node, "store.records", "insert_task"), name
